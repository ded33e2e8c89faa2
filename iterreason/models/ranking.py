"""A look that has choices, on a chat model: each choice is scored as a whole answer.

The conversation is ended with the choice as the model's own reply, and the log-probabilities of the prompt's tokens say
what the model gives it. Forcing the choice with a grammar would not do: vLLM measures after the grammar, as if nothing
else could be said.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from iterreason.background import together
from iterreason.calls import Call, Reply, Sample, Tokens

MOST_CLOSING = 8  # tokens that a template may put after a reply


@dataclass(frozen=True, slots=True)
class Read:
    """A token of a prompt and its natural log-probability after those before it; that of the first is 0."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of having a model read a prompt: its tokens, or an error."""

    read: Sequence[Read] = ()
    tokens: Tokens = Tokens()
    error: str | None = None


def ranked(call: Call) -> bool:
    """Whether a call's choices are scored as whole answers: a look's are, a read-out's letters by their first token."""
    return call.purpose == "look" and bool(call.choices)


async def rank(call: Call, read: Callable[[str], Awaitable[Reading]]) -> Reply:
    """Score every choice as a whole answer, its end included, all at once.

    read: has the model read the call's prompt with this text as its own reply.
    The answer is the likeliest choice; at a temperature each sample is drawn by the scores, with a seed always alike.
    """
    readings = await together(read(choice) for choice in call.choices)
    counts = [reading.tokens for reading in readings]
    tokens = Tokens(sum(c.prompt for c in counts), sum(c.cached for c in counts), sum(c.completion for c in counts))
    if error := next((reading.error for reading in readings if reading.error), None):
        return Reply(tokens=tokens, error=error)
    found = [spelled(reading.read, choice) for choice, reading in zip(call.choices, readings, strict=True)]
    if missing := [choice for choice, logprobs in zip(call.choices, found, strict=True) if not logprobs]:
        return Reply(tokens=tokens, error=f"the prompt's tokens do not spell the choice {missing[0][:60]!r}")
    scores = tuple(map(sum, found))
    picked = [_draw(scores, call, number) for number in range(call.sampling.n)]
    return Reply(tuple(Sample(call.choices[one], found[one]) for one in picked), scores, tokens)


def spelled(read: Sequence[Read], text: str) -> tuple[float, ...]:
    """The log-probabilities of the last tokens that spell this text, and of what ends it; empty where none spell it."""
    start, end = place_of([token.text for token in read], text)
    return tuple(token.logprob for token in read[start:end])


def place_of(tokens: Sequence[str], text: str) -> tuple[int, int]:
    """Where the last tokens that spell this text begin, and where what ends it does; (0, 0) where none spell it."""
    wanted = text.strip()
    for end in range(len(tokens), max(0, len(tokens) - MOST_CLOSING), -1):
        joined = ""
        for start in range(end - 1, -1, -1):
            joined = tokens[start] + joined
            if joined.strip() == wanted:
                return start, min(end + 1, len(tokens))
            if len(joined.strip()) > len(wanted):
                break
    return 0, 0


def _draw(scores: Sequence[float], call: Call, number: int) -> int:
    """The place of the highest score, or of one drawn at the call's temperature."""
    highest, temperature = max(scores), call.sampling.temperature
    if temperature == 0:
        return scores.index(highest)
    seeded = call.sampling.seed is not None
    dice = Random(int(sha256(f"{call.key}/{number}".encode()).hexdigest()[:15], 16) if seeded else None)
    weights = [math.exp((score - highest) / temperature) for score in scores]
    return dice.choices(range(len(scores)), weights)[0]
