"""Composed questions about drawn scenes: functional programs with their simple steps and the gold answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from typing import Literal

from iterreason.tuning import box_programs, phrasings, rewordings
from iterreason.tuning import place_phrasings as say
from iterreason.tuning.composed_questions import MARGIN
from iterreason.tuning.descriptions import (
    FIELDS,
    Spec,
    balanced,
    found,
    maybe_seen,
    pick,
    seen,
    unique,
    with_article,
    yes_no,
)
from iterreason.tuning.layouts import make_layout
from iterreason.tuning.program_parts import (
    NUMBERS,
    YES_NO,
    Draft,
    Named,
    Patterns,
    coin,
    count_step,
    exist_step,
    named,
    tries,
    two_groups,
)
from iterreason.tuning.questions import Question
from iterreason.tuning.scenes import COLOURS, SHAPES, Rng, Scene, Shape

# Whose phrasings: those that the answerer is trained on, those that nobody is, those that the reasoner alone learns.
Wording = Literal["trained", "held out", "reworded"]
WORDINGS: tuple[Wording, ...] = ("trained", "held out", "reworded")


@dataclass(frozen=True, slots=True)
class Composed:
    """A composed question with its gold answer and the simple questions whose gold answers decide it.

    program: its name in PROGRAMS. choices: every answer that the program can give, about this scene.
    about: the descriptions that it turns on. rule: its name in rules.RULES, by which the steps' answers decide;
    details: what the rule wants beside them. wording: whose phrasing it has.
    """

    program: str
    text: str
    answer: str
    choices: tuple[str, ...]
    steps: tuple[Question, ...]
    about: tuple[Spec, ...]
    rule: str
    details: tuple[str, ...]
    wording: Wording


def compose(scene: Scene, program: str, rng: Rng, wording: Wording = "trained") -> Composed | None:
    """Return a question of this program about the scene, or None where the scene allows none.

    Raises KeyError for a name that is not in PROGRAMS.
    """
    draft = PROGRAMS[program](scene, rng)
    if draft is None:
        return None
    patterns = draft.patterns[WORDINGS.index(wording)]
    text = pick(rng, patterns).format(**draft.words, w=pick(rng, phrasings.WHERE))
    return Composed(
        program, text, draft.answer, draft.choices, draft.steps, draft.about, draft.rule, draft.details, wording
    )


def make_problem(program: str, rng: Rng, wording: Wording = "trained") -> tuple[Scene, Composed]:
    """Return a fresh scene of a layout that suits the program, with a question; never fails, by drawing again."""
    while True:
        scene = make_layout(pick(rng, layouts_of(program)), rng)
        for _ in range(4):
            if made := compose(scene, program, rng, wording):
                return scene, made


def layouts_of(program: str) -> tuple[str, ...]:
    """Return the layouts of layouts.LAYOUTS in which the program has something to ask."""
    if "box" in program:
        return ("boxed",)
    return {"odd": ("odd",), "chain": ("distinct", "grid")}.get(program, ("scene", "distinct", "grid"))


def compare(scene: Scene, rng: Rng) -> Draft | None:
    """Are there more, fewer or as many of one kind as of another?"""
    rows = (
        ("more", (phrasings.MORE, say.MORE_HELD_OUT, rewordings.MORE), int.__gt__),
        ("fewer", (phrasings.FEWER, say.FEWER_HELD_OUT, rewordings.FEWER), int.__lt__),
        ("equal", (phrasings.EQUAL, say.EQUAL_HELD_OUT, rewordings.EQUAL), int.__eq__),
    )
    rule, patterns, test = pick(rng, rows)

    def draft() -> Draft | None:
        pair = two_groups(scene, rng, ("c", "k", "ck", "sck", "sk"))
        if pair is None:
            return None
        one, two, first, second = pair
        steps = (count_step(scene, one), count_step(scene, two))
        words = one.words() | two.words("b")
        return Draft(patterns, words, yes_no(bool(test(first, second))), YES_NO, steps, (one.spec, two.spec), rule)

    return tries(draft, coin(rng))


def quantifier(scene: Scene, rng: Rng) -> Draft | None:
    """Are all, any or none of several shapes of a colour or a form?"""
    rule, *patterns = pick(rng, (
        ("all", phrasings.ALL, say.ALL_HELD_OUT, rewordings.ALL),
        ("any", phrasings.ANY, say.ANY_HELD_OUT, rewordings.ANY),
        ("none", phrasings.NONE, say.NONE_HELD_OUT, rewordings.NONE),
    ))  # fmt: skip

    def draft() -> Draft | None:
        spec = seen(scene, rng, pick(rng, ("k", "c", "s")))
        matching = found(scene, spec)
        field = "k" if spec.colour else "c" if spec.shape else pick(rng, ("c", "k"))
        value = (seen if rng.random() < 0.7 else maybe_seen)(scene, rng, field)
        if len(matching) < 2:
            return None
        fitting = [shape for shape in matching if value.matches(shape)]
        truth = {"all": len(fitting) == len(matching), "any": bool(fitting), "none": not fitting}[rule]
        what, both = named(spec, rng), named(spec.also(value), rng)
        singular = value.colour or with_article(value.shape)
        words = what.words() | {"v": value.colour or f"{value.shape}s", "va": singular}
        steps = (count_step(scene, what), count_step(scene, both))
        known, held_out, reworded = patterns
        return Draft((known, held_out, reworded), words, yes_no(truth), YES_NO, steps, (spec, both.spec), rule)

    return tries(draft, coin(rng), 14)


def both_or_either(scene: Scene, rng: Rng, rule: str) -> Draft:
    """Are one thing and, or or, another there?"""
    patterns: Patterns = {
        "and": (say.AND, say.AND_HELD_OUT, rewordings.AND),
        "or": (say.OR, say.OR_HELD_OUT, rewordings.OR),
    }[rule]
    test = all if rule == "and" else any
    wanted = rng.random() < 0.5
    for _ in range(20):
        specs = [
            balanced(rng, lambda s: bool(found(scene, s)), lambda: maybe_seen(scene, rng, pick(rng, ("c", "k", "ck"))))
            for _ in range(2)
        ]
        truth = test((specs[0][1], specs[1][1]))
        if truth == wanted and specs[0][0] != specs[1][0]:
            break
    one, two = (named(spec, rng) for spec, _ in specs)
    steps = (exist_step(scene, one), exist_step(scene, two))
    return Draft(patterns, one.words() | two.words("b"), yes_no(truth), YES_NO, steps, (one.spec, two.spec), rule)


def odd(scene: Scene, rng: Rng) -> Draft | None:
    """What colour or shape has the one that differs from all others, which are of one colour or of one form?"""
    if len(scene.shapes) < 3:
        return None
    for field, names in (("colour", COLOURS), ("shape", SHAPES)):
        groups = {n: [s for s in scene.shapes if getattr(s, field) == n] for n in names}
        sizes = sorted(len(group) for group in groups.values() if group)
        other = "shape" if field == "colour" else "colour"
        if sizes == [1, len(scene.shapes) - 1] and not _is_odd(scene.shapes, other):
            break
    else:
        return None
    lone = next(group[0] for group in groups.values() if len(group) == 1)
    rest = next(name for name, group in groups.items() if len(group) > 1)
    asked = pick(rng, ("colour", "shape"))
    specs = [Spec(colour=v) if field == "colour" else Spec(shape=v) for v in (getattr(lone, field), rest)]
    one, many = (named(spec, rng) for spec in specs)
    counts = (count_step(scene, many), count_step(scene, one))
    word = "color" if asked == "colour" else "shape"
    last = Question(asked, f"what {word} is the {one.noun}?", getattr(lone, asked), (one.spec,))
    steps = (count_step(scene, Named(Spec(), "shape")), *counts, *((last,) if asked != field else ()))
    choices = COLOURS if asked == "colour" else SHAPES[:3]
    patterns = (say.ODD, say.ODD_HELD_OUT, rewordings.ODD)
    about = (one.spec, many.spec)
    return Draft(
        patterns, {"v": word}, getattr(lone, asked), choices, steps, about, "odd", (asked, getattr(lone, field))
    )


def _is_odd(shapes: tuple[Shape, ...], field: str) -> bool:
    values = [getattr(shape, field) for shape in shapes]
    return len(set(values)) == 2 and min(map(values.count, values)) == 1


def _beside(one: Shape, two: Shape, side: str) -> bool | None:
    """Return whether the first lies on that side of the second; None where it is too close to call."""
    gap = {"left": two.x - one.x, "right": one.x - two.x, "above": two.y - one.y, "below": one.y - two.y}[side]
    return None if abs(gap) < MARGIN else gap > 0


def chain(scene: Scene, rng: Rng) -> Draft | None:
    """Is one shape left of a second and above a third; or the second above a third?"""
    line = rng.random() < 0.5
    patterns: Patterns = (say.CHAIN_BOTH, say.CHAIN_BOTH_HELD_OUT, rewordings.CHAIN_BOTH)
    if line:
        patterns = (say.CHAIN_LINE, say.CHAIN_LINE_HELD_OUT, rewordings.CHAIN_LINE)

    def draft() -> Draft | None:
        three = [unique(scene, rng, ("ck", "ck", "c", "k")) for _ in range(3)]
        if None in three or len({id(pair[1]) for pair in three if pair}) < 3:
            return None
        (a, one), (b, two), (c, three_) = (pair for pair in three if pair)
        sides = (pick(rng, tuple(phrasings.RELATIONS)), pick(rng, tuple(phrasings.RELATIONS)))
        holds = (_beside(one, two, sides[0]), _beside(two if line else one, three_, sides[1]))
        if None in holds:
            return None
        names = [named(spec, rng) for spec in (a, b, c)]
        said = [pick(rng, phrasings.RELATIONS[side]) for side in sides]
        pairs = ((names[0], names[1]), (names[1] if line else names[0], names[2]))
        steps = tuple(
            Question("relation", f"is the {x.noun} {v} the {y.noun}?", yes_no(bool(h)), (x.spec, y.spec))
            for (x, y), v, h in zip(pairs, said, holds, strict=True)
        )
        words = names[0].words() | names[1].words("b") | names[2].words("c") | {"v": said[0], "v2": said[1]}
        return Draft(patterns, words, yes_no(all(holds)), YES_NO, steps, (a, b, c), "chain")

    return tries(draft, coin(rng), 20)


def total(scene: Scene, rng: Rng) -> Draft | None:
    """How many are there of two kinds together?"""
    return tries(lambda: _sum(scene, rng, (say.TOTAL, say.TOTAL_HELD_OUT, rewordings.TOTAL), 1))


def difference(scene: Scene, rng: Rng) -> Draft | None:
    """How many more are there of one kind than of another?"""
    patterns = (say.DIFFERENCE, say.DIFFERENCE_HELD_OUT, rewordings.DIFFERENCE)
    return tries(lambda: _sum(scene, rng, patterns, -1))


def _sum(scene: Scene, rng: Rng, patterns: Patterns, sign: int) -> Draft | None:
    pair = two_groups(scene, rng, ("c", "k", "ck"))
    if pair is None or pair[2] + sign * pair[3] < (1 if sign < 0 else 0):
        return None
    one, two, first, second = pair
    steps = (count_step(scene, one), count_step(scene, two))
    about = (one.spec, two.spec)
    rule = "total" if sign > 0 else "difference"
    return Draft(patterns, one.words() | two.words("b"), str(first + sign * second), NUMBERS, steps, about, rule)


def number(scene: Scene, rng: Rng) -> Draft | None:
    """Is a count exactly, at least, at most, more than or fewer than a number?"""

    def draft() -> Draft:
        rule, test, shift = pick(rng, NUMBER_TESTS)
        what = named((maybe_seen if rng.random() < 0.2 else seen)(scene, rng, pick(rng, ("", *FIELDS, "s"))), rng)
        step = count_step(scene, what)
        count = int(step.answer)
        k = min(8, max(1, count + shift + pick(rng, (0, 0, 1, -1, 2, -2))))
        words = what.words() | {"k": phrasings.NUMBER_WORDS[k] if rng.random() < 0.7 else str(k)}
        known = {"exactly": phrasings.EXACTLY, "at least": phrasings.AT_LEAST, "at most": phrasings.AT_MOST,
                 "more than": phrasings.MORE_THAN, "fewer than": phrasings.FEWER_THAN}[rule]  # fmt: skip
        patterns = (known, say.NUMBER_HELD_OUT[rule], rewordings.NUMBER[rule])
        return Draft(patterns, words, yes_no(test(count, k)), YES_NO, (step,), (what.spec,), rule, (str(k),))

    return tries(draft, coin(rng))


NUMBER_TESTS = (
    ("exactly", eq, 0),
    ("at least", ge, 0),
    ("at most", le, 0),
    ("more than", gt, -1),
    ("fewer than", lt, 1),
)

PROGRAMS: dict[str, Callable[[Scene, Rng], Draft | None]] = {
    "compare": compare,
    "quantifier": quantifier,
    "and": lambda scene, rng: both_or_either(scene, rng, "and"),
    "or": lambda scene, rng: both_or_either(scene, rng, "or"),
    "odd": odd,
    "chain": chain,
    "box-most": box_programs.most,
    "box-more": box_programs.more,
    "box-every": box_programs.every,
    "box-both": box_programs.both,
    "total": total,
    "difference": difference,
    "number": number,
}
