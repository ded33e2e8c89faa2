"""A session line by line: through a pipe, on a terminal that can do no more, or for a screen reader."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from iterreason.chat.shell import Shell

Posted = SimpleQueue[Callable[[], None]]


def run_lines(shell: Shell, posted: Posted, prompt: str = "") -> int:
    """Do what each line of the input says, one after the other; gives the exit code.

    prompt: shown before each line where a person types; a pipe has none, and there a Ctrl-C ends the program.
    """
    shell.go_on()
    run_until_idle(shell, posted)
    while not shell.leaving:
        try:
            line = input(prompt) if prompt else sys.stdin.readline()
        except EOFError:
            break
        except KeyboardInterrupt:
            if not prompt:
                raise
            print("\nCtrl-D leaves")
            continue
        if not prompt and not line:
            break
        shell.enter(line)
        run_until_idle(shell, posted, patient=bool(prompt))
    return 0 if prompt else shell.failed


def run_until_idle(shell: Shell, posted: Posted, *, patient: bool = False) -> None:
    """Show what happens until nothing runs; Ctrl-C stops what runs."""
    while shell.running is not None or not posted.empty():
        try:
            with suppress(Empty):
                posted.get(timeout=0.2)()
        except KeyboardInterrupt:
            if not patient:
                raise
            shell.interrupt()
