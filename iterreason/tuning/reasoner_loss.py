"""The loss of a step's examples and its gradient, with what they share computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import DynamicCache
from transformers.cache_utils import get_layer_types_and_kwargs

from iterreason.tuning.reasoner_examples import Pictured, Reader
from iterreason.tuning.token_trees import Example, Layout, Pack, lay_out

PACK_TOKENS = 1024  # read at once; the attention mask grows with its square


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading examples: their mean loss, what they weigh in a mean over more, and counts of tokens."""

    loss: float
    weight: float
    trained_tokens: int
    read_tokens: int


class Losses:
    """Computes losses of examples under a model; its gradients add up in the model's parameters.

    Text examples are packed into trees where the model has nothing but full attention. Others, and those with images,
    are read one by one. even: the mean is over responses, not over their tokens, so that a letter counts as much as a
    paragraph.
    """

    def __init__(self, model: Any, reader: Reader, *, even: bool = False) -> None:
        self._model, self._reader, self._even = model, reader, even
        config = model.config.get_text_config()
        self.packs = set(get_layer_types_and_kwargs(config)[0]) == {"full_attention"}
        self._bool_masks = config._attn_implementation != "eager"

    def step(self, examples: Sequence[Example] | Sequence[Pictured], *, train: bool) -> Read:
        """The mean loss over the examples' responses.

        train: add the mean loss's gradient to the parameters'.
        """
        with torch.set_grad_enabled(train):
            texts = [example for example in examples if isinstance(example, Example)]
            if texts and self.packs:
                layout = lay_out(texts, PACK_TOKENS, even=self._even)
                loss = self._packed(layout, train) / layout.weight
                return Read(loss, layout.weight, layout.trained, layout.read)
            return self._one_by_one(examples, train)

    # -------------------------------------------------------------- trees

    def _packed(self, layout: Layout, train: bool) -> float:
        states = self._prefix(layout.prefix)
        # The packs' gradients meet in these leaves, and go through the prefix together, once.
        leaves = [[state.detach().requires_grad_(train) for state in pair] for pair in states]
        total = 0.0
        for pack in layout.packs:
            loss = self._pack(pack, leaves, len(layout.prefix))
            total += float(loss.detach())
            if train:
                torch.autograd.backward(loss / layout.weight)
        known = [
            (state, leaf.grad)
            for pair, own in zip(states, leaves, strict=True)
            for state, leaf in zip(pair, own, strict=True)
            if state.requires_grad and leaf.grad is not None  # the last layer's, of a prefix, may go nowhere
        ]
        if known:
            torch.autograd.backward([state for state, _ in known], [gradient for _, gradient in known])
        return total

    def _prefix(self, tokens: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """The key/value states of each layer over the shared prefix."""
        if not tokens:
            return []
        ids = torch.tensor([list(tokens)], device=self._model.device)
        cache = DynamicCache()
        self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _pack(self, pack: Pack, states: Sequence[Sequence[Tensor]], prefix: int) -> Tensor:
        """The summed loss of a pack."""
        device = self._model.device
        befores, tokens = zip(*pack.wanted, strict=True)
        places = sorted(set(befores))
        logits = self._model(
            input_ids=torch.tensor([pack.tokens], device=device),
            position_ids=torch.tensor([pack.depths], device=device),
            attention_mask=self._mask(pack, prefix),
            past_key_values=DynamicCache(ddp_cache_data=states) if states else None,
            use_cache=bool(states),
            logits_to_keep=torch.tensor(places, device=device),
        ).logits[0]
        row = {place: number for number, place in enumerate(places)}
        chosen = logits[torch.tensor([row[before] for before in befores], device=device)].float()
        losses = cross_entropy(chosen, torch.tensor(tokens, device=device), reduction="none")
        return (losses * torch.tensor([pack.wanted[pair] for pair in pack.wanted], device=device)).sum()

    def _mask(self, pack: Pack, prefix: int) -> Tensor:
        """Which tokens each token sees: the prefix, its ancestors, itself."""
        count = len(pack.tokens)
        sees = torch.zeros(count, prefix + count, dtype=torch.bool)
        sees[:, :prefix] = True
        for place, parent in enumerate(pack.parents):
            if parent >= 0:
                sees[place] = sees[parent]
            sees[place, prefix + place] = True
        sees = sees[None, None].to(self._model.device)
        if self._bool_masks:
            return sees
        return torch.zeros(sees.shape, dtype=self._model.dtype, device=sees.device).masked_fill(~sees, float("-inf"))

    # -------------------------------------------------------------- one by one

    def _one_by_one(self, examples: Sequence[Example] | Sequence[Pictured], train: bool) -> Read:
        made = [self._inputs(example) for example in examples]
        lengths = [inputs["input_ids"].shape[1] - start for inputs, start in made]
        weight = float(len(made) if self._even else sum(lengths))
        total, read = 0.0, 0
        for (tensors, start), length in zip(made, lengths, strict=True):
            inputs = {name: value.to(self._model.device) for name, value in tensors.items()}
            ids = inputs["input_ids"]
            logits = self._model(**inputs, use_cache=False).logits[0, start - 1 : -1].float()
            loss = cross_entropy(logits, ids[0, start:], reduction="sum") / (length if self._even else 1)
            total, read = total + float(loss.detach()), read + ids.shape[1]
            if train:
                torch.autograd.backward(loss / weight)
        return Read(total / weight, weight, sum(lengths), read)

    def _inputs(self, example: Example | Pictured) -> tuple[dict[str, Any], int]:
        if isinstance(example, Pictured):
            return self._reader.tensors(example)
        return {"input_ids": torch.tensor([example.tokens])}, example.start
