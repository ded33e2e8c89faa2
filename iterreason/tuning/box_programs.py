"""Composed questions that compare boxes side by side."""

from __future__ import annotations

from iterreason.tuning import place_phrasings as say
from iterreason.tuning import rewordings
from iterreason.tuning.descriptions import pick, seen, yes_no
from iterreason.tuning.place_questions import boxes_of, placed
from iterreason.tuning.program_parts import (
    YES_NO,
    Draft,
    Named,
    coin,
    count_step,
    exist_step,
    named,
    tries,
    two_groups,
)
from iterreason.tuning.scenes import Rng, Scene


def most(scene: Scene, rng: Rng) -> Draft | None:
    """Which box has the most of a kind?"""
    return tries(lambda: _most(scene, rng)) if scene.boxes else None


def _most(scene: Scene, rng: Rng) -> Draft | None:
    what = named(seen(scene, rng, pick(rng, ("", "c", "k", "ck"))), rng)
    steps = tuple(count_step(scene, Named(placed(what.spec, area), what.noun), name) for name, area in boxes_of(scene))
    counts = [int(step.answer) for step in steps]
    if counts.count(max(counts)) > 1:
        return None
    names = tuple(name for name, _ in boxes_of(scene))
    about = tuple(step.about[0] for step in steps)
    patterns = (say.MOST_BOX, say.MOST_BOX_HELD_OUT, rewordings.MOST_BOX)
    return Draft(patterns, what.words(), names[counts.index(max(counts))], names, steps, about, "box-most", names)


def more(scene: Scene, rng: Rng) -> Draft | None:
    """Has one box more of a kind than another?"""

    def draft() -> Draft:
        what = named(seen(scene, rng, pick(rng, ("", "c", "k", "ck"))), rng)
        order = rng.permutation(len(scene.boxes))[:2]
        pair = [boxes_of(scene)[i] for i in order]
        steps = tuple(count_step(scene, Named(placed(what.spec, area), what.noun), name) for name, area in pair)
        words = what.words() | {"v": pair[0][0], "v2": pair[1][0]}
        truth = int(steps[0].answer) > int(steps[1].answer)
        about = tuple(step.about[0] for step in steps)
        patterns = (say.BOX_MORE, say.BOX_MORE_HELD_OUT, rewordings.BOX_MORE)
        return Draft(patterns, words, yes_no(truth), YES_NO, steps, about, "box-more")

    return tries(draft, coin(rng)) if scene.boxes else None


def every(scene: Scene, rng: Rng) -> Draft | None:
    """Has every box something of a kind?"""

    def draft() -> Draft:
        what = named(seen(scene, rng, pick(rng, ("", "c", "k", "ck"))), rng)
        steps = tuple(
            exist_step(scene, Named(placed(what.spec, area), what.noun), name) for name, area in boxes_of(scene)
        )
        truth = all(step.answer == "yes" for step in steps)
        about = tuple(step.about[0] for step in steps)
        patterns = (say.EVERY_BOX, say.EVERY_BOX_HELD_OUT, rewordings.EVERY_BOX)
        names = tuple(name for name, _ in boxes_of(scene))
        return Draft(patterns, what.words(), yes_no(truth), YES_NO, steps, about, "box-every", names)

    return tries(draft, coin(rng)) if scene.boxes else None


def both(scene: Scene, rng: Rng) -> Draft | None:
    """Has one box both of two kinds?"""

    def draft() -> Draft | None:
        pair = two_groups(scene, rng, ("c", "k", "ck"))
        if pair is None:
            return None
        one, two = pair[:2]
        steps = tuple(
            exist_step(scene, Named(placed(what.spec, area), what.noun), name)
            for name, area in boxes_of(scene)
            for what in (one, two)
        )
        truth = any(a.answer == b.answer == "yes" for a, b in zip(steps[::2], steps[1::2], strict=True))
        words = one.words() | two.words("b")
        patterns = (say.ONE_BOX_BOTH, say.ONE_BOX_BOTH_HELD_OUT, rewordings.ONE_BOX_BOTH)
        names = tuple(name for name, _ in boxes_of(scene))
        return Draft(patterns, words, yes_no(truth), YES_NO, steps, (one.spec, two.spec), "box-both", names)

    return tries(draft, coin(rng)) if scene.boxes else None
