"""The embedded answerer as it is used: BLIP, and a warning with little confidence where it is out of its depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iterreason.calls import Call, Reply
from iterreason.errors import ModelFailed
from iterreason.models import Model
from iterreason.models.embedded.limits import Limits, doubted, familiar, log
from iterreason.models.embedded.wording import Wording, guessing
from iterreason.models.hf.blip import BlipAnswerer
from iterreason.models.hf.looker import view_key

T = TypeVar("T")


def bounded(opened: Model, folder: Path, *, doubts_words: bool = True) -> BoundedAnswerer:
    """Return the opened answerer with the limits, and the wording, that lie beside its weights.

    Raises ModelFailed where they are missing or broken.
    """
    assert isinstance(opened, BlipAnswerer), "the embedded answerer is a BLIP model"
    limits = _beside(folder, "limits", Limits.load)
    wording = _beside(folder, "wording", Wording.load) if doubts_words else None
    name = f"{opened._name}+{wording.hash}" if wording else opened._name
    return BoundedAnswerer(opened._model, opened._tokenizer, opened._images, name, limits, wording)


def _beside(folder: Path, what: str, load: Callable[[Path], T]) -> T:
    try:
        return load(folder / f"{what}.json")
    except (OSError, ValueError, KeyError) as error:
        raise ModelFailed(f"{folder}/{what}.json: {error}; run: python -m iterreason.tuning.fit_{what}") from error


class BoundedAnswerer(BlipAnswerer):
    """A BLIP answerer that knows what it was trained on.

    An image that is flagged gives one warning, and answers whose probability is below one half. A question in words
    that it was not taught has probabilities that allow for not having been understood.
    """

    def __init__(
        self, model: Any, tokenizer: Any, images: Any, name: str, limits: Limits, wording: Wording | None
    ) -> None:
        super().__init__(model, tokenizer, images, name)
        self._limits, self._wording = limits, wording
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
        return [self._weighed(call, reply) for call, reply in zip(calls, super()._answer(calls, seen), strict=True)]

    def _weighed(self, call: Call, reply: Reply) -> Reply:
        """The reply with probabilities that heed what image and question are to it."""
        assert call.look is not None, "what is no look is sorted out before"
        understood = self._wording.share(call.look.question) if self._wording else 1.0
        seen = self._familiar[view_key(call)]
        if seen < 1:
            return doubted(reply, seen * understood)
        return guessing(reply, understood) if understood < 1 else reply
