"""What the answerer is trained to be asked: the shares of the question kinds, and captions that name places.

Frozen before the policy `evidence` was measured on these weights, so that asking the answerer directly is a fair
baseline: composed questions are trained on as such, beside their simple steps.
"""

from __future__ import annotations

from collections import defaultdict

from iterreason.tuning import phrasings as say
from iterreason.tuning.descriptions import pick
from iterreason.tuning.layouts import PLACES, place_of
from iterreason.tuning.place_questions import ask_box, ask_cell, ask_end, ask_half, ask_which_box
from iterreason.tuning.programs import PROGRAMS, compose
from iterreason.tuning.questions import KINDS, Question, ask
from iterreason.tuning.scenes import COLOURS, SHAPES, SIZES, Rng, Scene

PLACE_KINDS = {"box": ask_box, "which-box": ask_which_box, "cell": ask_cell, "half": ask_half, "end": ask_end}
# Shares; where the scene allows none of the kind drawn, another kind is drawn.
MIX = {
    "count": 10, "existence": 6, "colour": 5, "shape": 5, "size": 5, "check": 3,
    "relation": 18, "position": 7, "compare": 5, "quantifier": 6, "number": 4,
    "box": 10, "which-box": 4, "cell": 5, "half": 2, "end": 3,
    "and": 2, "or": 2, "odd": 3, "chain": 5, "box-most": 2, "box-more": 2, "box-every": 2, "box-both": 1,
    "total": 2, "difference": 2,
}  # fmt: skip
ORDER = tuple(kind for kind, share in MIX.items() for _ in range(share))
ALL_KINDS = tuple(dict.fromkeys((*KINDS, *PLACE_KINDS, *PROGRAMS)))


def ask_kind(scene: Scene, kind: str, rng: Rng, *, held_out: bool = False) -> Question | None:
    """Return a question of any kind of ALL_KINDS, or None where the scene allows none.

    held_out: for a composed kind, a phrasing that is not trained on; its kind is then that of PROGRAMS.
    """
    if kind in KINDS and not held_out:
        if scene.boxes and kind == "position":
            return None
        return ask(scene, kind, rng)
    if kind in PLACE_KINDS:
        made = PLACE_KINDS[kind](scene, rng)
        return made and Question(kind, made[0] if rng.random() < 0.85 else made[0].rstrip("?."), *made[1:])
    composed = compose(scene, kind, rng, "held out" if held_out else "trained")
    if composed is None:
        return None
    return Question(kind, composed.text, composed.answer, composed.about)


def ask_any(scene: Scene, rng: Rng) -> Question:
    """Return a question of a kind drawn from the mix."""
    while True:
        kind = pick(rng, ORDER)
        if scene.boxes and kind not in ("box", "which-box") and rng.random() < 0.5:
            continue
        if question := ask_kind(scene, kind, rng):
            return question


def describe_places(scene: Scene) -> str:
    """Return the caption: groups of equal shapes with the place of each, as in 'one small red circle top left.'

    Groups go by colour, shape and size; places row by row, boxes from left to right.
    """
    groups: dict[tuple[int, int, int], list[str]] = defaultdict(list)
    for shape in scene.shapes:
        key = (COLOURS.index(shape.colour), SHAPES.index(shape.shape), SIZES.index(shape.size))
        groups[key].append(place_of(scene, shape))
    order = ("left box", "middle box", "right box", *PLACES)
    parts = []
    for (colour, kind, size), places in sorted(groups.items()):
        noun = f"{SIZES[size]} {COLOURS[colour]} {SHAPES[kind]}{'s' if len(places) > 1 else ''}"
        parts.append(f"{say.NUMBER_WORDS[len(places)]} {noun} {', '.join(sorted(places, key=order.index))}")
    return "; ".join(parts) + "."
