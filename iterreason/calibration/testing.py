"""Learn, then test: which rules keep the risk, found so that the chosen one fails to with probability at most delta.

Source: Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then test", arXiv 2110.01052 (fixed-sequence testing; its
p-value is the exact binomial one of selective risk here); the order is that of Pareto testing (Laufer-Goldshtein,
Fisch, Barzilay and Jaakkola, arXiv 2210.07913).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iterreason.calibration.paths import Paths, answers

if TYPE_CHECKING:
    from iterreason.calibration.paths import Floats

MOST_THRESHOLDS = 50
_TIED = 1e-9  # confidences that differ by less are the same: the low bits depend on batches


@dataclass(frozen=True, slots=True)
class Rule:
    """Stop once the confidence is at least `confident`, and after `rounds` in any case; below it give no answer."""

    confident: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Tested:
    """What a rule did on the problems that it was tested on.

    p: of as few wrong answers, or fewer, if the true risk were just the one allowed. upper: Clopper and Pearson's bound
    of the risk, one-sided at 1 - delta. holds: whether the risk is kept, p ≤ delta.
    """

    rule: Rule
    answered: int
    wrong: int
    p: float
    upper: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Certified:
    """The rules in the order in which they were tested, up to the first that failed; `chosen` of those that hold.

    n: the problems that they were tested on.
    """

    n: int
    sequence: tuple[Tested, ...]
    chosen: Tested | None


def p_values(wrong: Any, answered: Any, risk: float) -> Floats:
    """The exact p of "more than `risk` of the answers are wrong", element by element; 1 where none is answered."""
    import numpy as np
    from scipy.stats import binom

    found: Floats = np.where(np.asarray(answered) > 0, binom.cdf(wrong, answered, risk), 1.0)
    return found


def upper_bound(wrong: int, answered: int, delta: float) -> float:
    """Clopper and Pearson's one-sided upper bound of a risk, at level 1 - delta.

    Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    from scipy.stats import beta

    return 1.0 if wrong >= answered else float(beta.ppf(1 - delta, wrong + 1, answered - wrong))


def answers_needed(risk: float, delta: float) -> int:
    """The fewest answers, none of them wrong, that can show that at most `risk` are."""
    return math.ceil(math.log(delta) / math.log1p(-risk))


def problems_needed(share_wrong: float, share_answered: float, risk: float, delta: float) -> int | None:
    """How many problems a rule of these shares would have to be tested on; None where no number would do."""
    if share_wrong >= risk or share_answered <= 0:
        return None
    answered = answers_needed(risk, delta)
    while p_values(math.ceil(share_wrong * answered), answered, risk) > delta:
        answered = math.ceil(answered * 1.05)
    return math.ceil(answered / share_answered)


def certify(order_on: Paths, test_on: Paths, risk: float, delta: float) -> Certified:
    """The rule that answers most often of those that keep the risk, each tested in an order set beforehand.

    order_on: episodes that propose rules and put them in order; test_on: others, none of them about the same images.
    risk, delta: in (0, 1). With probability at least 1 - delta over `test_on`, no rule that holds has a selective risk
    above `risk`; so any of them may be chosen, and the one that answers most is.
    """
    sequence = list[Tested]()
    for rule in ordered(order_on, risk):
        sequence.append(_test(test_on, rule, risk, delta))
        if not sequence[-1].holds:
            break
    held = [tested for tested in sequence if tested.holds]
    chosen = max(held, key=lambda tested: (tested.answered, -tested.rule.rounds), default=None)
    return Certified(len(test_on), tuple(sequence), chosen)


def _test(paths: Paths, rule: Rule, risk: float, delta: float) -> Tested:
    found = answers(paths, [rule.confident], rule.rounds)
    answered, wrong = int(found.given.sum()), int(found.wrong.sum())
    p = float(p_values(wrong, answered, risk))
    return Tested(rule, answered, wrong, p, upper_bound(wrong, answered, delta), p <= delta)


def ordered(paths: Paths, risk: float) -> tuple[Rule, ...]:
    """The rules to test, the safest first: those that no other beats in both safety and answers, on these episodes."""
    import numpy as np

    rules, given, wrong = list[Rule](), list[Any](), list[Any]()
    for rounds in range(1, paths.rounds + 1):
        thresholds = grid(paths, rounds)
        found = answers(paths, thresholds, rounds)
        rules += [Rule(threshold, rounds) for threshold in thresholds]
        given.append(found.given.sum(axis=0))
        wrong.append(found.wrong.sum(axis=0))
    answered = np.concatenate(given)
    p = p_values(np.concatenate(wrong), answered, risk)
    front, most = list[Rule](), 0
    for place in np.lexsort((np.arange(len(rules)), -answered, p)):  # of equals the fewer rounds
        if answered[place] > most:
            front.append(rules[place])
            most = answered[place]
    return tuple(front)


def grid(paths: Paths, rounds: int) -> tuple[float, ...]:
    """At most 50 thresholds, in (0, 1), between the confidences met in so many rounds; ties are never parted."""
    import numpy as np

    met = paths.confidence[:, :rounds]
    values = np.unique(met[~np.isnan(met)])
    apart = np.concatenate(([True], np.diff(values) > _TIED)) if len(values) else np.zeros(0, bool)
    values = values[apart]
    values = values[values > 0]
    if not len(values):
        return ()
    between = (values + np.concatenate(([0.0], values[:-1]))) / 2
    if len(between) > MOST_THRESHOLDS:
        between = between[np.unique(np.linspace(0, len(between) - 1, MOST_THRESHOLDS).round().astype(int))]
    return tuple(float(threshold) for threshold in between)


def order_share(paths: Sequence[int], share: float) -> int:
    """How many of these order the rules where `share` of them are to; at least one does, and one tests."""
    return min(max(1, round(len(paths) * share)), len(paths) - 1)
