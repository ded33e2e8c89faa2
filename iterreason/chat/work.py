"""The model side of a session, in a thread of its own: opens models, runs episodes, hears a person meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iterreason.asked import looks
from iterreason.background import Background, aside
from iterreason.calls import Event, Note, Returned, Stopped, Turn
from iterreason.chat.session import Session
from iterreason.chat.store import SessionFile
from iterreason.driver import drive
from iterreason.errors import IterReasonError
from iterreason.exemplars import with_exemplars
from iterreason.loop import episode
from iterreason.opening import Opened, open_models
from iterreason.plan import Plan
from iterreason.records import Exemplar, Problem, Question, Result
from iterreason.trace import Trace

Post = Callable[[Callable[[], None]], None]  # has something done in the input's thread


@dataclass(frozen=True, slots=True)
class Job:
    """What to do: reason about the problem; with `asked`, only look. `pending`: what a killed session left of it."""

    problem: Problem
    session: Session
    asked: tuple[Question, ...] = ()
    pending: Trace | None = None


@dataclass(slots=True)
class Running:
    """A job under way. `making`: how many calls are being made; `notes`: what a person said and no turn has taken."""

    job: Job
    began: float
    stop: asyncio.Event
    making: int = 0
    calls: int = 0
    opened: bool = False
    notes: list[Note] = field(default_factory=list)
    future: Future[Any] | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began


@dataclass(frozen=True, slots=True)
class Options:
    """What stays as the command line had it."""

    tools: tuple[str, ...] = ()
    reliability: str | None = None
    cache: Path | None = None
    seed: int | None = None
    pool: tuple[Exemplar, ...] = ()
    attribution: bool = False


class Work:
    """Runs one job at a time; what happens is posted to the input's thread."""

    def __init__(self, options: Options, post: Post) -> None:
        self._options, self._post = options, post
        self._background = Background()
        self._opening = asyncio.Lock()
        self._open: tuple[Any, Opened] | None = None
        self.loading = False

    def prepare(self, session: Session, on_failed: Callable[[IterReasonError], None]) -> None:
        """Open the session's models already, while the person still types."""

        async def prepared() -> None:
            try:
                await self._fitted(session)
            except IterReasonError as error:
                self._post(lambda error=error: on_failed(error))  # type: ignore[misc]

        self._background.submit(prepared())

    def start(
        self,
        job: Job,
        file: SessionFile,
        on_events: Callable[[tuple[Event, ...]], None],
        on_end: Callable[[Result | BaseException], None],
    ) -> Running:
        """Start a job; `on_events` and `on_end` are called in the input's thread."""
        running = Running(job, time.monotonic(), asyncio.Event())

        async def worked() -> None:
            try:
                end: Result | BaseException = await self._run(running, file, on_events)
            except asyncio.CancelledError:
                end = IterReasonError("stopped before the models were open; nothing was asked")
                self._post(lambda: on_end(end))
                raise
            except Exception as error:  # shown in place; the session goes on
                end = error
            self._post(lambda: on_end(end))

        running.future = self._background.submit(worked())
        return running

    async def _run(self, running: Running, file: SessionFile, on_events: Callable[[tuple[Event, ...]], None]) -> Result:
        job, seed = running.job, self._options.seed
        opened, plan = await self._fitted(job.session)
        pool, problem = self._options.pool, job.problem
        if not job.asked:
            problem = await aside(lambda: with_exemplars(job.problem, plan.policy, pool, seed))
        running.opened = True
        start = job.session.memory
        began, recorded = file.begin(job.session, problem, plan, seed, job.asked, job.pending)

        async def live(turn: Turn) -> Returned:
            running.making, running.calls = len(turn.calls), running.calls + len(turn.calls)
            returned = await opened.engine.make(turn, stop=running.stop)
            running.making = 0
            said, running.notes = tuple(running.notes), []
            return replace(returned, notes=said + ((Stopped(),) if running.stop.is_set() else ()))

        if job.asked:
            made = looks(problem, plan, job.asked, start=start, seed=seed)
        else:
            made = episode(problem, plan, start=start, seed=seed)
        result = await drive(
            made, recorded, live, on_events=lambda e: self._post(lambda: on_events(e)), on_returned=began
        )
        file.end(result)
        return result

    def stop(self, running: Running) -> None:
        """End a job with what it knows; one that still waits for its models is dropped."""
        if running.opened:
            self._background.submit(_set(running.stop))
        elif running.future is not None:
            running.future.cancel()

    async def _fitted(self, session: Session) -> tuple[Opened, Plan]:
        named = session.policy.find()
        needs = named.policy.verdict_by, named.policy.looks, named.policy.tools.use
        key = session.models, needs
        async with self._opening:
            if self._open is None or self._open[0] != key:
                self.loading = True
                try:
                    await self._exchange(key, session)
                finally:
                    self.loading = False
            assert self._open is not None, "it was just opened"
            return self._open[1], self._open[1].fit(named, attribution=self._options.attribution)

    async def _exchange(self, key: Any, session: Session) -> None:
        if self._open is not None:
            before, self._open = self._open[1], None
            await before.close()
        opened = await open_models(
            session.models.reasoner,
            session.models.answerers or None,
            [session.policy.find()],
            cache=self._options.cache,
            reliability=self._options.reliability,
            tools=self._options.tools,
        )
        self._open = key, opened

    def close(self) -> None:
        """Give back models and the thread."""
        try:
            if self._open is not None:
                self._background.run(self._open[1].close())
        finally:
            self._background.close()


async def _set(event: asyncio.Event) -> None:
    event.set()
