"""Make the embedded reasoner's instruction data: `python -m iterreason.tuning.teach --out DIR`.

A teacher plays the reasoner in episodes of the policy `evidence` about drawn scenes; the embedded answerer answers,
with its own errors and probabilities. What comes out is what `iterreason instruct export` makes of recorded episodes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from tqdm import tqdm  # type: ignore[import-untyped]  # publishes no types

from iterreason.calls import Call, Capabilities, EvidenceFound, Reply, Returned, Turn
from iterreason.errors import IterReasonError
from iterreason.images import load_image
from iterreason.loop import Episode, episode
from iterreason.models import Model
from iterreason.models.embedded import answerer
from iterreason.models.embedded.limits import Limits
from iterreason.plan import Plan, resolve
from iterreason.policy import Stop, find_policy
from iterreason.records import Image, Problem, Result
from iterreason.tuning.answerer_data import shrink
from iterreason.tuning.descriptions import pick
from iterreason.tuning.fit_limits import crop, photographs
from iterreason.tuning.instruct import Export, export
from iterreason.tuning.instruct_sources import Draft, Drafts, drafts_of
from iterreason.tuning.lessons import SIMPLE, Lesson, composed_lesson, simple_lesson
from iterreason.tuning.programs import PROGRAMS, Wording
from iterreason.tuning.scenes import Rng, draw
from iterreason.tuning.teacher import ABLE, Teacher
from iterreason.tuning.train_answerer import EMBEDDED

COMMAND = "python -m iterreason.tuning.teach"
EPISODES = 4000
SIMPLE_SHARE, REWORDED_SHARE, PHOTOGRAPH_SHARE = 0.2, 0.6, 0.03
# The second number of the seed: 0 to 2 are the answerer's training and tests, 3 the scenes of the benchmark.
STREAM = 4
_WAVE = 64  # episodes that run side by side; fixed, so that the answerer's batches are always the same


@dataclass(slots=True)
class Taught:
    """One episode: the problem, who plays the reasoner, and what was called and replied so far."""

    lesson: Lesson
    problem: Problem
    teacher: Teacher
    running: Episode
    seen: list[tuple[Call, Reply]]
    result: Result | None = None


def lesson_of(seed: int, index: int) -> tuple[Lesson, Image]:
    """The lesson with this number and its image; all is decided by the two numbers."""
    rng: Rng = np.random.default_rng([seed, STREAM, index])
    if rng.random() < SIMPLE_SHARE:
        lesson = simple_lesson(pick(rng, SIMPLE), rng)
    else:
        wording: Wording = "reworded" if rng.random() < REWORDED_SHARE else "trained"
        lesson = composed_lesson(pick(rng, tuple(PROGRAMS)), rng, wording)
    if rng.random() < PHOTOGRAPH_SHARE:
        # Of what the answerer says about a photograph nothing follows: any choice may be the right one.
        return replace(lesson, answer=pick(rng, lesson.choices)), load_image(_photograph(rng))
    return lesson, load_image(draw(lesson.scene))


def _photograph(rng: Rng) -> PILImage.Image:
    """Part of one of the photographs that the answerer's limits were fitted on, such that they flag it."""
    limits = Limits.load(EMBEDDED / "limits.json")
    while True:
        part = crop(pick(rng, tuple(photographs().values())), rng)
        if limits.score(shrink(part)) > 0:
            return part


def problem_of(lesson: Lesson, image: Image, name: str) -> Problem:
    """The lesson as a problem, its choices in a random order that its name decides."""
    choices = list(lesson.choices)
    random.Random(name).shuffle(choices)
    return Problem((image,), lesson.text, tuple(choices), id=name)


def plan_for(looker: Capabilities) -> Plan:
    """The policy `evidence`, in which the teacher alone decides when it is enough."""
    named = find_policy("evidence")
    policy = replace(named.policy, stop=(Stop(dry=True),))
    return resolve(replace(named, policy=policy), ABLE, [looker])


def begin(lesson: Lesson, image: Image, name: str, plan: Plan) -> Taught:
    """An episode that has not begun."""
    problem = problem_of(lesson, image, name)
    teacher = Teacher(lesson, plan.policy.rounds.questions, plan.policy.rounds.max)
    return Taught(lesson, problem, teacher, episode(problem, plan, seed=0), [])


async def teach(taught: Sequence[Taught], looker: Model) -> None:
    """Run episodes side by side, the looks of all at once."""
    turns: list[tuple[Taught, Turn]] = [(one, turn) for one in taught if (turn := _advance(one, None))]
    while turns:
        calls = [call for _, turn in turns for call in turn.calls]
        replies = list(await asyncio.gather(*(looker.complete(call) for call in calls)))
        following = []
        for one, turn in turns:
            own, replies = replies[: len(turn.calls)], replies[len(turn.calls) :]
            if (next_turn := _advance(one, (turn, tuple(own)))) is not None:
                following.append((one, next_turn))
        turns = following


def _advance(one: Taught, made: tuple[Turn, tuple[Reply, ...]] | None) -> Turn | None:
    """Go on to the next turn that looks; the teacher's own turns are made on the way. None at the end."""
    try:
        turn = next(one.running) if made is None else _send(one, *made)
        while True:
            for event in turn.events:
                if isinstance(event, EvidenceFound):
                    one.teacher.heed(event.evidence)
            if any(call.slot != "reasoner" for call in turn.calls):
                return turn
            turn = _send(one, turn, tuple(one.teacher.reply(call) for call in turn.calls))
    except StopIteration as end:
        one.result = end.value
        return None


def _send(one: Taught, turn: Turn, replies: tuple[Reply, ...]) -> Turn:
    one.seen += zip(turn.calls, replies, strict=True)
    return one.running.send(Returned(replies))


def make_drafts(episodes: int, seed: int, looker: Model) -> Drafts:
    """The triples of so many episodes."""
    plan = plan_for(looker.capabilities())
    triples: list[Draft] = []
    with tqdm(total=episodes, unit="episode", disable=not sys.stderr.isatty()) as bar:
        for start in range(0, episodes, _WAVE):
            numbers = range(start, min(start + _WAVE, episodes))
            wave = [begin(*lesson_of(seed, n), f"taught-{seed}-{n:05d}", plan) for n in numbers]
            asyncio.run(teach(wave, looker))
            for one in wave:
                if one.result is None or one.result.error:
                    raise IterReasonError(f"{one.problem.id}: {one.result and one.result.error}")
                triples += drafts_of(one.problem, one.seen, one.problem.id, "taught")
            bar.update(len(numbers))
    return Drafts(tuple(triples))


def main(arguments: list[str] | None = None) -> int:
    """Make the data; return 0, or as the command line does for errors."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="train.jsonl and validation.jsonl")
    parser.add_argument("--episodes", type=int, default=EPISODES, metavar="N", help=f"(default: {EPISODES:,})")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args(arguments)
    try:
        # As it was when the shipped adapter was taught: the same data, to the hash.
        drafts = make_drafts(options.episodes, options.seed, answerer(doubts_words=False))
        how = Export(
            validation=0.03, made_from={"command": COMMAND, "episodes": options.episodes, "seed": options.seed}
        )
        manifest = export(drafts, options.out, how)
    except IterReasonError as error:
        print(f"teach: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wrote {manifest['triples']} triples, hash {manifest['hash'][:12]}, into {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
