"""Learn, then test: the promise is kept on fresh problems whose true risk is known, and a broken rule is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

np = pytest.importorskip("numpy")
stats = pytest.importorskip("scipy.stats", reason="needs the extra 'bench': pip install 'iterreason[bench]'")

from iterreason.bench.stats import calibration_error  # noqa: E402
from iterreason.calibration import testing  # noqa: E402
from iterreason.calibration.paths import Paths, answers  # noqa: E402
from iterreason.calibration.probability import brier, cross_fit, ece, fit  # noqa: E402
from iterreason.calibration.rule import Curve  # noqa: E402
from iterreason.calibration.testing import Rule, certify, grid, ordered  # noqa: E402

RISK, DELTA, DRAWS, N = 0.1, 0.05, 1_000, 240
LEVELS = np.linspace(0.05, 0.95, 10)  # so few that many confidences are equal


@dataclass(frozen=True)
class World:
    """Episodes whose confidence takes ten values, equally often, anew in each of three rounds.

    wrong: (rounds, levels), how likely an answer of this round and confidence is wrong.
    """

    wrong: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> Paths:
        rounds = len(self.wrong)
        level = rng.integers(len(LEVELS), size=(n, rounds))
        wrong = rng.random((n, rounds)) < self.wrong[np.arange(rounds), level]
        ended = np.zeros((n, rounds), bool)
        ended[:, -1] = True
        return Paths(LEVELS[level], wrong, ended)

    def risk(self, rule: Rule) -> float:
        """The true share of wrong answers: each round is reached where no round before was sure."""
        sure = rule.confident <= LEVELS
        reached = (1 - sure.mean()) ** np.arange(rule.rounds)
        return float((reached[:, None] * sure * self.wrong[: rule.rounds]).sum() / (reached.sum() * sure.sum()))


SLOPE = World(np.array([0.4 * (1 - LEVELS) ** 2 * weight for weight in (1.0, 0.8, 1.2)]))
JUST_OVER = World(
    np.full((3, 10), RISK + 1e-9)
)  # every rule is wrong by a hair: whichever is chosen breaks the promise


def chosen_by_test(order_on: Paths, test_on: Paths) -> Rule | None:
    """The rule under test."""
    found = certify(order_on, test_on, RISK, DELTA).chosen
    return found.rule if found else None


def chosen_by_eye(order_on: Paths, test_on: Paths) -> Rule | None:
    """A broken rule: it takes what looks right on the problems tested on, without a bound."""
    best, most = None, 0
    for rule in ordered(order_on, RISK):
        found = answers(test_on, [rule.confident], rule.rounds)
        given, wrong = found.given.sum(), found.wrong.sum()
        if given > most and wrong <= RISK * given:
            best, most = rule, given
    return best


def chosen_of_many(order_on: Paths, test_on: Paths) -> Rule | None:
    """A broken rule: every rule of the grid is tested at delta by itself, and the one that answers most is taken."""
    best, most = None, 0
    for rounds in (1, 2, 3):
        thresholds = grid(test_on, rounds)
        found = answers(test_on, thresholds, rounds)
        given, wrong = found.given.sum(axis=0), found.wrong.sum(axis=0)
        for place, p in enumerate(testing.p_values(wrong, given, RISK)):
            if p <= DELTA and given[place] > most:
                best, most = Rule(thresholds[place], rounds), given[place]
    return best


def violations(world: World, choose: Callable[[Paths, Paths], Rule | None], seed: int) -> tuple[int, int]:
    """In how many of 1,000 fresh draws the chosen rule's true risk is above the allowed one; and how many chose any."""
    rng = np.random.default_rng(seed)
    rules = []
    for _ in range(DRAWS):
        drawn = world.draw(rng, N)
        rules.append(choose(drawn.part(range(N // 2)), drawn.part(range(N // 2, N))))
    made = [rule for rule in rules if rule is not None]
    return sum(world.risk(rule) > RISK for rule in made), len(made)


def keeps(violated: int) -> bool:
    """Whether so many violations are what a chance of at most delta brings, at one in a hundred."""
    return bool(stats.binomtest(violated, DRAWS, DELTA, alternative="greater").pvalue > 0.01)


def test_the_true_risk_is_what_many_episodes_show():
    """The simulator's formula for a rule's risk agrees with its own episodes."""
    drawn = SLOPE.draw(np.random.default_rng(1), 200_000)
    for rule in (Rule(0.5, 1), Rule(0.7, 3), Rule(0.9, 2)):
        found = answers(drawn, [rule.confident], rule.rounds)
        assert found.wrong.sum() / found.given.sum() == pytest.approx(SLOPE.risk(rule), abs=0.004)


def test_the_promise_is_kept_on_fresh_draws():
    """Of 1,000 calibration sets at most delta, within a binomial interval, give a rule of too high a risk."""
    violated, made = violations(SLOPE, chosen_by_test, 2)
    assert keeps(violated)
    assert made > 0.8 * DRAWS  # and not by never answering


def test_the_promise_is_kept_right_on_the_boundary():
    """Where every rule's risk is a hair too high, a rule is let through about as often as delta, and not more often."""
    violated, made = violations(JUST_OVER, chosen_by_test, 3)
    assert violated == made
    assert keeps(violated)
    assert violated > DRAWS * DELTA / 5  # the test has no slack to hide in


@pytest.mark.parametrize("broken", [chosen_by_eye, chosen_of_many])
def test_a_broken_rule_is_caught(broken):
    """The same check rejects a rule without a bound, and one that tests many rules as if it tested one."""
    assert not keeps(violations(JUST_OVER, broken, 4)[0])


def test_p_and_bound_are_the_exact_binomial_ones():
    """p is the binomial tail, the bound Clopper and Pearson's; they agree about whether the risk is kept."""
    for wrong, answered in ((0, 28), (0, 29), (3, 80), (8, 100), (5, 5), (0, 0)):
        bound = testing.upper_bound(wrong, answered, DELTA)
        p = float(testing.p_values(wrong, answered, RISK))
        if answered:
            exact = stats.binomtest(wrong, answered, RISK, alternative="less")
            assert p == pytest.approx(exact.pvalue)
            assert bound == pytest.approx(exact.proportion_ci(1 - DELTA, "exact").high)
        assert (p <= DELTA) == (bound <= RISK)
    assert testing.answers_needed(0.1, 0.05) == 29
    assert testing.p_values(0, 29, 0.1) <= 0.05 < testing.p_values(0, 28, 0.1)


def test_how_many_problems_are_needed_is_enough():
    """A rule of these shares passes at the number named; at a risk that is not kept no number is named."""
    n = testing.problems_needed(0.05, 0.5, 0.1, 0.05)
    assert n is not None
    assert testing.p_values(np.ceil(0.05 * n / 2), n // 2, 0.1) <= 0.05
    assert testing.problems_needed(0.1, 0.5, 0.1, 0.05) is None


def test_ties_are_never_parted():
    """Episodes of equal confidence are answered together, also where their low bits differ."""
    sure = np.array([[0.8], [0.8 + 1e-12], [0.8], [0.3], [np.nan]])
    paths = Paths(sure, np.zeros((5, 1), bool), np.ones((5, 1), bool))
    thresholds = grid(paths, 1)
    assert thresholds == pytest.approx((0.15, 0.55))
    assert answers(paths, thresholds, 1).given.sum(axis=0).tolist() == [4, 3]


def test_a_failed_episode_is_not_answered():
    """An episode that failed after a round gives an answer only where the rule had stopped it by then."""
    paths = Paths(np.array([[0.6, np.nan]]), np.array([[False, True]]), np.zeros((1, 2), bool))
    assert answers(paths, [0.5, 0.7], 2).given.tolist() == [[True, False]]
    assert answers(paths, [0.5, 0.7], 2).round.tolist() == [[1, 2]]


def test_the_sequence_ends_at_the_first_failure():
    """No rule past the first that fails is tested, and the chosen one holds."""
    rng = np.random.default_rng(5)
    found = certify(SLOPE.draw(rng, 200), SLOPE.draw(rng, 200), RISK, DELTA)
    assert [tested.holds for tested in found.sequence] == [True] * (len(found.sequence) - 1) + [False]
    assert found.chosen in found.sequence[:-1]
    assert found.chosen.answered == max(tested.answered for tested in found.sequence[:-1])


# ------------------------------------------------------------------ probabilities


def overconfident(n: int, seed: int = 6) -> tuple[list[float], list[float]]:
    """Confidences that claim too much: the true log odds are 0.6 times theirs, less a little."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(1.0, 2.0, n)
    right = rng.random(n) < 1 / (1 + np.exp(-(0.6 * odds - 0.3)))
    return (1 / (1 + np.exp(-odds))).tolist(), right.astype(float).tolist()


@pytest.mark.parametrize("method", ["isotonic", "platt", "temperature"])
def test_a_fitted_curve_helps_on_problems_it_never_saw(method):
    """Cross-fitted, Brier score and ECE fall; the curve does not fall and stays in [0, 1]."""
    found = cross_fit(method, *overconfident(2_000))
    assert found.brier[1] < found.brier[0]
    assert found.ece[1] < found.ece[0] / (1.2 if method == "temperature" else 2)
    values = [found.curve.of(x) for x in np.linspace(0, 1, 101)]
    assert values == sorted(values)
    assert 0 <= values[0] <= values[-1] <= 1


def test_platt_finds_the_true_slope():
    """The logistic of the log odds that the data come from is found again."""
    curve = fit("platt", *overconfident(50_000))
    assert (curve.slope, curve.offset) == (pytest.approx(0.6, abs=0.02), pytest.approx(-0.3, abs=0.03))


def test_the_isotonic_curve_is_scikit_learns():
    """What the file keeps of it gives the same values everywhere."""
    from sklearn.isotonic import IsotonicRegression

    sure, right = overconfident(300)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(sure, right)
    at = np.linspace(0, 1, 501)
    assert [fit("isotonic", sure, right).of(x) for x in at] == pytest.approx(theirs.predict(at).tolist())


def test_brier_and_ece_agree_with_the_others():
    """Brier's score is scikit-learn's, the expected calibration error that of the reports."""
    from rows import row
    from sklearn.metrics import brier_score_loss

    sure, right = overconfident(400)
    assert brier(sure, right) == pytest.approx(brier_score_loss(right, sure))
    rows = [row(n, score, confidence=c) for n, (c, score) in enumerate(zip(sure, right, strict=True))]
    assert ece(sure, right) == pytest.approx(calibration_error(rows).value)


@pytest.mark.parametrize(
    "values",
    [
        dict(method="isotonic"),
        dict(method="isotonic", x=(0.2, 0.1), y=(0.1, 0.2)),
        dict(method="platt", slope=float("nan")),
    ],
)
def test_a_curve_that_is_none_is_refused(values):
    """No points, points that fall, and what is no number are named."""
    with pytest.raises(ValueError, match="probability"):
        Curve(**values)
