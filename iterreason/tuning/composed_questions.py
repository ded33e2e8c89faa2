"""Questions that combine descriptions: relations, comparisons, all/any/none/same, and tests of a number."""

from __future__ import annotations

from iterreason.tuning import phrasings as say
from iterreason.tuning.descriptions import (
    FIELDS,
    Made,
    Spec,
    found,
    maybe_seen,
    phrase,
    pick,
    seen,
    unique,
    with_article,
    yes_no,
)
from iterreason.tuning.scenes import Rng, Scene

# Least distance, as a fraction of the side, for one shape to be left of or above another.
MARGIN = 0.07


def ask_relation(scene: Scene, rng: Rng) -> Made:
    """Ask whether one shape is left of, right of, above or below another, clearly so or clearly not."""
    first, second = (unique(scene, rng, ("ck", "ck", "c", "k", "sck")) for _ in range(2))
    if first is None or second is None or first[1] is second[1]:
        return None
    (spec, one), (other, two) = first, second
    side = pick(rng, tuple(say.RELATIONS))
    gap = {"left": two.x - one.x, "right": one.x - two.x, "above": two.y - one.y, "below": one.y - two.y}[side]
    if abs(gap) < MARGIN:
        return None
    patterns = say.RELATION if rng.random() < 0.75 else say.RELATION_EXISTS
    return phrase(patterns, rng, spec, other, v=pick(rng, say.RELATIONS[side])), yes_no(gap > 0), (spec, other)


def ask_compare(scene: Scene, rng: Rng) -> Made:
    """Ask whether there are more, fewer or as many of one kind as of another."""
    patterns, test = pick(
        rng,
        ((say.MORE, int.__gt__), (say.MORE, int.__gt__), (say.FEWER, int.__lt__), (say.EQUAL, int.__eq__)),
    )
    want = rng.random() < 0.5
    for _ in range(10):
        fields = pick(rng, ("c", "k", "ck", "sck", "sk"))
        one = (seen if rng.random() < 0.7 else maybe_seen)(scene, rng, fields)
        two = (seen if rng.random() < 0.7 else maybe_seen)(scene, rng, fields)
        if one == two:
            continue
        truth = bool(test(len(found(scene, one)), len(found(scene, two))))
        if truth == want:
            return phrase(patterns, rng, one, two), yes_no(truth), (one, two)
    return None


def ask_quantifier(scene: Scene, rng: Rng) -> Made:
    """Ask whether all, any or none of several shapes have a property, or all the same one."""
    want = rng.random() < 0.5
    for _ in range(10):
        spec = seen(scene, rng, pick(rng, ("k", "c", "", "sk", "s", "sc")))
        matching = found(scene, spec)
        if len(matching) < 2:
            continue
        if rng.random() < 0.15:
            name = pick(rng, [n for n in ("colour", "shape", "size") if not getattr(spec, n)])
            truth = len({getattr(shape, name) for shape in matching}) == 1
            if truth == want:
                return phrase(say.SAME, rng, spec, v="color" if name == "colour" else name), yes_no(truth), (spec,)
            continue
        value, plural, singular = _value(scene, rng, spec)
        fits = value.matches
        patterns, truth = pick(
            rng,
            (
                (say.ALL, all(map(fits, matching))),
                (say.ALL, all(map(fits, matching))),
                (say.ANY, any(map(fits, matching))),
                (say.NONE, not any(map(fits, matching))),
            ),
        )
        if truth == want:
            return phrase(patterns, rng, spec, v=plural, va=singular), yes_no(truth), (spec, spec.also(value))
    return None


def _value(scene: Scene, rng: Rng, spec: Spec) -> tuple[Spec, str, str]:
    """Return a property that the description leaves open, with its plural and its singular in words."""
    field = pick(rng, [f for f, used in (("c", spec.colour), ("s", spec.size), ("k", spec.shape)) if not used])
    value = (seen if rng.random() < 0.7 else maybe_seen)(scene, rng, field)
    if field == "k":
        return value, f"{value.shape}s", with_article(value.shape)
    word = value.colour or pick(rng, say.SIZE_WORDS[value.size])
    return value, word, word


def ask_number(scene: Scene, rng: Rng) -> Made:
    """Ask whether a count is exactly, at least, at most, more than or fewer than a number."""
    spec = (maybe_seen if rng.random() < 0.2 else seen)(scene, rng, pick(rng, ("", *FIELDS, "s")))
    count = len(found(scene, spec))
    if rng.random() < 0.2:
        return phrase(say.ONLY_ONE, rng, spec), yes_no(count == 1), (spec,)
    patterns, shift = pick(
        rng, ((say.EXACTLY, 0), (say.AT_LEAST, 0), (say.AT_MOST, 0), (say.MORE_THAN, -1), (say.FEWER_THAN, 1))
    )
    number = min(8, max(1, count + shift + pick(rng, (0, 0, 1, -1, 2, -2))))
    truth = {
        say.EXACTLY: count == number,
        say.AT_LEAST: count >= number,
        say.AT_MOST: count <= number,
        say.MORE_THAN: count > number,
        say.FEWER_THAN: count < number,
    }[patterns]
    word = say.NUMBER_WORDS[number] if rng.random() < 0.7 else str(number)
    return phrase(patterns, rng, spec, k=word), yes_no(truth), (spec,)
