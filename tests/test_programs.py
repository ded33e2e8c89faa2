"""Layouts, places, and composed questions with their steps."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from iterreason.tuning import phrasings, place_phrasings, rewordings
from iterreason.tuning.descriptions import found, inside
from iterreason.tuning.layouts import LAYOUTS, cell_area, make_boxed, make_grid, make_layout, make_varied, place_of
from iterreason.tuning.lessons import composed_lesson
from iterreason.tuning.mix import ALL_KINDS, MIX, ORDER, PLACE_KINDS, ask_any, ask_kind, describe_places
from iterreason.tuning.painting import HELD_OUT
from iterreason.tuning.place_questions import boxes_of
from iterreason.tuning.programs import PROGRAMS, Wording, compose, make_problem
from iterreason.tuning.questions import ask
from iterreason.tuning.scenes import Scene, Shape, draw, mirrored, scene_rng

RED = Shape("circle", "red", "small", 0.2, 0.2, 0.06, (230, 20, 20))
BLUE = Shape("square", "blue", "large", 0.5, 0.5, 0.12, (20, 20, 230))
LINE = Scene((RED, BLUE), 128, 128, (255, 255, 255))


def problems(program: str, count: int = 40, wording: Wording = "trained"):
    rng = np.random.default_rng(8)
    return [make_problem(program, rng, wording) for _ in range(count)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_one_to_eight_shapes_inside_the_canvas(layout):
    """Whatever the layout, a scene has one to eight shapes whose centres lie on the canvas, and it can be drawn."""
    for index in range(60):
        scene = make_layout(layout, scene_rng(1, "dev", index))
        assert 1 <= len(scene.shapes) <= 8
        assert all(0 < s.x < 1 and 0 < s.y < 1 for s in scene.shapes)
        assert draw(scene).size == (scene.width, scene.height)


def test_every_shape_of_a_boxed_scene_lies_in_one_box():
    """Boxes do not overlap, and each shape's centre is in exactly one."""
    for index in range(100):
        scene = make_boxed(scene_rng(2, "dev", index))
        for shape in scene.shapes:
            assert [inside(shape, area) for area in scene.boxes].count(True) == 1
            assert place_of(scene, shape) in {f"{name} box" for name, _ in boxes_of(scene)}


def test_every_shape_of_a_grid_keeps_to_its_cell():
    """No two shapes share a cell, and none crosses a line between cells."""
    for index in range(100):
        scene = make_grid(scene_rng(3, "dev", index))
        cells = [[n for n in range(9) if inside(shape, cell_area(n))] for shape in scene.shapes]
        assert all(len(cell) == 1 for cell in cells)
        assert len({cell[0] for cell in cells}) == len(cells)
        for shape in scene.shapes:
            assert all(abs(v - edge) > 0.9 * shape.radius for v in (shape.x, shape.y) for edge in (1 / 3, 2 / 3))


def test_held_out_styles_are_not_trained_on():
    """No scene of the training mix has the held-out fill or backdrop."""
    made = [make_varied(scene_rng(0, "train", index)) for index in range(400)]
    assert not ({scene.fill for scene in made} | {scene.backdrop for scene in made}) & set(HELD_OUT)
    assert len({scene.fill for scene in made}) > 2


def test_a_mirror_turns_the_boxes_too():
    """In the mirror the left box is the right one, with what is in it."""
    scene = make_boxed(scene_rng(4, "dev", 1))
    turned = mirrored(scene)
    opposite = {"left": "right", "right": "left", "middle": "middle"}
    before = Counter(place_of(scene, s).split()[0] for s in scene.shapes)
    assert Counter(opposite[place_of(turned, s).split()[0]] for s in turned.shapes) == before


def test_captions_name_places():
    """A caption groups equal shapes and says where each is, row by row."""
    assert describe_places(LINE) == "one small red circle top left; one large blue square center."
    boxed = Scene(
        (RED, RED, BLUE), 200, 100, (255, 255, 255), boxes=((0.0, 0.0, 0.4, 1.0), (0.45, 0.0, 1.0, 1.0))
    )  # fmt: skip
    assert describe_places(boxed) == "two small red circles left box, left box; one large blue square right box."


STEP_RULES = {
    "and": lambda said: "yes" if all(a == "yes" for a in said) else "no",
    "or": lambda said: "yes" if any(a == "yes" for a in said) else "no",
    "chain": lambda said: "yes" if all(a == "yes" for a in said) else "no",
    "box-every": lambda said: "yes" if all(a == "yes" for a in said) else "no",
    "box-more": lambda said: "yes" if int(said[0]) > int(said[1]) else "no",
    "box-both": lambda said: (
        "yes" if any(a == b == "yes" for a, b in zip(said[::2], said[1::2], strict=True)) else "no"
    ),
    "total": lambda said: str(int(said[0]) + int(said[1])),
    "difference": lambda said: str(int(said[0]) - int(said[1])),
}


@pytest.mark.parametrize("program", STEP_RULES)
def test_the_answers_of_the_steps_decide_the_composed_answer(program):
    """A reasoner that knows only the gold answers of the steps can work out the gold answer."""
    for _, composed in problems(program):
        assert STEP_RULES[program]([step.answer for step in composed.steps]) == composed.answer, composed


def test_comparisons_follow_from_the_counts():
    """More, fewer and as many: the two counts decide, whatever the phrasing."""
    tests = {
        r"\bmore\b|greater|larger|^do the .* outnumber": int.__gt__,
        r"fewer|less|smaller": int.__lt__,
        r"as many|same|equal": int.__eq__,
    }
    for _, composed in problems("compare"):
        first, second = (int(step.answer) for step in composed.steps)
        test = next(test for words, test in tests.items() if re.search(words, composed.text))
        assert composed.answer == ("yes" if test(first, second) else "no"), composed


def test_the_odd_one_out_is_alone():
    """All shapes but one share the value that the odd one lacks, and the answer describes that one."""
    for scene, composed in problems("odd"):
        lone = found(scene, composed.about[0])
        assert len(lone) == 1
        assert len(found(scene, composed.about[1])) == len(scene.shapes) - 1
        assert composed.answer in (lone[0].colour, lone[0].shape)


def test_which_box_has_the_most():
    """The box named has more than any other."""
    for _, composed in problems("box-most"):
        counts = [int(step.answer) for step in composed.steps]
        assert counts.count(max(counts)) == 1
        assert composed.choices[counts.index(max(counts))] == composed.answer


@pytest.mark.parametrize("program", PROGRAMS)
def test_held_out_phrasings_are_never_trained_on(program):
    """No training question has a held-out pattern, and both sorts give answers out of the choices."""
    held = {c.text for _, c in problems(program, 25, "held out")}
    rng = np.random.default_rng(0)
    trained = {
        q.text
        for index in range(150)
        if (q := ask_kind(make_varied(scene_rng(0, "train", index)), program, rng)) is not None
    }
    assert held
    assert not held & trained
    for _, composed in problems(program, 25):
        assert composed.answer in composed.choices
        assert composed.wording == "trained"
        assert composed.steps


def patterns_of(module) -> dict[str, set[str]]:
    named = {name: value for name, value in vars(module).items() if name.isupper()}
    lists = {
        name: [p for some in value.values() for p in some] if isinstance(value, dict) else value
        for name, value in named.items()
    }
    return {
        name: {p for p in some if isinstance(p, str)} for name, some in lists.items() if isinstance(some, list | tuple)
    }


def test_patterns_are_trained_on_or_held_out_but_not_both():
    """No pattern that is held out is one that the answerer, or the reasoner, is trained on."""
    placed = patterns_of(place_phrasings)
    held = {pattern for name, some in placed.items() if name.endswith("_HELD_OUT") for pattern in some}
    others = [some for name, some in placed.items() if not name.endswith("_HELD_OUT")]
    trained = set().union(*others, *patterns_of(phrasings).values(), *patterns_of(rewordings).values())
    assert len(held) > 20
    assert not held & trained


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("wording", ["trained", "reworded", "held out"])
def test_the_rule_of_a_program_decides_as_its_gold_answer(program, wording):
    """From the gold answers of the steps the program's rule comes to the gold answer."""
    rng = np.random.default_rng(3)
    for lesson in [composed_lesson(program, rng, wording) for _ in range(20)]:
        assert lesson.decide(tuple(step.answer for step in lesson.steps)) == lesson.answer, lesson


@pytest.mark.parametrize(
    "program", [name for name in PROGRAMS if name not in ("odd", "box-most", "total", "difference")]
)
def test_yes_no_programs_cannot_be_guessed(program):
    """Neither answer is right in more than two thirds of the problems."""
    said = Counter(composed.answer for _, composed in problems(program, 150))
    assert set(said) == {"yes", "no"}
    assert max(said.values()) < 100


def test_steps_are_questions_that_the_scene_answers():
    """Each step's gold answer is what its description counts to, or finds."""
    for program in PROGRAMS:
        for scene, composed in problems(program, 8):
            for step in composed.steps:
                if step.kind == "count":
                    assert step.answer == str(len(found(scene, step.about[0]))), step
                if step.kind == "existence":
                    assert step.answer == ("yes" if found(scene, step.about[0]) else "no"), step


def test_a_scene_without_boxes_has_no_question_about_them():
    """Box questions of a scene without boxes are refused, not invented."""
    rng = np.random.default_rng(0)
    assert all(ask_kind(LINE, kind, rng) is None for kind in ("box", "which-box", "box-most", "box-every"))
    assert compose(LINE, "box-more", rng) is None


def test_the_mix_asks_every_kind_and_keeps_the_old_streams():
    """All kinds occur in training, and the old kinds are asked by the same generator as before."""
    rng = np.random.default_rng(1)
    asked = Counter(ask_any(make_varied(scene_rng(0, "train", i)), rng).kind for i in range(3000))
    assert set(asked) == set(MIX) == set(ORDER) == set(ALL_KINDS)
    assert set(PLACE_KINDS) <= set(ALL_KINDS)
    one, two = np.random.default_rng(4), np.random.default_rng(4)
    assert ask_kind(LINE, "count", one) == ask(LINE, "count", two)
