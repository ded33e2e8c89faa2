"""What a lesson's evidence is worth: a distribution over its choices out of uncertain answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

from iterreason.tuning.course import Course, in_other_words
from iterreason.tuning.lessons import Lesson
from iterreason.tuning.rules import RULES

Said = tuple[str, float]  # an answer and its probability, in [0, 1]
Belief = dict[str, float]
# How much the steps' and the answerer's own answer count, as exponents. Of (1, 0.1), (1, 0.25), (1, 0.5), (1, 1) and
# five more with less weight on the steps these made right choices likeliest, on 960 lessons of a seed of their own.
STEPS, DIRECT = 1.0, 0.25
LEAST = 1e-3
_CLOSE = 0.85  # of what is not on a count's top answer lies so much on its neighbours


def spread(said: Said) -> Belief:
    """The distribution behind one answer: its probability, the rest on what it could be mistaken for."""
    answer, sure = said
    rest = max(1 - sure, LEAST)
    sure = 1 - rest
    if answer in ("yes", "no"):
        return {answer: sure, "no" if answer == "yes" else "yes": rest}
    if answer.isdecimal():
        near = [str(n) for n in (int(answer) - 1, int(answer) + 1) if n >= 0]
        far = [str(n) for n in range(9) if str(n) not in (answer, *near)]
        return (
            {answer: sure}
            | dict.fromkeys(near, rest * _CLOSE / len(near))
            | dict.fromkeys(far, rest * (1 - _CLOSE) / len(far))
        )
    return {answer: sure, "": rest}


def multiplied(beliefs: Sequence[Belief]) -> Belief:
    """What several answers to one question say together."""
    made = beliefs[0]
    for other in beliefs[1:]:
        keys = set(made) | set(other)
        made = {key: made.get(key, LEAST) * other.get(key, LEAST) for key in keys}
    return normalised(made)


def normalised(belief: Mapping[str, float]) -> Belief:
    """The same, summing to one."""
    total = sum(belief.values())
    return {key: value / total for key, value in belief.items()} if total else {}


def from_steps(lesson: Lesson, course: Course, known: Mapping[str, Said]) -> Belief:
    """The distribution over the choices that the steps give; what decides nothing is spread evenly."""
    if not course.texts or not all(text in known for text in course.texts):
        return dict.fromkeys(lesson.choices, 1 / len(lesson.choices))
    steps = []
    for text in course.texts:
        both = (text, in_other_words(text) or text)
        steps.append(multiplied([spread(known[one]) for one in dict.fromkeys(both) if one in known]))
    made: defaultdict[str, float] = defaultdict(float)
    for answers in product(*steps):
        weight = 1.0
        for answer, step in zip(answers, steps, strict=True):
            weight *= step[answer]
        said = decided(lesson, course, answers)
        if said is None:
            for choice in lesson.choices:
                made[choice] += weight / len(lesson.choices)
        else:
            made[said] += weight
    return dict(made)


def decided(lesson: Lesson, course: Course, answers: Sequence[str]) -> str | None:
    """The choice that these answers lead to; None where they lead to none."""
    if "" in answers:
        return None
    details = lesson.details if lesson.rule == "box-most" else course.details
    said = RULES[lesson.rule].decide(tuple(answers), details)
    return said if said in lesson.choices else None


def together(lesson: Lesson, steps: Belief, direct: Said, weights: tuple[float, float] = (STEPS, DIRECT)) -> Belief:
    """The steps' distribution and the answerer's own answer to the question, weighed together."""
    answer, sure = direct
    others = [choice for choice in lesson.choices if choice != answer]
    own = dict.fromkeys(others, max(1 - sure, LEAST) / len(others)) | (
        {answer: max(sure, LEAST)} if answer in lesson.choices else {}
    )
    return normalised(
        {
            c: max(steps.get(c, 0.0), LEAST) ** weights[0] * max(own.get(c, 0.0), LEAST) ** weights[1]
            for c in lesson.choices
        }
    )
