"""When two short texts mean the same: folding, and matching a reply to the choices."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_lowercase

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_DIGITS = {word: str(n) for n, word in enumerate(f"{_NUMBERS} seventeen eighteen nineteen twenty".split())}
_ARTICLES = frozenset(("a", "an", "the"))
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
# NFKC makes 10² into 102 and 1½ into 11/2.
_RAISED = re.compile(r"(?<=\d)(?=[²³¹⁰-⁹⁻₀-₉¼-¾⅐-⅞])")
_MINUS = re.compile(r"[\u2012\u2013\u2212](?=[$€£¥]?\.?\d)")
_ALNUM = r"[^\W_]"
# These carry meaning: a point before a digit, a sign before a number, an apostrophe in a word, and '#' (C is not C#).
_INNER = re.compile(
    rf"(?<![^\W\d])(?<!\.)\.(?=\d)|(?<!{_ALNUM})-(?=[$€£¥]?\.?\d)|(?<={_ALNUM})'(?={_ALNUM})|[#%&@/]",
)
_LETTERED = re.compile(r"[\s(\[*_]*([A-Za-z])(?:[\s*_]*[)\].:,]|\s+[-–—]\s)[)\].:,*_\s]*(\S.*)", re.DOTALL)

_MAY_CARRY = frozenset(".,-'#%&@/")  # what the patterns above look for, in ASCII
_ASCII_PUNCTUATION = {n: " " for n in range(128) if chr(n) == "`" or unicodedata.category(chr(n)).startswith("P")}


@lru_cache(maxsize=2048)
def fold(text: str) -> str:
    """The text without what does not change its meaning: Unicode form, case, punctuation, articles, number words."""
    plain = _one_form(text)
    if plain.isascii() and _MAY_CARRY.isdisjoint(plain):  # most texts, in a fraction of the time
        letters = plain.translate(_ASCII_PUNCTUATION)
    else:
        plain = _THOUSANDS.sub("", _MINUS.sub("-", plain))
        kept = {m.start() for m in _INNER.finditer(plain)}
        letters = "".join(c if i in kept or not _is_punctuation(c) else " " for i, c in enumerate(plain))
    words = [_DIGITS.get(word, word) for word in letters.split()]
    content = [word for i, word in enumerate(words) if word not in _ARTICLES or not _is_article(words, i)]
    return " ".join(content) or plain.strip()


def _one_form(text: str) -> str:
    """One spelling of each character: compatibility form, small, digits as 0–9, without invisible ones."""
    if text.isascii():
        return text.lower()
    seen = "".join(c for c in text if unicodedata.category(c) != "Cf" and c != "\ufe0f").replace("’", "'")
    form = unicodedata.normalize("NFKC", _RAISED.sub(" ", seen)).casefold()
    form = unicodedata.normalize("NFKC", form)
    return "".join(str(unicodedata.decimal(c, c)) for c in form)


def _is_punctuation(c: str) -> bool:
    return c == "`" or unicodedata.category(c).startswith("P")


def _is_article(words: Sequence[str], i: int) -> bool:
    """Whether the word is an article, not a letter: nothing stands after a letter, or one more ('A, B')."""
    after = words[i + 1 : i + 3]
    letters = words[i] == "a" and len(after) == 1 and after[0] in ascii_lowercase
    return words[i] in _ARTICLES and bool(after) and not letters


def same_text(one: str, other: str) -> bool:
    """Whether two texts are the same after folding."""
    return fold(one) == fold(other)


def match_choice(reply: str, choices: Sequence[str]) -> str | None:
    """The choice that the reply names; None where it names none.

    By its text after folding; by letter (A is the first) only when the reply is a letter, alone or before its choice's
    own text. A choice that is itself a letter goes by its text: 'A' is then the choice 'A', not the first.
    """
    reply = reply.strip()
    if len(reply) > 2_000:
        return None
    written = {choice.strip().casefold(): choice for choice in choices}
    if (named := written.get(reply.casefold())) is not None:
        return named
    folded = {fold(choice): choice for choice in choices}
    if (lettered := _LETTERED.fullmatch(reply)) and (named := folded.get(fold(lettered[2]))) is not None:
        return named if (folded.get(lettered[1].lower()) or match_letter(lettered[1], choices)) == named else None
    return folded.get(fold(reply)) or match_letter(reply, choices)


def match_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The choice that the reply names by its letter alone: A is the first, whatever the choices' own texts are."""
    letter = fold(reply) if len(reply) <= 100 else ""
    if len(letter) != 1 or letter not in ascii_lowercase or sum(map(str.isalnum, reply)) > 1:
        return None
    index = ascii_lowercase.index(letter)
    return choices[index] if index < len(choices) else None
