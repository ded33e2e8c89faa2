"""What to ask next about a lesson, given what is known: the teacher's way, and the words of its questions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from iterreason.tuning.descriptions import with_article
from iterreason.tuning.lessons import Lesson
from iterreason.tuning.scenes import COLOURS

BOXES = "how many boxes are there?"
KINDS = ("circle", "square", "triangle")
Known = Callable[[str], str | None]  # what was said to a question; None where it was not asked


@dataclass(frozen=True, slots=True)
class Course:
    """What is to be asked.

    texts: the questions by which the rule decides, in its order. first: what must be known before these can be named.
    details: see rules.Rule.
    """

    texts: tuple[str, ...]
    details: tuple[str, ...]
    first: tuple[str, ...] = ()


def course_of(lesson: Lesson, known: Known, direct: str, caption: str) -> Course:
    """What leads to the answer, as far as it can be told from what is known: nothing but that is used, and no gold.

    direct: what the answerer said to the question itself. caption: what it said of the image.
    """
    if lesson.rule == "confirm":
        return _confirm(lesson, direct)
    if lesson.rule in ("box-every", "box-both"):
        return _boxes(lesson, known)
    if lesson.rule == "odd":
        return _odd(lesson, known, caption)
    return Course(tuple(step.text for step in lesson.steps), lesson.details)


def _confirm(lesson: Lesson, direct: str) -> Course:
    value = with_article(direct) if lesson.kind == "shape" else direct
    return Course((f"is the {lesson.details[0]} {value}?",), (direct,))


def _boxes(lesson: Lesson, known: Known) -> Course:
    """Left and right are there in any case; whether there is a middle box must be asked."""
    three = known(BOXES) == "3"
    names = ("left", "right", "middle") if three else ("left", "right")
    stems = dict.fromkeys(re.sub(r" in the \w+ box\?$", "", step.text) for step in lesson.steps)
    texts = tuple(f"{stem} in the {name} box?" for name in names for stem in stems)
    return Course(texts, names, (BOXES,))


def _odd(lesson: Lesson, known: Known, caption: str) -> Course:
    """By form first: three counts; where no form stands alone, by the colours that the caption names."""
    asked = lesson.details[0]
    forms = {kind: f"how many {kind}s are there?" for kind in KINDS}
    counts = {kind: count for kind, text in forms.items() if (count := known(text))}
    if len(counts) < len(forms):
        return Course((), (), tuple(forms.values()))
    if (lone := _lone(counts)) is not None:
        last = forms[lone] if asked == "shape" else f"what color is the {lone}?"
        return Course((last,), (asked, lone), tuple(forms.values()))
    named = dict.fromkeys(word for word in re.findall(r"[a-z]+", caption) if word in COLOURS)
    colours = {colour: f"how many {colour} shapes are there?" for colour in list(named)[:3]}
    first = (*forms.values(), *colours.values())
    counts = {colour: count for colour, text in colours.items() if (count := known(text))}
    if (lone := _lone(counts)) is not None:
        last = colours[lone] if asked == "colour" else f"what shape is the {lone} shape?"
        return Course((last,), (asked, lone), first)
    return Course((), (), first)


def _lone(counts: Mapping[str, str]) -> str | None:
    """The one that is there once, where all else is of one other sort and there more than once."""
    there = {name: int(count) for name, count in counts.items() if count.isdecimal() and count != "0"}
    alone = [name for name, count in there.items() if count == 1]
    return alone[0] if len(there) == 2 and len(alone) == 1 else None


# What is asked in other words; the answers mean the same.
_OTHERWISE = (
    (r"how many (.+) are there\?", r"how many \1 can you see?"),
    (r"how many (.+) can you see\?", r"how many \1 are in the image?"),
    (r"how many (.+) are in the (\w+) box\?", r"how many \1 are inside the \2 box?"),
    (r"is there (an? .+) in the (\w+) box\?", r"does the \2 box contain \1?"),
    (r"is there (an? .+)\?", r"does the image contain \1?"),
    (r"what color is the (.+)\?", r"what is the color of the \1?"),
    (r"what shape is the (.+)\?", r"what is the shape of the \1?"),
    (r"is the (.+) (?:to|on) the (left|right) (?:side )?of the (.+)\?", r"is the \1 \2 of the \3?"),
    (r"is the (.+) (left|right) of the (.+)\?", r"is the \1 to the \2 of the \3?"),
    (r"is the (.+) above the (.+)\?", r"is the \1 higher than the \2?"),
    (r"is the (.+) (?:higher than|over) the (.+)\?", r"is the \1 above the \2?"),
    (r"is the (.+) below the (.+)\?", r"is the \1 lower than the \2?"),
    (r"is the (.+) (?:lower than|under) the (.+)\?", r"is the \1 below the \2?"),
)


def in_other_words(text: str) -> str | None:
    """The question put otherwise; None where there is no other way."""
    for pattern, other in _OTHERWISE:
        if found := re.fullmatch(pattern, text):
            return found.expand(other)
    return None
