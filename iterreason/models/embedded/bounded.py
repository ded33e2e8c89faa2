"""The embedded answerer as it is used: BLIP, and a warning with little confidence where it is out of its depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iterreason.calls import Call, Reply
from iterreason.errors import ModelFailed
from iterreason.models import Model
from iterreason.models.embedded.limits import Limits, doubted, familiar, log
from iterreason.models.hf.blip import BlipAnswerer
from iterreason.models.hf.looker import view_key


def bounded(opened: Model, folder: Path) -> BoundedAnswerer:
    """Return the opened answerer with the limits that lie beside its weights.

    Raises ModelFailed where they are missing or broken.
    """
    assert isinstance(opened, BlipAnswerer), "the embedded answerer is a BLIP model"
    try:
        limits = Limits.load(folder / "limits.json")
    except (OSError, ValueError, KeyError) as error:
        raise ModelFailed(f"{folder}/limits.json: {error}; run: python -m iterreason.tuning.fit_limits") from error
    return BoundedAnswerer(opened._model, opened._tokenizer, opened._images, opened._name, limits)


class BoundedAnswerer(BlipAnswerer):
    """A BLIP answerer that knows what it was trained on.

    An image that is flagged gives one warning, and answers whose probability is below one half.
    """

    def __init__(self, model: Any, tokenizer: Any, images: Any, name: str, limits: Limits) -> None:
        super().__init__(model, tokenizer, images, name)
        self._limits = limits
        self._familiar: dict[str, float] = {}
        self._mean, self._std = (torch.tensor(v).view(3, 1, 1) for v in (images.image_mean, images.image_std))

    def _prepare(self, call: Call, fresh: dict[object, Tensor]) -> str:
        fault = super()._prepare(call, fresh)
        key = view_key(call)
        if not fault and key not in self._familiar:
            score = self._limits.score(self._pixels(fresh[key]))
            self._familiar[key] = familiar(score)
            if score > 0:
                log.warning(
                    "%s was trained on drawn scenes, and this image looks like none (log-odds %.1f): its answers get "
                    "little confidence; name another answerer for photographs",
                    self._name,
                    score,
                )
        return fault

    def _pixels(self, values: Tensor) -> npt.NDArray[np.uint8]:
        """Undo the processor's normalisation: what is left are the pixels at the size that the model sees."""
        back = ((values * self._std + self._mean) * 255).round().clamp(0, 255)
        return back.permute(1, 2, 0).to(torch.uint8).numpy()

    def _answer(self, calls: Sequence[Call], seen: Sequence[Tensor]) -> list[Reply]:
        replies = super()._answer(calls, seen)
        shares = [self._familiar[view_key(call)] for call in calls]
        return [doubted(reply, share) if share < 1 else reply for reply, share in zip(replies, shares, strict=True)]
