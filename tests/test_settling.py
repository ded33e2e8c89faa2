"""Contradictions: one targeted question, at most so many, and what came of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import written
from written import ABLE, Script, said, verdict

from iterreason.calls import DEADLINE, STOPPED, Asked, Call, ContradictionSettled, Reply, Stopped
from iterreason.loop import episode
from iterreason.memory import EMPTY, Memory
from iterreason.plan import Plan, resolve
from iterreason.policy import read_policy
from iterreason.records import STOPPED_BY_PERSON, Evidence, Question, Region, Resolution, Result
from iterreason.trace import EpisodeRecorder, parse_episode

FIRST, SECOND, THIRD = (replace(ABLE, model=name) for name in ("one", "two", "three"))
ASK = "How many dogs are there?"
KNOWN = Memory((Evidence(1, "answer", "how many dogs are there?", "3", 0.9, "one", 0),))


def plan(most: int = 1, ways: str = "", answerers: Any = (FIRST,)) -> Plan:
    text = written.policy(first='first = ["caption"]').text
    head, mark, tail = text.partition("[rounds]")
    table = f"[contradictions]\nmost = {most}\n" + (f"ways = {ways}\n" if ways else "")
    return resolve(read_policy(f"{head}{table}{mark}{tail}", "evidence"), ABLE, answerers)


class Slots(Script):
    """Looks whose answer depends on the answerer, or the region."""

    def __init__(self, generations: list[Any], answers: dict[str, str]) -> None:
        super().__init__(generations)
        self.answers = answers

    def reply(self, call: Call) -> Reply:
        if call.look is None:
            return super().reply(call)
        if call.look.view.region and "region" in self.answers:
            return said(self.answers["region"])
        return said(self.answers[call.slot] if call.look.question else "a picture")


def contradicted(
    generations: list[Any], fitted: Plan, answers: dict[str, str], start: Memory = KNOWN
) -> tuple[Slots, Result]:
    """An episode in which a person's question brings an answer against what is known."""
    script = Slots(generations, answers)
    script.notes = {1: (Asked(Question(ASK)),)}
    return script, script.play(episode(written.problem(), fitted, start=start))


def test_what_another_answerer_says_settles_a_contradiction():
    """The second is asked since the first contradicts the memory; the side that it agrees with prevails."""
    answers = {"answerer:0": "4", "answerer:1": "3"}
    script, result = contradicted([verdict(), verdict()], plan(answerers=(FIRST, SECOND)), answers)
    (resolution,) = result.memory.resolutions
    said_by = result.memory[int(resolution.by.strip("[]"))]
    assert (said_by.model, said_by.answer) == ("two", "3")
    assert result.memory[resolution.prevailed or 0].answer == "3"
    assert [c.slot for c in script.calls if c.look and c.look.question] == ["answerer:0", "answerer:1"]


@pytest.mark.parametrize(("cut", "why"), [(DEADLINE, "budget: seconds"), (STOPPED, STOPPED_BY_PERSON)])
def test_a_question_that_was_cut_off_settles_nothing(cut: str, why: str):
    """What a person or the clock cut off is no evidence; the contradiction stays open."""

    class Cut(Slots):
        def reply(self, call: Call) -> Reply:
            return Reply(error=cut) if call.slot == "answerer:1" else super().reply(call)

    both = KNOWN.plus(Evidence(2, "answer", ASK, "4", 0.9, "one", 0))
    script = Cut([], {"answerer:0": "3"})
    script.notes = {2: (Stopped(),)}
    result = script.play(episode(written.problem(), plan(answerers=(FIRST, SECOND)), start=both))
    assert [c.slot for c in script.calls][-1] == "answerer:1"
    assert result.stop_reason == why
    assert [e.kind for e in result.memory.evidence if e.number > 2] == ["caption"]
    assert len(result.memory.open_contradictions) == 1


def test_an_answerer_that_was_not_asked_yet_is():
    """What was contradictory before the episode goes to the first that has not answered it."""
    both = KNOWN.plus(Evidence(2, "answer", ASK, "4", 0.9, "one", 0))
    script = Slots([verdict(), verdict()], {"answerer:0": "3", "answerer:1": "4"})
    result = script.play(episode(written.problem(), plan(answerers=(FIRST, SECOND)), start=both))
    asked = [(c.slot, c.look.question) for c in script.calls if c.look and c.look.question]
    assert asked == [("answerer:1", "how many dogs are there?")]
    assert [(r.one, r.other, r.prevailed) for r in result.memory.resolutions] == [(1, 2, 2)]


def test_the_question_is_put_to_the_region_where_a_tool_found_its_subject():
    """The same question on the box of what it names; the answer there decides."""
    box = Region(0.1, 0.1, 0.4, 0.5)
    start = KNOWN.plus(Evidence(2, "found", "detect:", "dogs", 0.8, "tool", 0, region=box))
    script, result = contradicted(
        [verdict(), verdict()], plan(ways='["zoom"]'), {"answerer:0": "4", "region": "3"}, start
    )
    zoomed = [c for c in script.calls if c.look and c.look.view.region == box]
    assert [c.look and c.look.question for c in zoomed] == ["how many dogs are there?"]
    assert result.memory.resolutions[0].prevailed == 1


def test_without_a_region_or_another_answerer_the_reasoner_is_shown_it_and_asks():
    """The contradiction stands among its evidence as a line; its next verdict takes a side by citing it."""
    generations = [verdict("yes", "are there many dogs?"), verdict("yes", cites=[1])]
    script, result = contradicted(generations, plan(), {"answerer:0": "4"})
    shown = [c for c in script.calls if c.purpose == "generation"]
    other = next(e.number for e in result.memory.evidence if e.question == ASK)
    line = f"[1] and [{other}] contradict each other; ask one question that settles it."
    assert any(line in m.text for c in shown for m in c.prompt.messages)
    assert result.memory.resolutions == (Resolution(1, other, 1, result.memory.resolutions[0].by),)
    assert result.memory.resolutions[0].by.startswith("the verdict of round")
    assert f"[1] against [{other}]: the verdict of round" in str(result)
    assert result.to_json()["resolutions"][0]["prevailed"] == 1


def test_citing_both_or_neither_leaves_it_open():
    """No side is chosen for the reasoner."""
    _, result = contradicted(
        [verdict("yes", "are there many?"), verdict("yes"), verdict("yes")], plan(), {"answerer:0": "4"}
    )
    assert [r.prevailed for r in result.memory.resolutions] == [None]


def test_no_more_questions_than_the_policy_allows():
    """Past `most` a contradiction stays as it is; with 0, as by default, nothing is put or noted."""
    for most, count in ((0, 0), (1, 1)):
        _, result = contradicted([verdict(), verdict()], plan(most), {"answerer:0": "4"})
        assert len(result.memory.resolutions) == count
        assert "contradiction: [1]" in str(result)
    default = Script([verdict(), verdict()])
    assert default.play(episode(written.problem(), written.plan())).memory.resolutions == ()


def test_prompts_only_grow_over_a_contradiction():
    """The lines about it are appended; what was rendered before stays word for word."""
    generations = [verdict("yes", "are there many dogs?"), verdict("yes", "is it so?", cites=[1]), verdict("yes")]
    script, _ = contradicted(generations, plan(), {"answerer:0": "4"})
    trunks = [c.prompt for c in script.calls if c.purpose == "generation"]
    assert len(trunks) > 1
    assert all(later.starts_with(earlier) for earlier, later in pairwise(trunks))


def test_the_resolution_is_told_as_an_event_and_replays():
    """Whoever watches is told; the trace's memory holds it, and a replay gives the same result."""
    fitted = plan()
    running = episode(written.problem(), fitted, start=KNOWN)
    recorder = EpisodeRecorder(written.problem(), fitted, KNOWN, None)
    script = Slots([verdict("yes", "many?"), verdict("yes", cites=[1])], {"answerer:0": "4"})
    script.notes = {1: (Asked(Question(ASK)),)}
    result = script.record(running, recorder)
    told = [e.resolution for e in script.events if isinstance(e, ContradictionSettled)]
    assert told == list(result.memory.resolutions)
    assert len(result.memory.resolutions) == 1
    replayed = parse_episode(recorder.line(result), Path("x")).replay()
    assert replayed == result
    follow_up = EpisodeRecorder(written.problem(), fitted, result.memory, None)
    assert parse_episode({**follow_up.line(result), "turns": []}, Path("x")).start == result.memory
    assert EMPTY.resolutions == ()
