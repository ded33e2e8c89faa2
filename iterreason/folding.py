"""When two short texts mean the same: folding, and matching a reply to the choices."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_uppercase

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_DIGITS = {word: str(n) for n, word in enumerate(f"{_NUMBERS} seventeen eighteen nineteen twenty".split())}
_ARTICLES = frozenset(("a", "an", "the"))
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
# These carry meaning: a point between digits, a sign before a digit, an apostrophe in a word, and '#' (C is not C#).
_INNER = re.compile(r"(?<=\d)\.(?=\d)|(?<!\w)-(?=\d)|(?<=\w)['’](?=\w)|[#%&@/]")
_LETTER = re.compile(r"[\s(\[]*([A-Za-z])[\s)\].:]*")
_LETTERED = re.compile(r"[\s(\[]*([A-Za-z])[)\].:]+\s*(\S.*)", re.DOTALL)


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """The text without what does not change its meaning: Unicode form, case, punctuation, articles, number words."""
    plain = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text).casefold())
    kept = {m.start() for m in _INNER.finditer(plain)}
    letters = (c if i in kept or not unicodedata.category(c).startswith("P") else " " for i, c in enumerate(plain))
    words = [_DIGITS.get(word, word) for word in "".join(letters).split()]
    content = [word for word in words if word not in _ARTICLES]
    return " ".join(content or words) or plain.strip()


def same_text(one: str, other: str) -> bool:
    """Whether two texts are the same after folding."""
    return fold(one) == fold(other)


def match_choice(reply: str, choices: Sequence[str]) -> str | None:
    """The choice that the reply names; None where it names none.

    By its text after folding; by letter (A is the first) only when the reply is a letter, alone or before its choice's
    own text.
    """
    if len(reply) > 2_000:
        return None
    folded = {fold(choice): choice for choice in choices}
    if (named := folded.get(fold(reply))) is not None:
        return named
    if letter := _LETTER.fullmatch(reply):
        return _by_letter(letter[1], choices)
    if (lettered := _LETTERED.fullmatch(reply)) and (named := folded.get(fold(lettered[2]))) is not None:
        return named if _by_letter(lettered[1], choices) == named else None
    return None


def _by_letter(letter: str, choices: Sequence[str]) -> str | None:
    index = ascii_uppercase.index(letter.upper())
    return choices[index] if index < len(choices) else None
