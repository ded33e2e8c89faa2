"""How soon the interactive session answers: `python -m iterreason.bench.speed.chat --out docs/performance.md`.

The program itself in a pseudo-terminal, which replies to queries as a terminal with neither Kitty nor Sixel does. Time
by the clock. The embedded pair is opened in the background; a question is typed once it is.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import sysconfig
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from iterreason.bench.speed.figures import Figure, best_of, machine, table, write_part
from iterreason.errors import Failure

COMMAND = "make bench-chat"
_SIZE = struct.pack("HHHH", 24, 80, 0, 0)
# What a terminal replies: where the cursor is, what it is, and how large a cell is.
_REPLIES = {rb"\x1b\[6n": b"\x1b[1;1R", rb"\x1b\[0?c": b"\x1b[?62;22c", rb"\x1b\[16t": b"\x1b[6;16;8t"}
_PATIENCE = 120.0  # seconds until something is held to hang


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the page where one is named; a missed target is said, not an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, metavar="PAGE", help="write the table into this page")
    parser.add_argument("--repeats", type=int, default=10, help="sessions")
    options = parser.parse_args(arguments)
    text = "\n\n".join(
        [
            f"## The interactive session (`{COMMAND}`)",
            f"{machine()}. {options.repeats} sessions about a drawn scene with the embedded pair, in a pseudo-terminal"
            " of 80×24, by the clock; each beside a start of Python alone.",
            table(measure(options.repeats), options.repeats),
        ]
    )
    print(text)
    if options.out:
        write_part(options.out, COMMAND, text)
    return 0


def measure(sessions: int) -> list[Figure]:
    """All figures of this part of the page."""
    from iterreason.demo import scene_images

    bare, start, feedback = [], [], []
    with TemporaryDirectory() as folder:
        image = Path(folder, "scene.png")
        image.write_bytes(scene_images()[0].data)
        for _ in range(sessions):
            began = time.monotonic()
            subprocess.run([sys.executable, "-c", ""], check=True)
            bare.append(time.monotonic() - began)
            with Session(image) as session:
                start.append(session.until("/help"))
                session.settle()
                session.write(b"Are there more red circles than blue squares?\r")
                feedback.append(session.until("thinking"))
    return [
        best_of("start of `python -c ''`", bare, "{:.3f} s"),
        best_of("start of `iterreason chat IMAGE` to its prompt", start, "{:.3f} s", 1.0),
        best_of("Enter to the first sign on screen", feedback, "{:.3f} s", 0.1),
    ]


class Session:
    """`iterreason chat` in a pseudo-terminal of its own."""

    def __init__(self, image: Path) -> None:
        self._began = time.monotonic()
        command = str(Path(sysconfig.get_path("scripts"), "iterreason"))
        known = {k: v for k, v in os.environ.items() if not k.startswith(("ITERREASON", "NO_COLOR"))}
        ours = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": str(image.parent / "state")}
        self._child, self._end = pty.fork()
        if not self._child:
            fcntl.ioctl(0, termios.TIOCSWINSZ, _SIZE)
            os.execve(command, [command, "chat", str(image)], known | ours)
        self._shown = b""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *raised: object) -> None:
        os.kill(self._child, 9)
        os.waitpid(self._child, 0)
        os.close(self._end)

    def write(self, typed: bytes) -> None:
        """Type; what is waited for next counts from here."""
        self._began, self._shown = time.monotonic(), b""
        os.write(self._end, typed)

    def until(self, text: str) -> float:
        """Read until the program shows this; gives the seconds since its start, or since what was typed last."""
        while text.encode() not in self._shown:
            if not self._read(self._began + _PATIENCE - time.monotonic()):
                raise Failure(f"no {text!r} after {_PATIENCE:.0f} s: {self._shown[-500:]!r}")
        return time.monotonic() - self._began

    def settle(self) -> None:
        """Read until nothing moves for a second: the status line turns while models are being opened."""
        while self._read(1.0):
            pass

    def _read(self, seconds: float) -> bool:
        """Take in what the program writes within so long, and reply to what it asks; false where that is nothing."""
        if not select.select([self._end], [], [], max(0.0, seconds))[0]:
            return False
        try:
            new = os.read(self._end, 65_536)
        except OSError:  # what Linux gives once the program is gone
            raise Failure(f"the session ended: {self._shown[-500:]!r}") from None
        self._shown += new
        for asked, reply in _REPLIES.items():
            for _ in re.findall(asked, new):
                os.write(self._end, reply)
        return True


if __name__ == "__main__":
    sys.exit(main())
