"""How results look: a transcript anyone can read, safe in a terminal and a notebook, and plain JSON."""

import html
import io
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from written import image, problem

from iterreason.calls import EvidenceFound, EvidenceWithdrawn, QuestionsAsked, ReplyRejected, RoundBegan, VerdictReached
from iterreason.display import clean, event_lines, events_of, rich_lines, transcript, usage_line
from iterreason.memory import EMPTY, Memory
from iterreason.records import (
    Candidate,
    Evidence,
    Problem,
    Question,
    Region,
    Result,
    Retraction,
    Round,
    Usage,
    Verdict,
)

EVIL = "\x1b[31mred\x1b[0m\x07\r\nsecond\u202eline\x9b2J <script>alert('1')</script> [bold]&amp;"
YES_NO = (Candidate("yes", 0.9), Candidate("no", 0.1))
CAPTION = Evidence(1, "caption", "", "a dog", 0.712, "vqa", 0)
COUNT = Evidence(2, "answer", "how many dogs?", "2", None, "vqa", 1)
FIRST = Verdict("no", "It seems so.", (1,), "a count", (Question("how many?"), Question("which?")), confidence=0.4)
SECOND = Verdict("yes", "There are two.", (1, 2), belief=YES_NO, outside=0.02, confidence=0.9)
RESULT = Result(
    problem=problem("Two dogs?"),
    answer="yes",
    confidence=0.9,
    confidence_source="vote",
    stop_reason="confident: 0.90 ≥ 0.90",
    rounds=(Round(1, FIRST, (2,)), Round(2, SECOND, (), ("confident: 0.90 ≥ 0.90",))),
    memory=Memory((CAPTION, COUNT)),
    usage=Usage(2, 2, 1, 2, 1_234, 1_000, 56, 3.0, 2.04),
    policy="evidence",
    policy_hash="0123456789abcdef",
    models=("llm", "vqa"),
)
ABSTAINED = replace(RESULT, answer=None, confidence=0.4, stop_reason="budget: rounds", next_question="how many?")
FAILED = replace(RESULT, answer=None, confidence=None, stop_reason="error", error="the reasoner failed: HTTP 500")
BARE = replace(FAILED, rounds=(), memory=EMPTY, usage=Usage())


def shown(event, images=1) -> list[str]:
    return [line.text for line in event_lines(event, images)]


def in_rich(result) -> str:
    console = Console(file=io.StringIO(), width=1_000, color_system=None)
    console.print(result)
    return console.file.getvalue()


# ------------------------------------------------------------------ the transcript


def test_the_transcript_tells_the_episode_in_order():
    """Question, first looks, each round with its evidence and verdict, the answer, why it stopped, what it cost."""
    assert str(RESULT).splitlines() == [
        "Two dogs?  [yes, no]  (scene0.png 96×96)",
        "  [1] caption: a dog  0.71",
        "round 1",
        "  [2] how many dogs? → 2",
        "  ⇒ no  confidence 0.40  It seems so. [1]",
        "    wants to know: how many? / which?",
        "round 2",
        "  ⇒ yes  confidence 0.90  There are two. [1][2]",
        "    belief: yes 0.90, no 0.10; outside these 0.02",
        "belief, by round      1      2",
        "  yes                 –   0.90",
        "  no                  –   0.10",
        "  outside these       –   0.02",
        "answer: yes  confidence 0.90 (vote)",
        "stopped: confident: 0.90 ≥ 0.90",
        "cost: 2 generations, 2 read-outs, 1 re-ask, 2 looks; 1,234 prompt tokens (1,000 cached), 56 written; 2.0 s",
        "policy evidence (01234567); llm, vqa",
    ]


def test_an_abstention_reads_as_one():
    """Who abstains says so, with the best guess and what would help."""
    lines = str(ABSTAINED).splitlines()
    at = lines.index("no answer: not sure enough  confidence 0.40 (vote); best guess: yes")
    assert lines[at + 1 : at + 3] == ["it would help to know: how many?", "stopped: budget: rounds"]
    assert ABSTAINED.abstained
    unsure = replace(ABSTAINED, confidence=None, rounds=(Round(1, Verdict(None)),), next_question=None)
    assert "no answer: not sure enough\nstopped:" in str(unsure)
    assert "  ⇒ not sure" in str(unsure)


def test_an_error_reads_as_one():
    """A failure shows what was learned before it and the reason; it is no abstention."""
    lines = str(FAILED).splitlines()
    assert "error: the reasoner failed: HTTP 500" in lines
    assert "  [2] how many dogs? → 2" in lines
    assert not any(line.startswith(("answer:", "no answer:")) for line in lines)
    assert not FAILED.abstained
    assert str(BARE).splitlines()[1:3] == ["error: the reasoner failed: HTTP 500", "stopped: error"]
    assert "cost: no calls; 0 prompt tokens (0 cached), 0 written; 0.0 s" in str(BARE)


def test_a_reasoner_that_saw_the_image_is_reported():
    """Results state it where the reasoner got the pixels."""
    assert "the reasoner saw the image" not in str(RESULT)
    assert str(replace(RESULT, reasoner_sees_image=True)).endswith("llm, vqa; the reasoner saw the image")


def test_an_image_without_a_name_goes_by_its_hash():
    """Every image of the problem is in the title, by name or the start of its hash."""
    about = Problem((image("a"), replace(image("b"), name="")), "What?")
    title = str(replace(RESULT, problem=about)).splitlines()[0]
    assert title == f"What?  (a.png 96×96, {image('b').sha256[:8]} 96×96)"


def test_evidence_of_several_images_says_which():
    """With several images the lines name them; a region is given in fractions."""
    entry = replace(COUNT, image=1, region=Region(0, 0.5, 1, 1), probability=0.5)
    assert shown(EvidenceFound(entry), 2) == ["  [2] image 2: region 0.00,0.50 to 1.00,1.00: how many dogs? → 2  0.50"]


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (RoundBegan(3), ["round 3"]),
        (QuestionsAsked(1, (Question("how many?"),)), []),
        (
            EvidenceFound(replace(COUNT, kind="told", answer="it is mine", model="person")),
            ["  [2] person says: it is mine"],
        ),
        (EvidenceFound(replace(COUNT, kind="error", answer="timed out")), ["  [2] how many dogs? → timed out"]),
        (EvidenceWithdrawn(Retraction(2, "person")), ["  [2] withdrawn by person"]),
        (ReplyRejected(1, "no JSON"), ["  the reply could not be used (no JSON); asking again"]),
        (VerdictReached(1, Verdict("a", belief=YES_NO[:1])), ["  ⇒ a"]),
        (
            VerdictReached(1, Verdict("a", belief=(*YES_NO, Candidate("b")), outside=0.001)),
            ["  ⇒ a", "    belief: yes 0.90, no 0.10, b 0.00"],
        ),
    ],
)
def test_each_event_has_its_line(event, lines):
    """What is shown live is what the transcript shows."""
    assert shown(event) == lines


def test_troubles_look_like_troubles():
    """A failed look, a rejected reply and an error stand out."""
    failed = EvidenceFound(replace(COUNT, kind="error"))
    assert [line.look for line in event_lines(failed)] == ["trouble"]
    assert [line.look for line in event_lines(ReplyRejected(1, "x"))] == ["trouble"]


# ------------------------------------------------------------------ the events that a result tells


def test_a_withdrawal_is_told_where_it_happened():
    """What a person withdrew is in the transcript, after what was known by then."""
    told = Evidence(3, "told", "", "it rains", None, "person", 2)
    memory = Memory((CAPTION, COUNT, Retraction(1, "person"), told, Retraction(3, "person")))
    kinds = [type(e).__name__ for e in events_of(replace(RESULT, memory=memory))]
    assert kinds == [
        *("EvidenceFound", "RoundBegan", "EvidenceFound", "EvidenceWithdrawn", "VerdictReached"),
        *("RoundBegan", "EvidenceFound", "EvidenceWithdrawn", "VerdictReached"),
    ]


def test_a_round_that_was_cut_off_is_told():
    """Evidence of a round that came to no verdict stands under its round."""
    cut = replace(
        RESULT, rounds=(RESULT.rounds[0],), memory=Memory((CAPTION, COUNT, replace(COUNT, number=3, round=2)))
    )
    assert list(events_of(cut))[-2:] == [RoundBegan(2), EvidenceFound(cut.memory[3])]
    early = replace(cut, rounds=())
    assert [type(e) for e in events_of(early)] == [EvidenceFound, RoundBegan, EvidenceFound, RoundBegan, EvidenceFound]


def test_nothing_learned_is_told_twice_or_left_out():
    """Each entry of the memory is one event, in its order."""
    memory = Memory((CAPTION, Retraction(1, "person"), COUNT, Retraction(2, "person")))
    for result in (replace(RESULT, memory=memory), replace(BARE, memory=memory), replace(FAILED, memory=memory)):
        told = [
            e.evidence if isinstance(e, EvidenceFound) else e.retraction
            for e in events_of(result)
            if isinstance(e, EvidenceFound | EvidenceWithdrawn)
        ]
        assert tuple(told) == memory.entries


# ------------------------------------------------------------------ safety


def evil_result() -> Result:
    """A result with hostile text in every place that text comes from outside."""
    entry = Evidence(1, "answer", EVIL, EVIL, 0.5, EVIL, 0)
    told = Evidence(2, "told", EVIL, EVIL, 0.5, EVIL, 0)
    asked = (Question(EVIL),)
    verdict = Verdict(EVIL, EVIL, (1,), EVIL, asked, belief=(Candidate(EVIL, 0.5), Candidate("b", 0.5)), confidence=0.5)
    about = Problem((replace(image(), name=EVIL),), EVIL, (EVIL, "b"), context=EVIL)
    return replace(
        RESULT,
        problem=about,
        answer=EVIL,
        rounds=(Round(1, verdict),),
        memory=Memory((entry, told, Retraction(1, EVIL))),
        models=(EVIL,),
        policy=EVIL,
        stop_reason=EVIL,
    )


@pytest.mark.parametrize(
    "change",
    [{}, {"answer": None, "next_question": EVIL}, {"answer": None, "error": EVIL}],
    ids=["answer", "none", "error"],
)
def test_no_text_from_outside_commands_the_terminal(change):
    """Escape sequences, bells, carriage returns and direction marks in what models and people wrote are gone."""
    result = replace(evil_result(), **change)
    for text in (str(result), in_rich(result)):
        assert all(line.isprintable() for line in text.splitlines())
        assert len(text.splitlines()) == len(str(result).splitlines())
        assert "[31mred" in text
    rejected = "".join(shown(ReplyRejected(1, EVIL)))
    assert rejected.isprintable()


def test_rich_reads_no_markup_in_what_others_wrote():
    """Square brackets in an answer are characters, not styles."""
    assert "[bold]" in in_rich(evil_result())
    assert in_rich(RESULT).splitlines() == str(RESULT).splitlines()


def test_the_notebook_form_is_escaped():
    """No tag or entity of a model's text becomes part of the page."""
    page = evil_result()._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert set(re.findall(r"</?(\w+)", page)) == {"div"}
    texts = re.findall(r"<div style=\"[^\"]*\">([^<]*)</div>", page)
    assert [html.unescape(text) for text in texts] == str(evil_result()).splitlines()


@given(st.text())
def test_a_cleaned_text_is_one_printable_line(text):
    """Whatever the text, nothing is left of it that a terminal would obey."""
    assert clean(text).isprintable()
    assert clean(clean(text)).split() == clean(text).split()


def test_looks_have_their_styles():
    """Lines keep their text and get their look's style."""
    styled = rich_lines(event_lines(VerdictReached(1, SECOND)))
    assert styled.plain.splitlines()[0].startswith("  ⇒ yes")
    assert rich_lines([]).plain == ""


# ------------------------------------------------------------------ JSON


@pytest.mark.parametrize("result", [RESULT, ABSTAINED, FAILED, BARE, evil_result()])
def test_the_json_of_a_result_is_plain_json(result):
    """It comes through a JSON round trip unchanged, with what the command line promises in it and no pixels."""
    value = result.to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert {"answer", "confidence", "stop_reason", "rounds", "memory", "usage"} <= value.keys()
    assert (value["answer"], value["confidence"], value["error"]) == (result.answer, result.confidence, result.error)
    assert "data" not in value["images"][0]
    assert value["images"][0]["sha256"] == result.problem.images[0].sha256


def test_the_json_holds_rounds_memory_and_cost():
    """Verdicts, evidence and usage are there with all their fields."""
    withdrawn = replace(RESULT, memory=RESULT.memory.plus(Retraction(1, "person")))
    value = withdrawn.to_json()
    assert value["rounds"][1]["verdict"]["belief"] == [
        {"answer": "yes", "probability": 0.9},
        {"answer": "no", "probability": 0.1},
    ]
    assert value["rounds"][1]["stops"] == ["confident: 0.90 ≥ 0.90"]
    assert value["memory"][1]["question"] == "how many dogs?"
    assert value["memory"][2] == {"number": 1, "by": "person"}
    assert value["usage"]["prompt_tokens"] == 1_234
    assert value["policy"] == {"name": "evidence", "hash": "0123456789abcdef"}
    assert (value["models"], value["reasoner_sees_image"]) == (["llm", "vqa"], False)
    assert ABSTAINED.to_json()["best_guess"] == "yes"
    assert ABSTAINED.to_json()["next_question"] == "how many?"


def test_the_cost_counts_what_there_was():
    """Only kinds of calls that were made are named, one of a kind in the singular."""
    assert usage_line(Usage(generations=1, looks=2)).startswith("cost: 1 generation, 2 looks; ")
    assert transcript(BARE) == str(BARE)


def test_contradictions_are_shown():
    """Evidence that answers one question in two ways is pointed out, in the transcript and in the JSON."""
    from written import Script, plan, problem, scored, verdict

    from iterreason.loop import episode

    answers = iter(["caption", "yes", "red", "blue"])
    strict = plan(questions="questions = 2")
    script = Script([verdict("yes", "what colour is it?"), verdict("yes")], scored(0.6, 0.4), lambda q: next(answers))
    from iterreason.calls import Asked
    from iterreason.records import Question

    script.notes = {2: (Asked(Question("What colour is it?")),)}
    result = script.play(episode(problem(), strict))
    assert result.to_json()["contradictions"] == [[3, 4]]
    assert "contradiction: [3] and [4] answer the same question differently" in str(result)
