"""From a model's text to records: what is read, what is refused, and the schemas that models are asked to follow."""

import json
import math
import re
import string
import time
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written import ABLE, problem, verdict

from iterreason.plan import Plan, resolve
from iterreason.policy import read_policy
from iterreason.records import Problem, Question, Verdict
from iterreason.replies import (
    MAX_ANSWER_CHARS,
    MAX_REPLY_CHARS,
    NOT_SURE,
    Unreadable,
    questions_schema,
    read_object,
    read_questions,
    read_verdict,
    verdict_schema,
)

GROWING = """
description = "d"
source = "s"
confidence = ["vote"]
rounds = {max = 4, min = 1, questions = 3}
reasoner = {rationale_chars = 160, question_chars = 80}
prompts = {system = "JSON", problem = "$question", evidence = "$evidence"}
"""
APART = """
description = "d"
source = "s"
layout = "separate"
confidence = ["vote"]
rounds = {max = 4, questions = 4}
prompts = {ask_first = "$question", ask_more = "$question", conclude = "$question"}
"""


def resolved(text: str) -> Plan:
    return resolve(read_policy(text, "mine"), ABLE, [ABLE])


EVIDENCE, IDEALGPT = resolved(GROWING), resolved(APART)
STATED, BLIND = resolved(GROWING.replace('"vote"', '"stated"')), resolved(GROWING.replace("max = 4", "max = 1"))
YES_NO, OPEN, TWO_IMAGES = problem(), problem(choices=()), problem(images=2)
VALID = verdict(
    "yes", "how many?", {"question": "what “colour” is it? {} \\ é", "image": 1}, cites=[1, 2], confidence=0.8
)


def read(text: str, about: Problem = YES_NO, by=EVIDENCE, known: int = 9) -> Verdict:
    return read_verdict(text, about, by, known, 1)


def fault(text: str, **more) -> str:
    """Why a concluding reply cannot be read."""
    with pytest.raises(Unreadable) as caught:
        read(text, **more)
    return str(caught.value)


# ------------------------------------------------------------------ finding the object


@pytest.mark.parametrize(
    "text",
    [
        '{"answer":"yes"}',
        '\n\n  {"answer":"yes"}  \n',
        '{\n  "answer": "yes"\n}\n',
        '```json\n{"answer":"yes"}\n```',
        '```\n{"answer":"yes"}',
        'Sure! Here it is:\n{"answer":"yes"}\nI hope that this helps.',
        '1. I looked.\n2. I thought.\n\n{"answer":"yes"}',
        '- {"answer":"yes"}',
        '[{"answer":"yes"}]',
        '\ufeff{"answer":"yes"}',
        '\u200b{"answer":"yes"}\u200b',
        '<think>It may be {"answer":"no"}; no.</think>{"answer":"yes"}',
        '<think>{"answer":"no"}</think>\n<think>{"answer": "n</think>\n{"answer":"yes"}',
        'The template began it {"answer":"no"}</think>\n\n{"answer":"yes"}',
        '<think></think>{"answer":"yes"}',
        'The set {1, 2, 3} and \\frac{1}{2}: {"answer":"yes"}',
        'In {your form}: {"answer":"yes"} {done}',
        '{"answer":"yes"} {"answer": "yes"}',
        '{"answer":"yes"}\n{"answer":"yes"}\n{"answer":"yes"}',
        '好的，答案是：{"answer":"yes"}。',
        'الجواب: {"answer":"yes"}',
        '😀 {"answer":"yes"} 😀',
        '{"answer":"\\u0079es"}',
        '}}]] {"answer":"yes"}',
    ],
)
def test_the_one_object_is_found(text):
    """Fences, words, thoughts and repeats around the one JSON object are left aside."""
    assert read_object(text) == {"answer": "yes"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON object"),
        ("   \n", "no JSON object"),
        ("yes", "no JSON object"),
        ("1. yes\n2. no", "no JSON object"),
        ('["yes"]', "no JSON object"),
        ('"yes"', "no JSON object"),
        ("null", "no JSON object"),
        ("{answer}", "no JSON object"),
        ("是的，我很确定。", "no JSON object"),
        ('{"answer":"yes"}</think>', "no JSON object"),
        ('<think>I believe {"answer":"yes"}', "thinking never ends"),
        ('<think> {"answer":"yes"} <think>', "thinking never ends"),
        ('{"answer":"yes"} {"answer":"no"}', "two JSON objects"),
        ('{"answer":"yes"} or rather {"answer":"no"}', "two JSON objects"),
        ('[{"answer":"yes"},{"answer":"no"}]', "two JSON objects"),
        ('{"answer":1} {"answer":true}', "two JSON objects"),
        ('{"answer":1} {"answer":1.0}', "two JSON objects"),
        ('{"answer":"yes","answer":"no"}', "'answer' appears twice"),
        ('{"answer":"yes","answer":"yes"}', "'answer' appears twice"),
        ('{"a":{"b":1,"c":2,"b":3}}', "'b' appears twice"),
        ("{'answer': 'yes'}", "malformed at \"'answer': 'yes'}\""),
        ('{answer: "yes"}', "malformed"),
        ('{"answer":"yes",}', "malformed"),
        ('{"answer":"yes" "cites":[]}', "malformed at '\"cites\":[]}'"),
        ('{"cites":[1,],"answer":"yes"}', "malformed"),
        ('{"answer":True}', "malformed"),
        ('{"answer":"yes" // sure\n}', "malformed"),
        ('{"rationale":"it is "red"","answer":"yes"}', "malformed"),
        ('{"rationale":"one\nline","answer":"yes"}', "malformed"),
        ('{"rationale":"\\d","answer":"yes"}', "malformed"),
        ('{"answer":\u200b"yes"}', "malformed"),
        ('{"cites":[01],"answer":"yes"}', "malformed"),
        ("{“answer”: “yes”}", "malformed"),
        ('{"answer":NaN}', "NaN is not a JSON number"),
        ('{"answer":-Infinity}', "-Infinity is not a JSON number"),
        ('{"answer":1e999}', "1e999 is not a JSON number"),
        ('{"answer":"\\ud83d"}', "half a character"),
        ('{"\\udc00":"yes"}', "half a character"),
        ('{"answer":' + "9" * 5_000 + "}", "past any sense"),
        ('{"a":' + "[" * 90_000, "past any sense"),
        ('{"a":' * 16_000, "past any sense"),
        ("[" * 99_000, "no JSON object"),
        ("{" * 99_000, "malformed"),
        ("x" * (MAX_REPLY_CHARS + 1), "100,001 characters"),
        (VALID + " " * MAX_REPLY_CHARS, "characters; at most 100,000"),
    ],
)
def test_anything_else_is_refused_with_its_reason(text, why):
    """A reply without exactly one whole JSON object is unreadable, and the model is told why."""
    with pytest.raises(Unreadable) as caught:
        read_object(text)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        '{"next": {"answer": "yes"}, oops {"answer": "no"}}',
        '{"thought": {"answer": "yes"}',
        "{'answer': 'no', 'else': {\"answer\": \"yes\"}}",
        '{draft: {"answer": "yes"}}',
        '{{"answer": "yes"}}',
        '{ {"answer": "yes"} }',
        '{"a": [{"answer": "yes"}',
        '{"a": {"answer": "yes"}]',
        '{"rationale": "x" {"answer": "yes"}',
        '{"outer": {"answer": "yes"}}',
    ],
)
def test_an_inner_object_never_passes_for_the_outer_one(text):
    """What lies inside an object that is broken, unclosed or of another form is not the reply."""
    fault(text)


@pytest.mark.parametrize("around", ["{}", "```json\n{}", "Here: {}", "<think>hm</think>{}", "[{}"])
def test_a_cut_off_reply_is_never_misread(around):
    """Every true prefix of a valid reply is unreadable: no part of it passes for the whole."""
    for reply in (VALID, json.dumps(json.loads(VALID), indent=1), json.dumps({"questions": [{"question": "a?"}, "b"]})):
        whole = around.replace("{}", reply)
        for length in range(len(whole)):
            for ending in ("", "\n```", " …"):
                with pytest.raises(Unreadable):
                    read_object(whole[:length] + ending)
        assert read_object(whole) == json.loads(reply)


@given(st.text(), st.text(alphabet='{}[]":,\\answer yes01.e-<think>/\n', max_size=60))
def test_reading_never_raises_anything_else(noise, json_like):
    """Whatever the text, it is read or it is Unreadable."""
    for text in (noise, json_like, '{"answer":"yes",' + json_like, noise + VALID + json_like):
        try:
            verdict = read(text)
        except Unreadable:
            continue
        assert verdict.answer in ("yes", "no")


NOISE = (
    '{ | } | {} | { "" | {" | {"a": | {"a":{},} | {a | {a} | {a}{ | {"a":[ | [ | " | \\ | <think> | é | {"a":1} | {\''
)


@pytest.mark.parametrize("unit", NOISE.split(" | "))
def test_noise_takes_bounded_time(unit):
    """100 KB of anything is refused within a fraction of a second."""
    noise = unit * ((MAX_REPLY_CHARS - 400) // len(unit))
    began = time.process_time()
    for text in (noise, "<think>" + noise + VALID):
        with pytest.raises(Unreadable):
            read_verdict(text, YES_NO, EVIDENCE, 3, 1)
    assert time.process_time() - began < 1


def test_many_different_objects_take_bounded_time():
    """Two different objects are too many; the rest are not looked at."""
    began = time.process_time()
    with pytest.raises(Unreadable, match="two JSON objects"):
        read_object("".join(f'{{"a":{n}}}' for n in range(9_000)))
    assert time.process_time() - began < 0.1


# ------------------------------------------------------------------ verdicts


def test_a_whole_verdict_is_read():
    """Every field of a concluding reply comes into the verdict; the image of a question is counted from 1."""
    text = verdict("B", "how many?", {"question": " what\ncolour? ", "image": 2}, cites=[2, 1, 2], confidence=0.75)
    asked = (Question("how many?"), Question("what colour?", image=1))
    assert read(text, TWO_IMAGES) == Verdict("no", "Because of what was seen.", (2, 1), "", asked, 0.75)


def test_an_answer_alone_is_enough():
    """All but the answer may be left out, and unknown keys do no harm."""
    assert read('{"answer":"yes"}') == Verdict("yes")
    assert read('{"answer":"yes","thoughts":{"a":[1]},"Answer":"no"}') == Verdict("yes")


@pytest.mark.parametrize(
    ("value", "choices", "answer"),
    [
        ('"Yes."', ("yes", "no"), "yes"),
        ('"(B) no"', ("yes", "no"), "no"),
        ('"**no**"', ("yes", "no"), "no"),
        ("2", ("2", "3"), "2"),
        ("2", ("two", "three"), "two"),
        ("-5", ("5", "-5"), "-5"),
        ("1.5", ("15", "1.5"), "1.5"),
        ("true", ("true", "false"), "true"),
        ("false", ("True", "False"), "False"),
        ('"是"', ("是", "不是"), "是"),
        ('"a red\\n  ball"', (), "a red ball"),
        ('" 3 "', (), "3"),
        ("3", (), "3"),
        ("2.50", (), "2.5"),
        ("true", (), "true"),
        ('"not sure"', (), "not sure"),
        ('"' + "x" * MAX_ANSWER_CHARS + '"', (), "x" * MAX_ANSWER_CHARS),
    ],
)
def test_an_answer_is_read(value, choices, answer):
    """Answers match their choice; numbers and truth values are read as their text; open ones stand on one line."""
    assert read(f'{{"answer":{value}}}', problem(choices=choices)).answer == answer


@pytest.mark.parametrize(
    "value", ['"maybe"', '""', '"I see 2 dogs and 3 cats"', '"yes and no"', "1", "true", '"A: no"', '"not sure"', "1e3"]
)
def test_an_answer_that_is_no_choice_shows_the_choices(value):
    """The model is told what it wrote and what it may choose from."""
    why = fault(f'{{"answer":{value}}}')
    assert "must be one of: yes, no" in why
    assert repr(str(json.loads(value)).lower())[1:-1] in why.lower()


@pytest.mark.parametrize(
    "value", ['""', '" \\n"', '"\\u200b"', '"' + "x" * 81 + '"', '"' + "x " * 40_000 + '"', "9" * 400]
)
def test_an_open_answer_is_bounded(value):
    """An open answer has something to see in it, and at most 80 characters."""
    assert "1 to 80 characters" in fault(f'{{"answer":{value}}}', about=OPEN)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{}", "'answer': Field required"),
        ('{"answer":null}', "'answer'"),
        ('{"answer":["yes"]}', "'answer'"),
        ('{"answer":{"text":"yes"}}', "'answer'"),
        ('{"answer":"yes","rationale":3}', "'rationale'"),
        ('{"answer":"yes","rationale":null}', "'rationale'"),
        ('{"answer":"yes","missing":["a"]}', "'missing'"),
        ('{"answer":"yes","cites":"[1]"}', "'cites'"),
        ('{"answer":"yes","cites":[1,"2"]}', "'cites.1'"),
        ('{"answer":"yes","cites":[true]}', "'cites.0'"),
        ('{"answer":"yes","cites":[1.5]}', "'cites.0'"),
        ('{"answer":"yes","cites":null}', "'cites'"),
        ('{"answer":"yes","questions":"how many?"}', "'questions'"),
        ('{"answer":"yes","questions":[1]}', "'questions.0'"),
        ('{"answer":"yes","questions":[["a"]]}', "'questions.0'"),
        ('{"answer":"yes","questions":[null]}', "'questions.0'"),
        ('{"answer":"yes","questions":{"question":"a"}}', "'questions'"),
        ('{"answer":"yes","questions":["a",{"image":1}]}', "'questions.1.question'"),
        ('{"answer":"yes","questions":[{"question":"a","image":0}]}', "'questions.0.image'"),
        ('{"answer":"yes","questions":[{"question":"a","image":"1"}]}', "'questions.0.image'"),
        ('{"answer":"yes","questions":[{"question":"a","image":-1}]}', "'questions.0.image'"),
        ('{"answer":"yes","questions":[{"question":"a","image":2}]}', "no image 2; the images are 1 to 1"),
        ('{"answer":"yes","confidence":true}', "'confidence'"),
        ('{"answer":"yes","confidence":[0.5]}', "'confidence'"),
        ('{"answer":"yes","confidence":' + "9" * 400 + "}", "'confidence'"),
    ],
)
def test_a_wrong_type_names_its_key(text, where):
    """A value of the wrong kind is refused with the key that holds it."""
    assert where in fault(text)


@pytest.mark.parametrize(
    ("value", "stated"),
    [
        ("0.8", 0.8),
        ('"0.8"', 0.8),
        ("0", 0.0),
        ("1", 1.0),
        ("null", None),
        ('""', None),
        ('"high"', None),
        ('"80%"', None),
        ('"nan"', None),
        ('"inf"', None),
        ("1e15", None),
        ('"1e15"', None),
        ("-1", None),
        ("80", None),
        ("1.0000001", None),
    ],
)
def test_a_stated_confidence_counts_only_within_its_bounds(value, stated):
    """What a model claims of itself is a number in [0, 1] or nothing; it is never bent into the range."""
    assert read(f'{{"answer":"yes","confidence":{value}}}').stated == stated


@pytest.mark.parametrize(
    ("cites", "kept"), [([], ()), ([3], (3,)), ([4], ()), ([0, -1, 10**30, 2], (2,)), ([3, 1, 3, 1], (3, 1))]
)
def test_only_evidence_that_exists_is_cited(cites, kept):
    """Citations of evidence that is not there, and repeats, are left out."""
    assert read(verdict("yes", cites=cites), known=3).cites == kept


def test_long_texts_are_cut_where_one_can_see_it():
    """A rationale, a missing thing or a question past its bound ends in an ellipsis."""
    long = read(verdict("yes", "q" * 500, rationale="r" * 500, missing="m" * 500))
    assert (long.rationale, long.missing) == ("r" * 159 + "…", "m" * 79 + "…")
    assert long.questions == (Question("q" * 79 + "…"),)
    fits = read(verdict("yes", "q" * 80, rationale="r" * 160, missing="m" * 80))
    assert (fits.rationale, fits.missing, fits.questions[0].text) == ("r" * 160, "m" * 80, "q" * 80)


def test_no_more_questions_are_taken_than_the_policy_allows():
    """A surplus of questions is left out; blank ones do not count."""
    text = verdict(
        "yes", "", " \n", "a?", {"question": "", "image": 1}, "b?", "c?", "d?", {"question": "e?", "image": 99}
    )
    assert [q.text for q in read(text).questions] == ["a?", "b?", "c?"]
    assert read(verdict("yes", *["q?"] * 10_000)).questions == (Question("q?"),) * 3


@pytest.mark.parametrize("said", ["not sure", "Not sure.", "NOT SURE!", "**not sure**", " not  sure "])
def test_not_sure_is_a_verdict_only_in_the_layout_separate(said):
    """Where the policy may go on without an answer, 'not sure' is none; elsewhere it is no choice."""
    for about in (YES_NO, OPEN):
        assert read(verdict(said), about, IDEALGPT).answer is None
    assert "must be one of" in fault(verdict(said))
    assert read(verdict("yes"), by=IDEALGPT).answer == "yes"


def test_not_sure_can_be_a_choice():
    """A problem's own choice 'Not sure' is an answer like any other."""
    about = problem(choices=("yes", "no", "Not sure"))
    assert read(verdict("not sure"), about, IDEALGPT).answer == "Not sure"
    assert json.loads(verdict_schema(about, IDEALGPT, 1))["properties"]["answer"]["enum"] == ["yes", "no", "Not sure"]


# ------------------------------------------------------------------ questions


def test_a_reply_that_asks_is_read():
    """Questions come as texts, or as objects that name an image."""
    text = 'Let me ask:\n```json\n{"questions": ["a?", {"question": "b?", "image": 2}, {"question": "c?"}]}\n```'
    assert read_questions(text, TWO_IMAGES, IDEALGPT) == (Question("a?"), Question("b?", image=1), Question("c?"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1. How many dogs?\n2. What colour?", "no JSON object"),
        ("{}", "'questions' is empty"),
        ('{"questions":[]}', "'questions' is empty"),
        ('{"questions":[""," ",{"question":"\\n"}]}', "'questions' is empty"),
        ('{"question":"how many?"}', "'questions' is empty"),
        ('{"questions":["a?",2]}', "'questions.1'"),
        ('{"questions":[{"question":"a?","image":3}]}', "no image 3; the images are 1 to 2"),
        ('{"questions":["a?"', "ends before it closes"),
    ],
)
def test_a_reply_that_asks_nothing_is_unreadable(text, why):
    """A list in another form is never taken for zero questions, and zero questions are not passed over."""
    with pytest.raises(Unreadable) as caught:
        read_questions(text, TWO_IMAGES, IDEALGPT)
    assert why in str(caught.value)


# ------------------------------------------------------------------ schemas


SCHEMAS = {
    "choices": verdict_schema(YES_NO, EVIDENCE, 1),
    "open": verdict_schema(OPEN, EVIDENCE, 4),
    "two images": verdict_schema(TWO_IMAGES, EVIDENCE, 1),
    "separate": verdict_schema(YES_NO, IDEALGPT, 1),
    "separate, open": verdict_schema(OPEN, IDEALGPT, 1),
    "separate, last": verdict_schema(YES_NO, IDEALGPT, 4),
    "stated": verdict_schema(YES_NO, STATED, 1),
    "blind": verdict_schema(OPEN, BLIND, 1),
    "odd choices": verdict_schema(problem(choices=('"', "\\n", "{}", "é\n", "a" * 1_000)), EVIDENCE, 1),
    "asks": questions_schema(YES_NO, IDEALGPT),
    "asks, two images": questions_schema(TWO_IMAGES, IDEALGPT),
}
ABOUT = {"open": OPEN, "two images": TWO_IMAGES, "separate, open": OPEN, "blind": OPEN, "asks, two images": TWO_IMAGES}
BY = {
    "separate": IDEALGPT,
    "separate, open": IDEALGPT,
    "separate, last": IDEALGPT,
    "stated": STATED,
    "blind": BLIND,
}


def keys(name: str) -> list[str]:
    return list(json.loads(SCHEMAS[name])["properties"])


def test_a_model_thinks_before_it_answers():
    """The keys stand in the order in which they are to be written: rationale, citations, answer, what comes next."""
    assert keys("choices") == ["rationale", "cites", "answer", "missing", "questions"]
    assert keys("stated") == ["rationale", "cites", "answer", "confidence", "missing", "questions"]
    assert keys("separate") == keys("blind") == ["rationale", "cites", "answer"]
    assert keys("asks") == ["questions"]


def test_confidence_is_asked_for_only_where_it_is_used():
    """No model is asked for a number that the policy does not read."""
    assert [name for name in SCHEMAS if "confidence" in SCHEMAS[name]] == ["stated"]


def test_not_sure_is_offered_only_where_another_round_follows():
    """'not sure' is a choice in the layout `separate`, but not in its last round."""
    assert [name for name in SCHEMAS if NOT_SURE in SCHEMAS[name]] == ["separate"]


def nodes(schema):
    """A schema and all schemas in it."""
    yield schema
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else ())):
        yield from nodes(inner)


@pytest.mark.parametrize("name", SCHEMAS)
def test_everything_in_a_schema_is_bounded(name):
    """Every text, list and number has its bound and every object its keys, so that a reply always closes."""
    for node in nodes(json.loads(SCHEMAS[name])):
        match node.get("type"):
            case "object":
                assert node["required"] == list(node["properties"])
                assert node["additionalProperties"] is False
            case "array":
                assert 0 <= node.get("minItems", 0) <= node["maxItems"] <= 20
            case "string":
                assert "enum" in node or node["maxLength"] <= 1_000
            case "integer":
                assert node["minimum"] <= node["maximum"]
            case None:
                assert node["enum"]
            case _:
                pytest.fail(f"{node} has no bound")


@pytest.mark.parametrize(("number", "least"), [(1, 1), (2, 1), (3, 0), (4, 0)])
def test_before_the_first_round_that_may_stop_something_is_asked(number, least):
    """A round before `rounds.min` asks at least one question."""
    schema = json.loads(verdict_schema(YES_NO, resolved(GROWING.replace("min = 1", "min = 3")), number))
    assert schema["properties"]["questions"].get("minItems", 0) == least


def test_a_round_that_cannot_ask_is_not_asked_to():
    """Without a round to come, or without questions, the reply has no place for them."""
    for setting, other in (("max = 4", "max = 1"), ("questions = 3", "questions = 0")):
        by = resolved(GROWING.replace(setting, other))
        assert list(json.loads(verdict_schema(YES_NO, by, 1))["properties"])[-1] == "answer"


def test_a_question_is_asked_for_in_the_form_of_one():
    """The schema takes what ends with a question mark, within the policy's length, and no scraps of JSON."""
    items = json.loads(verdict_schema(YES_NO, EVIDENCE, 1))["properties"]["questions"]["items"]
    limit = EVIDENCE.policy.reasoner.question_chars
    for text in ("how many?", "is it red?", "猫はいますか？", "x" * (limit - 1) + "?"):
        assert re.search(items["pattern"], text)
    for text in ("", "?", "is it red", '"]} Question: is it?', "[1]?", "a?\nb", "x" * limit + "?"):
        assert not re.search(items["pattern"], text)


def test_a_schema_is_made_once():
    """The same problem and policy give the very same text: it is hashed and compiled once."""
    assert verdict_schema(YES_NO, EVIDENCE, 1) is verdict_schema(problem("Another question?"), resolved(GROWING), 1)


def replies_to(schema) -> st.SearchStrategy:
    """Values that follow a schema; texts have something to see in them where they may not be empty."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    if schema["type"] == "string":
        shown = st.text(st.characters(exclude_categories=("Cs",)), max_size=schema["maxLength"] - 1)
        return shown.map(lambda text: "x" + text) if schema.get("minLength") else shown
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if schema["type"] == "array":
        bounds = dict(min_size=schema.get("minItems", 0), max_size=schema["maxItems"])
        return st.lists(replies_to(schema["items"]), **bounds)
    return st.fixed_dictionaries({key: replies_to(value) for key, value in schema["properties"].items()})


@pytest.mark.parametrize("name", SCHEMAS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_reply_that_follows_its_schema_is_read(name, data):
    """What the prompt asks for is what the reader reads."""
    schema = json.loads(SCHEMAS[name])
    value = data.draw(replies_to(schema))
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    about, by = ABOUT.get(name, YES_NO), BY.get(name, EVIDENCE)
    if name.startswith("asks"):
        assert len(read_questions(text, about, IDEALGPT)) == len(value["questions"])
        return
    if name == "odd choices":
        about = problem(choices=schema["properties"]["answer"]["enum"])
    result = read_verdict(text, about, by, 999, 1)
    assert len(result.questions) == len(value.get("questions", ()))
    assert result.rationale == value["rationale"]
    assert result.stated == value.get("confidence")
    if value["answer"] == NOT_SURE and by is IDEALGPT:
        assert result.answer is None
    elif about.choices:
        assert result.answer == value["answer"]


@pytest.mark.skipif(find_spec("llguidance") is None, reason="needs the extra 'local'")
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_grammar_in_use_takes_the_schema(name):
    """Each schema compiles to a grammar, which lets a fitting reply through to its end and nothing after it."""
    from llguidance import LLMatcher, LLTokenizer

    compact = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    grammar = LLMatcher.grammar_from_json_schema(SCHEMAS[name], overrides=compact)
    bytes_as_tokens = LLTokenizer("byte")
    schema = json.loads(SCHEMAS[name])
    samples = {
        "string": lambda node: node["enum"][0] if "enum" in node else longest(node),
        "integer": lambda node: node["maximum"],
        "array": lambda node: [fill(node["items"])] * node["maxItems"],
        "object": lambda node: {key: fill(value) for key, value in node["properties"].items()},
    }

    def longest(node):
        return "x" * (node["maxLength"] - 1) + "?" if "pattern" in node else "x" * max(1, node["maxLength"])

    def fill(node):
        return samples[node["type"]](node) if "type" in node else 0.5

    text = json.dumps(fill(schema), ensure_ascii=False, separators=(",", ":"))
    matcher = LLMatcher(bytes_as_tokens, grammar, log_level=0)
    tokens = bytes_as_tokens.tokenize_str(text)
    assert matcher.try_consume_tokens(tokens) == len(tokens)
    assert matcher.is_accepting()
    assert matcher.try_consume_tokens(bytes_as_tokens.tokenize_str(" ")) == 0


def test_a_schema_holds_any_choice():
    """Choices of any characters come through the schema unchanged."""
    choices = [string.punctuation, "\x00\x1b", "二", "😀", "\u2028line"]
    schema = json.loads(verdict_schema(problem(choices=choices), EVIDENCE, 1))
    assert schema["properties"]["answer"]["enum"] == choices
    assert [read(verdict(choice), problem(choices=choices)).answer for choice in choices] == choices


def test_a_probability_is_never_invented():
    """A verdict as read carries no confidence: that is for the policy's estimator to give."""
    result = read(VALID)
    assert (result.confidence, result.belief, result.outside) == (None, (), None)
    assert math.isclose(result.stated or 0, 0.8)
