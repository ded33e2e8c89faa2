"""A run as recorded, rows and traces side by side: what calibration and what-ifs are made from, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from iterreason.bench.row import TRACES, Row, Run, only_run
from iterreason.bench.solving import Job, Setting, row_of
from iterreason.bench.tasks.item import Item
from iterreason.bench.tasks.task import NamedTask, read_task
from iterreason.errors import BadRun, NotRecorded
from iterreason.plan import Plan
from iterreason.policy import NamedPolicy
from iterreason.trace import Trace, read_traces

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run whose rows and traces are all of one task, policy and set of models.

    plan: as all its episodes followed it. traces: by key; a problem that could not be shown has none.
    """

    run: Run
    task: NamedTask
    plan: Plan
    traces: dict[Key, Trace]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows as they were recorded."""
        return self.run.rows

    def row_under(self, row: Row, named: NamedPolicy | None) -> Row:
        """The row that the episode would have had under another policy; None is the recorded course itself.

        Raises NotRecorded, which names the first call that the record lacks.
        """
        trace = self.traces.get(row.key)
        if trace is None or not trace.turns:  # it never began
            return row
        try:
            result = trace.replay(named)
        except NotRecorded as error:
            raise NotRecorded(f"problem '{row.id}': {error}") from None
        plan = trace.plan.with_policy(named) if named else trace.plan
        item = Item(row.id, row.question, row.gold, (), row.group, row.choices, kind=row.kind, unit=row.unit)
        return row_of(Job(item, row.seed), Setting(self.task, row.split, plan), result)


def one_run(folder: Path) -> Recorded:
    """The one run in a folder, with its traces. Raises BadRun, BadTrace."""
    return recorded(only_run(folder))


def recorded(run: Run) -> Recorded:
    """A run with its traces; raises BadRun where they are not all of the run's own policy, models and task."""
    if not run.rows:
        raise BadRun(f"{run.folder} has no rows yet; run `iterreason eval` first")
    path = run.folder / TRACES
    text, policy_hash = run.manifest["task"].get("text", ""), run.manifest["policy"].get("hash", "")
    for number, row in enumerate(run.rows, 1):
        if (row.policy_hash, row.models) != (policy_hash, run.rows[0].models):
            raise BadRun(_mixed(f"{run.folder}, row {number} ('{row.id}')", row.policy_hash, row.models, run))
    traces: dict[Key, Trace] = {}
    for number, trace in enumerate(read_traces(path) if path.is_file() else (), 1):
        if (trace.plan.named.hash, trace.plan.models) != (policy_hash, run.rows[0].models):
            where = f"{path}, line {number} ('{trace.problem.id}')"
            raise BadRun(_mixed(where, trace.plan.named.hash, trace.plan.models, run))
        traces[trace.problem.id, trace.seed or 0] = trace  # of a problem that was tried again the last one counts
    begun = [row for row in run.rows if row.rounds or row.outcome != "error"]
    if lost := next((row for row in begun if row.key not in traces), None):
        raise BadRun(f"{path} has no trace of problem '{lost.id}' (seed {lost.seed}); run it again with another --out")
    if not traces:
        raise BadRun(f"{run.folder}: no episode began, the first error is: {run.rows[0].error}")
    plan = next(iter(traces.values())).plan
    if other := next((t for t in traces.values() if t.plan.all_rounds != plan.all_rounds), None):
        raise BadRun(f"{path}: '{other.problem.id}' differs in --all-rounds from the others; record the run anew")
    task = NamedTask(run.task, text, read_task(text, f"the task in {run.folder}"), run.folder)
    return Recorded(run, task, plan, traces)


def _mixed(where: str, policy_hash: str, models: Sequence[str], run: Run) -> str:
    own = str(run.manifest["policy"].get("hash", ""))
    what = f"policy text {policy_hash[:12]}" if policy_hash != own else f"models {', '.join(models)}"
    expected = own[:12] if policy_hash != own else ", ".join(run.rows[0].models)
    return (
        f"{where} is of {what}, the run of {expected}: mixed runs tell nothing of either. Record one run of one policy"
    )


def by_image(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows in groups that share no image: by the task's groups, and by the images' hashes where these cross them."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    for row in rows:
        first, *others = [f"group {row.group or row.id}", *(f"image {sha256}" for sha256 in row.images)]
        for other in others:
            parent[root(other)] = root(first)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(root(f"group {row.group or row.id}"), []).append(row)
    yield from groups.values()
