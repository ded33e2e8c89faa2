"""A report as text: tables for the terminal, markdown, JSON, and what differs from run to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from iterreason.bench.report.cells import (
    COMPARISONS,
    INTERVAL,
    LEADERBOARD,
    PUBLISHED,
    PUBLISHED_NOTE,
    Rows,
    comparisons,
    description,
    figure_notes,
    figures,
    leaderboard,
    published,
)
from iterreason.bench.report.records import Change, Key, Report, RunReport, TaskReport
from iterreason.bench.row import Row, Run
from iterreason.display import clean

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

MOST_LISTED = 20  # problems of a difference, each way
_LONG = 12  # cells of a name beside which all figures still fit into 80 columns
_FIRST = LEADERBOARD.index("abstained")


# ------------------------------------------------------------------ their forms


def as_table(report: Report) -> Group:
    """The report for a rich console; nothing in it is read as markup."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for task in report.tasks:
        parts += [Text(clean(task.title), style="bold"), Text(clean(description(task)), style="dim")]
        rows = leaderboard(task)
        for places in (range(_FIRST), (0, *range(_FIRST, len(LEADERBOARD)))):  # side by side they need 140 columns
            heads = [LEADERBOARD[place] for place in places]
            parts.append(_table(heads, [[row[place] for place in places] for row in rows]))
        if task.changes:
            parts.append(_table(COMPARISONS, comparisons(task.changes), left=2))
        heads, rows = figures(task)
        parts += [_table(heads, rows)] if heads else []
        parts += [Text(f"• {clean(note)}") for note in (*figure_notes(task), task.power, *task.notes)]
        if task.published:
            parts += [Text(PUBLISHED_NOTE, style="dim"), _table(PUBLISHED, published(task), left=4, names=False)]
        parts.append(Text())
    return Group(*parts)


def _table(heads: Sequence[str], rows: Rows, left: int = 1, names: bool = True) -> Table:
    """A table; its first columns, so many, hold names, which stay on a line as long as there is room.

    Figures are never broken: where names are long, it is they that go on to the next line.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    wide = names and any(len(clean(name)) > _LONG for row in rows for name in row[:left])
    for place, head in enumerate(heads):
        whole = place >= left if wide else head == INTERVAL or (names and place < left)
        justify: Any = "left" if place < left else "right"
        # A table that is too wide has its words cut; heads of two words are put on two lines before that.
        told = head if head == INTERVAL else clean(head).replace(" ", "\n")
        table.add_column(Text(told), justify=justify, no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table


def as_markdown(report: Report) -> str:
    """The report as markdown, for a README or an issue."""
    return "\n".join(line for task in report.tasks for line in _markdown(task))


def _markdown(task: TaskReport) -> Iterator[str]:
    yield f"## {_escaped(task.title)}\n"
    if said := description(task):
        yield f"{_escaped(said)}\n"
    yield _markdown_table(LEADERBOARD, leaderboard(task))
    if task.changes:
        yield _markdown_table(COMPARISONS, comparisons(task.changes), left=2)
    heads, rows = figures(task)
    if heads:
        yield _markdown_table(heads, rows)
    yield "".join(f"- {_escaped(note)}\n" for note in (*figure_notes(task), task.power, *task.notes))
    if task.published:
        yield f"{PUBLISHED_NOTE}\n"
        yield _markdown_table(PUBLISHED, published(task), left=4)


def _markdown_table(heads: Sequence[str], rows: Rows, left: int = 1) -> str:
    rule = ["---" if place < left else "---:" for place in range(len(heads))]
    cells = [[_escaped(cell) for cell in row] for row in (heads, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (cells[0], rule, *cells[1:]))


def _escaped(text: str) -> str:
    """Text from outside in markdown: one line, nothing of it markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in clean(text))


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON values: `runs`, a value each, and `comparisons`."""
    return {
        "runs": [_run_json(task, run) for task in report.tasks for run in task.runs],
        "comparisons": [_change_json(task, change) for task in report.tasks for change in task.changes],
        "notes": [
            {"task": task.name, "split": task.split, "notes": [task.power, *task.notes]} for task in report.tasks
        ],
    }


def _run_json(task: TaskReport, run: RunReport) -> dict[str, Any]:
    accuracy, mean, manifest = run.accuracy, run.cost.mean, run.run.manifest
    answered = accuracy.over_answered
    return {
        "task": task.name,
        "version": task.version,
        "split": task.split,
        "policy": run.run.policy,
        "label": run.label,
        "folder": str(run.run.folder),
        "n": run.n,
        "wanted": run.wanted,
        "accuracy": accuracy.over_all.value,
        "interval": [accuracy.over_all.low, accuracy.over_all.high],
        "effective_n": accuracy.over_all.effective_n,
        "accuracy_over_answered": answered.value,
        "interval_over_answered": [answered.low, answered.high],
        "coverage": accuracy.coverage,
        "errors": accuracy.errors,
        "abstained": accuracy.abstained,
        "calibration_error": run.calibration.value,
        "aurc": run.aurc,
        "mean_calls": mean.calls,
        "mean_tokens": mean.tokens,
        "cached_share": run.cached_share,
        "mean_seconds": mean.elapsed_seconds,
        "figures": {figure.name: figure.value for figure in run.figures},
        "moved_by_image": run.moved and run.moved.to_json(),
        "seeds": [{"seed": seed, "accuracy": value} for seed, value in run.seeds.seeds],
        "deviation_between_seeds": run.seeds.deviation,
        "policy_hash": manifest["policy"].get("hash"),
        "task_hash": manifest["task"].get("hash"),
        "data_hash": manifest["task"].get("data_hash"),
        "models": manifest.get("models"),
        "limit": manifest.get("limit"),
        "all_rounds": bool(manifest.get("all_rounds")),
        "reasoner_sees_image": run.sees_image,
    }


def _change_json(task: TaskReport, change: Change) -> dict[str, Any]:
    found = {name: value for name, value in asdict(change.comparison).items() if name not in ("low", "high")}
    problems = {what: [{"id": id, "seed": seed} for id, seed in getattr(change, what)] for what in ("fixed", "broken")}
    labels = {"task": task.name, "split": task.split, "first": change.first, "second": change.second}
    interval = [change.comparison.low, change.comparison.high]
    return {**found, **labels, "interval": interval, "problems": problems}


# ------------------------------------------------------------------ run against run


def as_difference(first: Run, second: Run, most: int = MOST_LISTED) -> str:
    """What changes from one run of a task to another, problem by problem, at most so many each way. Raises BadRun."""
    from iterreason.bench.report import changed

    labels = (first.policy, second.policy)
    if labels[0] == labels[1]:
        labels = (str(first.folder), str(second.folder))
    change = changed(first, second, *labels)
    (cells,) = comparisons([change])
    before, after = ({row.key: row for row in run.rows} for run in (first, second))
    _, _, n, points, interval, p, *_ = cells
    lines = [f"from {clean(labels[0])} to {clean(labels[1])}, on {n} problems: {points} points {interval}, p {p}"]
    for what, keys in (("fixed", change.fixed), ("broken", change.broken)):
        lines.append(f"{what}: {len(keys):,}")
        lines += [f"  {_difference(key, before[key], after[key])}" for key in keys[:most]]
        lines += [f"  … and {len(keys) - most:,} more"] if len(keys) > most else []
    return "\n".join(lines)


def _difference(key: Key, before: Row, after: Row) -> str:
    seed = f" (seed {key[1]})" if key[1] else ""
    answers = (clean(row.outcome if row.answer is None else row.answer) for row in (before, after))
    gold = ", ".join(clean(one) for one in dict.fromkeys(before.gold))
    return f"{clean(key[0])}{seed}: {clean(before.question)}  {' → '.join(answers)}  (gold: {gold})"
