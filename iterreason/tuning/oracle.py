"""What the embedded answerer allows at best on `scenes`: `python -m iterreason.tuning.oracle [--split test]`.

The gold sub-questions are put to the answerer, and the gold rule combines what it says: an upper bound for a reasoner
that asks everything once. Simple questions are put as they are. Writes one JSON object, by kind, with Wilson intervals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from iterreason.bench.tasks.readers.scenes import with_lessons
from iterreason.bench.tasks.task import find_task
from iterreason.calls import EMPTY_PROMPT, Call, Look, Sampling, View
from iterreason.models import Model
from iterreason.models.embedded import answerer
from iterreason.records import Image
from iterreason.tuning.lessons import SIMPLE, Lesson
from iterreason.tuning.proportions import score

COMMAND = "python -m iterreason.tuning.oracle"
_LOOK = Sampling(0.0, 40)


async def at_best(image: Image, lesson: Lesson, looker: Model) -> str | None:
    """The answer that follows from the answerer's answers to the gold sub-questions."""
    if lesson.kind in SIMPLE:
        return (await _ask(image, [lesson.text], looker, lesson.choices))[0]
    said = await _ask(image, [step.text for step in lesson.steps], looker)
    return lesson.decide(tuple(said))


async def _ask(image: Image, texts: Sequence[str], looker: Model, choices: tuple[str, ...] = ()) -> list[str]:
    calls = [
        Call("answerer:0", "look", EMPTY_PROMPT.plus("user", text), Look(View(image), text), _LOOK, choices=choices)
        for text in texts
    ]
    return [reply.text.strip() for reply in await asyncio.gather(*(looker.complete(call) for call in calls))]


async def measure(split: str, limit: int | None, looker: Model) -> dict[str, list[bool]]:
    """By kind, whether each problem can be answered."""
    pairs = list(with_lessons(find_task("scenes"), split))[:limit]
    said = await asyncio.gather(*(at_best(item.problem().images[0], lesson, looker) for item, lesson in pairs))
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for (item, lesson), answer in zip(pairs, said, strict=True):
        right[item.kind].append(answer == lesson.answer)
    return dict(right)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--split", default="test", choices=("test", "dev"))
    parser.add_argument("--limit", type=int, metavar="N", help="problems at most")
    options = parser.parse_args(arguments)
    right = asyncio.run(measure(options.split, options.limit, answerer()))
    whole = [one for some in right.values() for one in some]
    by_kind = {kind: score(some) for kind, some in sorted(right.items())}
    made = {"task": "scenes", "split": options.split, "date": date.today().isoformat(), "command": COMMAND}
    print(json.dumps({**made, "all": score(whole), "kinds": by_kind}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
