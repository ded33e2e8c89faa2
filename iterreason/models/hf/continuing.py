"""How probable whole answers are after a prompt: read once, then continued by every spelling of every choice."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

ROWS = 16  # spellings that continue a prompt at once; each needs a copy of its states

Likely = tuple[float, ...]


def spellings(tokenizer: Any, choice: str) -> list[list[int]]:
    """The tokens of a choice as a model may write it: with or without a blank before it, and with a capital.

    Each token sequence stands once, so that the probabilities of all may be added.
    """
    words = dict.fromkeys((choice, choice[:1].upper() + choice[1:]))
    texts = [blank + word for word in words for blank in ("", " ")]
    return [
        list(ids) for ids in dict.fromkeys(tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    ]


@torch.inference_mode()
def rank(model: Any, tokenizer: Any, prompt: dict[str, Any], choices: Sequence[str], ends: Sequence[int]) -> Likely:
    """The log-probability of each choice as the whole answer to a prompt, over its spellings and ends.

    model: a decoder, with or without an image before it, or an encoder and decoder. prompt: its inputs, one row without
    padding. ends: token ids of which any ends an answer.
    """
    written = [spellings(tokenizer, choice) for choice in choices]
    rows = [ids for each in written for ids in each]
    continued = _after_encoder if model.config.is_encoder_decoder else _after_prompt
    logprobs = continued(model, prompt, rows, ends)
    scores, start = [], 0
    for each in written:
        scores.append(torch.tensor(logprobs[start : start + len(each)]).logsumexp(0).item())
        start += len(each)
    return tuple(scores)


def _after_prompt(model: Any, prompt: dict[str, Any], rows: Sequence[list[int]], ends: Sequence[int]) -> list[float]:
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    read = model(**prompt, use_cache=True, **last_only)
    first = read.logits[:, -1:].float()
    found: list[float] = []
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        states = deepcopy(read.past_key_values)
        states.batch_repeat_interleave(len(part))
        # Padding comes last, where nothing that counts looks back at it.
        logits = model(input_ids=_padded(part).to(first.device), past_key_values=states, use_cache=True).logits
        found += _sums(torch.cat([first.expand(len(part), -1, -1), logits.float()], dim=1), part, ends)
    return found


def _after_encoder(model: Any, prompt: dict[str, Any], rows: Sequence[list[int]], ends: Sequence[int]) -> list[float]:
    encoded = model.get_encoder()(**prompt)
    begin = model.config.decoder_start_token_id
    found: list[float] = []
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        states = type(encoded)(last_hidden_state=encoded.last_hidden_state.expand(len(part), -1, -1))
        ids = torch.cat([torch.full((len(part), 1), begin), _padded(part)], dim=1).to(states.last_hidden_state.device)
        found += _sums(model(encoder_outputs=states, decoder_input_ids=ids, use_cache=False).logits.float(), part, ends)
    return found


def _padded(rows: Sequence[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.long)


def _sums(logits: Tensor, rows: Sequence[list[int]], ends: Sequence[int]) -> list[float]:
    """The log-probability of each row and an end after it; logits (rows, 1 + longest, tokens) of each next token."""
    logprobs = logits.log_softmax(-1)
    sums = []
    for scores, row in zip(logprobs, rows, strict=True):
        own = sum(scores[place, token].item() for place, token in enumerate(row))
        sums.append(own + scores[len(row), list(ends)].logsumexp(0).item())
    return sums
