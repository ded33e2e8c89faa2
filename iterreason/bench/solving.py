"""Solving one problem of a benchmark: from the item to the episode's trace and the row that is kept of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from iterreason.background import aside
from iterreason.bench.row import RoundRow, Row
from iterreason.bench.scoring import outcome_of, score
from iterreason.bench.tasks.item import Item
from iterreason.bench.tasks.task import NamedTask
from iterreason.engine import Engine, as_each_ends
from iterreason.errors import IterReasonError
from iterreason.exemplars import with_exemplars
from iterreason.memory import EMPTY
from iterreason.plan import Plan
from iterreason.prompts import one_line
from iterreason.records import Exemplar, Result, Usage
from iterreason.trace import EpisodeRecorder


@dataclass(frozen=True, slots=True)
class Setting:
    """What all problems of a run share: the task, the split, the policy as fitted, the exemplars' pool."""

    task: NamedTask
    split: str
    plan: Plan
    pool: tuple[Exemplar, ...] = ()

    @property
    def names(self) -> tuple[str, str]:
        """What task and policy are called; another split than the default, and all rounds, stand in the names."""
        split = "" if self.split == self.task.task.default_split else f".{self.split}"
        return f"{self.task.name}{split}", f"{self.plan.named.name}{'.all-rounds' if self.plan.all_rounds else ''}"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that take part, the reasoner first."""
        return self.plan.models


@dataclass(frozen=True, slots=True)
class Job:
    """A problem to be solved. seed: for models that sample, and for the order of the choices."""

    item: Item
    seed: int


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job. trace: the line of its episode; None where it never began."""

    row: Row
    trace: dict[str, Any] | None = None


async def solve(job: Job, engine: Engine, setting: Setting) -> Done:
    """Solve one problem; a failure, of its images too, is its outcome."""
    try:
        policy = setting.plan.policy
        problem = await aside(lambda: with_exemplars(job.item.problem(job.seed), policy, setting.pool, job.seed))
    except IterReasonError as error:
        return Done(failed_row(job, setting, one_line(str(error))))
    recorder = EpisodeRecorder(problem, setting.plan, EMPTY, job.seed)
    result = await engine.outcome(problem, setting.plan, seed=job.seed, on_returned=recorder.turn)
    return Done(row_of(job, setting, result), recorder.line(result))


async def solve_all(jobs: Iterable[Job], engine: Engine, setting: Setting) -> AsyncGenerator[Done, None]:
    """Solve problems, as many at once as the engine is made for; gives each as it ends."""
    work = (solve(job, engine, setting) for job in jobs)
    async with aclosing(as_each_ends(work, engine.concurrency)) as ended:
        async for done in ended:
            yield done


def row_of(job: Job, setting: Setting, result: Result) -> Row:
    """The row of an episode that came to an end."""
    item, scoring = job.item, setting.task.task.scoring

    def scored(answer: str | None) -> float | None:
        return None if answer is None else score(scoring, answer, item.gold, item.choices)

    points = None if result.error else scored(result.answer)
    return Row(
        **_key(job, setting),
        choices=result.problem.choices,
        answer=result.answer,
        outcome=outcome_of(points, result.error),
        score=points,
        confidence=result.confidence,
        confidence_source=result.confidence_source,
        best_guess=result.best_guess,
        stop_reason=result.stop_reason,
        error=result.error,
        rounds=tuple(
            RoundRow(r.verdict.answer, r.verdict.confidence, scored(r.verdict.answer), r.stops) for r in result.rounds
        ),
        usage=result.usage,
        images=tuple(image.sha256 for image in result.problem.images),
    )


def failed_row(job: Job, setting: Setting, why: str) -> Row:
    """The row of a problem whose episode never began: an image is missing or damaged, say."""
    return Row(
        **_key(job, setting),
        choices=job.item.choices,
        answer=None,
        outcome=outcome_of(None, why),
        score=None,
        confidence=None,
        confidence_source=setting.plan.confidence,
        best_guess=None,
        stop_reason="error",
        error=why,
        rounds=(),
        usage=Usage(),
        images=(),
    )


def _key(job: Job, setting: Setting) -> dict[str, Any]:
    item, plan = job.item, setting.plan
    return {
        "task": setting.task.name,
        "version": setting.task.task.version,
        "split": setting.split,
        "id": item.id,
        "seed": job.seed,
        "policy": plan.named.name,
        "policy_hash": plan.named.hash,
        "models": setting.models,
        "all_rounds": plan.all_rounds,
        "question": item.question,
        "gold": item.gold,
        "group": item.group,
        "kind": item.kind,
        "unit": item.unit,
    }
