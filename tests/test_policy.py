"""Policies: every fault of a file is named with its key, and a policy is fitted to the models before anything runs."""

from hashlib import sha256
from string import Template

import pytest
from written import ABLE, policy

from iterreason.calls import Capabilities
from iterreason.errors import BadPolicy, UnknownPolicy
from iterreason.plan import resolve
from iterreason.policy import NamedPolicy, find_policy, read_policy, shipped

SMALL = """
description = "d"
source = "s"
confidence = ["vote"]
[rounds]
max = 2
[prompts]
system = "Reply with JSON."
problem = "$question"
evidence = "$evidence"
"""
SEPARATE = """
description = "d"
source = "s"
layout = "separate"
confidence = ["vote"]
[prompts]
ask_first = "$question"
ask_more = "$question $rationale"
conclude = "$question $evidence"
"""
TEXT = Capabilities("text", chats=True)
SCORER = Capabilities("scorer", chats=True, scores=True)
VLM = Capabilities("vlm", chats=True, images=True)
VQA = Capabilities("vqa", chats=False, looks=True, logprobs=True)
SILENT = Capabilities("silent", chats=False, looks=True)


def changed(text: str = SMALL, **tables: str) -> str:
    """The text with lines put at the top (`top`) or into its tables."""
    text = tables.pop("top", "") + "\n" + text
    for table, lines in tables.items():
        header = f"[{table}]\n"
        text = text.replace(header, f"{header}{lines}\n") if header in text else f"{text}\n{header}{lines}\n"
    return text


def faults(text: str) -> str:
    with pytest.raises(BadPolicy) as caught:
        read_policy(text, "mine", "mine.toml")
    return str(caught.value)


# ------------------------------------------------------------------ what is shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_policy_reads(name):
    """What is shipped is in order, says what it is and where it comes from."""
    named = find_policy(name)
    assert named.name == name
    assert named.policy.description
    assert named.policy.source
    assert "stated" not in named.policy.confidence[:1]


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_policy_runs_on_able_models(name):
    """Models that can do everything can follow every shipped policy."""
    plan = resolve(find_policy(name), ABLE, [ABLE])
    assert plan.confidence == plan.policy.confidence[0]


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_prompt_asks_for_the_keys_that_the_reader_reads(name):
    """The form that a prompt describes is the form that its replies are read in."""
    prompts = find_policy(name).policy.prompts
    assert '"questions"' in prompts.system or find_policy(name).policy.rounds.max == 1 or not prompts.system
    for text in (prompts.system, prompts.conclude_system, prompts.conclude_system_last):
        if "JSON" in text:
            assert text.index('"rationale"') < text.index('"cites"') < text.index('"answer"')
    for text in (prompts.ask_system_first, prompts.ask_system_more):
        assert not text or '{"questions": [' in text


def test_the_hash_is_of_the_text():
    """Any change of a policy's text changes its hash; its name does not."""
    one, other, same = read_policy(SMALL, "a"), read_policy(SMALL + "\n", "a"), read_policy(SMALL, "b")
    assert one.hash == same.hash == sha256(SMALL.encode()).hexdigest()
    assert other.hash != one.hash


# ------------------------------------------------------------------ faults


def test_the_examples_of_these_tests_are_in_order():
    """The two policies that the tests change are themselves without fault."""
    assert read_policy(SMALL, "small").policy.rounds.max == 2
    assert read_policy(SEPARATE, "separate").policy.layout == "separate"
    assert read_policy(changed(rounds="min = 2"), "changed").policy.rounds.min == 2


@pytest.mark.parametrize(
    ("text", "key", "guess"),
    [
        (changed(top="confidnce = []"), "confidnce", "confidence"),
        (changed(top="Layout = 'append'"), "Layout", "layout"),
        (changed(rounds="maxx = 3"), "rounds.maxx", "max"),
        (changed(look="frist = []"), "look.frist", "first"),
        (changed(reasoner="sees_images = true"), "reasoner.sees_images", "sees_image"),
        (changed(budget="second = 3"), "budget.second", "seconds"),
        (changed(prompts="probelm = 'a'"), "prompts.probelm", "problem"),
        (SMALL + "[[stop]]\nconfidant = 0.5", "stop.0.confidant", "confident"),
        (SMALL + "[[stop]]\ndry = true\n[[stop]]\nstabel = 2", "stop.1.stabel", "stable"),
        (SMALL + "[[examples]]\nuser = 'a'\nasistant = 'b'", "examples.0.asistant", "assistant"),
    ],
)
def test_an_unknown_key_is_an_error_at_every_level(text, key, guess):
    """A key that no one reads is refused with its place, the nearest known one, and all that are known."""
    why = faults(text)
    assert f"{key}: unknown key '{key.rpartition('.')[2]}'; did you mean '{guess}'? Known: " in why
    assert why.startswith("mine.toml cannot be used:\n  ")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "description: "),
        ("", "source: "),
        ("", "confidence: "),
        (SMALL.replace('["vote"]', "[]"), "confidence: "),
        (SMALL.replace('["vote"]', '"vote"'), "confidence: "),
        (SMALL.replace('["vote"]', '["votes"]'), "confidence.0: "),
        (SMALL.replace("max = 2", "max = 0"), "rounds.max: "),
        (SMALL.replace("max = 2", "max = 51"), "rounds.max: "),
        (SMALL.replace("max = 2", 'max = "2"'), "rounds.max: "),
        (SMALL.replace("max = 2", "max = true"), "rounds.max: "),
        (SMALL.replace("max = 2", "max = 2.5"), "rounds.max: "),
        (SMALL.replace("max = 2", "max = 2020-01-01"), "rounds.max: "),
        (changed(rounds="questions = -1"), "rounds.questions: "),
        (changed(rounds="questions = 21"), "rounds.questions: "),
        (changed(top="abstain_below = 1.1"), "abstain_below: "),
        (changed(top="abstain_below = nan"), "abstain_below: "),
        (changed(top="abstain_below = '0.5'"), "abstain_below: "),
        (changed(top="layout = 'appended'"), "layout: "),
        (changed(top="verdict_by = 'vlm'"), "verdict_by: "),
        (changed(top="rounds = 3").replace("[rounds]\nmax = 2", ""), "rounds: "),
        (changed(top="stop = true"), "stop: "),
        (changed(look="first = ['captions']"), "look.first.0: "),
        (changed(look="first = 'caption'"), "look.first: "),
        (changed(reasoner="sees_image = 1"), "reasoner.sees_image: "),
        (changed(reasoner="sees_image = 'yes'"), "reasoner.sees_image: "),
        (changed(reasoner="temperature = -0.1"), "reasoner.temperature: "),
        (changed(reasoner="max_tokens = 1"), "reasoner.max_tokens: "),
        (changed(budget="calls = 0"), "budget.calls: "),
        (changed(budget="seconds = 0"), "budget.seconds: "),
        (changed(prompts="look = 3"), "prompts.look: "),
        (SMALL + "[[stop]]\nconfident = 2.0", "stop.0.confident: "),
        (SMALL + "[[stop]]\nstable = 1", "stop.0.stable: "),
        (SMALL + "[[stop]]\ndry = false", "stop.0.dry: "),
        (SMALL + "[[examples]]\nuser = 'a'", "examples.0.assistant: "),
    ],
)
def test_a_value_out_of_bounds_or_kind_names_its_key(text, key):
    """Numbers in quotes, truth values for numbers and numbers out of range are refused, with the key."""
    assert f"\n  {key}" in faults(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            SMALL.replace("$question", "$questoin"),
            "prompts.problem: unknown placeholder 'questoin'; did you mean 'question'?",
        ),
        (SMALL.replace("$question", "$question $Choices"), "unknown placeholder 'Choices'; did you mean 'choices'?"),
        (
            SMALL.replace("JSON", "$question"),
            "prompts.system: unknown placeholder 'question'; did you mean 'questions'?",
        ),
        (SMALL.replace("$evidence", "$evidence $question"), "prompts.evidence: unknown placeholder 'question'"),
        (changed(prompts="caption = 'Describe $it'"), "prompts.caption: unknown placeholder 'it'. Known: none."),
        (SMALL.replace("$question", "$question costs 5 $"), "prompts.problem: a lone '$'; write '$$'"),
        (SMALL.replace("$question", "$question $5"), "prompts.problem: a lone '$'; write '$$'"),
        (SMALL.replace("$question", "${question"), "prompts.problem: a lone '$'; write '$$'"),
        (SMALL.replace("$question", "What is it?"), "prompts.problem: it lacks $question"),
        (SMALL.replace("$evidence", "New evidence:"), "prompts.evidence: it lacks $evidence"),
        (changed(prompts="readout = 'Which?'"), "prompts.readout: it lacks $candidates"),
        (changed(prompts="reask = 'Again.'"), "prompts.reask: it lacks $error"),
        (changed(prompts="look = ''"), "prompts.look: it lacks $question"),
        (SEPARATE.replace("$question $evidence", "$evidence"), "prompts.conclude: it lacks $question"),
    ],
)
def test_a_prompt_has_the_placeholders_that_it_can_have_and_must_have(text, why):
    """A misspelt placeholder, a lone '$', or a prompt without what it is for is refused."""
    assert f"\n  {why}" in faults(text) or why in faults(text)


def test_a_dollar_sign_is_written_twice():
    """'$$' stands for a dollar sign, and '${name}' for a name that a letter follows."""
    named = read_policy(SMALL.replace("$question", "${question}s for $$5"), "mine")
    assert Template(named.policy.prompts.problem).substitute(question="What") == "Whats for $5"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SMALL.replace('system = "Reply with JSON."', ""), "layout 'append' needs prompts.system"),
        (SMALL.replace('problem = "$question"', ""), "layout 'append' needs prompts.problem"),
        (SMALL.replace('evidence = "$evidence"', ""), "layout 'append' needs prompts.evidence"),
        (SEPARATE.replace('ask_first = "$question"', ""), "layout 'separate' needs prompts.ask_first"),
        (SEPARATE.replace('ask_more = "$question $rationale"', ""), "layout 'separate' needs prompts.ask_more"),
        (SEPARATE.replace('conclude = "$question $evidence"', ""), "layout 'separate' needs prompts.conclude"),
        (changed(prompts="conclude = '$question'"), "layout 'append' does not use prompts.conclude"),
        (changed(SEPARATE, prompts="problem = '$question'"), "layout 'separate' does not use prompts.problem"),
        (SEPARATE + "[[examples]]\nuser = 'a'\nassistant = 'b'", "layout 'separate' does not use examples"),
        (changed(SEPARATE, top="exemplars = 2"), "layout 'separate' does not use exemplars"),
        (
            changed(top="exemplars = 2\nexemplars_embedder = 'a/b'"),
            "exemplars_by must be 'question' or 'image', not 'first'",
        ),
        (changed(SMALL + "[belief]\nreliability = 0.8"), "belief.reliability is for the estimator 'combined'"),
        (changed(rounds="min = 3"), "rounds.min = 3 is more than rounds.max = 2"),
        (changed(top="verdict_by = 'answerer'"), "verdict_by = 'answerer' needs 'question' in look.first"),
        (policy("direct").text.replace('["answer-probability"]', '["vote"]'), "can only be one of: answer-probability"),
        (SMALL.replace('"vote"', '"vote", "agreement"'), "confidence 'agreement' needs 'question' in look.first"),
        (SMALL.replace('"vote"', '"answer-probability"'), "confidence 'answer-probability' needs 'question'"),
        (SMALL + "[[stop]]", "a [[stop]] rule without a condition would stop at once"),
        (SMALL + "[[stop]]\nstable = 3", "stop.stable = 3 never holds: it is more than rounds.max = 2"),
        (SMALL + "[[stop]]\nanswered = true", "stop.answered would stop at once"),
        (SEPARATE + "[[stop]]\ndry = true", "stop.dry would stop at once"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(text, why):
    """What could not work, or would work otherwise than it reads, is an error before anything runs."""
    assert why in faults(text)


def test_all_faults_come_at_once():
    """Someone who mends a policy sees every fault of it, a line each."""
    why = faults(changed(top="layuot = 'append'", rounds="min = 0", prompts="look = '$q'\nreask = '$'"))
    assert len(why.splitlines()) == 6
    why = faults(SMALL.replace("max = 2", "max = 2\nmin = 3") + "[[stop]]\n[[stop]]\nstable = 5")
    assert len(why.splitlines()) == 4


@pytest.mark.parametrize(
    "text", ["max = ", "[rounds", "a = 1\na = 2", "description: d", "{}", "\x00", "\ufeff" + SMALL]
)
def test_what_is_not_toml_is_said_to_be_so(text):
    """A file that is not TOML is refused with its name and the line."""
    assert faults(text).startswith("mine.toml is not TOML: ")


# ------------------------------------------------------------------ files


def test_a_policy_of_ones_own_is_read_from_its_file(tmp_path):
    """A name that ends in .toml is a file; the policy is named after it."""
    path = tmp_path / "mine.toml"
    path.write_text(SMALL, encoding="utf-8")
    assert find_policy(str(path)) == read_policy(SMALL, "mine")


@pytest.mark.parametrize("kind", ["missing", "folder", "latin-1", "null", "long"])
def test_a_policy_file_that_cannot_be_read_is_one_error(tmp_path, kind):
    """Whatever is wrong with the file, the error names it."""
    path = tmp_path / "mine.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "latin-1":
        path.write_bytes(SMALL.encode() + b"# \xe9")
    name = {"null": "\0.toml", "long": "x" * 5_000 + ".toml"}.get(kind, str(path))
    with pytest.raises(UnknownPolicy, match="cannot read the policy file"):
        find_policy(name)


def test_a_broken_policy_file_is_not_called_unknown(tmp_path):
    """A file that is there but not in order is a bad policy, with the path as given."""
    path = tmp_path / "mine.toml"
    path.write_text("x = 1", encoding="utf-8")
    with pytest.raises(BadPolicy, match=r"mine\.toml cannot be used"):
        find_policy(str(path))


@pytest.mark.parametrize(
    ("name", "guess"), [("evidance", "evidence"), ("idealGPT", "idealgpt"), ("", None), ("../x", None)]
)
def test_an_unknown_name_is_met_with_the_known_ones(name, guess):
    """A misspelt policy gets the nearest name, all names, and how to use a file."""
    with pytest.raises(UnknownPolicy) as caught:
        find_policy(name)
    why = str(caught.value)
    assert all(known in why for known in shipped())
    assert "A policy file of your own ends in '.toml'." in why
    assert (f"did you mean '{guess}'?" in why) == (guess is not None)


# ------------------------------------------------------------------ fitted to models


def listing(*estimators: str) -> NamedPolicy:
    first = 'first = ["question"]'
    return read_policy(changed(look=first).replace('["vote"]', str(list(estimators)).replace("'", '"')), "mine")


@pytest.mark.parametrize(
    ("estimator", "reasoner", "answerer", "can"),
    [
        ("choice-logprob", SCORER, SILENT, True),
        ("choice-logprob", TEXT, VQA, False),
        ("vote", TEXT, SILENT, True),
        ("stated", TEXT, SILENT, True),
        ("agreement", TEXT, VQA, True),
        ("agreement", TEXT, Capabilities("ranker", chats=False, looks=True, scores=True), True),
        ("agreement", SCORER, SILENT, False),
        ("answer-probability", TEXT, VQA, True),
        ("answer-probability", SCORER, SILENT, False),
    ],
)
def test_an_estimator_is_used_only_where_the_models_can_give_it(estimator, reasoner, answerer, can):
    """What a model cannot measure is refused before the first call, naming what was wanted of whom."""
    if can:
        assert resolve(listing(estimator), reasoner, [answerer]).confidence == estimator
        return
    with pytest.raises(BadPolicy) as caught:
        resolve(listing(estimator), reasoner, [answerer])
    why = f"takes its confidence from {estimator}; {reasoner.model} with {answerer.model} can give none of these"
    assert why in str(caught.value)
    assert "Add 'vote' or 'stated'." in str(caught.value)


def test_the_first_usable_estimator_wins():
    """Estimators stand in order of preference."""
    named = listing("choice-logprob", "agreement", "stated")
    assert resolve(named, SCORER, [VQA]).confidence == "choice-logprob"
    assert resolve(named, TEXT, [VQA]).confidence == "agreement"
    assert resolve(named, TEXT, [SILENT]).confidence == "stated"


def test_blind_needs_no_answerer():
    """The leak check shows no pixels in any role: an answerer has no part in it, even where one is open."""
    assert resolve(policy("blind"), SCORER, []).answerers == ()
    plan = resolve(policy("blind"), SCORER, [VQA])
    assert (plan.answerers, plan.reasoner) == ((), "scorer")


def test_direct_needs_no_reasoner():
    """The baseline takes its verdict from the answerer; a reasoner has no part in it, even where one is open."""
    assert resolve(policy("direct"), None, [VQA]).reasoner == ""
    plan = resolve(policy("direct"), SCORER, [VQA])
    assert (plan.reasoner, plan.context_tokens, plan.answerers) == ("", None, ("vqa",))
    with pytest.raises(BadPolicy, match="Name an answerer that gives log-probabilities"):
        resolve(policy("direct"), SCORER, [SILENT])


@pytest.mark.parametrize(
    ("named", "reasoner", "answerers", "why"),
    [
        (policy("evidence"), None, [VQA], "needs a reasoner that takes prompts; no reasoner does not"),
        (policy("evidence"), VQA, [VQA], "needs a reasoner that takes prompts; vqa does not"),
        (policy("evidence"), SCORER, [], "looks at the image and needs an answerer"),
        (policy("evidence"), SCORER, [TEXT], "looks at the image; text takes no images"),
        (policy("evidence"), SCORER, [VQA, TEXT], "looks at the image; text takes no images"),
        (policy("direct"), None, [TEXT], "looks at the image; text takes no images"),
    ],
)
def test_models_that_cannot_play_their_role_are_refused(named, reasoner, answerers, why):
    """A model that cannot do what its role needs is named before the first call."""
    with pytest.raises(BadPolicy, match=why):
        resolve(named, reasoner, answerers)


def test_a_reasoner_that_is_to_see_must_take_images():
    """`sees_image` with a text-only reasoner is refused."""
    named = read_policy(changed(reasoner="sees_image = true"), "mine")
    with pytest.raises(BadPolicy, match="shows the image to the reasoner; text takes no images"):
        resolve(named, TEXT, [VQA])
    assert resolve(named, VLM, [VQA]).reasoner == "vlm"


def test_a_vlm_can_be_the_answerer():
    """A chat model that takes images looks as well as one made for looking."""
    assert resolve(policy("idealgpt"), SCORER, [VLM]).answerers == ("vlm",)


def test_the_opening_is_the_system_text_and_the_examples():
    """What all problems of a policy share is made once, before any problem."""
    text = (
        SMALL.replace("JSON.", "JSON: $questions questions.") + "[[examples]]\nuser = '''\nHi\n'''\nassistant = ' $5 '"
    )
    plan = resolve(read_policy(text, "mine"), TEXT, [VQA])
    said = [(m.role, m.text) for m in plan.opening.messages]
    assert said == [("system", "Reply with JSON: 3 questions."), ("user", "Hi"), ("assistant", "$5")]
    assert resolve(policy("idealgpt"), SCORER, [VQA]).opening.length == 0


def test_the_reasoners_context_is_kept():
    """The plan knows how much the reasoner can hold."""
    assert (
        resolve(policy("evidence"), Capabilities("r", scores=True, context_tokens=2_048), [VQA]).context_tokens == 2_048
    )


def test_another_policy_keeps_the_models_and_the_estimator_where_it_can():
    """A what-if changes the policy, not the models; an estimator that is not listed gives way to the first."""
    plan = resolve(listing("choice-logprob", "vote"), TEXT, [VQA])
    assert plan.confidence == "vote"
    kept = plan.with_policy(listing("stated", "vote"))
    assert (kept.confidence, kept.reasoner, kept.answerers) == ("vote", "text", ("vqa",))
    assert plan.with_policy(listing("stated")).confidence == "stated"
    assert kept.opening.messages[0].role == "system"
