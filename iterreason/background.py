"""An event loop in a thread, so that a plain call works anywhere: a script, a running loop, a notebook."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """One event loop in one thread; `close` leaves neither behind."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon, since a forgotten `close` must not keep the interpreter from ending; `atexit` closes it in order.
        self._thread = Thread(target=self._loop.run_forever, name="iterreason", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work; cancelling the future cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work and wait for it; an interrupt (Ctrl-C) cancels it and waits until it has let go."""
        finished: Future[None] = Future()

        async def tracked() -> T:
            try:
                return await work
            finally:
                finished.set_result(None)

        future = self.submit(tracked())
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                finished.result(timeout=30)
            raise

    def close(self) -> None:
        """Cancel what still runs, end the loop and its thread; safe to call twice."""
        if self._loop.is_closed():
            return
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self.submit(self._wind_down()).result(timeout=30)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=30)
        self._loop.close()

    async def _wind_down(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
