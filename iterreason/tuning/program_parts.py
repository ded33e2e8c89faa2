"""What composed questions are made of: named descriptions, simple steps, drafts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iterreason.tuning.descriptions import Spec, found, maybe_seen, noun_phrase, pick, seen, with_article, yes_no
from iterreason.tuning.questions import Question
from iterreason.tuning.scenes import Rng, Scene

YES_NO = ("yes", "no")
NUMBERS = tuple(str(n) for n in range(9))
# The phrasings that the answerer is trained on, those that are held out, and those that the reasoner alone learns.
Patterns = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Named:
    """A description with the words chosen for it, the same in the question and in its steps."""

    spec: Spec
    noun: str

    def words(self, prefix: str = "") -> dict[str, str]:
        """Return the fields of the patterns: {n}, {a} and {s}, with a prefix."""
        return {prefix + "n": self.noun, prefix + "a": with_article(self.noun), prefix + "s": self.noun + "s"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A composed question before its phrasing is chosen; fields as in Composed, `words` fill the patterns."""

    patterns: Patterns
    words: dict[str, str]
    answer: str
    choices: tuple[str, ...]
    steps: tuple[Question, ...]
    about: tuple[Spec, ...]
    rule: str
    details: tuple[str, ...] = ()


def named(spec: Spec, rng: Rng) -> Named:
    """Return the description with its words."""
    return Named(spec, noun_phrase(spec, rng))


def count_step(scene: Scene, what: Named, box: str = "") -> Question:
    """Return the step that counts, in a box or everywhere."""
    place = f"in the {box} box" if box else "there"
    text = f"how many {what.noun}s are {place}?"
    return Question("count", text, str(len(found(scene, what.spec))), (what.spec,))


def exist_step(scene: Scene, what: Named, box: str = "") -> Question:
    """Return the step that asks whether something is there, in a box or anywhere."""
    place = f" in the {box} box" if box else ""
    text = f"is there {with_article(what.noun)}{place}?"
    return Question("existence", text, yes_no(bool(found(scene, what.spec))), (what.spec,))


def two_groups(scene: Scene, rng: Rng, fields: tuple[str, ...]) -> tuple[Named, Named, int, int] | None:
    """Return two descriptions by the same fields that no shape has in common, with their counts."""
    chosen = pick(rng, fields)
    one, two = ((seen if rng.random() < 0.7 else maybe_seen)(scene, rng, chosen) for _ in range(2))
    first, second = found(scene, one), found(scene, two)
    if one == two or any(shape in second for shape in first):
        return None
    return named(one, rng), named(two, rng), len(first), len(second)


def tries(draft: Callable[[], Draft | None], wanted: str | None = None, most: int = 10) -> Draft | None:
    """Return the first draft, or the first with the wanted answer, in so many tries."""
    for _ in range(most):
        made = draft()
        if made and wanted in (None, made.answer):
            return made
    return None


def coin(rng: Rng) -> str:
    """Return yes or no, each equally likely."""
    return yes_no(rng.random() < 0.5)
