"""The manifest of a run: all that one needs to make it again, and what decides whether a run goes on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from iterreason._version import __version__
from iterreason.bench.disk import write_whole
from iterreason.bench.row import MANIFEST, manifest_fault
from iterreason.bench.solving import Setting
from iterreason.errors import BadRun

_PACKAGES = ("torch", "transformers", "openai", "vllm", "numpy", "pillow", "datasets", "easy-vqa", "llguidance", "ray")

_OF_A_SESSION = (
    *("started", "command", "iterreason", "packages", "python", "machine", "git"),
    *("limit", "seeds", "determinism"),
)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run is made, beside its setting.

    data: a hash of the split's problems. limit: problems at most, None for all. seeds: each problem is solved once
    under each. deterministic: one problem in flight and torch's deterministic algorithms.
    """

    data: str
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    deterministic: bool = False


def make_manifest(setting: Setting, terms: Terms, problems: int) -> dict[str, Any]:
    """The manifest of a run that begins now; `problems`: how many it has, each to be solved under each seed."""
    named, plan = setting.task, setting.plan
    return {
        "manifest": 1,
        "task": {
            "name": named.name,
            "version": named.task.version,
            "hash": named.hash,
            "split": setting.split,
            "data": str(named.where.resolve()),
            "data_hash": terms.data,
            "description": named.task.description,
            "licence": named.task.licence,
            "published": [asdict(figure) for figure in named.task.published],
            "text": named.text,
        },
        "policy": {"name": plan.named.name, "hash": plan.named.hash, "text": plan.named.text},
        "models": {"reasoner": plan.reasoner, "answerers": list(plan.answerers)}
        | ({"tools": [tool.model for tool in plan.tools if tool.model]} if plan.tools else {}),
        "reliability": plan.reliability.to_json() or None,
        "confidence": plan.confidence,
        "reasoner_sees_image": plan.sees_image,
        "all_rounds": plan.all_rounds,
        "limit": terms.limit,
        "seeds": list(terms.seeds),
        "asked": [[problems, len(terms.seeds)]],
        "wanted": problems * len(terms.seeds),
        "determinism": _determinism(setting, terms),
        **_surroundings(),
    }


def _determinism(setting: Setting, terms: Terms) -> dict[str, Any]:
    policy = setting.plan.policy
    sampled = max(policy.reasoner.temperature, policy.look.temperature) > 0 or setting.plan.confidence == "vote"
    return {
        "mode": "deterministic" if terms.deterministic else "usual",
        "sampled": sampled,
        "note": "one problem in flight, torch's deterministic algorithms"
        if terms.deterministic
        else "batches depend on timing, so that low bits of probabilities may differ from run to run",
    }


def _surroundings() -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "iterreason": __version__,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "git": _git(),
    }


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return ""


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _git() -> dict[str, Any]:
    """The commit that this code comes from, and whether files differ from it; empty where it is no checkout."""

    def git(*words: str, at: Path = Path(__file__).parent) -> str:
        done = subprocess.run(["git", "-C", str(at), *words], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not some other project's checkout around this one
        root = Path(git("rev-parse", "--show-toplevel"))
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", at=root))}
    except (OSError, subprocess.SubprocessError):
        return {}


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes an earlier run another one: its rows cannot stand beside those of a run that begins now."""
    parts = {
        "the task": ("task", "hash"),
        "the task's version": ("task", "version"),
        "the split": ("task", "split"),
        "the data": ("task", "data_hash"),
        "the policy": ("policy", "hash"),
        "the models": ("models", ""),
        "the answerers' reliability": ("reliability", ""),
        "--all-rounds": ("all_rounds", ""),
    }
    return [what for what, path in parts.items() if _at(old, path) != _at(new, path)]


def _at(manifest: dict[str, Any], path: Sequence[str]) -> Any:
    part, field = path
    value = manifest.get(part)
    return value.get(field) if field and isinstance(value, dict) else value


def continued(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run that goes on: begun as it was, meant to hold what either wants, with this session added.

    Where the sessions differ in their determinism, the run's mode is `mixed`.
    """
    limits = (old["limit"], new["limit"])
    asked = [*old["asked"], *(one for one in new["asked"] if one not in old["asked"])]
    mode = old["determinism"]["mode"]
    if mode != new["determinism"]["mode"]:
        mode = "mixed"
    return {
        **old,
        "limit": None if None in limits else max(limits),
        "task": {**old["task"], "data": new["task"]["data"]},
        "seeds": sorted({*old["seeds"], *new["seeds"]}),
        "asked": asked,
        "wanted": _wanted(asked),
        "determinism": {**old["determinism"], "mode": mode},
        "sessions": [*old.get("sessions", ()), {name: new[name] for name in _OF_A_SESSION}],
    }


def _wanted(asked: Sequence[Sequence[int]]) -> int:
    """How many rows a run has that was asked for so many [problems, seeds], each time the first of each."""
    most = max(seeds for _, seeds in asked)
    return sum(max(problems for problems, seeds in asked if seeds > seed) for seed in range(most))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in a run's folder; None where it has none. Raises BadRun."""
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadRun(f"cannot read {path}: {error}; name another folder with --out") from None
    if fault := manifest_fault(value, whole=True):
        raise BadRun(f"cannot go on with {path}: {fault}; name another folder with --out")
    found: dict[str, Any] = value
    return found


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Put the manifest in its place. Raises Misuse, Failure."""
    write_whole(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))
