"""A report of runs: per task and split the policies' figures, side by side, with all that must be said of them.

`summarise` counts; `iterreason.bench.report.text` and `iterreason.bench.report.html` show what it found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from iterreason.bench import stats
from iterreason.bench.moved import moved_of
from iterreason.bench.report.notes import notes_on
from iterreason.bench.report.records import Baseline, Change, Report, RunReport, TaskReport
from iterreason.bench.row import Run
from iterreason.bench.scoring import Figure, summary
from iterreason.bench.stats import Comparison
from iterreason.bench.tasks.task import Task, read_task
from iterreason.errors import BadRun, BadTask

BASELINE = "direct"


def summarise(runs: Iterable[Run]) -> Report:
    """Count what there is to say of runs; versions and splits of a task, and runs of all rounds, stand apart.

    Raises BadRun where there is no run, or one run is given twice.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(_kind(run), []).append(run)
    if not groups:
        raise BadRun("there is no run to report")
    colours: dict[tuple[str, int], int] = {}
    for place in sorted((place for group in groups.values() for place in _places(group)), key=_first):
        colours.setdefault(place, len(colours))
    return Report(
        tuple(
            _task_report(list(zip(_labels(group), group, strict=True)), [colours[place] for place in _places(group)])
            for group in groups.values()
        )
    )


def _kind(run: Run) -> tuple[str, ...]:
    """What runs must share to be compared."""
    task = run.manifest["task"]
    all_rounds = "all rounds" if run.manifest.get("all_rounds") else ""
    return run.task, str(task.get("version", "")), str(task.get("split", "")), all_rounds


def _places(runs: Sequence[Run]) -> list[tuple[str, int]]:
    """Of each run its policy and how many runs of that policy stand before it: what its colour goes by."""
    names = [run.policy for run in runs]
    return [(name, names[:number].count(name)) for number, name in enumerate(names)]


def _first(place: tuple[str, int]) -> tuple[int, bool, bool]:
    """Baselines have the first colours, so that they look alike from report to report."""
    return place[1], place[0] != "blind", place[0] != BASELINE


def _labels(runs: Sequence[Run]) -> list[str]:
    """The policies' names; where two runs share one, with the directories that tell them apart."""
    resolved = [run.folder.resolve() for run in runs]
    twice = next((folder for place, folder in enumerate(resolved) if folder in resolved[:place]), None)
    if twice:
        raise BadRun(f"the run {twice} is given twice; name each once")
    names = [run.policy for run in runs]
    labels = []
    for run, folder in zip(runs, resolved, strict=True):
        same = [other.parts for other, name in zip(resolved, names, strict=True) if name == run.policy]
        own = [p for place, p in enumerate(folder.parts) if any(o[place : place + 1] != (p,) for o in same)]
        labels.append(f"{run.policy} ({'/'.join(own) or run.folder})" if len(same) > 1 else run.policy)
    return labels


def _task_report(labelled: Sequence[tuple[str, Run]], colours: Sequence[int]) -> TaskReport:
    manifest = labelled[0][1].manifest["task"]
    task, fault = _read(manifest)
    runs = [_run_report(label, colour, run, task) for (label, run), colour in zip(labelled, colours, strict=True)]
    baseline = next((run.label for run in runs if run.run.policy == BASELINE), runs[0].label)
    ranked = sorted(runs, key=_rank)
    against = tuple(_against(ranked, baseline))
    made = {(change.first, change.second) for change in against}
    changes = (*against, *(twin for twin in _twins(runs) if (twin.first, twin.second) not in made))
    return TaskReport(
        manifest=manifest,
        runs=tuple(ranked),
        baseline=baseline,
        changes=changes,
        power=_power(runs),
        notes=(*notes_on(ranked, changes), *fault),
        published=tuple(_published(manifest, task)),
    )


def _rank(run: RunReport) -> tuple[float, str]:
    """The most accurate first; those without a figure last."""
    value = run.accuracy.over_all.value
    return 1.0 if value is None else -value, run.label


def _power(runs: Sequence[RunReport]) -> str:
    """What the run with the least to say can tell."""
    least = min((run.accuracy.over_all for run in runs), key=lambda found: found.effective_n)
    clustered = round(least.effective_n) < least.n
    worth = f"{least.n:,} rows in {least.clusters:,} clusters are worth {least.effective_n:.0f} independent ones; "
    return (worth if clustered else "") + stats.power_line(least.effective_n)


def _read(manifest: dict[str, Any]) -> tuple[Task | None, tuple[str, ...]]:
    try:
        return read_task(str(manifest.get("text", "")), f"the task {manifest['name']}"), ()
    except BadTask:
        return None, ("this version cannot read the task's text, so figures besides accuracy are left out",)


def _run_report(label: str, colour: int, run: Run, task: Task | None) -> RunReport:
    figures: tuple[Figure, ...] = summary(task.scoring, run.rows) if task else ()
    return RunReport(
        run=run,
        label=label,
        colour=colour,
        accuracy=stats.accuracy(run.rows),
        cost=stats.cost(run.rows),
        calibration=stats.calibration_error(run.rows),
        aurc=stats.aurc(run.rows),
        seeds=stats.between_seeds(run.rows),
        figures=figures,
        moved=moved_of(run),
    )


def _published(manifest: dict[str, Any], task: Task | None) -> Iterator[Baseline]:
    names = [field.name for field in fields(Baseline)]
    if isinstance(told := manifest.get("published"), list):
        yield from (Baseline(**{name: figure[name] for name in names}) for figure in told)
    elif task:
        yield from (Baseline(**{name: getattr(figure, name) for name in names}) for figure in task.published)


# ------------------------------------------------------------------ run against run


def _against(runs: Sequence[RunReport], baseline: str) -> Iterator[Change]:
    """Each run against the baseline of its own directory where that has one; a family of comparisons a directory."""
    by_label = {run.label: run.run for run in runs}
    for folder in dict.fromkeys(run.run.folder.resolve().parent for run in runs):
        family = [run for run in runs if run.run.folder.resolve().parent == folder]
        own = next((run.label for run in family if run.run.policy == BASELINE), baseline)
        rows = {own: by_label[own].rows} | {run.label: run.run.rows for run in family}
        for found in stats.compare_all(rows, own):
            yield _change(found, by_label[found.first], by_label[found.second], found.first, found.second)


def _twins(runs: Sequence[RunReport]) -> Iterator[Change]:
    """Runs of one policy against the first of these, in the order in which they were given."""
    first: dict[str, RunReport] = {}
    for run in runs:
        other = first.setdefault(run.run.policy, run)
        if other is not run:
            yield changed(other.run, run.run, other.label, run.label)


def changed(first: Run, second: Run, first_label: str = "", second_label: str = "") -> Change:
    """What changes from one run of a task to another, problem by problem. Raises BadRun for runs of different tasks."""
    tasks = [
        (run.task, run.manifest["task"].get("version"), run.manifest["task"].get("split")) for run in (first, second)
    ]
    if tasks[0] != tasks[1]:
        one, other = (f"{name} (version {version}, split {split})" for name, version, split in tasks)
        raise BadRun(f"{first.folder} is a run of {one}, {second.folder} of {other}; compare runs of one task")
    found = stats.compare(first.rows, second.rows)
    return _change(found, first, second, first_label or first.policy, second_label or second.policy)


def _change(found: Comparison, first: Run, second: Run, first_label: str, second_label: str) -> Change:
    before = {row.key: row.score or 0.0 for row in first.rows}
    moves = {row.key: (row.score or 0.0) - before[row.key] for row in second.rows if row.key in before}
    fixed = tuple(key for key, move in moves.items() if move > 0)
    broken = tuple(key for key, move in moves.items() if move < 0)
    return Change(first_label, second_label, found, fixed, broken)
