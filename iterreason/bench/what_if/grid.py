"""The figures of a what-if: every episode replayed under every setting, and what the run shows round by round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from iterreason.bench import stats
from iterreason.bench.recorded import Recorded
from iterreason.bench.row import Row
from iterreason.bench.what_if.settings import Setting
from iterreason.calibration.probability import brier
from iterreason.calls import Returned, Turn, VerdictReached
from iterreason.driver import drive_recorded
from iterreason.errors import Failure, NotRecorded
from iterreason.loop import Episode, episode
from iterreason.records import Result
from iterreason.trace import Trace


@dataclass(frozen=True, slots=True)
class Spent:
    """What an episode had cost when a round ended: calls, tokens, and seconds on the wall."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a setting makes of the run. brier, n_sure: of the confidence, over the problems that have one."""

    setting: Setting
    rows: tuple[Row, ...]
    accuracy: stats.Accuracy
    risk: float | None
    aurc: float | None
    ece: stats.CalibrationError
    brier: float | None
    cost: stats.Cost
    rounds: float
    stops: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ByRound:
    """If every episode had to answer after so many rounds: accuracy, and what it had cost on average."""

    round: int
    accuracy: stats.Estimate
    calls: float
    tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The outcomes, the recorded one first; the record's anytime curve, and what each of its rounds helped and hurt."""

    run: Recorded
    outcomes: tuple[Outcome, ...]
    by_round: tuple[ByRound, ...]
    changed: tuple[stats.Changed, ...]


def what_if(run: Recorded, wanted: Sequence[Setting]) -> WhatIf:
    """Replay a run under each setting. Raises NotRecorded, which names setting, problem and the first missing call.

    Raises Failure where the run as recorded is not reproduced to the bit: then nothing else could be trusted either.
    """
    outcomes = list[Outcome]()
    for setting in wanted:
        rows = tuple(_row(run, row, setting) for row in run.rows)
        if setting.policy is None and (wrong := next((r for r, o in zip(rows, run.rows, strict=True) if r != o), None)):
            raise Failure(
                f"{run.run.folder}: problem '{wrong.id}' does not replay as it was recorded; the run was made by"
                " another version of iterreason. Record it again"
            )
        outcomes.append(outcome(setting, rows))
    return WhatIf(run, tuple(outcomes), by_round(run), stats.helped_hurt(run.rows))


def _row(run: Recorded, row: Row, setting: Setting) -> Row:
    try:
        return run.row_under(row, setting.policy)
    except NotRecorded as error:
        early = "" if run.plan.all_rounds else (
            " The run's own rules ended its episodes; a rule that may go on longer needs one of `eval … --all-rounds`."
        )  # fmt: skip
        raise NotRecorded(f"'{setting.name}' asks for more than was recorded: {error}{early}") from None


def outcome(setting: Setting, rows: tuple[Row, ...]) -> Outcome:
    """The figures of rows."""
    found = stats.accuracy(rows)
    right = found.over_answered.value
    pairs = [(row.confidence, stats.guess_score(row)) for row in rows]
    known = [(sure, score) for sure, score in pairs if sure is not None and score is not None]
    return Outcome(
        setting,
        rows,
        found,
        None if right is None else 1 - right,
        stats.aurc(rows),
        stats.calibration_error(rows),
        brier([sure for sure, _ in known], [score for _, score in known]) if known else None,
        stats.cost(rows),
        sum(len(row.rounds) for row in rows) / len(rows),
        tuple(Counter(_kind(row.stop_reason) for row in rows).most_common()),
    )


def _kind(reason: str) -> str:
    """A stop reason without its numbers: `confident: 0.97 ≥ 0.90, stable: …` is `confident, stable`."""
    if reason.startswith("budget"):
        return reason
    return ", ".join(part.partition(":")[0] for part in reason.split(", "))


# ------------------------------------------------------------------ round by round


def by_round(run: Recorded) -> tuple[ByRound, ...]:
    """The anytime curve of the record; an episode that ended earlier keeps its answer and its cost."""
    spent = [_spent(run, row) for row in run.rows]
    curve, n = list[ByRound](), len(run.rows)
    for point in stats.anytime(run.rows):
        at = [one[min(point.round, len(one)) - 1] for one in spent]
        curve.append(
            ByRound(
                point.round,
                point.accuracy,
                sum(one.calls for one in at) / n,
                sum(one.tokens for one in at) / n,
                sum(one.seconds for one in at) / n,
            )
        )
    return tuple(curve)


def _spent(run: Recorded, row: Row) -> list[Spent]:
    whole = Spent(row.usage.calls, row.usage.tokens, row.usage.elapsed_seconds)
    trace = run.traces.get(row.key)
    if trace is None or not row.rounds:
        return [whole]
    made = spent_by_round(trace)
    return made if row.outcome != "error" else [*made, whole]


def spent_by_round(trace: Trace) -> list[Spent]:
    """What the episode had cost at the end of each of its rounds."""
    marks = list[Spent]()
    drive_recorded(_metered(episode(trace.problem, trace.plan, start=trace.start, seed=trace.seed), marks), trace.turns)
    return marks


def _metered(running: Episode, marks: list[Spent]) -> Generator[Turn, Returned, Result]:
    """The episode itself, its cost noted whenever a round has its verdict."""
    spent = Spent()
    try:
        turn = next(running)
        while True:
            marks.extend(spent for event in turn.events if isinstance(event, VerdictReached))
            returned = yield turn
            tokens = sum(reply.tokens.prompt + reply.tokens.completion for reply in returned.replies)
            spent = replace(
                spent,
                calls=spent.calls + len(turn.calls),
                tokens=spent.tokens + tokens,
                seconds=spent.seconds + returned.elapsed,
            )
            turn = running.send(returned)
    except StopIteration as end:
        result: Result = end.value
        return result
