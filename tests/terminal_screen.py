"""A real pseudo-terminal with the program in it, and what its screen shows."""

from __future__ import annotations

import os
import re
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte

COMMAND = str(Path(sysconfig.get_path("scripts"), "iterreason"))


class _Screen(pyte.HistoryScreen):
    """A screen that answers where its cursor is and what it can, as a terminal does."""

    answer: Callable[[str], None] = staticmethod(lambda data: None)
    attributes = "62;22"

    def report_device_attributes(self, mode: int = 0, **more: object) -> None:
        self.answer(f"\x1b[?{self.attributes}c")

    def write_process_input(self, data: str) -> None:
        self.answer(data)


class Terminal:
    """A program in a terminal of a size; `text` is its screen, `past` what scrolled off and the screen.

    graphics: the protocol that the terminal draws pictures by: sixel, kitty, or none.
    """

    def __init__(
        self, *arguments: str | Path, columns: int = 80, rows: int = 24, graphics: str = "", **environment: str
    ) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "NO_COLOR", "ITERREASON"))}
        kept |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **environment}
        self.screen = _Screen(columns, rows, history=5_000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._kitty = graphics == "kitty"
        if graphics == "sixel":
            self.screen.attributes += ";4"
        self.began = time.monotonic()
        words = [str(a) for a in arguments]
        self.child = pexpect.spawn(COMMAND, words, env=kept, dimensions=(rows, columns), timeout=30)
        self.screen.answer = self._answer

    def read(self, seconds: float = 0.05) -> None:
        """Take in what the program wrote."""
        try:
            data = self.child.read_nonblocking(65_536, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
        self.raw += data
        if self._kitty and (asked := re.search(rb"\x1b_Gi=(\d+)[^\x1b]*a=q", data)):
            self._answer(f"\x1b_Gi={asked[1].decode()};OK\x1b\\")
        self._stream.feed(re.sub(rb"\x1b[_P].*?\x1b\\", b"", data, flags=re.DOTALL))  # graphics: pyte would print them

    def _answer(self, data: str) -> None:
        """Reply at once, as a terminal does; pexpect would wait, as a person does."""
        os.write(self.child.fileno(), data.encode())

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def past(self) -> str:
        lines = ["".join(row[x].data for x in range(self.screen.columns)).rstrip() for row in self.screen.history.top]
        return "\n".join([*lines, self.text])

    def until(self, wanted: str, seconds: float = 30.0) -> float:
        """Read until the screen, or what scrolled off it, shows this; gives the seconds that it took."""
        began = time.monotonic()
        while wanted not in self.past:
            assert time.monotonic() - began < seconds, f"no {wanted!r} on the screen:\n{self.past}"
            self.read(0.01)
        return time.monotonic() - began

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        self.child.send(line + "\r")

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def ended(self, seconds: float = 20.0) -> int:
        """Wait for the program's end; gives its exit code."""
        began = time.monotonic()
        while self.child.isalive():
            assert time.monotonic() - began < seconds, f"it does not end:\n{self.past}"
            self.read()
        self.read()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)

    def close(self) -> None:
        self.child.close(force=True)
