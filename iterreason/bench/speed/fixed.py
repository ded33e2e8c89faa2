"""Replies of fixed length out of real models, so that speed is measured and nothing else.

A reply's JSON schema is narrowed to one value, of the kind that a good model writes; the server's grammar then lets the
model write nothing else. Each token is still generated, one forward pass each; the loop reads what the model wrote, and
prompts, tokens and caches are what they are. Only the content says nothing about the image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from time import perf_counter
from typing import Any

from iterreason.calls import EMPTY_PROMPT, Call, Capabilities, Look, Prompt, Reply, View
from iterreason.models import Model, OnText
from iterreason.records import Image

RATIONALE = "The counts are close, so the other rows decide."
MISSING = "the other rows"
SEEN = "four of them, near the left edge"
SCHEMA_KEYS = {"rationale": RATIONALE, "missing": MISSING}


@dataclass(frozen=True, slots=True)
class Made:
    """A call as it was sent, what came of it, and when it was sent and answered, by `time.perf_counter`."""

    call: Call
    reply: Reply
    began: float
    ended: float


class Fixed:
    """A model bound to replies of fixed length; `made` are its calls, in the order in which they were sent."""

    def __init__(self, model: Model, questions: int) -> None:
        self._model, self._questions = model, questions
        self.made: list[Made] = []

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """The model's reply to the narrowed call."""
        sent = narrowed(call, self._questions)
        number, began = len(self.made), perf_counter()
        self.made.append(Made(sent, Reply(error="in flight"), began, began))
        reply = await self._model.complete(sent, on_text)
        self.made[number] = Made(sent, reply, began, perf_counter())
        if call.purpose == "look" and reply.error is None:  # the schema's quotes are no part of the answer
            samples = tuple(replace(sample, text=sample.text.strip().strip('"')) for sample in reply.samples)
            return replace(reply, samples=samples, scores=())
        return reply

    def capabilities(self) -> Capabilities:
        """Those of the model, its context left aside: the replies are bounded."""
        return self._model.capabilities()

    async def close(self) -> None:
        """The model is its opener's to close."""


def narrowed(call: Call, questions: int) -> Call:
    """The call with room for one reply; a read-out is one token as it is."""
    if call.purpose == "look":
        return replace(call, schema=json.dumps({"type": "string", "enum": [SEEN]}), choices=())
    if not call.schema:
        return call
    schema = json.loads(call.schema)
    number = (
        int(sha256(call.prompt.digest.encode()).hexdigest()[:8], 16) % 90_000 + 10_000
    )  # new questions in every prompt
    properties = {name: _value(name, part, questions, number) for name, part in schema["properties"].items()}
    return replace(call, schema=json.dumps({**schema, "properties": properties, "required": list(properties)}))


def _value(name: str, part: dict[str, Any], questions: int, number: int) -> dict[str, Any]:
    """A property's schema with one value left."""
    if name == "questions":
        asked = [f"how many circles are in row {number + n}?" for n in range(questions)]
        return _exactly([{"type": "string", "enum": [text]} for text in asked])
    if name == "cites":
        return _exactly([{"type": "integer", "enum": [1]}])
    if "enum" in part:
        return {"enum": part["enum"][:1]}
    return {"type": "string", "enum": [SCHEMA_KEYS.get(name, "yes")]}


def _exactly(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items), "maxItems": len(items)}


def moved(call: Call, texts: dict[str, str], images: dict[str, Image]) -> Call:
    """The same call about another problem, so that no cache knows it; `images` by the hash of the one they replace."""
    look = call.look and Look(_view(call.look.view, images), call.look.question and _text(call.look.question, texts))
    return replace(call, prompt=_prompt(call.prompt, texts, images), look=look)


def _prompt(prompt: Prompt, texts: dict[str, str], images: dict[str, Image]) -> Prompt:
    copy = EMPTY_PROMPT
    for message in prompt.messages:
        parts = (_text(p, texts) if isinstance(p, str) else _view(p, images) for p in message.parts)
        copy = copy.plus(message.role, *parts)
    return copy


def _text(text: str, texts: dict[str, str]) -> str:
    for old, new in texts.items():
        text = text.replace(old, new)
    return text


def _view(view: View, images: dict[str, Image]) -> View:
    return replace(view, image=images.get(view.image.sha256, view.image))
