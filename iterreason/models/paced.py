"""A model that is asked as many calls at once as bring throughput, and no more."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter

from iterreason.calls import Call, Capabilities, Reply
from iterreason.models import Model, OnText, Straining
from iterreason.pace import Pace


class Paced:
    """A model behind an adaptive limit of calls in flight; those past it wait, first come first served.

    most: the limit's bound, ≥ 1. A call that is cancelled while it waits was never made.
    """

    def __init__(self, model: Model, most: int) -> None:
        self._model = model
        self._waiting = deque[asyncio.Future[None]]()
        self._in_flight = 0
        self.pace = Pace(most)
        if isinstance(model, Straining):
            model.on_strain = self.pace.strained

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """The model's reply; its seconds are the model's own, without the wait."""
        await self._enter()
        began = perf_counter()
        try:
            while (early := self.pace.resume - perf_counter()) > 0:
                await asyncio.sleep(early)
            began = perf_counter()
            reply = await self._model.complete(call, on_text)
            if reply.error is None:  # failures come fast: they are no throughput
                self.pace.ended(call.purpose, perf_counter() - began, waiting=bool(self._waiting))
            return reply
        finally:
            self._in_flight -= 1
            self._admit()

    def capabilities(self) -> Capabilities:
        """Those of the model."""
        return self._model.capabilities()

    async def close(self) -> None:
        """Close the model."""
        await self._model.close()

    def told(self) -> str:
        """What the limit did, in a few words."""
        pace = self.pace
        cuts = f", lowered {pace.cuts}x by 429 or time-outs" if pace.cuts else ""
        return f"{pace.limit} calls at once (highest {pace.highest}, bound {pace.most}{cuts})"

    async def _enter(self) -> None:
        """Wait for room."""
        if self._in_flight < self.pace.limit and not self._waiting:
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn had come
                self._in_flight -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        """Let those in for whom there is room."""
        while self._waiting and self._in_flight < self.pace.limit:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                self._in_flight += 1
