"""Processors of vision-language models: what they need beside the extra `local`, and what is in their way."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from iterreason.errors import MissingExtra


def open_processor(where: str, name: str) -> Any:
    """Load a checkpoint's processor; raises MissingExtra where it needs more packages, as many do."""
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(where, trust_remote_code=False)
    except ImportError as error:
        needs = next(line for line in str(error).splitlines() if line.strip()).strip()
        raise MissingExtra(f"the processor of {name} needs more: {needs} Run: pip install 'iterreason[vlm]'") from error


class _Declaring(MetaPathFinder):
    """Declares torchvision's operators, in the midst of its import, where their compiled code is not to be had."""

    def __init__(self) -> None:
        self._kept: list[Any] = []  # a declaration lives as long as its library

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find nothing: the module is imported as ever."""
        if name == "torchvision._meta_registrations" and not self._kept:
            extension = sys.modules.get("torchvision.extension")
            if extension is not None and not extension._has_ops():
                import torch

                made: Any = torch.library.Library  # untyped
                library = made("torchvision", "FRAGMENT")
                for operator in ("nms", "qnms"):
                    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
                self._kept.append(library)
        return None


def tolerate_torchvision() -> None:
    """Let torchvision be imported where it was built for another torch than is installed, as pip's is beside CPU torch.

    Without its compiled operators its import stops at the first that it describes, and so does that of half of
    transformers. The image processors use none of them; declared without a body they fail only when called.
    """
    if not any(isinstance(finder, _Declaring) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Declaring())
