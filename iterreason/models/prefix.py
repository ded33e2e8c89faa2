"""Key/value states of a batch in the making, and of prompts seen before: only what is new is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

States = list[tuple[Tensor, Tensor]]  # keys and values (heads, tokens, width) of each layer


class Buffer(DynamicLayer):  # type: ignore[misc]  # transformers' classes are untyped
    """A layer's states in memory that doubles as it fills: a step writes its own tokens and copies no others."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.length = 0

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append the states (rows, heads, tokens, width) of new tokens; returns all so far."""
        end = self.length + keys.shape[-2]
        self.keys = all_keys = self._written(self.keys, keys, end)
        self.values = all_values = self._written(self.values, values, end)
        self.length, self.is_initialized = end, True
        return all_keys[:, :, :end], all_values[:, :, :end]

    def _written(self, held: Tensor | None, new: Tensor, end: int) -> Tensor:
        if held is None or held.shape[-2] < end:
            rows, heads, _, width = new.shape
            grown = new.new_zeros(rows, heads, max(end, min(2 * self.length, end + 1024)) + 64, width)
            if held is not None:
                grown[:, :, : self.length] = held[:, :, : self.length]
            held = grown
        held[:, :, self.length : end] = new
        return held

    def get_seq_length(self) -> int:
        """How many tokens it holds."""
        return self.length


class Rows:
    """A batch of token rows that grow: each row sees its own tokens only, at its own positions.

    Rows of different lengths leave holes in the batch, which the mask covers.
    model: a causal language model. cached: for each row, the states of its first tokens, in pieces; may be empty.
    """

    def __init__(self, model: Any, cached: Sequence[Sequence[States]]) -> None:
        self._model = model
        self.lengths = [sum(_tokens(piece) for piece in pieces) for pieces in cached]
        width = max(self.lengths)
        self._mask = torch.zeros(len(cached), width, dtype=torch.long, device=model.device)
        for row, length in enumerate(self.lengths):
            self._mask[row, width - length :] = 1
        layers = len(next(pieces for pieces in cached if pieces)[0]) if width else 0
        self._layers = [_filled([[piece[n] for piece in pieces] for pieces in cached], width) for n in range(layers)]
        self._cache = Cache(layers=self._layers) if layers else Cache(layer_class_to_replicate=Buffer)

    def feed(self, new: Sequence[Sequence[int]], keep: int) -> Tensor:
        """Append tokens to each row (none is fine for some); returns float32 scores (rows, keep, tokens).

        keep: how many of the last positions to return scores for; a row's own are the last ones.
        """
        width, device = max(map(len, new)), self._model.device
        ids, mask, positions = (torch.zeros(len(new), width, dtype=torch.long) for _ in range(3))
        for row, tokens in enumerate(new):
            if tokens:
                start, length = width - len(tokens), self.lengths[row]
                ids[row, start:] = torch.tensor(tokens)
                mask[row, start:] = 1
                positions[row, start:] = torch.arange(length, length + len(tokens))
                self.lengths[row] += len(tokens)
        self._mask = torch.cat([self._mask, mask.to(device)], dim=1)
        scores: Tensor = self._model(
            input_ids=ids.to(device),
            attention_mask=self._mask,
            position_ids=positions.to(device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=min(keep, width),
        ).logits
        return scores.float()

    def states(self, row: int, start: int) -> States:
        """A row's states, from its token number `start` on."""
        own = self._mask[row].nonzero()[start:, 0]
        return [(layer.keys[row][:, own], layer.values[row][:, own]) for layer in self._cache.layers]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        chosen = torch.tensor(rows, device=self._mask.device)
        self.lengths = [self.lengths[row] for row in rows]
        self._mask = self._mask[chosen]
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[chosen], layer.values[chosen]


def _tokens(states: States) -> int:
    return states[0][0].shape[-2]


def _filled(cached: Sequence[Sequence[tuple[Tensor, Tensor]]], width: int) -> Buffer:
    """A layer that starts with the rows' states, the shorter ones behind a hole."""
    sample = next(pieces for pieces in cached if pieces)[0]
    layer = Buffer()
    starts = [s.new_zeros(len(cached), s.shape[0], width, s.shape[2]) for s in sample]
    for row, pieces in enumerate(cached):
        if pieces:
            for start, parts in zip(starts, zip(*pieces, strict=True), strict=True):
                joined = torch.cat(parts, dim=-2)
                start[row, :, width - joined.shape[-2] :] = joined
    layer.update(*starts)
    return layer


class _Node:
    """A run of tokens with its states, below the run that it continues."""

    __slots__ = ("children", "parent", "states", "tokens", "used")

    def __init__(self, tokens: tuple[int, ...], states: States, parent: _Node | None) -> None:
        self.tokens, self.states, self.parent = tokens, states, parent
        self.children: dict[int, _Node] = {}
        self.used = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(t.numel() * t.element_size() for pair in self.states for t in pair)


class PrefixCache:
    """States of token sequences seen before, as a tree that stores what they share once; the longest unused go first.

    limit: of its tensors, in bytes.
    Source: Zheng et al., "SGLang", 2024 (RadixAttention), https://arxiv.org/abs/2312.07104
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._root = _Node((), [], None)
        self._clock = count(1)
        self.bytes = 0

    def find(self, tokens: Sequence[int]) -> tuple[int, list[States]]:
        """How many of the first tokens are known, and their states in pieces."""
        pieces = [(node, shared) for node, shared in self._path(tokens)]
        return sum(shared for _, shared in pieces), [_cut(node.states, 0, shared) for node, shared in pieces]

    def add(self, tokens: Sequence[int], states: Callable[[int], States]) -> None:
        """Keep these tokens; `states(n)` gives their states from token n on, and is asked for what is new only."""
        path = self._path(tokens)
        known = sum(shared for _, shared in path)
        if known == len(tokens):
            return
        node, shared = path[-1] if path else (self._root, 0)
        if shared < len(node.tokens):
            self._split(node, shared)
        child = _Node(tuple(tokens[known:]), states(known), node)
        child.used = next(self._clock)
        node.children[child.tokens[0]] = child
        self.bytes += child.size
        self._evict()

    def _path(self, tokens: Sequence[int]) -> list[tuple[_Node, int]]:
        path, node, at, now = [], self._root, 0, next(self._clock)
        while at < len(tokens) and (child := node.children.get(tokens[at])):
            shared = common_prefix(child.tokens, tokens[at : at + len(child.tokens)])
            child.used = now
            path.append((child, shared))
            if shared < len(child.tokens):
                break
            node, at = child, at + shared
        return path

    def _split(self, node: _Node, at: int) -> None:
        lower = _Node(node.tokens[at:], _cut(node.states, at, len(node.tokens), copy=True), node)
        lower.children, lower.used = node.children, node.used
        for child in lower.children.values():
            child.parent = lower
        node.tokens, node.states = node.tokens[:at], _cut(node.states, 0, at, copy=True)
        node.children = {lower.tokens[0]: lower}

    def _evict(self) -> None:
        while self.bytes > self.limit:
            oldest = min((n for n in self._nodes(self._root) if not n.children), key=lambda n: n.used)
            assert oldest.parent is not None, "the root holds no bytes"
            del oldest.parent.children[oldest.tokens[0]]
            self.bytes -= oldest.size

    def _nodes(self, node: _Node) -> Iterator[_Node]:
        for child in node.children.values():
            yield child
            yield from self._nodes(child)


def common_prefix(*sequences: Sequence[int]) -> int:
    """How many first items all these sequences share."""
    shortest = min(map(len, sequences))
    for at, items in enumerate(zip(*sequences, strict=False)):
        if any(item != items[0] for item in items):
            return at
    return shortest


def _cut(states: States, start: int, end: int, *, copy: bool = False) -> States:
    cut = [(keys[:, start:end], values[:, start:end]) for keys, values in states]
    return [(keys.clone(), values.clone()) for keys, values in cut] if copy else cut
