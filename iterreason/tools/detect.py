"""`detect:PATH-OR-ID`: the objects in an image, by a transformers detector in this process.

A detector of a fixed list of labels (DETR, YOLOS, RT-DETR, …) finds those; a zero-shot one (OWL-ViT, OWLv2, Grounding
DINO, …) finds what it is asked for. The probability is the detector's own score of the label in that box.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason.errors import BadTool, IterReasonError, ModelFailed
from iterreason.folding import fold
from iterreason.models.hf import quiet
from iterreason.models.hf.finding import ask_hub, folder_of, sentence, snapshot, weights_hash
from iterreason.records import Region
from iterreason.tools import Found
from iterreason.tools.spec import Argument, ToolSpec

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

THRESHOLDS = {"object-detection": 0.5, "zero-shot-object-detection": 0.1}  # the defaults of transformers' pipelines


class Detector:
    """Finds objects, most probable first.

    pipeline: of transformers, for one of the tasks in `THRESHOLDS`. name: what results call it.
    """

    def __init__(self, pipeline: Any, name: str) -> None:
        self._pipeline = pipeline
        known = pipeline.model.config.id2label.values() if pipeline.task == "object-detection" else ()
        self._known = {fold(str(label)): str(label) for label in known}
        which = "; labels: which, [] for all it knows" if self._known else "; labels: what to look for"
        self.spec = ToolSpec("detect", f"finds objects and where they are{which}", (Argument("labels", "texts"),), name)

    def use(self, pixels: Pixels, labels: Sequence[str]) -> Sequence[Found]:
        """The objects with one of the labels; raises ValueError where the detector cannot look for them."""
        threshold = THRESHOLDS[self._pipeline.task]
        if not self._known:
            if not labels:
                raise ValueError("this detector has no labels of its own; name in 'labels' what to look for")
            said = self._pipeline(pixels, candidate_labels=list(labels), threshold=threshold)
        else:
            wanted = [self._label(label) for label in labels] or list(self._known.values())
            said = [one for one in self._pipeline(pixels, threshold=threshold) if one["label"] in wanted]
        found = [Found(one["label"], min(float(one["score"]), 1.0), _box(one["box"], pixels.size)) for one in said]
        return sorted(found, key=lambda one: -(one.probability or 0.0))

    def _label(self, label: str) -> str:
        known = self._known.get(fold(label)) or self._known.get(fold(label).removesuffix("s"))
        if known is None:
            names = ", ".join(list(self._known.values())[:40])
            raise ValueError(f"this detector has no label '{label}'; it knows: {names}")
        return known


def load(path_or_id: str) -> Detector:
    """Open the detector in a folder, or the one that the Hugging Face hub has under this name.

    Raises BadTool for a model that detects nothing, ModelFailed where it cannot be read or reached.
    """
    folder = folder_of(path_or_id)
    with quiet():
        try:
            if folder:
                return _opened(str(folder), folder.resolve().name, path_or_id)
            if kept := snapshot(path_or_id):
                with suppress(OSError):  # incomplete, then
                    return _opened(kept, path_or_id, path_or_id)
            ask_hub(path_or_id)
            return _opened(path_or_id, path_or_id, path_or_id)
        except IterReasonError:
            raise
        except Exception as error:  # a folder may hold anything, and fail the libraries in any way
            raise ModelFailed(f"detect:{path_or_id} cannot be loaded: {sentence(error)}") from error


def _opened(where: str, name: str, shown: str) -> Detector:
    import torch
    from transformers import AutoConfig, pipeline

    safe: dict[str, Any] = {"trust_remote_code": False}
    config: Any = AutoConfig.from_pretrained(where, **safe)
    architecture = (config.architectures or [type(config).__name__])[0]
    task = _task(architecture)
    if task is None:
        raise BadTool(f"detect:{shown} is {architecture}, which detects no objects; name a model of {_TASKS_SHOWN}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    commit = getattr(config, "_commit_hash", None)
    opened = pipeline(task, model=where, device=device, **safe)
    return Detector(opened, f"detect/{name}@{commit[:12] if commit else weights_hash(Path(where))}")


_TASKS_SHOWN = " or ".join(THRESHOLDS)


def _task(architecture: str) -> str | None:
    from transformers.models.auto import modeling_auto as auto

    if architecture in auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES.values():
        return "zero-shot-object-detection"
    return "object-detection" if architecture in auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES.values() else None


def _box(box: dict[str, float], size: tuple[int, int]) -> Region | None:
    """A box in pixels as a region; None where nothing of it is inside."""
    x0, x1 = (min(max(box[edge] / size[0], 0.0), 1.0) for edge in ("xmin", "xmax"))
    y0, y1 = (min(max(box[edge] / size[1], 0.0), 1.0) for edge in ("ymin", "ymax"))
    return Region(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
