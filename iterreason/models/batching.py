"""In-process models run the calls that wait together, on one thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Condition, Thread

from iterreason.calls import Call, Reply

CLOSED = "the model is closed"
REASON_CHARS = 300

Run = Callable[[Sequence[Call]], Sequence[Reply]]


@dataclass(eq=False, slots=True)
class _Waiter:
    call: Call
    group: Hashable
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Reply]

    @property
    def gone(self) -> bool:
        return self.future.cancelled() or self.loop.is_closed()

    def answer(self, reply: Reply) -> None:
        """Hand over the reply, from any thread; a loop that has ended wants none."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_settle, self.future, reply)


def _settle(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


class Batcher:
    """Gathers the calls that wait into batches; calls may come from several event loops.

    run: answers a batch, one reply for each call, in order; it runs on the batcher's thread, never twice at a time.
        What it raises becomes the error of each call of that batch.
    limit: the most calls in a batch, ≥ 1.
    group: only calls with the same value share a batch.
    """

    def __init__(self, run: Run, limit: int, group: Callable[[Call], Hashable] = lambda call: None) -> None:
        self._run, self._limit, self._group = run, limit, group
        self._waiting: list[_Waiter] = []
        self._running: list[_Waiter] = []
        self._changed = Condition()
        self._closed = False
        self._thread: Thread | None = None

    @property
    def abandoned(self) -> bool:
        """Whether nobody wants the running batch any more; a long `run` looks at this between its steps."""
        return self._closed or all(waiter.gone for waiter in self._running)

    async def submit(self, call: Call) -> Reply:
        """Answer one call together with those that wait; a cancelled one is dropped before it runs."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(call, self._group(call), loop, loop.create_future())
        with self._changed:
            if self._closed:
                return Reply(error=CLOSED)
            self._waiting.append(waiter)
        loop.call_soon(self._wake)  # not before every task that is ready now has put in its call
        return await waiter.future

    async def close(self) -> None:
        """Fail what waits, end the thread and wait for it; safe to call twice."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._changed.notify_all()
        for waiter in waiting:
            waiter.answer(Reply(error=CLOSED))
        while self._thread and self._thread.is_alive():
            await asyncio.sleep(0.002)

    def _wake(self) -> None:
        with self._changed:
            if self._thread is None and not self._closed:
                # A daemon, so that a forgotten close() does not keep the process from ending.
                self._thread = Thread(target=self._work, name="iterreason-batches", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._next():
            replies = self._replies(batch)
            self._running = []
            for waiter, reply in zip(batch, replies, strict=True):
                waiter.answer(reply)
            del batch, replies  # an idle thread keeps no images alive

    def _next(self) -> list[_Waiter]:
        """Wait for calls and take the first with all that may run beside it; nothing once closed."""
        with self._changed:
            while not self._closed:
                self._waiting = [w for w in self._waiting if not w.gone]
                if self._waiting:
                    group = self._waiting[0].group
                    batch = [w for w in self._waiting if w.group == group][: self._limit]
                    self._waiting = [w for w in self._waiting if w not in batch]
                    self._running = batch
                    return batch
                self._changed.wait()
        return []

    def _replies(self, batch: Sequence[_Waiter]) -> Sequence[Reply]:
        try:
            replies = list(self._run([waiter.call for waiter in batch]))
        except BaseException as error:  # whatever it was, it must neither hang nor kill anyone
            return [Reply(error=one_line(error))] * len(batch)
        if len(replies) != len(batch):
            return [Reply(error=f"{len(replies)} replies came for {len(batch)} calls")] * len(batch)
        return replies


def one_line(error: BaseException) -> str:
    """The reason behind an error, in one line of at most 300 characters."""
    words = " ".join(str(error).split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= REASON_CHARS else text[: REASON_CHARS - 1] + "…"
