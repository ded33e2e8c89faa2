"""`ocr`: the text in an image, by RapidOCR with the weights that come in its package; no network.

Source: PP-OCR (Du et al. 2020, arXiv 2009.09941), as packaged by https://github.com/RapidAI/RapidOCR.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason.errors import ModelFailed
from iterreason.records import Region
from iterreason.tools import Found
from iterreason.tools.spec import ToolSpec

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

_PARTS = {"Det": "PP-OCR*_det_*.onnx", "Cls": "*_cls_*.onnx", "Rec": "PP-OCR*_rec_*.onnx"}


class Ocr:
    """Reads lines of text, from top to bottom; the probability is the mean over a line's characters."""

    def __init__(self) -> None:
        self.spec = ToolSpec("ocr", "reads the text that is written there", (), f"rapidocr {version('rapidocr')}")
        # onnxruntime would otherwise write an identifier of this machine to disk, and send events to its maker.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        # The package puts a handler for stderr on its logger unless there is one.
        logging.getLogger("RapidOCR").addHandler(logging.NullHandler())
        from rapidocr import RapidOCR

        # With no paths given it would look its models up on the network first.
        paths = {f"{part}.model_path": str(_bundled(pattern)) for part, pattern in _PARTS.items()}
        one_thread = {"EngineConfig.onnxruntime.intra_op_num_threads": 1}
        self._reader: Any = RapidOCR(params={**paths, **one_thread, "Global.log_level": "critical"})

    def use(self, pixels: Pixels) -> Sequence[Found]:
        """The lines of text in the pixels."""
        import numpy

        read = self._reader(numpy.asarray(pixels)[:, :, ::-1])  # it takes blue first
        if not len(read):
            return ()
        lines = zip(read.txts, read.scores, read.boxes, strict=True)
        return [Found(text, min(float(score), 1.0), _box(corners, pixels.size)) for text, score, corners in lines]


def _bundled(pattern: str) -> Path:
    folder = Path(str(files("rapidocr"))) / "models"
    found = sorted(folder.glob(pattern))
    if not found:
        raise ModelFailed(f"rapidocr {version('rapidocr')} has no {pattern} in {folder}; install rapidocr anew")
    return found[0]


def _box(corners: Any, size: tuple[int, int]) -> Region | None:
    """The upright box around four corners in pixels."""
    across, down = (sorted(min(max(float(value), 0.0), edge) / edge for value in corners[:, axis])
                    for axis, edge in enumerate(size))  # fmt: skip
    if across[0] == across[-1] or down[0] == down[-1]:
        return None
    return Region(across[0], down[0], across[-1], down[-1])
