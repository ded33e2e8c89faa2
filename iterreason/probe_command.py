"""The command `iterreason probe IMAGE QUESTION`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason.options import add_models, add_problem, problem_of, reasoner_of

if TYPE_CHECKING:
    from iterreason.probing import Probe


def add_command(commands: Any) -> None:
    """Add the command to the command line's parsers."""
    probe = commands.add_parser("probe", help="does the answer move when the image is blank, another one, or cropped?")
    probe.set_defaults(command=_probe)
    add_problem(probe)
    told = "the image to swap in, one for all or one for each (default: a drawn scene)"
    probe.add_argument("--swap", action="append", default=[], metavar="IMAGE", help=told)
    add_models(probe)


def _probe(options: argparse.Namespace) -> int:
    from rich.console import Console

    from iterreason.images import load_image

    problem = problem_of(options)
    swap = [load_image(Path(path) if "://" not in path else path, allow_url=options.allow_url) for path in options.swap]
    console = Console(quiet=options.json, highlight=False, soft_wrap=True)
    with reasoner_of(options) as reasoner:
        with console.status("opening the models …"):
            reasoner.open()
        with console.status("asking about each variant …"):
            probe = reasoner.probe(problem, swap=swap)
    if options.json:
        print(json.dumps(probe.to_json(), ensure_ascii=False))
    show(probe, console)
    if probe.result.error is not None:
        print(f"iterreason: the episode failed: {probe.result.error}", file=sys.stderr)
        return 1
    return 0


def show(probe: Probe, console: Any) -> None:
    """A row for each variant, then what follows."""
    from rich.table import Table
    from rich.text import Text

    from iterreason.display import clean, title_line

    result = probe.result
    table = Table(box=None, pad_edge=False)
    for heading in ("image", "answer", "confidence", "moved"):
        table.add_column(heading)

    def row(name: str, answer: str | None, given: bool, sure: float | None, moved: str, error: str | None) -> None:
        said = f"error: {clean(error)}" if error else clean(answer or "none") + ("" if given else " (not given)")
        table.add_row(*(Text(cell) for cell in (name, said, "–" if sure is None else f"{sure:.2f}", moved)))

    row("as it is", result.best_guess, result.answer is not None, result.confidence, "", result.error)
    words = {True: "yes", False: "no", None: "–"}
    for v in probe.variants:
        row(v.variant, v.answer, v.given, v.confidence, words[v.moved], v.error)
    console.print(Text(title_line(result.problem).text))
    console.print(table)
    told = {
        True: "the answer moves with the image",
        False: "the answer does not move: it may not rest on this image",
        None: "nothing can be said: an episode failed, or there was no answer",
    }
    console.print(told[probe.moved_by_image])
