"""Reader `scenes`: drawn scenes with questions whose answers are known, made from a seed; nothing lies on disk.

A scene gets two questions, a simple and a composed one. Which kind, and where it can be asked for which answer, is
fixed beforehand so that the answers of a kind are balanced; then scenes are drawn until one has both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, cycle
from typing import TYPE_CHECKING

import numpy as np

from iterreason.bench.tasks.item import Item
from iterreason.images import load_image
from iterreason.records import Image
from iterreason.tuning.descriptions import pick
from iterreason.tuning.layouts import make_layout
from iterreason.tuning.lessons import Lesson, composed_about, simple_about
from iterreason.tuning.program_parts import YES_NO
from iterreason.tuning.programs import PROGRAMS, Wording, layouts_of
from iterreason.tuning.scenes import COLOURS, Rng, Scene, draw

if TYPE_CHECKING:
    from iterreason.bench.tasks.task import NamedTask

# Of ten simple questions so many are of each kind. Left out is `position`: that a place is one of nine is the
# generator's convention, which no question states.
SIMPLE = ("count", "existence", "colour", "count", "shape", "relation", "size", "check", "existence", "colour")
# What is asked for in turn, so that no answer is frequent; scenes with seven or eight of one sort are rare, and
# rectangles stand alone in theirs.
WANTED = {
    "count": tuple(map(str, range(7))),
    "colour": COLOURS,
    "shape": ("circle", "square", "triangle"),
    "size": ("small", "large"),
}
OPEN = ("odd", "box-most", "total", "difference")  # of these, whatever the scene gives
OTHER_WORDS = " (other words)"  # what is added to the kind of a question in words that nothing was trained on
# The second number of the seed: scene_rng of iterreason.tuning uses 0, 1 and 2, teach 4; so no stream is shared.
_STREAM = 3
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """A question to be found: its kind, its words, and the answer wanted; empty for any."""

    kind: str
    answer: str = ""
    wording: Wording = "trained"


@dataclass(frozen=True, slots=True)
class SceneImage:
    """A scene that is drawn when it is called."""

    scene: Scene
    name: str

    def __call__(self) -> Image:
        """The scene's pixels."""
        return replace(load_image(draw(self.scene)), name=self.name)


def read(named: NamedTask, split: str) -> Iterator[Item]:
    """The problems of a split, two to a scene; the seed and the count in the task's file decide them."""
    for item, _ in with_lessons(named, split):
        yield item


def with_lessons(named: NamedTask, split: str) -> Iterator[tuple[Item, Lesson]]:
    """The problems, each with the way to its answer."""
    chosen = named.task.splits[split]
    assert chosen.seed is not None  # both are the schema's rule for this reader
    assert chosen.count is not None
    simple = _simple_slots((chosen.count + 1) // 2, _rng(chosen.seed, 0))
    composed = _composed_slots(chosen.count // 2, _rng(chosen.seed, 1))
    for index, first in enumerate(simple):
        scene, lessons = _scene([first, *composed[index : index + 1]], chosen.seed, index)
        group = f"{split}-scene-{index:05d}"
        for place, lesson in enumerate(lessons):
            item = Item(
                id=f"{split}-{2 * index + place:05d}",
                question=lesson.text,
                gold=(lesson.answer,),
                images=(SceneImage(scene, f"{group}.png"),),
                group=group,
                choices=lesson.choices,
                context=named.task.context,
                kind=lesson.kind + (OTHER_WORDS if lesson.wording == "held out" else ""),
                where=f"seed {chosen.seed}, scene {index}",
            )
            yield item, lesson


def _rng(*seed: int) -> Rng:
    return np.random.default_rng([seed[0], _STREAM, *seed[1:]])


def _simple_slots(number: int, rng: Rng) -> list[Slot]:
    """So many kinds, in their shares, each with its answers in turn; in a random order."""
    answers = {kind: cycle(WANTED.get(kind, YES_NO)) for kind in SIMPLE}
    slots = [Slot(kind, next(answers[kind])) for kind in (SIMPLE[i % len(SIMPLE)] for i in range(number))]
    return [slots[i] for i in rng.permutation(number)]


def _composed_slots(number: int, rng: Rng) -> list[Slot]:
    """All programs alike, every second question in words that are held out; in a random order."""
    wordings: tuple[Wording, ...] = ("trained", "held out")
    kinds = [(program, wording) for wording in wordings for program in PROGRAMS]
    answers = {kind: cycle(("",) if kind[0] in OPEN else YES_NO) for kind in kinds}
    slots = [Slot(kind[0], next(answers[kind]), kind[1]) for kind in (kinds[i % len(kinds)] for i in range(number))]
    return [slots[i] for i in rng.permutation(number)]


def _scene(slots: list[Slot], seed: int, index: int) -> tuple[Scene, list[Lesson]]:
    """The first scene drawn that has a question for each slot."""
    layouts = layouts_of(slots[-1].kind)
    for attempt in count():
        rng = _rng(seed, 2, index, attempt)
        scene = make_layout(pick(rng, layouts), rng)
        lessons = [_lesson(scene, slot, rng) for slot in slots]
        found = [lesson for lesson in lessons if lesson]
        if len(found) == len(slots):
            return scene, found
    raise AssertionError("unreachable")


def _lesson(scene: Scene, slot: Slot, rng: Rng) -> Lesson | None:
    for _ in range(_TRIES):
        if slot.kind in PROGRAMS:
            lesson = composed_about(scene, slot.kind, rng, slot.wording)
        else:
            lesson = simple_about(scene, slot.kind, rng)
        if lesson and slot.answer in ("", lesson.answer):
            return lesson
    return None
