"""Which answers are one candidate, what the belief was after each round, and what the reasoner's check costs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from written import ABLE, Script, said, scored, verdict
from written import policy as shipped_policy
from written import problem as written_problem

from iterreason.belief import belief_by_round
from iterreason.loop import episode
from iterreason.memory import EMPTY
from iterreason.plan import Plan, resolve
from iterreason.policy import read_policy
from iterreason.records import Problem, Result
from iterreason.trace import EpisodeRecorder, parse_episode

OPEN = written_problem("What vehicle is it?", ())
ASKING = verdict("car", "does it have wheels?")


def plan(extra: str = '[belief]\nsame = "reasoner"\n', confidence: str = "choice-logprob") -> Plan:
    text = shipped_policy(confidence=f'confidence = ["{confidence}"]').text
    head, mark, tail = text.partition("[rounds]")
    return resolve(read_policy(f"{head}{extra}{mark}{tail}", "evidence"), ABLE, [ABLE])


def play(script: Script, fitted: Plan, about: Problem = OPEN) -> Result:
    return script.play(episode(about, fitted))


def test_answers_that_the_reasoner_holds_to_be_one_are_one_candidate():
    """Another word for an earlier answer adds no candidate; its probability is that candidate's, and both are told."""
    readouts = [scored(0.7, 0.2), scored(0.9, 0.1), scored(0.8, 0.1)]
    script = Script([ASKING, verdict("automobile")], readouts, look=lambda q: "car")
    result = play(script, plan())
    last = result.rounds[-1].verdict
    assert (last.answer, last.same_as, last.candidate) == ("automobile", "car", "car")
    assert [c.answer for c in last.belief] == ["car", "none of these"]
    assert last.confidence == last.belief[0].probability
    assert "means the same as: car" in str(result)
    assert result.usage.readouts == 3


def test_answers_that_it_holds_apart_stay_two():
    """What the reasoner does not affirm is another candidate."""
    readouts = [scored(0.7, 0.2), scored(0.1, 0.9), scored(0.5, 0.3, 0.1)]
    result = play(Script([ASKING, verdict("boat")], readouts, look=lambda q: "car"), plan())
    assert result.rounds[-1].verdict.same_as is None
    assert {c.answer for c in result.rounds[-1].verdict.belief} == {"car", "boat", "none of these"}


def test_what_folding_makes_equal_is_not_asked():
    """Normalisation comes first: case and articles cost no read-out."""
    script = Script([ASKING, verdict("The Car")], [scored(0.7, 0.2), scored(0.7, 0.2)], look=lambda q: "car")
    assert play(script, plan()).usage.readouts == 2


def test_choices_are_never_compared():
    """With choices given each is a candidate of its own, and nothing is asked."""
    script = Script([verdict("yes", "how many?"), verdict("no")], scored(0.8, 0.1))
    assert play(script, plan(), written_problem()).usage.readouts == 2


def test_the_check_is_a_branch_and_off_by_default():
    """It starts with the conversation, never enters it, and a policy that does not name it makes no such call."""
    script = Script([ASKING, verdict("automobile")], scored(0.9, 0.1), look=lambda q: "car")
    play(script, plan())
    checks = [c for c in script.calls if c.purpose == "readout" and "mean the same" in c.prompt.messages[-1].text]
    generations = [c for c in script.calls if c.purpose == "generation"]
    assert len(checks) == 1
    assert checks[0].prompt.starts_with(generations[-1].prompt)
    assert checks[0].prompt.digest not in generations[-1].prompt.digests
    off = Script([ASKING, verdict("automobile")], [scored(0.7, 0.2), scored(0.5, 0.3, 0.1)], look=lambda q: "car")
    assert play(off, plan("")).usage.readouts == 2


def test_a_reasoner_without_scores_answers_in_words():
    """Where nothing scores letters the check reads a letter or a word, and anything else is no."""
    for text, same in (("A", "car"), ("yes", "car"), ("B", None), ("perhaps", None)):
        script = Script([ASKING, verdict("automobile", cites=[2])], said(text), look=lambda q: "car")
        assert play(script, plan(confidence="cited")).rounds[-1].verdict.same_as == same


def test_a_candidate_by_another_name_is_stable():
    """The stop rule `stable` counts the candidate, whatever it is called."""
    readouts = [scored(0.95, 0.01), scored(0.9, 0.1), scored(0.95, 0.01)]
    script = Script([ASKING, verdict("automobile", "is it red?")], readouts, look=lambda q: "car")
    assert "stable" in play(script, plan()).stop_reason


def test_an_episode_with_checks_replays_exactly():
    """The same trace gives the same result, with the check's replies out of the trace."""
    fitted = plan()
    script = Script([ASKING, verdict("automobile")], scored(0.9, 0.1), look=lambda q: "car")
    recorder = EpisodeRecorder(OPEN, fitted, EMPTY, None)
    running = episode(OPEN, fitted)
    result = script.record(running, recorder)
    assert parse_episode(recorder.line(result), Path("x")).replay() == result


# ------------------------------------------------------------------ two opinions


def combining(direct: float) -> Result:
    """An episode in which the answerer says yes, this surely, and the reasoner concludes from an answer of 0.6."""
    asked = written_problem()
    looks = {asked.question: ("yes", direct), "how many?": ("3", 0.6)}
    script = Script(
        [verdict("yes", "how many?"), verdict("no", cites=[2, 3], rationale="There are 3.")],
        look=lambda question: said(*looks.get(question, ("a scene", 0.5))),
    )
    return play(script, plan("", "combined"), asked)


def test_the_more_probable_answer_is_the_verdicts():
    """A sure direct answer outweighs the reasoner's; the verdict says so, and cites what it now rests on."""
    result = combining(0.95)
    last = result.rounds[-1].verdict
    assert (result.answer, last.concluded, last.cites) == ("yes", "no", (2,))
    assert last.rationale == "asked directly, the answerer says 'yes', which outweighs 'no': There are 3."
    assert result.confidence == last.belief[0].probability == pytest.approx(0.95 * 0.46 / (0.95 * 0.46 + 0.05))


def test_where_both_agree_the_verdict_cites_both():
    """What the confidence comes from can be followed: the direct answer stands among the cites."""
    script = Script(
        [verdict("yes", "how many?"), verdict("yes", cites=[3])],
        look=lambda question: said("3" if question == "how many?" else "yes", 0.6),
    )
    last = play(script, plan("", "combined"), written_problem()).rounds[-1].verdict
    assert (last.answer, last.cites, last.concluded) == ("yes", (2, 3), None)


def test_an_unsure_direct_answer_does_not_outweigh_the_reasoners():
    """The verdict is the reasoner's; that it cites the direct answer too does not count it twice."""
    result = combining(0.4)
    last = result.rounds[-1].verdict
    assert (last.answer, last.concluded, last.cites) == ("no", None, (2, 3))
    sure = 0.9 * 0.6
    assert result.confidence == pytest.approx(0.6 * sure / (0.6 * sure + 0.4 * (1 - sure) + 0.6 * (1 - sure)))


# ------------------------------------------------------------------ over rounds


def test_the_belief_is_told_for_each_round_in_every_form():
    """Text, rich, HTML and JSON have the same distribution after each round, and what lies outside."""
    script = Script([verdict("yes", "how many?"), verdict("no")], [scored(0.6, 0.2), scored(0.1, 0.6)])
    result = play(script, plan(""), written_problem())
    shares = [{c.answer: c.probability for c in r.candidates} for r in belief_by_round(result)]
    assert [round(s["yes"] or 0, 3) for s in shares] == [0.75, 0.143]
    lines = str(result).splitlines()
    at = lines.index("belief, by round      1      2")
    shown = {"  no": "   0.25   0.86", "  yes": "   0.75   0.14", "  outside these": "   0.20   0.30"}
    assert lines[at + 1 : at + 4] == [f"{name:<16}{row}" for name, row in shown.items()]
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(result)
    assert lines[at + 1] in console.file.getvalue()  # type: ignore[attr-defined]
    assert lines[at + 1] in result._repr_html_()
    told = result.to_json()["belief"]
    assert [r["round"] for r in told] == [1, 2]
    assert told[1]["outside"] is not None


def test_one_estimated_candidate_leaves_the_rest_outside():
    """`cited` gives its one answer a probability: the others have none, and what remains is said to lie outside."""
    script = Script([verdict("yes", "how many?"), verdict("yes", cites=[3])], look=lambda q: said("2", 0.7))
    result = play(script, plan("", "cited"), written_problem())
    last = belief_by_round(result)[-1]
    assert [(c.answer, c.probability and round(c.probability, 2)) for c in last.candidates] == [
        ("yes", 0.7),
        ("no", None),
    ]
    assert round(last.outside or 0, 2) == 0.3
    assert "belief: yes 0.70; outside these 0.30" in str(result)
