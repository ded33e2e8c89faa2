"""Rows: what a benchmark run keeps of each problem, a line of JSON in `results.jsonl`, and the runs on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from iterreason.errors import BadRun
from iterreason.records import Usage

# `partial`: a score between 0 and 1, as VQA's accuracy gives where few annotators agree.
Outcome = Literal["correct", "partial", "wrong", "abstained", "error"]
UNSCORED: tuple[Outcome, ...] = ("abstained", "error")

RESULTS, TRACES, MANIFEST = "results.jsonl", "traces.jsonl", "manifest.json"


@dataclass(frozen=True, slots=True)
class RoundRow:
    """What the answer was at the end of a round, and what it would have scored; a score of None: no answer.

    stops: the stop rules that held then.
    """

    answer: str | None
    confidence: float | None
    score: float | None
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one problem under one policy.

    task, version, split, id, seed, policy, policy_hash, models, all_rounds: the key; no two rows of a file share it.
    answer: None where unscored. best_guess: the last answer held, also where it was not given.
    score: in [0, 1]; None where the outcome is `abstained` or `error`, which are neither right nor wrong.
    confidence: in [0, 1]; None where nothing was estimated. error: why, where the outcome is `error`.
    gold, group, kind, unit: as in `Item`. images: the sha256 of each. choices: in the order shown.
    """

    task: str
    version: str
    split: str
    id: str
    seed: int
    policy: str
    policy_hash: str
    models: tuple[str, ...]
    question: str
    choices: tuple[str, ...]
    answer: str | None
    gold: tuple[str, ...]
    outcome: Outcome
    score: float | None
    confidence: float | None
    confidence_source: str
    best_guess: str | None
    stop_reason: str
    error: str | None
    rounds: tuple[RoundRow, ...]
    usage: Usage
    images: tuple[str, ...]
    group: str
    kind: str = ""
    unit: str = ""
    all_rounds: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """What tells the problem from others under the same policy: paired comparisons go by it."""
        return self.id, self.seed

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)


@cache
def _rows() -> TypeAdapter[Row]:
    return TypeAdapter(Row)


def read_row(text: str | bytes, where: str) -> Row:
    """A row from its line; raises BadRun."""
    try:
        return _rows().validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(str(part) for part in fault["loc"]) or "the line"
        raise BadRun(f"{where}: {field}: {fault['msg']}") from None


def read_rows(path: Path) -> list[Row]:
    """The rows of a `results.jsonl`; a last line that a kill tore off is left out. Raises BadRun."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadRun(f"cannot read {path}: {error.strerror}") from None
    last = lines.pop()  # whole lines end in a newline
    rows = [read_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if last.strip() and _is_json(last):
        rows.append(read_row(last, f"{path}, line {len(lines) + 1}"))
    return rows


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Run:
    """One task under one policy, as it lies in a run directory: DIR/TASK/POLICY/.

    manifest: how it was made; see `iterreason.bench.manifest`.
    """

    folder: Path
    manifest: dict[str, Any]
    rows: tuple[Row, ...]

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.manifest["task"]["name"])

    @property
    def policy(self) -> str:
        """The policy's name."""
        return str(self.manifest["policy"]["name"])


def only_run(folder: Path) -> Run:
    """The one run in a folder. Raises BadRun where there is none, or more than one."""
    runs = find_runs(folder)
    if len(runs) > 1:
        raise BadRun(f"{folder} holds {len(runs)} runs; name one of: {', '.join(str(run.folder) for run in runs)}")
    return runs[0]


def find_runs(folder: Path) -> list[Run]:
    """All runs in a folder, at whatever depth, by task and policy. Raises BadRun where there is none."""
    paths = [path.parent for path in sorted(folder.rglob(MANIFEST)) if (path.parent / RESULTS).is_file()]
    # Hidden folders hold runs that were set aside.
    found = [find_run(p) for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not found:
        raise BadRun(f"{folder} holds no run: no folder in it has a {MANIFEST} and a {RESULTS}")
    return found


def find_run(folder: Path) -> Run:
    """The run of one task under one policy. Raises BadRun."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if fault := manifest_fault(manifest):
            raise ValueError(fault)
    except (OSError, ValueError) as error:
        raise BadRun(f"cannot read {folder / MANIFEST}: {error}") from None
    return Run(folder, manifest, tuple(read_rows(folder / RESULTS)))


def manifest_fault(manifest: Any, *, whole: bool = False) -> str:
    """What makes a manifest unusable; empty where nothing does. whole: nothing may be missing, so that it can go on."""
    if not isinstance(manifest, dict):
        return "it is no manifest of a run"
    for name, kind in _MANIFEST.items():
        if (whole or name in manifest) and not isinstance(manifest.get(name), kind):
            return f"its '{name}' is missing, or not what a run writes"
    parts = [manifest.get(part) for part in ("task", "policy")]
    named = all(isinstance(part, dict) and isinstance(part.get("name"), str) for part in parts)
    return "" if named else "it names no task and policy"


_MANIFEST = {
    **dict.fromkeys(("task", "policy", "models", "determinism"), dict),
    "limit": int | None,
    "wanted": int,
    "seeds": list,
    "asked": list,
    "all_rounds": bool,
}
ROW_FIELDS = tuple(field.name for field in fields(Row))
