"""A tool as a model: it answers calls, so that the engine, traces and the cache treat it like any other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from time import perf_counter
from typing import Any

from iterreason.background import aside
from iterreason.calls import Call, Capabilities, Reply, Sample
from iterreason.images import decode
from iterreason.models import OnText
from iterreason.prompts import one_line
from iterreason.records import Region
from iterreason.tools import Found, Tool
from iterreason.tools.regions import within
from iterreason.tools.spec import ToolSpec


class ToolModel:
    """Runs a tool, one use at a time, in a thread; what it finds in a region is placed in the whole image."""

    def __init__(self, tool: Tool) -> None:
        self._tool, self._lock = tool, Lock()

    @property
    def spec(self) -> ToolSpec:
        """What the reasoner is told, with the model's name."""
        spec = self._tool.spec
        return spec if spec.model else replace(spec, model=f"tool/{spec.name}")

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """What the tool found, as one JSON list."""
        return await aside(lambda: self._run(call))

    def capabilities(self) -> Capabilities:
        """Looks, with what arguments its spec says."""
        return Capabilities(self.spec.model, chats=False, looks=True)

    async def close(self) -> None:
        """Close the tool, where it can be closed."""
        if close := getattr(self._tool, "close", None):
            close()

    def _run(self, call: Call) -> Reply:
        began = perf_counter()
        try:
            if call.look is None:
                raise ValueError(f"'{self.spec.name}' is a tool; it answers no messages")
            arguments = json.loads(call.look.arguments or "{}")
            with self._lock:
                found = self._tool.use(decode(call.look.view), **arguments)
            text = _as_json(found, call.look.view.region)
        except Exception as error:  # a tool of the user's own may raise anything; this use has failed, the others go on
            why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            return Reply(error=one_line(why), seconds=perf_counter() - began)
        return Reply((Sample(text),), seconds=perf_counter() - began)


def _as_json(found: Sequence[Found], shown: Region | None) -> str:
    values: list[dict[str, Any]] = []
    for one in found:
        region = within(shown, one.region)
        box = region and [round(edge, 4) for edge in (region.x0, region.y0, region.x1, region.y1)]
        values.append({"text": str(one.text), "probability": one.probability, "region": box})
    return json.dumps(values, ensure_ascii=False)
