"""The tokens that begin each of a read-out's choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


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
