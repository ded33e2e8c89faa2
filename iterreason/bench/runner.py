"""The benchmark runner: tasks × policies, each problem solved once under each seed, nothing lost."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from iterreason.background import aside
from iterreason.bench.folder import RunFolder, folder_of
from iterreason.bench.manifest import Terms, make_manifest
from iterreason.bench.probing import probe_run
from iterreason.bench.row import Row, Run
from iterreason.bench.solving import Done, Job, Setting, solve_all
from iterreason.bench.tasks.loading import Loaded, load_items, missing_text
from iterreason.bench.tasks.task import NamedTask
from iterreason.errors import Misuse
from iterreason.opening import Answerers, Wanted, open_models
from iterreason.policy import NamedPolicy, find_policy
from iterreason.records import Exemplar

BASELINES = ("blind", "direct")
Solving = Callable[[Iterable[Job], Setting], AsyncGenerator[Done, None]]


class Watcher(Protocol):
    """Who is told how an evaluation goes; the live view is one."""

    def said(self, note: str) -> None:
        """Something worth a line: what was resumed, what is missing."""

    def began(self, setting: Setting, rows: Sequence[Row], wanted: int) -> None:
        """A run begins, or goes on with the rows that it has already."""

    def solved(self, row: Row) -> None:
        """A problem is on disk."""

    def ended(self) -> None:
        """The run has all its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What to evaluate, and how.

    tasks: each with its split; an empty one is the task's default. policies: names or files; `blind` and `direct` are
        added where `baselines`. out: the directory for all runs, DIR/TASK/POLICY/.
    limit: problems of each split at most, a sample that depends on their ids alone; None for all. seeds: ≥ 1; each
        problem is solved once under each of 0, 1, ….
    matched: also run `direct` sampled as often as the first policy's mean tokens pay for.
    probe: problems of each run whose image is blanked, swapped and cropped afterwards; 0: none.
    exemplars: the pool for policies that show some.
    all_rounds, retry_errors, strict, deterministic: see `iterreason eval --help`.
    """

    tasks: tuple[tuple[NamedTask, str], ...]
    policies: tuple[NamedPolicy, ...]
    out: Path
    limit: int | None = None
    seeds: int = 1
    baselines: bool = True
    matched: bool = False
    all_rounds: bool = False
    retry_errors: bool = False
    strict: bool = False
    deterministic: bool = False
    probe: int = 0
    exemplars: tuple[Exemplar, ...] = ()

    @property
    def all_policies(self) -> tuple[NamedPolicy, ...]:
        """The policies, then the baselines that are not among them."""
        named = {policy.name for policy in self.policies}
        added = [name for name in BASELINES if self.baselines and name not in named]
        return (*self.policies, *(find_policy(name) for name in added))

    def __post_init__(self) -> None:
        for what, names in (
            ("policies", [policy.name for policy in self.policies]),
            ("tasks", [f"{named.name}:{named.split(split)}" for named, split in self.tasks]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise Misuse(f"two {what} are called '{twice[0]}'; their runs would share a folder. Rename one")
        if self.limit is not None and self.limit < 1:
            raise Misuse(f"--limit must be at least 1, not {self.limit}")
        if self.seeds < 1:
            raise Misuse(f"--seeds must be at least 1, not {self.seeds}")
        if self.probe < 0:
            raise Misuse(f"--probe must be at least 0, not {self.probe}")
        for named in self.all_policies if not self.exemplars else ():
            if named.policy.exemplars:
                raise Misuse(f"policy '{named.name}' shows worked exemplars; name a pool of them with --exemplars FILE")
        if self.matched and self.all_rounds:
            raise Misuse("--matched counts the tokens of a policy that stops when it may; leave --all-rounds out")
        if self.matched and not (self.compared and "direct" in [policy.name for policy in self.all_policies]):
            raise Misuse("--matched compares a policy with 'direct'; name another policy and leave the baselines in")

    @property
    def compared(self) -> NamedPolicy | None:
        """The first policy that is no baseline."""
        return next((policy for policy in self.policies if policy.name not in BASELINES), None)


async def evaluate(
    wanted: Evaluation,
    watcher: Watcher,
    *,
    reasoner: Wanted = None,
    answerer: Answerers = None,
    reliability: Path | None = None,
    cache: Path | None = None,
    concurrency: int = 32,
    solving: Solving | None = None,
) -> list[Run]:
    """Evaluate policies on tasks; gives the runs.

    concurrency: the bound of problems in flight and of calls at once to a model; below it the engine finds its own way.
    solving: who solves the problems, where it is not this process.
    Raises what misuse and failures there are; the rows so far are on disk, and the same call goes on with them.
    """
    if wanted.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts; torch refuses otherwise
    loaded = await aside(lambda: [_load(wanted, named, split) for named, split in wanted.tasks])
    for (named, _), (_, data) in zip(wanted.tasks, loaded, strict=True):
        if data.missing:
            told = f"{missing_text(data.missing)}; the problems that need one count as errors (--strict stops instead)"
            watcher.said(f"task {named.name}: {told}")
    at_once = 1 if wanted.deterministic else concurrency
    opened = await open_models(
        reasoner, answerer, wanted.all_policies, cache=cache, concurrency=at_once, reliability=reliability
    )
    solve = solving or (lambda jobs, setting: solve_all(jobs, opened.engine, setting))
    runs: list[Run] = []
    try:
        plans = [opened.fit(policy, all_rounds=wanted.all_rounds) for policy in wanted.all_policies]
        with _deterministic() if wanted.deterministic else nullcontext():
            for (named, _), (split, data) in zip(wanted.tasks, loaded, strict=True):
                settings = [Setting(named, split, plan, wanted.exemplars) for plan in plans]
                of_task = [await _run(wanted, setting, data, watcher, solve) for setting in settings]
                runs += of_task
                if wanted.matched:
                    matched = replace(settings[0], plan=opened.fit(_matched(wanted, of_task)))
                    runs.append(await _run(wanted, matched, data, watcher, solve))
                if wanted.probe:
                    for setting, run in zip(settings, of_task, strict=True):
                        moved = await probe_run(run, setting, data.items, wanted.probe, opened.engine)
                        watcher.said(f"{run.policy}: {moved.told}")
        if solving is None:
            watcher.said(opened.told())
    finally:
        await opened.close()
    return runs


def _load(wanted: Evaluation, named: NamedTask, split: str) -> tuple[str, Loaded]:
    split = named.split(split)
    return split, load_items(named, split, wanted.limit, strict=wanted.strict)


def _matched(wanted: Evaluation, runs: Sequence[Run]) -> NamedPolicy:
    """The policy `direct`, sampled as often as the mean tokens of the policy that it is compared with pay for."""
    from iterreason.bench.matched import matched_policy

    rows = {run.policy: run.rows for run in runs}
    assert wanted.compared is not None, "checked beforehand"
    return matched_policy(rows[wanted.compared.name], rows["direct"])


async def _run(wanted: Evaluation, setting: Setting, data: Loaded, watcher: Watcher, solving: Solving) -> Run:
    """One task under one policy: what is not on disk yet is solved and recorded."""
    seeds = tuple(range(wanted.seeds))
    jobs = {(item.id, seed): Job(item, seed) for item in data.items for seed in seeds}
    terms = Terms(data.fingerprint, seeds, wanted.limit, wanted.deterministic)
    manifest = make_manifest(setting, terms, len(data.items))
    with RunFolder(folder_of(wanted.out, setting), manifest) as folder:
        if wanted.retry_errors:
            folder.retry_errors(jobs)
        folder.recover(jobs, setting)
        for note in folder.notes:
            watcher.said(note)
        watcher.began(setting, [row for key, row in folder.rows.items() if key in jobs], len(jobs))
        left = [job for key, job in jobs.items() if key not in folder.rows]
        if left:
            folder.go_on()
        async with aclosing(solving(left, setting)) as ended:
            async for done in ended:
                if folder.record(done):
                    watcher.solved(done.row)
        watcher.ended()
        # What this call asked for; the folder may hold more, of a larger limit or more seeds.
        asked = {name: manifest[name] for name in ("limit", "seeds", "asked", "wanted")}
        rows = tuple(row for key, row in folder.rows.items() if key in jobs)
        return Run(folder.folder, {**folder.manifest, **asked}, rows)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Have torch, where models of this process use it, take algorithms that give the same bits each time."""
    torch = sys.modules.get("torch")
    before = torch is not None and torch.are_deterministic_algorithms_enabled()
    if torch is not None:
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(0)
    try:
        yield
    finally:
        if torch is not None:
            torch.use_deterministic_algorithms(before)
