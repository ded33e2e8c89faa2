"""What the tests of a real LAVIS ask, and of whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from iterreason.background import Background
from iterreason.calls import EMPTY_PROMPT, Call, Look, Reply, Sampling, View
from iterreason.models import Model
from iterreason.records import Image


def look(image: Image, question: str | None, max_tokens: int = 40, **options: Any) -> Call:
    """A look at a whole image."""
    sampling = Sampling(max_tokens=max_tokens, **options.pop("sampling", {}))
    return Call("answerer:0", "look", EMPTY_PROMPT, Look(View(image), question), sampling=sampling, **options)


class Opened:
    """An open model that is asked many calls at once, from a test that is not asynchronous."""

    def __init__(self, model: Any) -> None:
        self.model: Model = model
        self._loop = Background()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self.model.close())
        self._loop.close()

    def answers(self, calls: Sequence[Call]) -> list[Reply]:
        """The replies to calls made at once."""

        async def all_of_them() -> list[Reply]:
            return list(await asyncio.gather(*(self.model.complete(call) for call in calls)))

        return self._loop.run(all_of_them())
