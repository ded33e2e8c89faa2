"""One problem of a run as a sample of an Inspect log: conversation, every call as an event, score, usage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from inspect_ai.event import Event, ModelEvent, ToolEvent
from inspect_ai.log import EvalError, EvalSample
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
    StopReason,
)
from inspect_ai.scorer import Score
from inspect_ai.tool import ToolCallError

from iterreason.bench.export.conversation import Made, Said, calls_made, conversation
from iterreason.bench.row import Row
from iterreason.calls import digest

_METADATA = (
    *("policy", "policy_hash", "models", "split", "outcome", "confidence", "confidence_source", "stop_reason"),
    *("best_guess", "seed", "group", "kind", "unit", "images", "all_rounds"),
)
_STOPS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
}
_KINDS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def sample(row: Row, line: dict[str, Any] | None, *, scorer: str, epoch: int, began: str) -> EvalSample:
    """A row, and its episode where it was recorded (`line`), as a sample.

    epoch: 1-based, a seed each. began: ISO 8601, of the run; an episode's own wall time is not recorded, so its events
    stand as if it had begun then.
    """
    made = list(calls_made(line["turns"])) if line else []
    writer = _Writer(line, datetime.fromisoformat(began), row)
    last = conversation(made)
    said = writer.output(last) if last else None
    context = line["problem"]["context"] if line else ""
    return EvalSample(
        id=row.id,
        epoch=epoch,
        input=f"{context}\n\n{row.question}" if context else row.question,
        choices=list(row.choices) or None,
        target=row.gold[0] if len(row.gold) == 1 else list(row.gold),
        messages=[*writer.messages(last.messages), *(choice.message for choice in said.choices)]
        if last and said
        else [],
        output=_output(row, said),
        scores={scorer: _score(row, line)} if row.outcome != "error" else None,
        metadata=_metadata(row, line),
        events=[writer.event(number, call) for number, call in enumerate(made)],
        model_usage=_usage(made, row, writer.model_of),
        role_usage=_usage(made, row, lambda made: str(made.call["slot"])) if made else {},
        total_time=row.usage.elapsed_seconds,
        working_time=row.usage.elapsed_seconds,
        uuid=digest(*row.key, row.task, row.version, row.split, row.policy_hash, row.models, row.all_rounds)[:22],
        error=EvalError(message=row.error or "error", traceback="", traceback_ansi="")
        if row.outcome == "error"
        else None,
    )


def _score(row: Row, line: dict[str, Any] | None) -> Score:
    """The score in [0, 1]; an abstention is not a wrong answer: it is unscored, which Inspect's metrics leave out."""
    rounds = line["result"]["rounds"] if line else []
    said = rounds[-1]["verdict"]["rationale"] if rounds else ""
    explanation = f"{row.outcome}: {said}" if said else row.outcome
    metadata = {"outcome": row.outcome, "confidence": row.confidence, "best_guess": row.best_guess}
    if row.score is None:
        return Score.unscored(reason=row.outcome, answer=row.answer, explanation=explanation, metadata=metadata)
    return Score(value=row.score, answer=row.answer, explanation=explanation, metadata=metadata)


def _metadata(row: Row, line: dict[str, Any] | None) -> dict[str, Any]:
    values = asdict(row)
    found = {"evidence": line["result"]["memory"]} if line else {}
    return {name: values[name] for name in _METADATA} | {"rounds": values["rounds"], "usage": values["usage"]} | found


def _output(row: Row, said: ModelOutput | None) -> ModelOutput:
    """What the sample ended with: the last reply; its text is the answer that was given."""
    if said is None:
        return ModelOutput(model=row.models[0] if row.models else "", error=row.error)
    return said.model_copy(update={"completion": row.answer or ""})


def _usage(made: Iterable[Made], row: Row, name_of: Any) -> dict[str, ModelUsage]:
    """Tokens by name; where no call is recorded, the row's sums under the first model's name."""
    used: dict[str, ModelUsage] = {}
    for call in made:
        name = name_of(call)
        used[name] = used.get(name, ModelUsage()) + _tokens(**call.reply["tokens"])
    if not used and row.models and row.usage.tokens:
        usage = row.usage
        used[row.models[0]] = _tokens(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
    return used


def _tokens(prompt: int, cached: int, completion: int) -> ModelUsage:
    """Inspect counts cached tokens apart from the other input."""
    return ModelUsage(
        input_tokens=prompt - cached,
        input_tokens_cache_read=cached,
        output_tokens=completion,
        total_tokens=prompt + completion,
    )


class _Writer:
    """Turns calls into events; a message that several prompts share is one object, under its digest as id."""

    def __init__(self, line: dict[str, Any] | None, began: datetime, row: Row) -> None:
        self._models = line["models"] if line else {"reasoner": "", "answerers": []}
        self._tools = {str(tool["name"]): str(tool["model"]) for tool in (line or {}).get("tools", ())}
        self._began, self._key = began, f"{row.id}/{row.seed}"
        self._written: dict[str, ChatMessage] = {}

    def model_of(self, made: Made) -> str:
        """The model that a call went to."""
        slot, _, which = str(made.call["slot"]).partition(":")
        if slot == "tool":
            return self._tools[which]
        return str(self._models["answerers"][int(which)] if which else self._models[slot])

    def messages(self, said: Sequence[Said]) -> list[ChatMessage]:
        """Messages as Inspect has them; images are named, their pixels are not in the log."""
        return [self._message(each) for each in said]

    def _message(self, said: Said) -> ChatMessage:
        if said.digest not in self._written:
            source = "generate" if said.role == "assistant" else "input"
            self._written[said.digest] = _KINDS[said.role](id=said.digest[:22], content=said.text, source=source)
        return self._written[said.digest]

    def output(self, made: Made) -> ModelOutput:
        """A reply."""
        model, reply = self.model_of(made), made.reply
        choices = [
            ChatCompletionChoice(
                message=ChatMessageAssistant(
                    id=digest(self._key, made.call["key"], number)[:22],
                    content=each["text"],
                    source="generate",
                    model=model,
                ),
                stop_reason=_STOPS.get(each["finish_reason"], "unknown"),
            )
            for number, each in enumerate(reply["samples"])
        ]
        usage = _tokens(**reply["tokens"])
        return ModelOutput(model=model, choices=choices, usage=usage, time=reply["seconds"], error=reply["error"])

    def event(self, number: int, made: Made) -> Event:
        """A look as the call of a tool, any other call as the call of a model."""
        common: dict[str, Any] = {
            "uuid": digest(self._key, number)[:22],
            "timestamp": self._began + timedelta(seconds=made.began),
            "working_start": made.began,
            "working_time": made.reply["seconds"],
            "metadata": self._about(made),
        }
        if look := made.call["look"]:
            slot = str(made.call["slot"])
            failed = made.reply["error"]
            return ToolEvent(
                id=common["uuid"],
                function=slot.removeprefix("tool:") if slot.startswith("tool:") else "look",
                arguments=look,
                result=(made.texts or [""])[0],
                error=ToolCallError("unknown", failed) if failed else None,
                failed=True if failed else None,
                **common,
            )
        return ModelEvent(
            model=self.model_of(made),
            role=made.call["slot"],
            input=self.messages(made.messages),
            tools=[],
            tool_choice="none",
            config=_config(made.call["sampling"]),
            output=self.output(made),
            error=made.reply["error"],
            **common,
        )

    def _about(self, made: Made) -> dict[str, Any]:
        about = {"purpose": made.purpose, "slot": made.call["slot"], "model": self.model_of(made)}
        choices, scores = made.call["choices"], made.reply["scores"]
        if len(scores) != len(choices):  # a reply that was refused for it
            return about | {"scores": scores}
        return about | ({"scores": dict(zip(choices, scores, strict=True))} if scores else {})


def _config(sampling: dict[str, Any]) -> GenerateConfig:
    return GenerateConfig(
        temperature=sampling["temperature"],
        max_tokens=sampling["max_tokens"],
        num_choices=sampling["n"],
        seed=sampling["seed"],
    )
