"""Three drawn scenes and a question about each, for a first look at the loop."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from iterreason.api import make_problem
from iterreason.images import load_image
from iterreason.records import Image, Problem
from iterreason.tuning.scenes import PALETTE, Scene, Shape, draw

_WHITE = (255, 255, 255)


def _shape(colour: str, kind: str, x: float, y: float) -> Shape:
    return Shape(kind, colour, "large", x, y, 0.12, PALETTE[colour][0])


_COUNTS = (
    _shape("red", "circle", 0.2, 0.25),
    _shape("red", "circle", 0.55, 0.2),
    _shape("red", "circle", 0.3, 0.75),
    _shape("blue", "square", 0.8, 0.7),
)
_EQUAL = (
    _shape("green", "triangle", 0.2, 0.3),
    _shape("green", "triangle", 0.75, 0.25),
    _shape("yellow", "square", 0.5, 0.75),
)
_SUM = (
    _shape("orange", "circle", 0.2, 0.25),
    _shape("orange", "circle", 0.75, 0.3),
    _shape("purple", "square", 0.45, 0.75),
)
_SCENES: tuple[tuple[str, tuple[Shape, ...], str, tuple[str, ...]], ...] = (
    ("counts", _COUNTS, "Are there more red circles than blue squares?", ("yes", "no")),
    ("equal", _EQUAL, "Are there as many green triangles as yellow squares?", ("yes", "no")),
    ("sum", _SUM, "How many orange circles and purple squares are there in total?", ("1", "2", "3", "4", "5")),
)


def scene_images() -> tuple[Image, ...]:
    """The scenes, in memory."""
    drawn = ((name, load_image(draw(Scene(shapes, 192, 192, _WHITE)))) for name, shapes, _, _ in _SCENES)
    return tuple(replace(image, name=f"{name}.png") for name, image in drawn)


def problems() -> list[Problem]:
    """The three problems; their images are drawn into a new temporary folder, so that they can be looked at."""
    folder = Path(mkdtemp(prefix="iterreason-demo-"))
    made = []
    for name, shapes, question, choices in _SCENES:
        path = folder / f"{name}.png"
        draw(Scene(shapes, 192, 192, _WHITE)).save(path)
        made.append(make_problem(path, question, choices, id=name))
    print(f"the images are in {folder}", file=sys.stderr)
    return made
