"""ViLT as answerer: one of a few thousand fixed labels, each with a probability of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from iterreason.calls import Call, Reply, Sample, Tokens
from iterreason.folding import fold
from iterreason.models.dice import dice_of, draw
from iterreason.models.hf.looker import Looker, question_of


def open_vilt(model: Any, where: str, name: str) -> ViltAnswerer:
    """Make an answerer of a loaded ViltForQuestionAnswering."""
    import transformers
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil  # needs no torchvision

    tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    return ViltAnswerer(model, tokenizer, ViltImageProcessorPil.from_pretrained(where), name)


class ViltAnswerer(Looker):
    """Answers questions with ViLT in this process; it writes no captions.

    tokenizer, images: the model's tokenizer and its image processor.

    An answer's probability is the sigmoid of its label's logit, as ViLT was trained: the probabilities of all labels
    need not sum to one. Choices that are labels are scored by them; the others have no score.
    """

    def __init__(self, model: Any, tokenizer: Any, images: Any, name: str) -> None:
        super().__init__(model, images, name)
        self._tokenizer = tokenizer
        self._longest = int(model.config.max_position_embeddings)
        self._labels = [str(model.config.id2label[n]) for n in range(model.config.num_labels)]
        self._places = {fold(label): n for n, label in reversed(list(enumerate(self._labels)))}
        model.config.max_image_length = -1  # with a bound ViLT would drop patches at random

    # All below runs on the batcher's thread.

    def _fault(self, call: Call) -> str:
        question = question_of(call)
        if question is None:
            return f"{self._name} answers questions only; name a model that writes captions"
        tokens = len(self._tokenizer(question).input_ids)
        if tokens > self._longest:
            return f"context: {question[:40]!r}… has {tokens:,} tokens; {self._name} takes {self._longest:,}"
        return ""

    def _keep(self, pixels: Sequence[Tensor]) -> Sequence[Tensor]:
        # Words and patches go through the model together; only the pixels can be kept.
        return pixels

    def _answer(self, calls: Sequence[Call], seen: Sequence[Tensor]) -> list[Reply]:
        device = self._model.device
        asked = self._tokenizer([question_of(call) or "" for call in calls], padding=True, return_tensors="pt")
        pixels, mask = _side_by_side(seen)
        logits = self._model(
            **asked.to(device), pixel_values=pixels.to(device, self._model.dtype), pixel_mask=mask.to(device)
        ).logits
        logprobs = logsigmoid(logits.float()).cpu()
        lengths = asked.attention_mask.sum(1).tolist()
        return [self._reply(*row) for row in zip(calls, logprobs, lengths, strict=True)]

    def _reply(self, call: Call, logprobs: Tensor, length: int) -> Reply:
        """A call's reply; where no choice is a label, what the model says without them."""
        places = [self._places.get(fold(choice)) for choice in call.choices]
        scores = tuple(None if place is None else logprobs[place].item() for place in places)
        known = [(choice, place) for choice, place in zip(call.choices, places, strict=True) if place is not None]
        options = known or list(zip(self._labels, range(len(self._labels)), strict=True))
        odds = logprobs[[place for _, place in options]]
        picked = [draw(odds, call.sampling.temperature, dice_of(call, number)) for number in range(call.sampling.n)]
        samples = tuple(Sample(options[one][0], (odds[one].item(),)) for one in picked)
        return Reply(samples, scores, Tokens(length, completion=len(samples)))


def _side_by_side(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Images (channels, height, width) of different sizes as one batch, and a mask of where each is."""
    height, width = (max(image.shape[side] for image in images) for side in (1, 2))
    pixels = [pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]
    masks = [torch.ones(image.shape[1:], dtype=torch.long) for image in images]
    masks = [pad(mask, (0, width - mask.shape[1], 0, height - mask.shape[0])) for mask in masks]
    return torch.stack(pixels), torch.stack(masks)
