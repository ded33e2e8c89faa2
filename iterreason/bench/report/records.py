"""What a report holds: records, made by `iterreason.bench.report.summarise`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iterreason.bench.moved import Moved
from iterreason.bench.row import Run
from iterreason.bench.scoring import Figure
from iterreason.bench.stats import Accuracy, BetweenSeeds, CalibrationError, Comparison, Cost

Key = tuple[str, int]  # a problem's id and its seed


@dataclass(frozen=True, slots=True)
class RunReport:
    """The figures of one run.

    label: the policy's name, with the run's directory where several runs of the task have that name.
    colour: the label's number among all of the report, so that a policy looks the same on every task.
    aurc: area under the risk–coverage curve; None where no confidence was estimated.
    figures: what the task's benchmark reports besides accuracy. moved: what its probes came to, where it has some.
    """

    run: Run
    label: str
    colour: int
    accuracy: Accuracy
    cost: Cost
    calibration: CalibrationError
    aurc: float | None
    seeds: BetweenSeeds
    figures: tuple[Figure, ...] = ()
    moved: Moved | None = None

    @property
    def n(self) -> int:
        """How many rows it has: a problem under a seed each."""
        return self.accuracy.n

    @property
    def wanted(self) -> int | None:
        """How many rows it has once it is finished; None where its manifest does not say."""
        wanted = self.run.manifest.get("wanted")
        return wanted if isinstance(wanted, int) else None

    @property
    def sees_image(self) -> bool:
        """Whether the reasoner was shown the image itself."""
        return bool(self.run.manifest.get("reasoner_sees_image"))

    @property
    def reasoner_saw(self) -> str:
        """What the reasoner saw, after the words 'the reasoner'."""
        if not (self.run.manifest.get("models") or {}).get("reasoner"):
            return "took no part"
        return "saw the image" if self.sees_image else "did not see the image"

    @property
    def cached_share(self) -> float | None:
        """The share of prompt tokens that a prefix cache served; None without prompt tokens."""
        mean = self.cost.mean
        return mean.cached_tokens / mean.prompt_tokens if mean.prompt_tokens else None


@dataclass(frozen=True, slots=True)
class Change:
    """Two runs of a task, problem by problem: which the second scores higher (fixed) and lower (broken)."""

    first: str
    second: str
    comparison: Comparison
    fixed: tuple[Key, ...]
    broken: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A published figure, shown apart: its prompts, split and scoring need not be those of the runs here."""

    system: str
    split: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class TaskReport:
    """All runs of one version and split of a task, the most accurate first.

    manifest: the task's part of the first run's manifest. baseline: the label that others are compared with.
    changes: each run against the baseline, its own directory's where there is one, and runs of one policy in several
        directories against the first of these.
    power: what so many problems can tell, in a sentence. notes: what else must be said, a sentence each.
    """

    manifest: dict[str, Any]
    runs: tuple[RunReport, ...]
    baseline: str
    changes: tuple[Change, ...]
    power: str
    notes: tuple[str, ...]
    published: tuple[Baseline, ...] = ()

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """The task's version."""
        return str(self.manifest.get("version", ""))

    @property
    def split(self) -> str:
        """The split."""
        return str(self.manifest.get("split", ""))

    @property
    def title(self) -> str:
        """Name, version and split in a few words."""
        mode = ", all rounds" if self.runs and self.runs[0].run.manifest.get("all_rounds") else ""
        return f"{self.name} (version {self.version}), split {self.split}{mode}"

    def change(self, label: str) -> Change | None:
        """How the run with this label differs from its baseline; None for a baseline itself."""
        return next((c for c in self.changes if c.second == label), None)


@dataclass(frozen=True, slots=True)
class Report:
    """The runs of several tasks, task by task."""

    tasks: tuple[TaskReport, ...]
