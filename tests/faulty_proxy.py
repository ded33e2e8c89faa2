"""A real HTTP proxy on this machine that spoils a share of what passes through it, and can be killed and restarted.

with FaultyProxy(server.port, faults=(Delay(0.1), DROP), share=0.1) as proxy:
    ...                       # ask proxy.url; every tenth request meets a fault, the kinds in turn
    proxy.kill()              # connections are reset, new ones refused, as when a server's process dies
    proxy.restart()           # the same port answers again
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Literal

Kind = Literal["delay", "stall", "drop", "truncate", "500", "429"]
KINDS: tuple[Kind, ...] = ("delay", "stall", "drop", "truncate", "500", "429")
DELAY, STALL, RETRY_AFTER = 0.1, 3.0, 0.05  # seconds: a reply that is late, one that comes too late, the wait of a 429
_CANNED = {
    "500": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "429": f"HTTP/1.1 429 Busy\r\nRetry-After: {RETRY_AFTER}\r\nContent-Length: 0\r\n\r\n".encode(),
}


class FaultyProxy:
    """The proxy: start it with `with`; `met` counts the faults by kind.

    port: of the server behind. faults: kinds, taken in turn. share: of the requests that meet one, in [0, 1], drawn
    with a fixed seed.
    """

    def __init__(self, port: int, faults: Sequence[Kind] = KINDS, share: float = 0.1) -> None:
        self.met = Counter[str]()
        self.requests = self.kills = 0
        self._behind, self._faults, self._share = port, faults, share
        self._dice = random.Random(0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = set[asyncio.StreamWriter]()
        self._listener: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill(self) -> None:
        """Stop as a killed process does: every connection is reset, and nobody listens any more."""
        self.kills += 1
        self._run(self._close())

    def restart(self) -> None:
        """Listen on the same port again."""
        self._run(self._listen())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=256)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listener:
            self._listener.close()
        for writer in tuple(self._open):
            writer.transport.abort()
        while self._open:
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind: asyncio.StreamWriter | None = None
        self._open.add(writer)
        with suppress(OSError, EOFError, asyncio.IncompleteReadError):
            answers, behind = await asyncio.open_connection("127.0.0.1", self._behind)
            while await self._pass_on(await _message(reader), writer, answers, behind):
                await writer.drain()
        self._open.discard(writer)
        writer.close()
        if behind:
            behind.close()

    async def _pass_on(
        self, request: bytes, writer: asyncio.StreamWriter, answers: asyncio.StreamReader, behind: asyncio.StreamWriter
    ) -> bool:
        """Pass a request on and its answer back, or spoil it; whether the connection stays."""
        fault = self._fault()
        if fault == "drop":
            return False
        if fault in _CANNED:
            writer.write(_CANNED[fault])
            return True
        if fault in ("delay", "stall"):
            await asyncio.sleep(DELAY if fault == "delay" else STALL)
        behind.write(request)
        answer = await _message(answers)
        writer.write(answer[: len(answer) * 2 // 3] if fault == "truncate" else answer)
        return fault != "truncate"

    def _fault(self) -> str:
        self.requests += 1
        if self._dice.random() >= self._share:
            return ""
        fault = self._faults[self.met.total() % len(self._faults)]
        self.met[fault] += 1
        return fault


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A whole HTTP message whose length stands in its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return head + (await reader.readexactly(int(lengths[0])) if lengths else b"")
