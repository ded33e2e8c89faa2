"""`iterreason chat`: its options, and what it puts together for the terminal, the pipe or the screen reader."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason.options import add_attribution, add_models

if TYPE_CHECKING:
    from rich.console import Console

    from iterreason.chat.screen import Style
    from iterreason.chat.session import Session
    from iterreason.chat.store import SessionFile
    from iterreason.display import Line
    from iterreason.records import Region
    from iterreason.trace import Trace


def add_command(commands: Any) -> None:
    """Add `chat` to the command line."""
    chat = commands.add_parser("chat", help="ask about images in a session of questions and answers")
    chat.set_defaults(command=_chat)
    chat.add_argument("image", nargs="*", metavar="IMAGE", help="image file(s)")
    add_models(chat)
    add_attribution(chat)
    chat.add_argument(
        "--resume", nargs="?", const="", metavar="FILE", help="go on with a session: the last one, or the one in FILE"
    )
    chat.add_argument("--ask-me", action="store_true", help="be asked where the policy would abstain")
    chat.add_argument("--plain", action="store_true", help="lines only, in words: for screen readers")
    chat.add_argument("--vi", action="store_true", help="vi keys for the input; emacs keys without")


def _chat(options: argparse.Namespace) -> int:
    from iterreason.errors import MissingExtra, Misuse

    person = sys.stdin.isatty() and sys.stdout.isatty()
    lines = not person or options.plain or os.environ.get("TERM", "dumb") == "dumb"
    if not lines and find_spec("prompt_toolkit") is None:
        raise MissingExtra(
            "the session needs packages of the extra 'terminal': pip install 'iterreason[terminal]'; --plain needs none"
        )
    if options.json:
        raise Misuse("a session has no --json; /export json writes one, and `iterreason ask --json` prints one answer")
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" and os.environ.get("TERM") != "linux"
    colour = "NO_COLOR" not in os.environ and not options.plain
    if not lines:
        os.environ["TQDM_DISABLE"] = "1"  # bars of models that are being opened would be drawn across the prompt
    # The terminal is asked what it can draw, for which some let a tenth of a second pass, while the rest is imported.
    with ThreadPoolExecutor(1) as aside:
        draws = aside.submit(_draws, not lines and unicode and colour)
        from iterreason.chat.screen import Style

        session, file, pending = _session(options)
        if not lines:
            from iterreason.chat import terminal  # noqa: F401  # takes as long as the terminal may
    style = Style(unicode, options.plain)
    return _run(
        options, session, file, pending, style, lines=lines, person=person, colour=colour, pictures=draws.result()
    )


def _draws(wanted: bool) -> bool:
    """Whether pictures are drawn; asks the terminal, before the prompt reads from it."""
    if not wanted:
        return False
    from iterreason.chat import pictures

    return pictures.can_show()


def _session(options: argparse.Namespace) -> tuple[Session, SessionFile, Trace | None]:
    """The session to start with: a new one about the images, or the one to go on with."""
    from iterreason.chat.session import Models, Session
    from iterreason.chat.store import SessionFile, newest_session, read_session, state_line
    from iterreason.chat.tuned import PolicyChoice
    from iterreason.errors import Misuse
    from iterreason.images import load_image

    images = tuple(load_image(Path(path)) for path in options.image)
    paths = tuple(str(Path(path).resolve()) for path in options.image)
    if options.resume is None and not images:
        raise Misuse("name an image: iterreason chat IMAGE; or go on with the last session: iterreason chat --resume")
    if options.resume is None:
        choice = PolicyChoice(options.policy)
        choice.find()
        models = Models(options.reasoner, tuple(options.answerer or ()))
        different = {image.sha256: (image, path) for image, path in zip(images, paths, strict=True)}
        kept = tuple(different.values())
        return (
            Session(
                tuple(image for image, _ in kept), tuple(path for _, path in kept), tuple(range(len(kept))),
                policy=choice, models=models, ask_me=options.ask_me,
            ),
            SessionFile(),
            None,
        )  # fmt: skip
    path = Path(options.resume) if options.resume else newest_session()
    session, pending = read_session(path, images)
    file = SessionFile(path)
    if options.reasoner or options.answerer:  # named anew; else as the session had them
        models = Models(
            options.reasoner or session.models.reasoner, tuple(options.answerer or session.models.answerers)
        )
        changed = session.step(models=models)
        if pending is None and models != session.models:
            file.step(session, "changed", **state_line(changed))
            session = changed
    return session, file, pending


def _run(
    options: argparse.Namespace, session: Session, file: SessionFile, pending: Trace | None, style: Style, *,
    lines: bool, person: bool, colour: bool, pictures: bool,
) -> int:  # fmt: skip
    import asyncio

    from rich.console import Console

    from iterreason.chat.shell import Shell
    from iterreason.chat.work import Options, Work
    from iterreason.exemplars import read_exemplars

    styled = False if options.plain else None if lines else True
    console = Console(highlight=False, soft_wrap=True, no_color=not colour, force_terminal=styled)
    pool = read_exemplars(options.exemplars) if options.exemplars else ()
    kept = Options(tuple(options.tool), options.reliability, options.cache, options.seed, pool, options.attribution)
    shown = _Shown(console, style, pictures)
    if lines:
        from iterreason.chat.lines import Posted, run_lines

        posted = Posted()
        shell = Shell(session, file, Work(kept, posted.put), style, shown.lines, shown.picture, pending)
        try:
            shown.picture(session, ())
            return run_lines(shell, posted, "iterreason> " if person else "")
        finally:
            shell.close()
    from iterreason.chat.store import sessions_folder
    from iterreason.chat.terminal import Posting, run_terminal

    posting = Posting()
    shell = Shell(session, file, Work(kept, posting), style, shown.lines, shown.picture, pending)
    try:
        shown.picture(session, ())
        history = sessions_folder().parent / "history"
        return asyncio.run(run_terminal(shell, posting, vi=options.vi, colour=colour, history=history))
    finally:
        shell.close()


class _Shown:
    """Prints lines and images on the console."""

    def __init__(self, console: Console, style: Style, pictures: bool) -> None:
        self._console, self._style, self._pictures = console, style, pictures

    def lines(self, lines: Iterable[Line]) -> None:
        from iterreason.chat.screen import joined

        if kept := list(lines):
            self._console.print(joined(kept, self._style))

    def picture(self, session: Session, regions: tuple[Region, ...]) -> None:
        from iterreason.chat.pictures import drawn
        from iterreason.display import Line, clean

        for place in session.view:
            image = session.images[place]
            if self._pictures and image.data:
                self._console.print(drawn(image, regions, self._console.width, self._console.height))
            self.lines([Line("quiet", f"image {place + 1}: {clean(image.name)} {image.width}×{image.height}")])
