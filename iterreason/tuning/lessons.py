"""Problems about drawn scenes as a reasoner learns them: the question, its gold answer, and how to come by it."""

from __future__ import annotations

from dataclasses import dataclass

from iterreason.tuning import phrasings
from iterreason.tuning.descriptions import Spec, found, pick, yes_no
from iterreason.tuning.layouts import make_layout
from iterreason.tuning.program_parts import YES_NO
from iterreason.tuning.programs import Composed, Wording, compose, make_problem
from iterreason.tuning.questions import Question, ask
from iterreason.tuning.rules import RULES, Answers
from iterreason.tuning.scenes import COLOURS, Rng, Scene

SIMPLE = ("count", "existence", "colour", "shape", "size", "check", "relation")
# What a question of each simple kind may be answered by.
CHOICES = {
    "count": tuple(map(str, range(9))),
    "colour": COLOURS,
    "shape": ("circle", "square", "triangle", "rectangle"),
    "size": ("small", "large"),
}


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question about a scene, the simple questions that lead to its answer, and the rule by which they do.

    kind: of simple questions, or the program. steps: of questions whose answers, in order, `rule` decides by; where
    what is asked next depends on answers, `teacher` knows. details: see rules.Rule.
    """

    kind: str
    scene: Scene
    text: str
    answer: str
    choices: tuple[str, ...]
    steps: tuple[Question, ...]
    rule: str
    details: tuple[str, ...] = ()
    wording: Wording = "trained"

    def decide(self, answers: Answers) -> str | None:
        """The answer that follows; None where none does, or none that can be chosen."""
        if self.rule == "odd" and answers[2] != "1":
            return None  # what stands alone must have been found to
        said = RULES[self.rule].decide(answers, self.details)
        return said if said in self.choices else None


def composed_lesson(program: str, rng: Rng, wording: Wording) -> Lesson:
    """A composed question about a fresh scene."""
    return _of(*make_problem(program, rng, wording))


def composed_about(scene: Scene, program: str, rng: Rng, wording: Wording) -> Lesson | None:
    """A composed question about this scene, where it allows one."""
    made = compose(scene, program, rng, wording)
    return _of(scene, made) if made else None


def _of(scene: Scene, made: Composed) -> Lesson:
    return Lesson(
        made.program, scene, made.text, made.answer, made.choices, made.steps, made.rule, made.details, made.wording
    )


def simple_lesson(kind: str, rng: Rng) -> Lesson:
    """A simple question about a fresh scene, of any layout."""
    while True:
        scene = make_layout(pick(rng, ("scene", "scene", "distinct", "grid", "boxed")), rng)
        if made := simple_about(scene, kind, rng):
            return made


def simple_about(scene: Scene, kind: str, rng: Rng) -> Lesson | None:
    """A simple question about this scene, where it allows one."""
    made = ask(scene, kind, rng)
    choices = CHOICES.get(kind, YES_NO)
    if made is None or made.answer not in choices:
        return None
    rule, steps, details = _second_look(scene, made)
    return Lesson(kind, scene, made.text, made.answer, choices, steps, rule, details)


def _second_look(scene: Scene, asked: Question) -> tuple[str, tuple[Question, ...], tuple[str, ...]]:
    """The rule for a simple question, what to ask beside the question itself, and the rule's details."""
    spec = asked.about[0]
    plain, count = plain_words(spec), str(len(found(scene, spec)))
    if asked.kind == "count":
        return "again", (Question("count", f"how many {plain}s can you see?", count),), ()
    if asked.kind == "existence":
        there = asked.answer == yes_no(bool(found(scene, spec)))
        step = Question("count", f"how many {plain}s are there?", count)
        return ("at least", (step,), ("1",)) if there else ("exactly", (step,), ("0",))
    if asked.kind == "relation":
        said = next(side for side, words in phrasings.RELATIONS.items() if any(f" {w} " in asked.text for w in words))
        # The same way round: a small reasoner that is to turn both the things and the word often turns one of them.
        other = next(words for words in phrasings.RELATIONS[said] if f" {words} " not in asked.text)
        text = f"is the {plain} {other} the {plain_words(asked.about[1])}?"
        return "again", (Question("relation", text, asked.answer),), ()
    if asked.kind == "check":
        field, value = next((f, v) for f in ("colour", "size", "shape")
                            if (v := getattr(asked.about[1], f)) and not getattr(spec, f))  # fmt: skip
        word = "color" if field == "colour" else field
        gold = getattr(found(scene, spec)[0], field)
        return "is", (Question(field, f"what {word} is the {plain}?", gold),), (value,)
    return "confirm", (), (plain,)


def plain_words(spec: Spec) -> str:
    """The description in one wording of many."""
    return " ".join(word for word in (spec.size, spec.colour, spec.shape or phrasings.NOUNS[0]) if word)
