"""A stop rule that keeps its promise, from a recorded run alone: `iterreason calibrate RUN --risk 0.1 --delta 0.05`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from iterreason._version import __version__
from iterreason.bench.episode_paths import Sample, sample
from iterreason.bench.recorded import Recorded
from iterreason.calibration.file import VERSION, CalibrationFile, Probabilities, Step, reliability_hash
from iterreason.calibration.probability import FOLDS, Fitted, cross_fit
from iterreason.calibration.rule import Calibrated, Curve, Method
from iterreason.calibration.testing import (
    Certified,
    Rule,
    Tested,
    answers_needed,
    certify,
    order_share,
    problems_needed,
)
from iterreason.errors import BadRun, Failure, Misuse

SPLIT = 0.5
SEED = 0  # not for the user to choose: to try seeds until one passes is to have no guarantee
_FEWEST = 10 * FOLDS  # problems that a probability is fitted on


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What is asked for: at most this share of the answers wrong, but for a chance of delta; all in (0, 1).

    split: the share of the problems that propose the rules and put them in order; the others test them.
    probability: how confidence is turned into a probability; None leaves it as it is.
    """

    risk: float
    delta: float
    split: float = SPLIT
    probability: Method | None = None

    def __post_init__(self) -> None:
        for name, value in (("--risk", self.risk), ("--delta", self.delta), ("--split", self.split)):
            if not 0 < value < 1:
                raise Misuse(f"{name} must be above 0 and below 1, not {value:g}")


def calibrate(run: Recorded, wanted: Promise, command: str = "") -> CalibrationFile:
    """Find and test the rule; raises BadRun where the run is too small or unfit, Failure where none keeps the risk."""
    drawn = sample(run, SEED)
    places = range(len(drawn.rows))
    cut = order_share(places, wanted.split) if len(places) > 1 else 0
    _check_size(run, len(places), len(places) - cut, wanted)
    found = certify(drawn.paths.part(places[:cut]), drawn.paths.part(places[cut:]), wanted.risk, wanted.delta)
    if found.chosen is None:
        raise Failure(_none_holds(run, found, wanted, len(places)))
    fitted = _fitted(drawn, found.chosen.rule, wanted.probability)
    return _file(run, drawn, found, found.chosen, fitted, wanted, command)


def _check_size(run: Recorded, images: int, tested_on: int, wanted: Promise) -> None:
    needed = answers_needed(wanted.risk, wanted.delta)
    if tested_on < needed:
        whole = -(-needed * images // tested_on) if tested_on else 2 * needed
        raise BadRun(
            f"{run.run.folder} has {len(run.rows)} problems about {images} images, and {tested_on} would test the"
            f" rules: too few. Risk {wanted.risk:g} at delta {wanted.delta:g} takes at least {needed} answers"
            f" without a mistake, so at least {whole} images (one problem an image counts), and more where some answers"
            " are wrong or kept back"
        )


def _none_holds(run: Recorded, found: Certified, wanted: Promise, images: int) -> str:
    if not found.sequence:
        return (
            f"{run.run.folder}: the {images - found.n} problems that propose the rules have no answer with a"
            " confidence; nothing is written. Record a run of a policy that gives one"
        )
    first = found.sequence[0]
    told = (
        f"{run.run.folder}: no rule is shown to keep the risk at {wanted.risk:g}; nothing is written. The safest,"
        f" {rule_text(first.rule)}, gave {first.answered} answers on {found.n} problems, {first.wrong} of them"
        f" wrong; that shows a risk of at most {first.upper:.3f}"
    )
    share = first.wrong / first.answered if first.answered else 1.0
    more = problems_needed(share, first.answered / found.n, wanted.risk, wanted.delta)
    if more is None:
        return (
            f"{told}. With so many wrong no number of problems would do: allow a higher --risk, or take better models"
        )
    whole = -(-more * images // found.n)
    return (
        f"{told}. If its rate stays, about {whole} images would be needed instead of {images}; or allow a higher --risk"
    )


def rule_text(rule: Rule) -> str:
    """A rule in words."""
    return f"confidence ≥ {rule.confident:.4g} within {rule.rounds} round{'s' if rule.rounds > 1 else ''}"


def _fitted(drawn: Sample, rule: Rule, method: Method | None) -> Fitted | None:
    """The probability curve: of the confidence with which episodes end under the rule, answers kept back included.

    It is fitted on all problems used; the test of the rule does not rest on it.
    """
    if method is None:
        return None
    ends = endings(drawn, rule)
    if len(ends) < _FEWEST:
        raise BadRun(f"--probability {method} wants at least {_FEWEST} problems with a confidence, not {len(ends)}")
    if len({score for _, score in ends}) < 2:
        raise BadRun(f"--probability {method} cannot be fitted: all {len(ends)} answers score the same; leave it out")
    return cross_fit(method, [sure for sure, _ in ends], [score for _, score in ends], SEED)


def endings(drawn: Sample, rule: Rule) -> list[tuple[float, float]]:
    """(confidence, score) of the episodes as they end under a rule, where both are known."""
    from iterreason.calibration.paths import answers

    stopped = answers(drawn.paths, [rule.confident], rule.rounds).round[:, 0]
    pairs = list[tuple[float, float]]()
    for row, number in zip(drawn.rows, stopped, strict=True):
        if number <= len(row.rounds):
            end = row.rounds[number - 1]
            if end.confidence is not None and end.score is not None:
                pairs.append((end.confidence, end.score))
    return pairs


def _file(
    run: Recorded,
    drawn: Sample,
    found: Certified,
    chosen: Tested,
    fitted: Fitted | None,
    wanted: Promise,
    command: str,
) -> CalibrationFile:
    curve: Curve | None = fitted.curve if fitted else None
    row, plan = run.rows[0], run.plan
    return CalibrationFile(
        calibration=VERSION,
        iterreason=__version__,
        date=datetime.now(UTC).date().isoformat(),
        command=command,
        task=row.task,
        version=row.version,
        split=row.split,
        policy=row.policy,
        problems=drawn.problems,
        images=len(drawn.rows),
        ordered_on=len(drawn.rows) - found.n,
        tested_on=found.n,
        errors=drawn.errors,
        seed=SEED,
        answered=chosen.answered,
        wrong=chosen.wrong,
        upper=chosen.upper,
        calibrated=Calibrated(
            confident=chosen.rule.confident,
            round=chosen.rule.rounds,
            risk=wanted.risk,
            delta=wanted.delta,
            base=row.policy_hash,
            estimator=plan.confidence,
            models=plan.models,
            tools=tuple(tool.name for tool in plan.tools),
            reliability=reliability_hash(plan.reliability.to_json()),
            probability=curve,
        ),
        sequence=tuple(steps(found.sequence)),
        cross_fitted=Probabilities(n=fitted.n, folds=fitted.folds, brier=fitted.brier, ece=fitted.ece)
        if fitted
        else None,
    )


def steps(sequence: Sequence[Tested]) -> list[Step]:
    """The sequence as it goes into the file."""
    return [
        Step(
            **{key: value for key, value in asdict(tested).items() if key != "rule"},
            confident=tested.rule.confident,
            round=tested.rule.rounds,
        )
        for tested in sequence
    ]
