"""Questions about a drawn scene with their answers, and its caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from iterreason.tuning import composed_questions as composed
from iterreason.tuning import phrasings as say
from iterreason.tuning import simple_questions as simple
from iterreason.tuning.descriptions import Made, Spec
from iterreason.tuning.scenes import COLOURS, SHAPES, SIZES, Rng, Scene

SIMPLE_KINDS = ("count", "existence", "colour", "shape", "size")
KINDS: dict[str, Callable[[Scene, Rng], Made]] = {
    "count": simple.ask_count,
    "existence": simple.ask_existence,
    "colour": simple.ask_colour,
    "shape": simple.ask_shape,
    "size": simple.ask_size,
    "check": simple.ask_check,
    "relation": composed.ask_relation,
    "position": simple.ask_position,
    "compare": composed.ask_compare,
    "quantifier": composed.ask_quantifier,
    "number": composed.ask_number,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answer: 'yes', 'no', a name, or a number in digits.

    about: the descriptions that it turns on; for 'are all circles red?' those of circles and of red circles.
    """

    kind: str
    text: str
    answer: str
    about: tuple[Spec, ...] = ()


def ask(scene: Scene, kind: str, rng: Rng) -> Question | None:
    """Return a question of this kind, or None where the scene allows none."""
    made = KINDS[kind](scene, rng)
    if made is None:
        return None
    text, answer, about = made
    return Question(kind, text if rng.random() < 0.85 else text.rstrip("?."), answer, about)


def describe(scene: Scene) -> str:
    """Return the caption: groups of equal shapes by colour, shape and size, as in 'two small red circles.'"""
    groups = Counter((s.colour, s.shape, s.size) for s in scene.shapes)
    order = sorted(groups, key=lambda g: (COLOURS.index(g[0]), SHAPES.index(g[1]), SIZES.index(g[2])))
    parts = (f"{say.NUMBER_WORDS[groups[g]]} {g[2]} {g[0]} {g[1]}{'s' if groups[g] > 1 else ''}" for g in order)
    return ", ".join(parts) + "."
