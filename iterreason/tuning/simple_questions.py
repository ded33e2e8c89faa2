"""Questions about one description: existence, count, colour, shape, size, yes/no checks and position."""

from __future__ import annotations

from iterreason.tuning import phrasings as say
from iterreason.tuning.descriptions import (
    FIELDS,
    Made,
    Spec,
    balanced,
    found,
    maybe_seen,
    phrase,
    pick,
    seen,
    unique,
    with_article,
    yes_no,
)
from iterreason.tuning.scenes import COLOURS, SHAPES, SIZES, Rng, Scene


def ask_existence(scene: Scene, rng: Rng) -> Made:
    """Ask whether something is there, with as many absent as present."""
    fields = pick(rng, FIELDS)
    spec, truth = balanced(
        rng,
        lambda s: bool(found(scene, s)),
        lambda: (seen if rng.random() < 0.3 else maybe_seen)(scene, rng, fields),
    )
    if rng.random() < 0.08:
        return phrase(say.EXISTS_NOT, rng, spec), yes_no(not truth), (spec,)
    if fields == "c" and rng.random() < 0.2:
        return phrase(say.EXISTS_COLOUR, rng, spec, v=spec.colour), yes_no(truth), (spec,)
    return phrase(say.EXISTS, rng, spec), yes_no(truth), (spec,)


def ask_count(scene: Scene, rng: Rng) -> Made:
    """Ask how many there are; large and small counts are asked about alike, as far as the scene has them."""
    fields = ("", *FIELDS, "c", "k", "s")
    specs = [(maybe_seen if rng.random() < 0.3 else seen)(scene, rng, pick(rng, fields)) for _ in range(6)]
    counts = [len(found(scene, spec)) for spec in specs]
    target = pick(rng, sorted(set(counts)))
    spec = specs[counts.index(target)]
    return phrase(say.COUNT, rng, spec), str(target), (spec,)


def ask_colour(scene: Scene, rng: Rng) -> Made:
    """Ask for the colour of one shape, or of several that share it; 'none' where nothing fits."""
    if rng.random() < 0.05:
        spec = maybe_seen(scene, rng, pick(rng, ("k", "sk")))
        if not found(scene, spec):
            return phrase(say.COLOUR, rng, spec), "none", (spec,)
    for _ in range(8):
        spec = seen(scene, rng, pick(rng, ("", "k", "k", "sk", "s")))
        matching = found(scene, spec)
        if len({shape.colour for shape in matching}) == 1:
            patterns = say.COLOUR if len(matching) == 1 else say.COLOUR_PLURAL
            return phrase(patterns, rng, spec), matching[0].colour, (spec,)
    return None


def ask_shape(scene: Scene, rng: Rng) -> Made:
    """Ask which shape something has; 'none' where nothing fits."""
    if len(scene.shapes) == 1 and rng.random() < 0.3:
        return phrase(say.SHAPE_ONLY, rng, Spec()), scene.shapes[0].shape, (Spec(),)
    if rng.random() < 0.05:
        spec = maybe_seen(scene, rng, pick(rng, ("c", "sc")))
        if not found(scene, spec):
            return phrase(say.SHAPE, rng, spec), "none", (spec,)
    for _ in range(8):
        spec = seen(scene, rng, pick(rng, ("c", "c", "sc", "s")))
        matching = found(scene, spec)
        if len({shape.shape for shape in matching}) == 1:
            return phrase(say.SHAPE, rng, spec), matching[0].shape, (spec,)
    return None


def ask_size(scene: Scene, rng: Rng) -> Made:
    """Ask whether the one shape that fits is small or large."""
    single = unique(scene, rng, ("c", "k", "ck", "ck", ""))
    return single and (phrase(say.SIZE, rng, single[0]), single[1].size, single[:1])


def ask_check(scene: Scene, rng: Rng) -> Made:
    """Ask whether the one shape that fits has a given colour, size or form."""
    single = unique(scene, rng, ("ck", "k", "c", "sk", "sc"))
    if single is None:
        return None
    spec, shape = single
    options: list[tuple[tuple[str, ...], str, str]] = []
    if not spec.colour:
        options.append((say.CHECK, shape.colour, pick(rng, COLOURS)))
    if not spec.size:
        options.append((say.CHECK_SIZE, shape.size, pick(rng, SIZES)))
    if not spec.shape:
        options.append((say.CHECK_SHAPE, shape.shape, pick(rng, SHAPES[:3])))
    patterns, gold, other = pick(rng, options)
    value = gold if rng.random() < 0.45 else other
    word = with_article(value) if patterns is say.CHECK_SHAPE else value
    right = value == gold or (value, gold) == ("rectangle", "square")
    both = spec.also({say.CHECK: Spec(colour=value), say.CHECK_SIZE: Spec(size=value)}.get(patterns, Spec(shape=value)))
    return phrase(patterns, rng, spec, v=word), yes_no(right), (spec, both)


def ask_position(scene: Scene, rng: Rng) -> Made:
    """Ask where in a grid of three by three a shape lies, away from the grid's lines."""
    single = unique(scene, rng, ("ck", "c", "k", "sck", ""))
    if single is None:
        return None
    spec, shape = single
    if any(abs(v - edge) < 0.04 for v in (shape.x, shape.y) for edge in (1 / 3, 2 / 3)):
        return None
    row = ("top", "", "bottom")[int(shape.y * 3)]
    column = ("left", "", "right")[int(shape.x * 3)]
    return phrase(say.POSITION, rng, spec), f"{row} {column}".strip() or "center", (spec,)
