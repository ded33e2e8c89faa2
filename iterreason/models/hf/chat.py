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


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The token ids that end a reply, the tokenizer's own first."""
    said = model.generation_config.eos_token_id
    named = [tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])]
    ids = [*named, *(tokenizer.get_vocab().get(token) for token in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>"))]
    return list(dict.fromkeys(n for n in ids if n is not None))
