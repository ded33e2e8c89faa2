"""Many episodes over the same models: bounded in flight, every call of a turn at once, no failure lost or spread."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from iterreason.calls import DEADLINE, STOPPED, Call, Reply, Returned, Turn
from iterreason.driver import OnEvents, OnReturned, RecordedTurn, drive
from iterreason.errors import IterReasonError
from iterreason.loop import episode
from iterreason.memory import EMPTY, Memory
from iterreason.models import Model
from iterreason.plan import Plan
from iterreason.prompts import one_line
from iterreason.records import Problem, Result
from iterreason.state import State

T = TypeVar("T")


class Engine:
    """Makes the calls of episodes; `models` by slot (`reasoner`, `answerer:0`)."""

    def __init__(self, models: Mapping[str, Model], *, concurrency: int = 32) -> None:
        self._models = models
        self.concurrency = concurrency

    async def make(self, turn: Turn, *, stop: asyncio.Event | None = None) -> Returned:
        """Make all calls of a turn at once; what outlasts the episode's time budget comes back as `deadline`.

        stop: once it is set, what is still under way comes back as `stopped`.
        """
        began = time.perf_counter()
        tasks = [asyncio.ensure_future(self._complete(call)) for call in turn.calls]
        try:
            await _settled(tasks, turn.seconds_left, stop)
        finally:
            late = [task for task in tasks if not task.done()]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        elapsed = time.perf_counter() - began
        cut = Reply(error=STOPPED if stop and stop.is_set() else DEADLINE, seconds=elapsed)
        return Returned(tuple(cut if task in late else task.result() for task in tasks), elapsed)

    async def _complete(self, call: Call) -> Reply:
        began = time.perf_counter()
        try:
            return _checked(call, await self._models[call.slot].complete(call))
        except Exception as error:  # a model of the user's own may raise; its episode records it and the others go on
            why = one_line(f"{type(error).__name__}: {error}")
            return Reply(error=why, seconds=time.perf_counter() - began)

    async def run(
        self,
        problem: Problem,
        plan: Plan,
        *,
        start: Memory = EMPTY,
        seed: int | None = None,
        recorded: Sequence[RecordedTurn] = (),
        on_events: OnEvents | None = None,
        on_returned: OnReturned | None = None,
    ) -> Result:
        """Run one episode; `recorded` turns are played back first."""
        running = episode(problem, plan, start=start, seed=seed)
        return await drive(running, recorded, self.make, on_events=on_events, on_returned=on_returned)

    async def run_many(
        self,
        problems: Sequence[Problem],
        plan: Plan,
        *,
        seed: int | None = None,
        recorder: Callable[[int], OnReturned] | None = None,
    ) -> AsyncGenerator[tuple[int, Result], None]:
        """Run many episodes; gives (index, result) as each ends. Those of one image run near each other.

        recorder: gives what is told of each turn of the episode with this index.
        """

        async def one(index: int) -> tuple[int, Result]:
            on_returned = recorder(index) if recorder else None
            return index, await self.outcome(problems[index], plan, seed=seed, on_returned=on_returned)

        episodes = (one(index) for index in _images_together(problems))
        async with aclosing(as_each_ends(episodes, self.concurrency)) as ended:
            async for index, result in ended:
                yield index, result

    async def outcome(
        self, problem: Problem, plan: Plan, *, seed: int | None = None, on_returned: OnReturned | None = None
    ) -> Result:
        """The result of one of many: a problem that this policy cannot take is its own outcome, not the run's end."""
        try:
            return await self.run(problem, plan, seed=seed, on_returned=on_returned)
        except IterReasonError as error:
            return State(problem, plan, EMPTY, seed).result("error", str(error))


async def as_each_ends(work: Iterable[Coroutine[Any, Any, T]], at_most: int) -> AsyncGenerator[T, None]:
    """What comes of each piece of work as it ends, with so many under way at once; the next starts when one ends.

    The work is taken from its iterable only when there is room for it. What one raises ends all.
    """
    waiting = iter(work)
    running = set[asyncio.Task[T]]()
    try:
        while True:
            while len(running) < at_most and (coroutine := next(waiting, None)) is not None:
                running.add(asyncio.ensure_future(coroutine))
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                running.remove(task)
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _settled(tasks: Sequence[asyncio.Task[Reply]], seconds: float | None, stop: asyncio.Event | None) -> None:
    """Wait until all are done, the time is up, or somebody stops them."""
    if stop is None:
        await asyncio.wait(tasks, timeout=seconds)
        return
    stopped, done = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(asyncio.wait(tasks))
    try:
        await asyncio.wait((stopped, done), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in (stopped, done):
            waiting.cancel()


def collect_rarely() -> None:
    """Have Python look for reference cycles far less often: for programs, not for libraries, to call.

    Episodes make no cycles, and searching through thousands in flight took a third of their time.
    """
    gc.set_threshold(100_000, 50, 100)


def _checked(call: Call, reply: Reply) -> Reply:
    """The reply, if it has the form that the call wants; an error otherwise."""
    wanted = len(call.choices) if reply.scores or (call.purpose == "readout" and call.choices) else 0
    if reply.error is not None:
        return reply
    if len(reply.scores) != wanted:
        return replace(reply, error=f"the model gave {len(reply.scores)} scores for {len(call.choices)} choices")
    if not reply.scores and len(reply.samples) != call.sampling.n:
        return replace(reply, error=f"the model gave {len(reply.samples)} samples of {call.sampling.n}")
    return reply


def _images_together(problems: Sequence[Problem]) -> list[int]:
    """Indices in order, but with problems about the same first image side by side."""
    first: dict[str, int] = {}
    for index, problem in enumerate(problems):
        first.setdefault(problem.images[0].sha256, index)
    return sorted(range(len(problems)), key=lambda i: (first[problems[i].images[0].sha256], i))
