"""Iterative multi-round visual reasoning: an image, a question, and a loop that asks until it is sure.

from iterreason import reason
result = reason("scene.png", "Are there more red circles than blue squares?")
print(result)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iterreason._version import __version__

if TYPE_CHECKING:
    from iterreason.api import Reasoner, areason, make_problem, reason, replay
    from iterreason.bench.export.frames import load_run
    from iterreason.errors import EpisodeFailed, IterReasonError
    from iterreason.images import load_image
    from iterreason.memory import Memory, contradictions
    from iterreason.policy import find_policy, shipped
    from iterreason.records import Attribution, Evidence, Image, Problem, Region, Result, Usage, Verdict
    from iterreason.trace import read_trace, read_traces

# Found when first used, so that `import iterreason` stays fast.
_WHERE = {
    "api": ("Reasoner", "areason", "make_problem", "reason", "replay"),
    "bench.export.frames": ("load_run",),
    "errors": ("EpisodeFailed", "IterReasonError"),
    "images": ("load_image",),
    "memory": ("Memory", "contradictions"),
    "policy": ("find_policy", "shipped"),
    "records": ("Attribution", "Evidence", "Image", "Problem", "Region", "Result", "Usage", "Verdict"),
    "trace": ("read_trace", "read_traces"),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "Attribution",
    "EpisodeFailed",
    "Evidence",
    "Image",
    "IterReasonError",
    "Memory",
    "Problem",
    "Reasoner",
    "Region",
    "Result",
    "Usage",
    "Verdict",
    "__version__",
    "areason",
    "contradictions",
    "find_policy",
    "load_image",
    "load_run",
    "make_problem",
    "read_trace",
    "read_traces",
    "reason",
    "replay",
    "shipped",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'iterreason' has no attribute '{name}'")
    return getattr(import_module(f"iterreason.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
