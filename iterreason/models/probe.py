"""What a server really does: found out by small test requests, never assumed from what it accepts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from openai import APIStatusError

from iterreason.background import together
from iterreason.models.ranking import spelled
from iterreason.models.wire import TOP_LOGPROBS, Body, Choice, Request, as_said, held_to

Send = Callable[[Request], Awaitable[Body]]

PASSING = (401, 403, 408, 409, 429)  # these say nothing about what a server can do
QUESTION = "What is the capital of France? Answer with one word."
WORD = "q7"  # no model says this unless the schema makes it
LONG = " ".join(f"line {number}" for number in range(100))  # longer than a block of a prefix cache
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": [WORD]}},
    "required": ["answer"],
    "additionalProperties": False,
}
GREY_PNG = (  # 32 x 32 pixels; some models refuse smaller ones
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKElEQVR42u3NQQEAAAQEMCS/6Erw2wqsk9SnqWcCgUAgEAgE"
    "AoHgygK+PQHAs0oJIwAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True, slots=True)
class Found:
    """What the test requests brought to light."""

    images: bool = False
    schema: bool = False
    logprobs: bool = False
    scores: bool = False
    ranks: bool = False
    holds: bool = False
    samples: bool = False
    cached_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one test request: a completion, a refusal (both None), or a failure that says nothing."""

    body: Body | None = None
    failure: Exception | None = None


async def probe(send: Send, model: str, *, reads: bool = True) -> Found:
    """Ask for everything at once, each in a request of its own, and look at what comes back.

    reads: whether to ask for the log-probabilities of a prompt, without which no choices are ranked.
    Raises what `send` raised where the server could not be reached, or does not complete even a plain chat.
    """
    plain = _ask(model, QUESTION, 1)
    picture = [{"type": "image_url", "image_url": {"url": GREY_PNG}}, {"type": "text", "text": QUESTION}]
    form = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}}
    wanted = (
        _try(send, plain | {"logprobs": True, "top_logprobs": TOP_LOGPROBS}),
        _try(send, _ask(model, QUESTION, 64) | {"response_format": form}),
        _try(send, _ask(model, picture, 1)),
        _try(send, as_said(plain, WORD) if reads else plain),
        _try(send, _ask(model, QUESTION, 8) | held_to([WORD])),
        _try(send, plain | {"n": 2, "temperature": 1.0}),
    )
    outcomes = await together(wanted)
    if failure := next((outcome.failure for outcome in outcomes if outcome.failure), None):
        raise failure
    if not any(outcome.body for outcome in outcomes):
        await send(plain)
    measured, formed, seen, read, held, doubled = outcomes
    first = next((token for choice in _choices(measured) for token in choice.tokens), None)
    return Found(
        images=_saw(seen.body, measured.body),
        schema=any(_follows(choice.message.content) for choice in _choices(formed)),
        logprobs=first is not None,
        scores=bool(first and first.top_logprobs),
        ranks=bool(read.body and spelled(read.body.read.read, WORD)),
        holds=any(choice.message.content == WORD for choice in _choices(held)),
        samples=len(_choices(doubled)) == 2,
        cached_tokens=any(map(_tells_cached, outcomes)) or await _caches(send, model),
    )


async def _caches(send: Send, model: str) -> bool:
    """Whether a long prompt comes out of the prefix cache the second time; older servers tell only what is not 0."""
    again = _ask(model, f"{LONG} {QUESTION}", 1)
    return _tells_cached(await _try(send, again)) or _tells_cached(await _try(send, again))


def _tells_cached(outcome: Outcome) -> bool:
    usage = outcome.body and outcome.body.usage
    details = usage and usage.prompt_tokens_details
    return bool(details and details.cached_tokens is not None)


def _ask(model: str, content: object, max_tokens: int) -> Request:
    messages = [{"role": "user", "content": content}]
    return {"model": model, "messages": messages, "temperature": 0.0, "max_tokens": max_tokens}


async def _try(send: Send, body: Request) -> Outcome:
    try:
        return Outcome(body=await send(body))
    except APIStatusError as error:
        return Outcome(failure=error if error.status_code in PASSING else None)
    except Exception as error:
        return Outcome(failure=error)


def _choices(outcome: Outcome) -> list[Choice]:
    return outcome.body.choices if outcome.body else []


def _follows(text: str | None) -> bool:
    try:
        return bool(json.loads(text or "") == {"answer": WORD})
    except ValueError:
        return False


def _saw(seen: Body | None, without: Body | None) -> bool:
    """Whether an image was taken in: the request passed and, where tokens are counted, the image cost some."""
    if seen is None or not seen.choices:
        return False
    with_image, text_only = seen.counted.prompt, without.counted.prompt if without else 0
    return not (with_image and text_only) or with_image > text_only
