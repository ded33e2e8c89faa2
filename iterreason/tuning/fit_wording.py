"""Which words the embedded answerer was taught, and how it does in others: `python -m iterreason.tuning.fit_wording`.

The words are those of the training mix. How often it understands others is fitted on the rewordings that the reasoner
learns (dev seeds), as the likeliest share of a mixture of its own probabilities and guessing. The phrasings that are
held out, which `scenes` asks in, take no part; that they are flagged is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from iterreason.calls import EMPTY_PROMPT, Call, Look, Sampling, View
from iterreason.confidence import from_scores
from iterreason.folding import same_text
from iterreason.images import load_image
from iterreason.models import Model
from iterreason.models.embedded import answerer
from iterreason.models.embedded.wording import Wording
from iterreason.tuning import phrasings
from iterreason.tuning.layouts import make_varied
from iterreason.tuning.lessons import Lesson, composed_lesson
from iterreason.tuning.mix import ask_any
from iterreason.tuning.programs import PROGRAMS
from iterreason.tuning.programs import Wording as Phrasing
from iterreason.tuning.proportions import score
from iterreason.tuning.scenes import COLOURS, draw, scene_rng
from iterreason.tuning.train_answerer import EMBEDDED

COMMAND = "python -m iterreason.tuning.fit_wording"
SEED, SCENES, EACH, LESSONS, CHECKED = 12, 30_000, 4, 1_000, 2_000
SHARES = tuple(percent / 100 for percent in range(5, 101))
_LOOK = Sampling(0.0, 40)


def classes() -> dict[str, str]:
    """Words that stand for each other in a question."""
    names = {"colour": (*COLOURS, "grey"), "number": (*phrasings.NUMBER_WORDS, *map(str, range(10)))}
    return {word: f"<{name}>" for name, words in names.items() for word in words}


def trained(scenes: int, *, first: int = 0) -> Iterator[str]:
    """Questions as the answerer was trained on them, easy-VQA's too."""
    from easy_vqa import get_train_questions

    if not first:
        yield from dict.fromkeys(get_train_questions()[0])
    for index in range(first, first + scenes):
        rng = scene_rng(SEED, "dev", index)
        scene = make_varied(rng)
        yield from (ask_any(scene, rng).text for _ in range(EACH))


def lessons(count: int, phrasing: Phrasing) -> list[Lesson]:
    """Composed questions about fresh scenes, the programs in turn, so phrased."""
    names = tuple(PROGRAMS)
    places = {"trained": 0, "reworded": 1, "held out": 2}[phrasing] * 100_000 + 10**6
    return [composed_lesson(names[n % len(names)], scene_rng(SEED, "dev", places + n), phrasing) for n in range(count)]


async def gold_shares(asked: Sequence[Lesson], looker: Model) -> list[tuple[float, int]]:
    """Of each: the probability of the right answer, asked directly, and how many choices there are."""

    async def one(lesson: Lesson) -> tuple[float, int]:
        prompt, look = EMPTY_PROMPT.plus("user", lesson.text), Look(View(load_image(draw(lesson.scene))), lesson.text)
        reply = await looker.complete(Call("answerer:0", "look", prompt, look, _LOOK, choices=lesson.choices))
        found = from_scores(lesson.answer, lesson.choices, reply, same_text).confidence
        return found or 0.0, len(lesson.choices)

    return list(await asyncio.gather(*map(one, asked)))


def fitted_share(golds: Sequence[tuple[float, int]]) -> float:
    """The share under which the right answers are likeliest."""
    return max(SHARES, key=lambda s: sum(math.log(max(s * gold + (1 - s) / count, 1e-9)) for gold, count in golds))


def _share(some: Sequence[bool]) -> dict[str, object]:
    said = score(some)
    return {"n": said["n"], "share": said["accuracy"], "interval_95": said["interval_95"]}


def main(arguments: list[str] | None = None) -> int:
    """Fit and write wording.json beside the weights; report."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--out", type=Path, default=EMBEDDED / "wording.json")
    options = parser.parse_args(arguments)
    empty = Wording(classes(), frozenset(), 1.0)
    known = frozenset(trigram for text in trained(SCENES) for trigram in empty.of(text))
    looker = answerer(doubts_words=False)
    reworded = lessons(LESSONS, "reworded")
    made = replace(empty, trigrams=known)
    other = [lesson for lesson in reworded if not made.knows(lesson.text)]
    share = fitted_share(asyncio.run(gold_shares(other, looker)))
    flagged = {
        "trained questions": [not made.knows(text) for text in trained(CHECKED // EACH, first=SCENES)],
        "reworded": [not made.knows(lesson.text) for lesson in reworded],
        "held out": [not made.knows(lesson.text) for lesson in lessons(LESSONS, "held out")],
    }
    said = {
        "understood": share,
        "fitted_on": f"{len(other)} reworded questions; words of {SCENES * EACH} questions",
        "date": date.today().isoformat(),
        "command": COMMAND,
        "flagged": {name: _share(some) for name, some in flagged.items()},
        "classes": made.classes,
        "trigrams": sorted(known),
    }
    options.out.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: said[name] for name in ("understood", "fitted_on", "flagged")}, indent=1), len(known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
