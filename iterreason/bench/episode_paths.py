"""Recorded episodes as the arrays that calibration works on: one problem an image, a replay each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iterreason.bench.recorded import Recorded, by_image
from iterreason.bench.row import Row
from iterreason.calibration.paths import Paths
from iterreason.errors import BadRun
from iterreason.policy import NamedPolicy
from iterreason.records import Result
from iterreason.stopping import kept_stops


@dataclass(frozen=True, slots=True)
class Sample:
    """The problems that a calibration uses, one an image, and what became of each, aligned.

    problems, errors: in the run, and how many of those used ended in an error.
    """

    rows: tuple[Row, ...]
    paths: Paths
    problems: int
    errors: int


def sample(run: Recorded, seed: int = 0) -> Sample:
    """One problem of each image, drawn with a seed, as paths. Raises BadRun where the run was stopped by its rules."""
    if not run.plan.all_rounds:
        raise BadRun(
            f"{run.run.folder}: its stop rules ended the episodes, and an early stop tells nothing about later rounds."
            f" Record it to the last round: iterreason eval {run.run.task} --policy {run.run.policy} --all-rounds"
        )
    if run.plan.policy.calibrated is not None:
        raise BadRun(f"{run.run.folder} is of a calibrated policy; calibrate a run of '{run.run.policy}' without '@'")
    if run.plan.same.__name__ != "same_text" or any(trace.same for trace in run.traces.values()):
        raise BadRun(f"{run.run.folder} was recorded with a comparison of the caller's own; it cannot be replayed here")
    rows = drawn(run.rows, seed)
    return Sample(rows, paths_of(run, rows), len(run.rows), sum(row.outcome == "error" for row in rows))


def drawn(rows: Sequence[Row], seed: int) -> tuple[Row, ...]:
    """One row of each image, in an order of the seed's; the same rows in another order give the same."""
    groups = [sorted(group, key=lambda row: row.key) for group in by_image(rows)]
    groups.sort(key=lambda group: group[0].key)
    chance = random.Random(f"calibrate {seed}")
    picked = [chance.choice(group) for group in groups]
    chance.shuffle(picked)
    return tuple(picked)


def paths_of(run: Recorded, rows: Sequence[Row]) -> Paths:
    """What the episodes came to round by round; a round's answer is wrong where it scores less than 1.

    A round ends an episode where a stop rule holds that does not go by confidence, and where the record ends in order.
    """
    import numpy as np

    policy = run.plan.policy
    watching = replace(run.plan.named, policy=replace(policy, stop=kept_stops(policy)))
    shape = len(rows), policy.rounds.max
    confidence, wrong, ended = np.full(shape, np.nan), np.ones(shape, bool), np.zeros(shape, bool)
    for place, row in enumerate(rows):
        result = _watched(run, row, watching)
        rounds = result.rounds if result else ()
        for at, (made, scored) in enumerate(zip(rounds, row.rounds, strict=True)):
            may_stop = made.number >= policy.rounds.min
            wrong[place, at] = scored.score is None or scored.score < 1
            ended[place, at] = may_stop and bool(made.stops)
            if may_stop and scored.answer is not None and scored.confidence is not None:
                confidence[place, at] = scored.confidence
        if result and rounds and result.error is None:
            standing = next((at for at in reversed(range(len(rounds))) if rounds[at].estimated), len(rounds) - 1)
            last, held = len(rounds) - 1, row.rounds[standing]
            ended[place, last], wrong[place, last] = True, held.score is None or held.score < 1
            sure = held.confidence is not None and held.answer is not None
            confidence[place, last] = held.confidence if sure else np.nan
    return Paths(confidence, wrong, ended)


def _watched(run: Recorded, row: Row, watching: NamedPolicy) -> Result | None:
    """The episode again to its recorded end, its rounds marked by other rules; None where it never began."""
    trace = run.traces.get(row.key)
    if trace is None or not trace.turns:
        return None
    return replace(trace, plan=replace(trace.plan, named=watching)).replay()
