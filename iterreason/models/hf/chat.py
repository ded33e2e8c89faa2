"""What chat models of this process share: text as data, the ends of a reply, the tokens that begin a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def as_data(text: str, tokenizer: Any, more: Sequence[str] = ()) -> str:
    """The text with a blank in what would be read as a control token: text from an image must not end a turn.

    more: other texts that the model's processor takes for its own, such as the place of an image.
    """
    for token in (*tokenizer.all_special_tokens, *more):
        text = text.replace(token, f"{token[:1]} {token[1:]}")
    return text


def first_tokens(tokenizer: Any, choices: Sequence[str]) -> list[list[int]]:
    """The tokens that begin each choice: of `A` and ` A` those that are one token, else the first of `A`.

    A choice that begins like another one cannot be told by its first token; it has none.
    """
    spellings = [[tokenizer.encode(text, add_special_tokens=False) for text in (c, f" {c}")] for c in choices]
    found = [
        sorted({ids[0] for ids in both if len(ids) == 1}) or [ids[0] for ids in both[:1] if ids] for both in spellings
    ]
    return [
        [] if any(set(ids) & set(other) for m, other in enumerate(found) if m != n) else ids
        for n, ids in enumerate(found)
    ]


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The token ids that end a reply, the tokenizer's own first."""
    said = model.generation_config.eos_token_id
    named = [tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])]
    ids = [*named, *(tokenizer.get_vocab().get(token) for token in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>"))]
    return list(dict.fromkeys(n for n in ids if n is not None))
