"""How often the image moved a run's answers: what its probes came to, as they lie beside the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from iterreason.bench.row import Run
from iterreason.bench.stats.estimates import interval
from iterreason.trace import read_lines

PROBES = "probes.jsonl"


@dataclass(frozen=True, slots=True)
class Moved:
    """How many of the probed problems' answers moved when the image was blank or another one.

    n: those of which that can be said; failed: those of which it cannot.
    """

    moved: int
    n: int
    failed: int

    @property
    def told(self) -> str:
        """In one line, with Wilson's 95 % interval."""
        failed = f"; of {self.failed} nothing can be said" if self.failed else ""
        if not self.n:
            return f"moved by the image: nothing to go by{failed}"
        bounds = interval(self.moved, self.n)
        rate = f"{self.moved / self.n:.3f} ({bounds.low:.3f}–{bounds.high:.3f})"
        return f"moved by the image: {self.moved} of {self.n}, {rate}{failed}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values; rate, low and high are None where n is 0."""
        bounds = interval(self.moved, self.n) if self.n else None
        rate = (self.moved / self.n, bounds.low, bounds.high) if bounds else (None, None, None)
        return asdict(self) | dict(zip(("rate", "low", "high"), rate, strict=True))


def moved_of(run: Run) -> Moved | None:
    """What the probes of this run's policy and models came to; None where there are none."""
    if not run.rows or not (run.folder / PROBES).is_file():
        return None
    said = read_probes(run.folder / PROBES, run.rows[0].policy_hash, run.rows[0].models)
    return count_moved(list(said.values())) if said else None


def count_moved(said: Sequence[bool | None]) -> Moved:
    """How many probes moved an answer, and of how many it can be said."""
    told = [moved for moved in said if moved is not None]
    return Moved(sum(told), len(told), len(said) - len(told))


def read_probes(path: Path, policy_hash: str, models: tuple[str, ...]) -> dict[str, bool | None]:
    """Of each problem that was probed under this policy and these models, whether the image moved the answer."""
    return {
        line["id"]: line["moved_by_image"]
        for _, line in read_lines(path)
        if line["policy_hash"] == policy_hash and line["models"] == list(models)
    }
