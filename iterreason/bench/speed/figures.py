"""Measured figures, and the page that they are written to."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from iterreason._version import __version__

_HEAD = """# Performance

Each part is written by the command in its title, on the machine and the day that it names.

`make bench` starts two vLLM servers on the CPU (SmolLM2-135M as reasoner, a tiny vision-language model with random
weights as answerer) and measures what rounds cost there; each finished block is kept in `runs/bench.jsonl`, and the
same command goes on where it was stopped (`make bench ARGS="--keep FILE"` begins another run). Only speed is
measured: replies have fixed lengths, since the server's grammar leaves each of them one value; the model generates
every token, the loop reads what it wrote, and prompts and caches are what they are. `make bench-gpu` runs the same
unchanged on servers of a CUDA machine, Qwen2.5-VL 7B by default (`REASONER=`, `ANSWERER=`). **GPU figures are not
measured yet.**
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured several times.

    best: the figure that counts. values: all measurements, for the spread. limit: the target; None where there is
    none. rising: whether more is better. form: how to print a value, as for `format`, with its unit.
    """

    what: str
    best: float
    values: tuple[float, ...]
    form: str
    limit: float | None = None
    rising: bool = False

    @property
    def met(self) -> bool:
        """Whether the target is reached; true where there is none."""
        return self.limit is None or (self.best >= self.limit if self.rising else self.best < self.limit)

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        return "" if self.limit is None else f"{'≥' if self.rising else '<'} {self.form.format(self.limit)}"


def best_of(what: str, values: Sequence[float], form: str, limit: float | None = None, rising: bool = False) -> Figure:
    """A figure whose best measurement counts."""
    return Figure(what, (max if rising else min)(values), tuple(values), form, limit, rising)


def table(figures: Sequence[Figure], repeats: int) -> str:
    """The figures as a Markdown table, and a plain word on what was missed."""
    lines = [f"| what | target | best of {repeats} | all {repeats} | |", "| --- | --- | --- | --- | --- |"]
    for figure in figures:
        low, high = (figure.form.format(value) for value in (min(figure.values), max(figure.values)))
        said = "" if figure.limit is None else "met" if figure.met else "**missed**"
        best = figure.form.format(figure.best)
        lines.append(f"| {figure.what} | {figure.target} | {best} | {low} – {high} | {said} |")
    missed = [figure.what for figure in figures if not figure.met]
    return "\n".join([*lines, "", f"Missed: {'; '.join(missed)}." if missed else "No target is missed."])


def machine() -> str:
    """This machine and day on one line."""
    cores = len(os.sched_getaffinity(0))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    day = datetime.now(UTC).date().isoformat()
    return f"{day}, iterreason {__version__}, {python}, {_processor()}, {cores} cores, {platform.system()}"


def _processor() -> str:
    """The processor as /proc names it; its architecture where it has no name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_part(page: Path, command: str, text: str) -> None:
    """Replace the part of a page that a command writes; what other commands wrote stays."""
    begin, end = f"<!-- {command} -->", f"<!-- end of {command} -->"
    old = page.read_text(encoding="utf-8") if page.exists() else _HEAD
    part = f"{begin}\n{text.strip()}\n{end}\n"
    before, found, rest = old.partition(begin)
    new = before + part + rest.partition(end)[2].removeprefix("\n") if found else f"{old.rstrip()}\n\n{part}"
    page.write_text(new, encoding="utf-8")
