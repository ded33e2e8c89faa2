"""Written replies for driving the real loop: the only test double, and it stands where a model would."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from iterreason.calls import Call, Capabilities, Event, Note, Reply, Returned, Sample, Tokens, Turn
from iterreason.loop import Episode
from iterreason.plan import Plan, resolve
from iterreason.policy import NamedPolicy, find_policy, read_policy
from iterreason.records import Image, Problem, Result
from iterreason.trace import EpisodeRecorder

ABLE = Capabilities("written", looks=True, images=True, schema=True, logprobs=True, scores=True)


def image(name: str = "scene") -> Image:
    """An image known by its hash alone."""
    return Image(sha256(name.encode()).hexdigest(), 96, 96, name=f"{name}.png")


def problem(
    question: str = "Are there more red circles than blue squares?",
    choices: Sequence[str] = ("yes", "no"),
    images: int = 1,
) -> Problem:
    """A problem about images known by their hashes alone."""
    return Problem(tuple(image(f"scene{n}") for n in range(images)), question, tuple(choices))


def policy(name: str = "evidence", **changes: str) -> NamedPolicy:
    """A shipped policy, with some of its lines replaced: `policy("evidence", max="max = 2")`."""
    named = find_policy(name)
    lines = [changes.get(line.split(" ")[0], line) for line in named.text.splitlines()]
    return read_policy("\n".join(lines), name)


def plan(name: str = "evidence", reasoner: Capabilities = ABLE, answerer: Capabilities = ABLE, **changes: str) -> Plan:
    """A policy resolved against models that can do everything, unless told."""
    return resolve(policy(name, **changes), reasoner, [answerer])


def verdict(answer: str = "yes", *questions: Any, cites: Sequence[int] = (), **more: Any) -> str:
    """A concluding reply as a good model writes it."""
    values = {"rationale": "Because of what was seen.", "cites": list(cites), "answer": answer, "missing": ""}
    return json.dumps({**values, "questions": list(questions), **more})


def said(text: str, probability: float | None = 0.9, tokens: Tokens = Tokens(100, 60, 20)) -> Reply:
    """A reply of one sample."""
    logprobs = None if probability is None else (math.log(probability),)
    return Reply((Sample(text, logprobs),), tokens=tokens, seconds=0.5)


def scored(*probabilities: float | None) -> Reply:
    """A read-out's reply: the probability of each candidate."""
    scores = tuple(None if p is None else math.log(p) for p in probabilities)
    return Reply((Sample("A"),), scores, Tokens(120, 110, 1), 0.1)


class Script:
    """Answers calls: looks from a function of the question, the reasoner's from lists, in order."""

    def __init__(
        self,
        generations: Sequence[str | Reply],
        readouts: Sequence[Reply] | Reply = scored(0.8, 0.1),
        look: Callable[[str], str | Reply] = lambda question: "yes",
        notes: dict[int, tuple[Note, ...]] | None = None,
        elapsed: float = 1.0,
    ) -> None:
        self.generations = [said(g) if isinstance(g, str) else g for g in generations]
        self.readouts = list(readouts) if isinstance(readouts, Sequence) else readouts
        self.look, self.notes, self.elapsed = look, notes or {}, elapsed
        self.turns: list[Turn] = []

    @property
    def calls(self) -> list[Call]:
        return [call for turn in self.turns for call in turn.calls]

    @property
    def events(self) -> list[Event]:
        return [event for turn in self.turns for event in turn.events]

    @property
    def purposes(self) -> list[str]:
        """What was called, turn by turn: `look look`, `generation`, …"""
        return [" ".join(call.purpose for call in turn.calls) for turn in self.turns if turn.calls]

    def reply(self, call: Call) -> Reply:
        if call.look:
            answer = self.look(call.look.question or "")
            return said(answer) if isinstance(answer, str) else answer
        if call.purpose == "readout":
            return self.readouts if isinstance(self.readouts, Reply) else self.readouts.pop(0)
        return self.generations.pop(0)

    def returned(self, turn: Turn) -> Returned:
        self.turns.append(turn)
        notes = self.notes.get(len(self.turns), ())
        return Returned(tuple(self.reply(call) for call in turn.calls), self.elapsed if turn.calls else 0.0, notes)

    def play(self, episode: Episode) -> Result:
        """Drive an episode by hand, as any caller could."""
        try:
            turn = next(episode)
            while True:
                turn = episode.send(self.returned(turn))
        except StopIteration as end:
            result: Result = end.value
            return result

    def record(self, episode: Episode, recorder: EpisodeRecorder) -> Result:
        """Drive an episode by hand, and record its turns."""
        try:
            turn = next(episode)
            while True:
                returned = self.returned(turn)
                if turn.calls:
                    recorder.turn(turn, returned)
                turn = episode.send(returned)
        except StopIteration as end:
            result: Result = end.value
            return result

    async def live(self, turn: Turn) -> Returned:
        """The same as what a driver calls live."""
        return self.returned(turn)
