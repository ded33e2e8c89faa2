"""A program of another Python that answers messages over two pipes of its own, its output kept apart from them."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired
from threading import Thread
from time import monotonic
from typing import Any

HEAD = struct.Struct(">4sIQ")  # magic, bytes of the JSON header, bytes of the body that follows it
MAGIC = b"ITR1"
REPLY_BYTES = 256 * 2**20
CHUNK = 2**20
TAIL_CHARS = 200
TAIL_BYTES = 4000  # of what the program printed last, for the message when it ends


class WorkerFailed(Exception):
    """The program ended, did not answer in time (`hung`), or sent what is no message."""

    def __init__(self, reason: str, *, hung: bool = False) -> None:
        super().__init__(reason)
        self.hung = hung


class Framed:
    """A running program that gets the numbers of two pipes as its last arguments and answers each message with one.

    A message is a head (`HEAD`), a JSON object and raw bytes; the program's replies have no bytes.
    command: the program and its arguments. environment: all of its environment variables.
    Raises OSError where it cannot be started. Not to be used by two threads at once, but for `kill`.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        try:
            self._process = Popen(
                [*command, str(theirs_in), str(theirs_out)],
                env=dict(environment),
                pass_fds=(theirs_in, theirs_out),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,  # Ctrl-C is ours to handle, and `kill` reaches what the program starts
            )
        except BaseException:
            os.close(self._out)
            os.close(self._in)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        for end in (self._in, self._out):
            os.set_blocking(end, False)
        self._tail = b""
        self._drain = Thread(target=self._keep_tail, name="iterreason worker output", daemon=True)
        self._drain.start()

    def ask(self, header: Mapping[str, Any], body: Iterable[bytes] = (), *, seconds: float) -> dict[str, Any]:
        """Send a message and wait for its answer. Raises WorkerFailed; the program is of no use after that."""
        until = monotonic() + seconds
        parts = list(body)
        text = json.dumps(header).encode()
        try:
            for part in (HEAD.pack(MAGIC, len(text), sum(map(len, parts))) + text, *parts):
                self._write(part, until)
            magic, length, more = HEAD.unpack(self._read(HEAD.size, until))
            if magic != MAGIC or more or length > REPLY_BYTES:
                raise WorkerFailed("it sent what is no message")
            reply = json.loads(self._read(length, until))
        except TimeoutError:
            raise WorkerFailed(f"it has not answered for {seconds:,.0f} s", hung=True) from None
        except (BrokenPipeError, EOFError):
            raise WorkerFailed(self._end()) from None
        except ValueError as error:
            raise WorkerFailed(f"it sent what is no message: {error}") from None
        if not isinstance(reply, dict):
            raise WorkerFailed("it sent what is no message")
        return reply

    def kill(self) -> None:
        """End the program at once; from any thread, and safe to call twice."""
        if self._process.poll() is None:  # else its number may by now be another's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(TimeoutExpired):
            self._process.wait(timeout=5)

    def close(self) -> None:
        """End the program and give back its pipes; only where no `ask` runs."""
        self.kill()
        self._drain.join(timeout=5)
        for end in (self._in, self._out):
            with suppress(OSError):
                os.close(end)
        self._in = self._out = -1
        if self._process.stdout:
            self._process.stdout.close()

    def _write(self, data: bytes, until: float) -> None:
        left = memoryview(data)
        while left:
            self._wait([], [self._out], until)
            with suppress(BlockingIOError):
                left = left[os.write(self._out, left[:CHUNK]) :]

    def _read(self, size: int, until: float) -> bytes:
        parts: list[bytes] = []
        while size:
            self._wait([self._in], [], until)
            with suppress(BlockingIOError):
                part = os.read(self._in, min(size, CHUNK))
                if not part:
                    raise EOFError
                parts.append(part)
                size -= len(part)
        return b"".join(parts)

    @staticmethod
    def _wait(reads: list[int], writes: list[int], until: float) -> None:
        polled = select.poll()  # `select` itself takes no descriptor beyond 1,023
        for ends, event in ((reads, select.POLLIN), (writes, select.POLLOUT)):
            for end in ends:
                polled.register(end, event)
        if not polled.poll(max(0.0, until - monotonic()) * 1000):
            raise TimeoutError

    def _keep_tail(self) -> None:
        assert self._process.stdout, "it was opened with a pipe"
        with suppress(OSError, ValueError):  # closed under it
            while chunk := os.read(self._process.stdout.fileno(), 65536):
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    def _end(self) -> str:
        """How the program ended, and what it printed last."""
        try:
            code = self._process.wait(timeout=5)
        except TimeoutExpired:
            return "it closed its pipe"
        self._drain.join(timeout=1)
        lines = [line.strip() for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        how = f"it was killed by {_signal(-code)}" if code < 0 else f"it ended with exit code {code}"
        return f"{how}; last words: {lines[-1][:TAIL_CHARS]}" if lines else how


def _signal(number: int) -> str:
    name = signal.Signals(number).name if number in {*map(int, signal.Signals)} else f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name
