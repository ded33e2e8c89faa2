"""What a model can do, in words."""

from __future__ import annotations

from collections.abc import Iterator

from iterreason.calls import Capabilities

_WORDS = {
    "chats": "answers prompts, as a reasoner must",
    "looks": "made for looking: questions about images, or captions",
    "images": "takes images in prompts",
    "schema": "keeps to a JSON schema",
    "logprobs": "tells the log-probabilities of what it writes",
    "scores": "scores the letters of a read-out (confidence `choice-logprob`)",
    "ranks": "scores the choices of a question as whole answers",
    "holds": "can be held to given answers",
    "samples": "gives several samples of one prompt at once",
    "cached_tokens": "tells how much of a prompt its prefix cache served",
}


def ability_lines(found: Capabilities) -> Iterator[str]:
    """The model's name, a line for each ability with whether it has it, and its context."""
    yield found.model
    for name, words in _WORDS.items():
        yield f"  {'yes' if getattr(found, name) else 'no':<3}  {name:<13}  {words}"
    tokens = "unknown" if found.context_tokens is None else f"{found.context_tokens:,} tokens"
    yield f"  context: {tokens}"
