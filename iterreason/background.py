"""An event loop in a thread, so that a plain call works anywhere: a script, a running loop, a notebook."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Thread, current_thread
from typing import Any, TypeVar

from iterreason.errors import Misuse

T = TypeVar("T")
_PATIENCE = 30.0  # seconds for cancelled work to let go


class _Escaped(Exception):
    """Somebody's callback asked the program to end; raised where it can, not in the loop's thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Background:
    """One event loop in one thread; `close` leaves neither behind."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        # A daemon, since a forgotten `close` must not keep the interpreter from ending; `atexit` closes it in order.
        self._thread = Thread(target=self._loop.run_forever, name="iterreason", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def usable(self) -> bool:
        """Whether its thread is here: a forked process has the object, but not the thread."""
        return self._process == os.getpid() and self._thread.is_alive()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work; cancelling the future cancels the work."""
        return asyncio.run_coroutine_threadsafe(_contained(work), self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work and wait for it; an interrupt (Ctrl-C) cancels it and waits until it has let go.

        Raises Misuse when called from a callback of such work, which would wait for itself.
        """
        if current_thread() is self._thread:
            work.close()
            raise Misuse("a callback (on_events, on_result) cannot ask the reasoner that calls it; use another one")
        finished: Future[None] = Future()

        async def tracked() -> T:
            try:
                return await work
            finally:
                finished.set_result(None)

        future = self.submit(tracked())
        try:
            return future.result()
        except _Escaped as escaped:
            raise escaped.error from None
        except BaseException:
            if not future.done():
                future.cancel()
                with suppress(TimeoutError):
                    finished.result(timeout=_PATIENCE)
            raise

    def close(self) -> None:
        """Cancel what still runs, end the loop and its thread; safe to call twice."""
        if self._loop.is_closed() or not self.usable:
            return
        atexit.unregister(self.close)
        with suppress(TimeoutError, CancelledError):
            self.submit(self._wind_down()).result(timeout=_PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_PATIENCE)
        if not self._thread.is_alive():
            self._loop.close()

    async def _wind_down(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


async def _contained(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise _Escaped(error) from None


async def aside(work: Callable[[], T]) -> T:
    """Blocking work in a thread of its own; unlike `asyncio.to_thread`, nothing waits for it once it is cancelled."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]  # where there is no error there is a result
        else:
            done.set_exception(error)

    def run() -> None:
        outcome: tuple[T | None, BaseException | None]
        try:
            outcome = work(), None
        except BaseException as error:
            outcome = None, error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, *outcome)

    Thread(target=run, name="iterreason aside", daemon=True).start()
    return await done


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """What comes of work done at once, in order; when one fails, or all are cancelled, none is left running."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
