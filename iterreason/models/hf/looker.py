"""What the models made for looking share: batches, faults of one call alone, and vision states that are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from iterreason.calls import Call, Capabilities, Reply, digest
from iterreason.images import decode
from iterreason.models import OnText
from iterreason.models.batching import Batcher, one_line

BATCH_CALLS = 32
BATCH_ROWS = 256  # samples that decode together
SEEN_BYTES = 128 * 2**20  # vision states kept; of blip-vqa-base about 70 images


class Looker(ABC):
    """Answers looks with a model in this process; each family is a class below this one.

    model: of transformers. images: its image processor. name: what results call it.

    With `choices` the answer is one of them, scored by the model; at a temperature it is drawn by these scores.
    With a seed, a sample depends on its own call alone. A call's seconds are its share of its batch's; its prompt is
    computed, and counted, once for all its samples.
    """

    def __init__(self, model: Any, images: Any, name: str) -> None:
        self._model, self._images, self._name = model, images, name
        self._seen: OrderedDict[object, Tensor] = OrderedDict()
        self._batcher = Batcher(self._run, BATCH_CALLS, lambda call: (bool(call.choices), call.sampling.max_tokens))

    def capabilities(self) -> Capabilities:
        """Looks only; everything can be scored."""
        return Capabilities(self._name, chats=False, looks=True, logprobs=True, scores=True)

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one look, in a batch with those that wait; the text does not stream."""
        return await self._batcher.submit(call)

    async def close(self) -> None:
        """End the thread and drop the vision states."""
        await self._batcher.close()
        self._seen.clear()

    # All below runs on the batcher's thread.

    @abstractmethod
    def _fault(self, call: Call) -> str:
        """Why this look cannot be answered; empty where it can."""

    @abstractmethod
    def _answer(self, calls: Sequence[Call], seen: Sequence[Tensor]) -> list[Reply]:
        """Reply to calls of one kind: all with choices or none, all with the same `max_tokens`.

        seen: what is kept of each call's view.
        """

    def _keep(self, pixels: Sequence[Tensor]) -> Sequence[Tensor]:
        """What is kept of images, so that another question about one costs less: their vision states."""
        stacked = torch.stack(list(pixels)).to(self._model.device, self._model.dtype)
        states: Tensor = self._model.vision_model(pixel_values=stacked).last_hidden_state
        return list(states)

    @torch.inference_mode()
    def _run(self, calls: Sequence[Call]) -> list[Reply]:
        began = perf_counter()
        fresh: dict[object, Tensor] = {}
        faults = [self._no_look(call) or self._fault(call) or self._prepare(call, fresh) for call in calls]
        good = [call for call, fault in zip(calls, faults, strict=True) if not fault]
        answers = iter(self._answer(good, self._see(good, fresh)) if good else ())
        seconds = (perf_counter() - began) / len(calls)
        return [Reply(error=fault) if fault else replace(next(answers), seconds=seconds) for fault in faults]

    def _no_look(self, call: Call) -> str:
        return f"{self._name} only looks at images; it answers no messages" if call.look is None else ""

    def _prepare(self, call: Call, fresh: dict[object, Tensor]) -> str:
        """Put the pixels of a view not seen before into `fresh`; returns what is wrong with it, or nothing."""
        key = view_key(call)
        try:
            if key not in self._seen and key not in fresh:
                assert call.look is not None, "faults are sorted out before"
                fresh[key] = self._images(decode(call.look.view), return_tensors="pt").pixel_values[0]
        except Exception as error:  # an image that cannot be decoded is this call's fault alone
            return one_line(error)
        return ""

    def _see(self, calls: Sequence[Call], fresh: dict[object, Tensor]) -> list[Tensor]:
        """What is kept of each call's view; each goes through the vision encoder once."""
        if fresh:
            self._seen |= dict(zip(fresh, self._keep(list(fresh.values())), strict=True))
        found = [self._seen[view_key(call)] for call in calls]
        for call in calls:
            self._seen.move_to_end(view_key(call))
        held = sum(states.numel() * states.element_size() for states in self._seen.values())
        while held > SEEN_BYTES:
            _, oldest = self._seen.popitem(last=False)
            held -= oldest.numel() * oldest.element_size()
        return found


def question_of(call: Call) -> str | None:
    """What the look asks; None for a caption."""
    return call.look.question if call.look else None


def view_key(call: Call) -> str:
    """Tells views of images apart."""
    return digest(call.look and call.look.view.identity)
