"""A what-if as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from iterreason.bench import stats
from iterreason.bench.what_if.grid import Outcome, WhatIf
from iterreason.stopping import abstains_below, stops_of

if TYPE_CHECKING:
    from rich.table import Table

_NONE = "–"


def tables(found: WhatIf) -> Iterator[Table]:
    """The settings' figures, then the record round by round, then confidence against accuracy."""
    run = found.run.run
    title = f"{run.task} / {run.policy}: {len(run.rows)} problems, replayed without a model"
    heads = ("accuracy", "95 %", "answered", "risk", "AURC", "ECE", "Brier")
    yield _table(title, ("setting", *heads), [_figures(outcome) for outcome in found.outcomes])
    costs = ("calls", "tokens", "seconds")
    yield _table("what a problem took", ("setting", "rounds", *costs), [_cost(outcome) for outcome in found.outcomes])
    rows = [
        (str(at.round), _share(at.accuracy.value), _interval(at.accuracy), *_costs(at.calls, at.tokens, at.seconds))
        for at in found.by_round
    ]
    yield _table("if every episode had to answer after so many rounds", ("round", "accuracy", "95 %", *costs), rows)
    if found.changed:
        moved = [(str(c.round), str(c.n), str(c.fixed), str(c.broken)) for c in found.changed]
        yield _table("what a round did to the answer before it", ("round", "reached", "helped", "hurt"), moved)
    bins = [b for b in stats.reliability(found.outcomes[-1].rows) if b.n]
    if bins:
        last = found.outcomes[-1].setting.name
        told = [(f"{b.low:.1f}–{b.high:.1f}", str(b.n), _share(b.confidence), _share(b.accuracy)) for b in bins]
        yield _table(f"confidence against accuracy: {last}", ("confidence", "n", "mean", "accuracy"), told)


def _figures(outcome: Outcome) -> tuple[str, ...]:
    over = outcome.accuracy.over_all
    shares = (outcome.accuracy.coverage, outcome.risk, outcome.aurc, outcome.ece.value, outcome.brier)
    return outcome.setting.name, _share(over.value), _interval(over), *map(_share, shares)


def _cost(outcome: Outcome) -> tuple[str, ...]:
    mean = outcome.cost.mean
    return outcome.setting.name, *_costs(outcome.rounds, mean.calls, mean.tokens, mean.elapsed_seconds)


def _costs(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:,.1f}" for value in values)


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _interval(found: stats.Estimate) -> str:
    return f"{found.low:.3f}–{found.high:.3f}"


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=number > 0)
    for cells in rows:
        table.add_row(*map(Text, cells))
    return table


def as_json(found: WhatIf) -> dict[str, Any]:
    """All figures, and the curves behind the plots, as JSON values."""
    run = found.run.run
    return {
        "run": str(run.folder),
        "task": run.task,
        "policy": run.policy,
        "policy_hash": run.rows[0].policy_hash,
        "models": list(run.rows[0].models),
        "all_rounds": found.run.plan.all_rounds,
        "settings": [_setting(outcome, found) for outcome in found.outcomes],
        "by_round": [asdict(point) for point in found.by_round],
        "changed": [asdict(change) for change in found.changed],
    }


def _setting(outcome: Outcome, found: WhatIf) -> dict[str, Any]:
    named = outcome.setting.policy
    policy = (named or found.run.plan.named).policy
    own = None if named is None and found.run.plan.all_rounds else [asdict(stop) for stop in stops_of(policy)]
    return {
        "name": outcome.setting.name,
        "stop": own,
        "abstain_below": abstains_below(policy),
        "budget": asdict(policy.budget),
        **asdict(outcome.accuracy),
        "risk": outcome.risk,
        "aurc": outcome.aurc,
        "ece": asdict(outcome.ece),
        "brier": outcome.brier,
        "rounds": outcome.rounds,
        "usage": asdict(outcome.cost),
        "stop_reasons": dict(outcome.stops),
        "risk_coverage": [asdict(point) for point in stats.risk_coverage(outcome.rows)],
        "reliability": [asdict(b) for b in stats.reliability(outcome.rows)],
    }
