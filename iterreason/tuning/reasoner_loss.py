"""The loss of a step's examples and its gradient, with what they share computed once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
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
        self._half = model.dtype if model.dtype in (torch.bfloat16, torch.float16) else None
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._lanes = torch.get_num_threads() if model.device.type == "cpu" else 1

    def step(self, examples: Sequence[Example] | Sequence[Pictured], *, train: bool) -> Read:
        """The mean loss over the examples' responses.

        train: add the mean loss's gradient to the parameters'.
        """
        with torch.set_grad_enabled(train), self._uncast(), self._mixed():
            texts = [example for example in examples if isinstance(example, Example)]
            if texts and self.packs:
                layout = lay_out(texts, PACK_TOKENS, even=self._even, lanes=self._lanes)
                loss = self._packed(layout, train) / layout.weight
                return Read(loss, layout.weight, layout.trained, layout.read)
            return self._one_by_one(examples, train)

    # Over 16-bit weights the adapter's products are 16-bit too; its own numbers and their gradients stay 32-bit.

    def _mixed(self) -> AbstractContextManager[Any]:
        # No cache: what one thread's graph cast is not another's.
        return torch.autocast(self._model.device.type, self._half, enabled=self._half is not None, cache_enabled=False)

    def _uncast(self) -> AbstractContextManager[Any]:
        from peft.helpers import disable_input_dtype_casting

        uncast: AbstractContextManager[Any] = disable_input_dtype_casting(self._model, active=self._half is not None)
        return uncast

    # -------------------------------------------------------------- trees

    def _packed(self, layout: Layout, train: bool) -> float:
        states = self._prefix(layout.prefix)
        # The packs' gradients meet in these leaves, and go through the prefix together, once.
        leaves = [[state.detach().requires_grad_(train) for state in pair] for pair in states]
        wanted = [*self._trained, *(leaf for pair in leaves for leaf in pair)] if train else []

        def part(pack: Pack) -> tuple[float, Sequence[Tensor | None]]:
            with torch.set_grad_enabled(train), self._mixed():  # each thread has its own
                loss = self._pack(pack, leaves, len(layout.prefix))
            read = float(loss.detach())
            return read, torch.autograd.grad(loss / layout.weight, wanted, allow_unused=True) if train else ()

        total = 0.0
        # One processor a pack: two packs side by side take less time than both processors on each in turn.
        with ThreadPoolExecutor(self._lanes, initializer=torch.set_num_threads, initargs=(1,)) as lanes:
            for loss, gradients in lanes.map(part, layout.packs):  # in order, whichever was ready first
                total += loss
                for tensor, gradient in zip(wanted, gradients, strict=train):
                    if gradient is not None:
                        tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient
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
