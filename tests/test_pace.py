"""The adaptive limit of calls in flight: the pure controller on simulated servers, and in front of a model."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from written import ABLE, problem, said

from iterreason.api import Reasoner
from iterreason.calls import EMPTY_PROMPT, Call, Reply
from iterreason.models.paced import Paced
from iterreason.pace import FIRST, Pace, Window, gain
from iterreason.records import Image, Problem

KINDS = {"generation": 10.0, "readout": 1.0, "look": 3.0}  # how much work each is


@dataclass
class Simulated:
    """A server on a simulated clock, at the edge: calls that it works on at once share its speed.

    speed: of so many calls at once, in units of one alone. most: more at once than this are turned away.
    """

    speed: Callable[[int], float]
    most: int = 10**9
    wait: float = 0.0

    def run(self, pace: Pace, seconds: float, seed: int = 0) -> float:
        """Have it asked as fast as the limit allows, for so long; gives the work that it did a second."""
        dice, now, done, number = random.Random(seed), 0.0, 0.0, 0
        running: dict[int, tuple[str, float, float]] = {}  # kind, when it began, the work that is left
        back: list[tuple[float, float]] = []  # turned away: when each comes back, when it began
        while now < seconds:
            while len(running) + len(back) < pace.limit and now >= pace.resume:
                kind = dice.choice(list(KINDS))
                running[number] = (kind, now, KINDS[kind] * dice.uniform(0.7, 1.3))
                number += 1
                if len(running) > self.most:
                    running.pop(number - 1)
                    heapq.heappush(back, (now + max(self.wait, 0.5), now))
                    pace.strained(now, now, self.wait)
            rate = self.speed(len(running)) / max(len(running), 1)
            step = min((left / rate for _, _, left in running.values()), default=0.1)
            if back:
                step = min(step, max(back[0][0] - now, 1e-9))
            if not running and now < pace.resume:
                step = min(step, pace.resume - now) or 1e-9
            now += step
            while back and back[0][0] <= now:
                heapq.heappop(back)
            for key, (kind, began, left) in list(running.items()):
                running[key] = (kind, began, left - step * rate)
                if left - step * rate <= 1e-9:
                    del running[key]
                    done += KINDS[kind]
                    pace.ended(kind, now - began, waiting=True)
        return done / seconds


def batching(capacity: float) -> Callable[[int], float]:
    """The speed of a server that batches: it grows with the calls, up to its capacity."""
    return lambda calls: capacity * calls / (calls + capacity)


# ------------------------------------------------------------------ the controller


def test_the_limit_grows_to_its_bound_where_the_server_bears_it():
    """While more calls bring more throughput the limit grows, up to the bound and never past it."""
    pace = Pace(64)
    Simulated(lambda calls: float(calls)).run(pace, 600)
    assert (pace.limit, pace.highest, pace.cuts) == (64, 64, 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_limit_stops_where_more_calls_only_queue(seed: int):
    """A server that works on 16 calls at once is kept busy with few more, though the bound is 512."""
    pace = Pace(512)
    server = Simulated(lambda calls: float(min(calls, 16)))
    rate = server.run(pace, 3_000, seed)
    assert pace.limit <= 64
    assert rate > 0.95 * 16


@pytest.mark.parametrize("capacity", [2, 20, 100])
def test_throughput_comes_near_to_the_best_fixed_limit(capacity: int):
    """With no number to tune the limit reaches nine tenths of what the whole bound in flight reaches."""
    server = Simulated(batching(capacity))
    pace, fixed = Pace(64), Pace(64)
    fixed.limit, fixed.ended = 64, lambda *_, **__: None
    assert server.run(pace, 2_000) > 0.9 * server.run(fixed, 2_000)


def test_a_server_that_collapses_under_load_is_not_overloaded():
    """Where too many calls at once make a server slower (it runs out of cache), the limit stays below that."""
    pace = Pace(256)
    rate = Simulated(lambda calls: float(calls) if calls <= 24 else 6.0).run(pace, 3_000)
    assert pace.limit <= 24
    assert rate > 0.6 * 16


def test_calls_turned_away_lower_the_limit():
    """A server that turns away all but 6 calls at once (429) is soon asked little more than that, and never starved."""
    pace = Pace(64)
    rate = Simulated(float, most=6, wait=5.0).run(pace, 3_000)
    assert pace.cuts > 0
    assert 1 <= pace.limit <= 12
    assert rate > 0.6 * 6


def test_a_stray_failure_is_no_overload():
    """A 429 or time-out in thirty replies, whatever the load, leaves the limit growing to its bound."""
    pace, now = Pace(32), 0.0
    for number in range(3_000):
        now += 1 / pace.limit
        pace.ended("look", 1.0, waiting=True)
        if number % 30 == 7:
            pace.strained(now - 1, now)
    assert (pace.limit, pace.cuts) == (32, 0)


def test_what_was_sent_before_a_cut_does_not_cut_again():
    """A burst of refusals of calls that were in flight together lowers the limit once."""
    pace = Pace(8)
    for _ in range(50):
        pace.strained(1.0, 2.0, wait=3.0)
    assert (pace.cuts, pace.limit, pace.resume) == (1, 5, 5.0)


def test_the_limit_follows_a_server_that_changes():
    """When a server loses most of its capacity the queue is noticed; when it gets it back the limit grows again."""
    pace = Pace(64)
    Simulated(lambda calls: float(min(calls, 40))).run(pace, 1_000)
    full = pace.limit
    Simulated(lambda calls: float(min(calls, 5))).run(pace, 4_000)
    poor = pace.limit
    Simulated(lambda calls: float(min(calls, 40))).run(pace, 4_000)
    assert full >= 30
    assert poor <= 16
    assert pace.limit >= 30


def test_a_limit_that_binds_nobody_stays():
    """One episode alone never waits for room: nothing is learned from it, and nothing changes."""
    pace = Pace(64)
    for _ in range(1_000):
        pace.ended("look", 1.0, waiting=False)
    assert pace.limit == FIRST


def test_throughput_depends_neither_on_the_mix_nor_on_a_few_stalls():
    """Twice the calls at once in the same seconds are twice the throughput, in a window of long calls as in one of
    short ones, and with one in ten that stalled; without a kind in common nothing can be said."""
    before, after, other = Window(8), Window(16), Window(8)
    for number in range(80):
        before.add("look" if number % 4 else "generation", 1.0 if number % 4 else 9.0, waiting=True)
        after.add("generation" if number % 4 else "look", 9.0 if number % 4 else 1.0, waiting=True)
        if number % 10 == 0:
            after.add("generation", 60.0, waiting=True)
        other.add("readout", 1.0, waiting=True)
    assert gain(before, after) == pytest.approx(2.0)
    assert gain(before, other) is None


# ------------------------------------------------------------------ in front of a model


class Slow:
    """A model that works on so many calls at once, in order; the rest wait in it."""

    def __init__(self, at_once: int, seconds: float = 0.002) -> None:
        self.seconds, self.now, self.most = seconds, 0, 0
        self.at_once = at_once
        self.calls: list[Call] = []
        self._room: asyncio.Semaphore | None = None

    async def complete(self, call: Call, on_text=None) -> Reply:
        self._room = self._room or asyncio.Semaphore(self.at_once)
        self.calls.append(call)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            async with self._room:
                await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        return said("yes")

    def capabilities(self):
        return ABLE

    async def close(self) -> None:
        pass


ASK = Call("reasoner", "generation", EMPTY_PROMPT.plus("user", "?"))


def test_calls_past_the_limit_wait_in_order():
    """Never more calls at once than the limit; those that wait are made first come, first served."""
    model = Slow(100)
    calls = [Call("reasoner", "generation", EMPTY_PROMPT.plus("user", str(n))) for n in range(40)]

    async def all_at_once() -> None:
        paced = Paced(model, 4)
        await asyncio.gather(*(paced.complete(call) for call in calls))

    asyncio.run(all_at_once())
    assert model.most == 4
    assert [call.key for call in model.calls] == [call.key for call in calls]


def test_a_cancelled_wait_gives_its_place_on():
    """Calls that are cancelled, waiting or in flight, take no room from those that remain."""
    model = Slow(100, seconds=0.05)

    async def some_cancelled() -> int:
        paced = Paced(model, 2)
        tasks = [asyncio.ensure_future(paced.complete(ASK)) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        return sum(not task.cancelled() for task in tasks)

    assert asyncio.run(some_cancelled()) == 10
    assert model.most == 2
    assert model.now == 0


def test_a_batch_asks_no_more_at_once_than_brings_throughput():
    """In the engine: a model that works on 8 calls at once gets few more, though 400 problems may be in flight; and
    problems about one image still run side by side."""
    model = Slow(8)
    images = [Image(f"{n:064}", 8, 8) for n in range(80)]
    problems = [Problem((images[n % 80],), f"question {n}") for n in range(1_600)]
    with Reasoner(model, model, policy="direct", concurrency=400) as reasoner:
        assert all(r.error is None for r in reasoner.batch(problems))
    looked = deque(call.look.view.image.sha256 for call in model.calls if call.look)
    assert list(looked) == sorted(looked)
    assert model.most < 100


def test_a_batch_uses_what_the_model_can_take():
    """In the engine: a model that works on any number of calls at once gets as many as there may be problems."""
    model = Slow(10_000, seconds=0.1)
    with Reasoner(model, model, policy="direct", concurrency=64) as reasoner:
        reasoner.batch([problem(f"Is thing {n} red?") for n in range(600)])
    assert model.most == 64
