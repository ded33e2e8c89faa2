"""`scripted:FILE`: replies from a file, for tests and demonstrations that need no model.

A JSON object a line. The reply to a call is the first unused line whose conditions all hold:

    {"purpose": "generation", "text": "{\\"answer\\": \\"yes\\"}"}
    {"question": "how many red circles are there?", "text": "2", "probability": 0.9}
    {"purpose": "look", "text": "two circles", "repeat": true}
    {"purpose": "readout", "probabilities": [0.8, 0.15]}
    {"contains": "Round 3", "error": "connection refused"}

Conditions: `slot`, `purpose`, `question` (of a look; empty for a caption), `contains` (in the last message). `repeat`
lines are never used up. A first line `{"capabilities": {…}}` says what the model can do; without it, everything.
The model's name holds a hash of the file, so that a reply cache tells apart two files of one name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from iterreason.calls import Call, Capabilities, Purpose, Reply, Sample, Tokens
from iterreason.errors import UnknownModel
from iterreason.folding import same_text
from iterreason.models import OnText

_Probability = Annotated[float, Field(gt=0, le=1)]


class ScriptLine(BaseModel):
    """One line of a script: conditions, and the reply where they hold."""

    model_config = ConfigDict(extra="forbid")

    slot: str | None = None
    purpose: Purpose | None = None
    question: str | None = None
    contains: str | None = None
    repeat: bool = False
    text: str = ""
    probability: _Probability | None = None
    probabilities: list[_Probability | None] = []
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    error: str | None = None

    def answers(self, call: Call) -> bool:
        """Whether the conditions hold for this call."""
        if self.slot not in (None, call.slot) or self.purpose not in (None, call.purpose):
            return False
        if self.question is not None and not (call.look and same_text(self.question, call.look.question or "")):
            return False
        last = call.prompt.message.text if call.prompt.message else ""
        return self.contains is None or self.contains in last

    def reply(self, call: Call) -> Reply:
        """The reply, as many samples of it as the call wants."""
        logprobs = None if self.probability is None else (math.log(self.probability),)
        scores = tuple(None if p is None else math.log(p) for p in self.probabilities)
        tokens = Tokens(self.prompt_tokens, self.cached_tokens, self.completion_tokens)
        if self.error is not None:
            return Reply(seconds=self.seconds, error=self.error)
        return Reply((Sample(self.text, logprobs),) * call.sampling.n, scores, tokens, self.seconds)


class Scripted:
    """A model that says what it is told to say."""

    def __init__(self, lines: Iterable[dict[str, Any]], name: str = "scripted", **capabilities: Any) -> None:
        able = dict.fromkeys(("chats", "looks", "images", "schema", "logprobs", "scores"), True)
        self._capabilities = Capabilities(model=name, **{**able, **capabilities})
        self._lines = [ScriptLine.model_validate(line) for line in lines]
        self.calls: list[Call] = []

    @classmethod
    def open(cls, path: Path) -> Scripted:
        """Read a script; raises UnknownModel where the file is not one."""
        try:
            data = path.read_bytes()
            values = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
            first = values.pop(0) if values and "capabilities" in values[0] else {"capabilities": {}}
            return cls(values, f"scripted:{path.name}#{sha256(data).hexdigest()[:8]}", **first["capabilities"])
        except (OSError, ValueError, TypeError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise UnknownModel(f"scripted:{path} cannot be used: {why}") from None

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """The first unused line that answers the call."""
        self.calls.append(call)
        for line in self._lines:
            if line.answers(call):
                if not line.repeat:
                    self._lines.remove(line)
                return line.reply(call)
        return Reply(error=f"the script has no line left for this {call.purpose} call")

    def capabilities(self) -> Capabilities:
        """Everything, unless the script says otherwise."""
        return self._capabilities

    async def close(self) -> None:
        """Nothing to give back."""
