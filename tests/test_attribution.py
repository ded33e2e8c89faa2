"""What each piece of evidence weighed: the last verdict's read-out again, each left out by an appended line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import written
from written import Script, problem, said, scored, verdict

from iterreason.loop import episode
from iterreason.memory import EMPTY
from iterreason.plan import Plan
from iterreason.records import Result
from iterreason.trace import EpisodeRecorder, parse_episode

REPLIES = [verdict("yes", "how many?"), verdict("yes", cites=[3])]


def plan(name: str = "evidence", **changes: str) -> Plan:
    return replace(written.plan(name, **changes), attribution=True)


def play(fitted: Plan, script: Script) -> Result:
    return script.play(episode(written.problem(), fitted))


def test_each_evidence_weighs_what_the_answer_loses_without_it():
    """A read-out for each piece, on the same prefix with a line that withdraws it; usage is the episode's alone."""
    episode_readouts = [scored(0.6, 0.4), scored(0.9, 0.1)]
    script = Script(list(REPLIES), [*episode_readouts, scored(0.9, 0.1), scored(0.8, 0.2), scored(0.3, 0.7)])
    result = play(plan(), script)
    assert result.attribution is not None
    assert [(w.number, round(w.weight or 0, 3), w.moved) for w in result.attribution.weights] == [
        (1, 0.0, False),
        (2, 0.1, False),
        (3, 0.6, True),
    ]
    assert result.usage.readouts == 2
    assert (result.attribution.usage.readouts, result.attribution.by) == (3, "read-out")
    last = [c for c in script.calls if c.purpose == "generation"][-1].prompt
    branches = script.calls[-3:]
    assert all(c.prompt.starts_with(last) for c in branches)
    assert [c.prompt.messages[-1].text.splitlines()[0] for c in branches] == [
        f"[{n}] is withdrawn by the user." for n in (1, 2, 3)
    ]
    assert "[3] weighs +0.60; without it the answer moves to no" in str(result)
    assert result.to_json()["attribution"]["weights"][2]["moved"] is True


def test_an_estimator_without_scores_tells_only_whether_the_verdict_moves():
    """With `cited` the verdict is drawn again without each piece; no weight is made up, and the reason is told."""
    again = [verdict("yes"), verdict("no"), "no JSON at all"]
    script = Script([*REPLIES, *again])
    result = play(plan(confidence='confidence = ["cited"]'), script)
    assert result.attribution is not None
    assert [(w.weight, w.answer, w.moved) for w in result.attribution.weights] == [
        (None, "yes", False),
        (None, "no", True),
        (None, None, None),
    ]
    assert result.attribution.by == "conclusion"
    assert "'cited' gives no score" in result.attribution.reason
    assert result.usage.generations == 2


def test_where_nothing_can_be_weighed_the_reason_is_told():
    """An answerer's own verdict rests on no evidence to leave out."""
    result = play(plan("direct"), Script([]))
    assert result.attribution is not None
    assert result.attribution.weights == ()
    assert "answerer's own" in result.attribution.reason
    assert Script(list(REPLIES)).play(episode(written.problem(), written.plan())).attribution is None


def test_an_attribution_replays_exactly():
    """Its calls are in the trace with the rest; a trace without it says nothing of it."""
    fitted = plan()
    script = Script(list(REPLIES))
    recorder = EpisodeRecorder(written.problem(), fitted, EMPTY, None)
    running = episode(written.problem(), fitted)
    result = script.record(running, recorder)
    line = recorder.line(result)
    assert parse_episode(line, Path("x")).replay() == result
    assert line["attribution"] is True
    assert "attribution" not in EpisodeRecorder(written.problem(), written.plan(), EMPTY, None).line(result)


def test_without_the_direct_answer_an_outweighed_conclusion_stands():
    """Under `combined` both opinions are weighed anew without the piece; what outweighed the reasoner moves it."""
    looks = {problem().question: said("yes", 0.95), "how many?": said("3", 0.6)}
    script = Script(
        [verdict("yes", "how many?"), verdict("no", cites=[3]), *[verdict("no", cites=[3])] * 3],
        look=lambda question: looks.get(question, said("a scene", 0.5)),
    )
    result = play(plan(confidence='confidence = ["combined"]'), script)
    assert (result.answer, result.rounds[-1].verdict.concluded) == ("yes", "no")
    moved = {weight.number: (weight.answer, weight.moved) for weight in result.attribution.weights}
    assert moved == {1: ("yes", False), 2: ("no", True), 3: ("yes", False)}
