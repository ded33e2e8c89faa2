"""The example of docs/chat.md, from a real session: `python -m iterreason.chat.example docs`.

The embedded pair answers about the first scene of `iterreason demo`; what is typed is written below.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from iterreason.chat.lines import Posted, run_until_idle
from iterreason.chat.screen import Style, joined
from iterreason.chat.session import Models, Session
from iterreason.chat.shell import Shell
from iterreason.chat.store import SessionFile
from iterreason.chat.work import Options, Work
from iterreason.demo import problems
from iterreason.display import Line
from iterreason.errors import Misuse
from iterreason.records import Region

TYPED = (
    "Are there more red circles than blue squares?",
    "/why",
    "/look bottom right",
    "/ask how many blue squares can you see?",
    "Are there green triangles?",
    "/cost",
)


def main(folder: Path) -> None:
    """Write chat.svg and chat.txt into the folder."""
    if not folder.is_dir():
        raise Misuse(f"{folder} is no folder; name the one for chat.svg and chat.txt")
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, highlight=False)
    style, posted, image = Style(), Posted(), problems()[0].images[0]

    def show(lines: Iterable[Line]) -> None:
        if kept := list(lines):
            console.print(joined(kept, style))

    def picture(session: Session, regions: tuple[Region, ...]) -> None:
        show([Line("quiet", f"image 1: {image.name} {image.width}×{image.height}")])

    with TemporaryDirectory() as temporary:
        session = Session((image,), (image.name,), (0,), models=Models("embedded", ("embedded",)))
        file = SessionFile(Path(temporary, "session.jsonl"))
        shell = Shell(session, file, Work(Options(), posted.put), style, show, picture)
        try:
            picture(session, ())
            for line in TYPED:
                console.print(Text(f"> {line}", style="bold"))
                shell.enter(line)
                run_until_idle(shell, posted)
        finally:
            shell.close()
    folder.joinpath("chat.txt").write_text(console.export_text(clear=False), encoding="utf-8")
    console.save_svg(str(folder / "chat.svg"), title="iterreason chat")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
