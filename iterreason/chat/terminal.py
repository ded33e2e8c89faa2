"""A session in a terminal: the prompt stays at the bottom while rounds appear above it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.patch_stdout import StdoutProxy
from prompt_toolkit.styles import Style as PromptStyle

from iterreason.chat.completion import Completions
from iterreason.chat.shell import Shell
from iterreason.display import clean

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TICK = 0.1  # seconds between two looks of the status line


class Posting:
    """Has things done in the prompt's thread; what comes before its loop runs waits for it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        if self._loop is None:
            self._early.append(work)
        else:
            with contextlib.suppress(RuntimeError):  # the session is over: nobody looks
                self._loop.call_soon_threadsafe(work)

    def begin(self) -> None:
        """The loop runs from now on."""
        self._loop = asyncio.get_running_loop()
        for work in self._early:
            self._loop.call_soon(work)


async def run_terminal(shell: Shell, posting: Posting, *, vi: bool, colour: bool, history: Path) -> int:
    """Read lines and do what they say until Ctrl-D; gives the exit code."""
    posting.begin()
    prompt = PromptSession[str](
        history=_history(history),
        completer=Completions(shell),
        complete_while_typing=True,
        auto_suggest=AutoSuggestFromHistory(),
        key_bindings=_keys(shell),
        vi_mode=vi,
        bottom_toolbar=lambda: _status(shell),
        prompt_continuation="  ",
        reserve_space_for_menu=5,
        style=PromptStyle.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack" if colour else "noreverse"}),
        color_depth=None if colour else ColorDepth.MONOCHROME,
    )
    output = StdoutProxy(sleep_between_writes=0.02, raw=True)
    with contextlib.redirect_stdout(output), _interrupting(shell):
        ticking = asyncio.ensure_future(_tick(shell))
        try:
            shell.work.prepare(shell.session, shell.fault)
            shell.go_on()
            while not shell.leaving:
                try:
                    shell.enter(await prompt.prompt_async("> ", handle_sigint=False))
                except EOFError:
                    break
        finally:
            ticking.cancel()
            output.close()
    return 0


@contextlib.contextmanager
def _interrupting(shell: Shell) -> Iterator[None]:
    """Ctrl-C between two prompts, when it is a signal and no key, does what the key does."""
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(shell.interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _history(path: Path) -> History:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _keys(shell: Shell) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def _stop(event: KeyPressEvent) -> None:
        if not shell.interrupt():
            event.current_buffer.reset()

    @keys.add("escape", "enter")
    def _newline(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


async def _tick(shell: Shell) -> None:
    """Keep the status line moving while something is under way."""
    while True:
        await asyncio.sleep(_TICK)
        if shell.running is not None or shell.work.loading:
            get_app().invalidate()


def _status(shell: Shell) -> AnyFormattedText:
    text = status_text(shell)
    width = get_app().output.get_size().columns - 1
    return text if len(text) <= width else text[: width - 1] + ("…" if shell.style.unicode else ".")


def status_text(shell: Shell) -> str:
    """What goes on, or what the session is about, on one line."""
    session, running, dot = shell.session, shell.running, " · " if shell.style.unicode else " | "
    if running is None:
        names = ", ".join(clean(image.name) for image in session.viewed)
        loading = "opening the models" if shell.work.loading else session.policy.name
        known = f"{len(session.memory)} known"
        return dot.join((loading, names, known, "/help"))
    turning = _SPINNER if shell.style.unicode else "|/-\\"
    sign = turning[int(running.seconds / _TICK) % len(turning)]
    doing = "opening the models" if shell.work.loading else f"{running.making} calls under way"
    return f"{sign} " + dot.join((doing, f"{running.seconds:.1f} s", f"{running.calls} calls", "Ctrl-C stops"))
