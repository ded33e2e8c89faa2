"""When to stop: each rule alone, rules that hold together, and the budget."""

import pytest

from iterreason.folding import same_text
from iterreason.memory import EMPTY, Memory
from iterreason.policy import Budget, Stop
from iterreason.records import Evidence, Question, Region, Retraction, Usage, Verdict
from iterreason.stopping import answered, confident, dry, over_budget, stable, stop_rule

KNOWN = Memory((Evidence(1, "answer", "how many dogs?", "2", 0.9, "vqa", 1),))


def sure(*numbers: float | None) -> list[Verdict]:
    return [Verdict("yes", confidence=number) for number in numbers]


def answers(*given: str | None) -> list[Verdict]:
    return [Verdict(answer) for answer in given]


def asking(*questions: Question) -> list[Verdict]:
    return [Verdict("yes", questions=questions)]


@pytest.mark.parametrize(
    ("verdicts", "why"),
    [
        (sure(0.95), "confident: 0.95 ≥ 0.90"),
        (sure(0.9), "confident: 0.90 ≥ 0.90"),
        (sure(1.0), "confident: 1.00 ≥ 0.90"),
        (sure(0.8999), None),
        (sure(0.0), None),
        (sure(None), None),
        (sure(0.95, 0.5), None),
        (sure(0.5, 0.95), "confident: 0.95 ≥ 0.90"),
    ],
)
def test_confident_holds_from_its_threshold_on(verdicts, why):
    """Only the last verdict's confidence counts, and one that was not measured is none."""
    assert confident(0.9)(verdicts, EMPTY) == why


def test_a_threshold_of_nought_still_needs_a_confidence():
    """Confidence 0 is enough for threshold 0; no confidence is not."""
    assert confident(0.0)(sure(0.0), EMPTY) == "confident: 0.00 ≥ 0.00"
    assert confident(0.0)(sure(None), EMPTY) is None


@pytest.mark.parametrize(
    ("verdicts", "rounds", "holds"),
    [
        (answers("yes"), 2, False),
        (answers("yes", "yes"), 2, True),
        (answers("yes", "Yes."), 2, True),
        (answers("two dogs", "2 dogs"), 2, True),
        (answers("yes", "no"), 2, False),
        (answers("no", "yes", "yes"), 2, True),
        (answers("yes", "yes", "no"), 2, False),
        (answers("yes", "no", "yes"), 2, False),
        (answers("yes", "yes"), 3, False),
        (answers("yes", "yes", "yes"), 3, True),
        (answers(None, None), 2, False),
        (answers("yes", None), 2, False),
        (answers(None, "yes"), 2, False),
        (answers("yes", None, "yes"), 3, False),
    ],
)
def test_stable_holds_for_the_same_answer_in_a_row(verdicts, rounds, holds):
    """A change of mind starts the count anew, and 'not sure' is no answer that could stand."""
    why = stable(rounds, same_text)(verdicts, EMPTY)
    assert why == (f"stable: same answer for {rounds} rounds" if holds else None)


def test_who_compares_decides_what_is_the_same():
    """The comparison can be replaced."""
    assert stable(2, lambda one, other: True)(answers("yes", "no"), EMPTY)
    assert not stable(2, lambda one, other: False)(answers("yes", "yes"), EMPTY)
    assert dry(lambda one, other: True)(asking(Question("anything?")), KNOWN)


@pytest.mark.parametrize(
    ("verdicts", "memory", "holds"),
    [
        (asking(), KNOWN, True),
        (asking(), EMPTY, True),
        (asking(Question("How many dogs")), KNOWN, True),
        (asking(Question("How many dogs")), EMPTY, False),
        (asking(Question("how many cats?")), KNOWN, False),
        (asking(Question("how many dogs?"), Question("how many cats?")), KNOWN, False),
        (asking(Question("how many dogs?", image=1)), KNOWN, False),
        (asking(Question("how many dogs?", region=Region(0, 0, 1, 0.5))), KNOWN, False),
        (asking(Question("how many dogs?")), KNOWN.plus(Retraction(1, "person")), False),
        ([*asking(Question("how many cats?")), *asking()], KNOWN, True),
    ],
)
def test_dry_holds_when_nothing_new_is_asked(verdicts, memory, holds):
    """No question, or only such as standing evidence about the same place answers."""
    assert dry(same_text)(verdicts, memory) == ("dry: no new question" if holds else None)


def test_answered_holds_once_there_is_an_answer():
    """'not sure' goes on, any answer stops."""
    assert answered()(answers("yes", None), EMPTY) is None
    assert answered()(answers(None, "yes"), EMPTY) == "answered"


@pytest.mark.parametrize(
    ("stop", "verdicts", "why"),
    [
        (Stop(confident=0.9, stable=2), sure(0.5, 0.95), "confident: 0.95 ≥ 0.90, stable: same answer for 2 rounds"),
        (Stop(confident=0.9, stable=2), sure(0.95), None),
        (Stop(confident=0.9, stable=2), sure(0.95, 0.5), None),
        (Stop(confident=0.9), sure(0.95), "confident: 0.95 ≥ 0.90"),
        (Stop(stable=2, dry=True), sure(0.1, 0.1), "stable: same answer for 2 rounds, dry: no new question"),
        (Stop(answered=True, confident=0.5), answers("yes"), None),
        (Stop(answered=True), answers("yes"), "answered"),
        (Stop(dry=True), asking(Question("how many cats?")), None),
    ],
)
def test_a_rule_holds_when_all_its_conditions_do(stop, verdicts, why):
    """The conditions of one table are joined by 'and', and the reason names each."""
    assert stop_rule(stop, same_text)(verdicts, EMPTY) == why


@pytest.mark.parametrize(
    ("budget", "usage", "more", "why"),
    [
        (Budget(), Usage(10**6, 0, 0, 0, 10**9, 0, 10**9, 10**6, 10**6), 10**6, None),
        (Budget(calls=5), Usage(generations=2, readouts=1, reasks=1), 1, None),
        (Budget(calls=5), Usage(generations=2, readouts=1, reasks=1, looks=1), 1, "budget: calls"),
        (Budget(calls=5), Usage(), 6, "budget: calls"),
        (Budget(calls=5), Usage(looks=5), 0, None),
        (Budget(tokens=100), Usage(prompt_tokens=60, cached_tokens=60, completion_tokens=39), 1, None),
        (Budget(tokens=100), Usage(prompt_tokens=60, completion_tokens=40), 1, "budget: tokens"),
        (Budget(seconds=2.0), Usage(elapsed_seconds=1.99, call_seconds=9.0), 1, None),
        (Budget(seconds=2.0), Usage(elapsed_seconds=2.0), 1, "budget: seconds"),
        (
            Budget(calls=1, tokens=1, seconds=1.0),
            Usage(looks=1, prompt_tokens=1, elapsed_seconds=1.0),
            1,
            "budget: calls",
        ),
    ],
)
def test_the_budget_says_which_of_it_is_used_up(budget, usage, more, why):
    """Calls are refused before they pass the budget; tokens and seconds once they have reached it."""
    assert over_budget(budget, usage, more) == why
