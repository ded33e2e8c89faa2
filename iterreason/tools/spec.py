"""What a reasoner is told of a tool: its name, what it does, its typed arguments; and what it may write to use it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from iterreason.errors import BadTool, unknown
from iterreason.records import Question, ToolUse
from iterreason.tools.regions import PATTERN, read_region, region_text

MAX_TEXT_CHARS = 80
MAX_TEXTS, MAX_LISTED_CHARS = 6, 30  # so few and short that a plan fits into the reply that its policy allows
MAX_INTEGER = 9_999
NOT_ARGUMENTS = ("tool", "image", "region", "needs")  # what stands beside a tool's own arguments
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True, slots=True)
class Argument:
    """A typed argument of a tool.

    kind: `text` (1 to 80 characters), `texts` (at most 6, each to 30 characters), or `integer` (0 to 9,999).
    choices: the only texts allowed, where there are any.
    """

    name: str
    kind: Literal["text", "texts", "integer"] = "text"
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Its JSON schema; bounded, so that it always closes."""
        if self.kind == "integer":
            return {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
        plain = {"type": "string", "minLength": 1, "maxLength": self._longest, "pattern": r'^[^\[\]{}<>"\\\n]+$'}
        text: dict[str, Any] = {"type": "string", "enum": list(self.choices)} if self.choices else plain
        return text if self.kind == "text" else {"type": "array", "items": text, "maxItems": MAX_TEXTS}

    def read(self, value: Any) -> Any:
        """The value, with its type checked; raises ValueError with what is wrong."""
        if self.kind == "integer":
            if type(value) is not int or not 0 <= value <= MAX_INTEGER:
                raise ValueError(f"'{self.name}' must be a whole number from 0 to {MAX_INTEGER:,}, not {_shown(value)}")
            return value
        if self.kind == "text":
            return self._text(value)
        if not isinstance(value, list) or len(value) > MAX_TEXTS:
            raise ValueError(f"'{self.name}' must be a list of at most {MAX_TEXTS} texts, not {_shown(value)}")
        return [self._text(item) for item in value]

    @property
    def _longest(self) -> int:
        return MAX_LISTED_CHARS if self.kind == "texts" else MAX_TEXT_CHARS

    def _text(self, value: Any) -> str:
        text = " ".join(value.split()) if isinstance(value, str) else ""
        if not 1 <= len(text) <= self._longest and text not in self.choices:
            raise ValueError(f"'{self.name}' must be a text of 1 to {self._longest} characters, not {_shown(value)}")
        if self.choices and text not in self.choices:
            raise ValueError(f"'{self.name}' is {_shown(text)}; it must be one of: {', '.join(self.choices)}")
        return text


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the reasoner knows it.

    name: small letters, digits and underscores. description: a few words, after `name(arguments): `.
    model: what results call the model behind it; empty for what the answerer does.
    Every tool also takes a region, and an image's number where there are several. Raises BadTool.
    """

    name: str
    description: str
    arguments: tuple[Argument, ...] = ()
    model: str = ""

    def __post_init__(self) -> None:
        names = [self.name, *(argument.name for argument in self.arguments)]
        wrong = [name for name in names if not _NAME.fullmatch(name)]
        taken = [name for name in names[1:] if name in NOT_ARGUMENTS or names[1:].count(name) > 1]
        if wrong or taken or not self.description.strip():
            why = (
                f"the name {wrong[0]!r} must be small letters, digits and underscores"
                if wrong
                else f"the argument '{taken[0]}' stands there twice, or is one that every tool has"
                if taken
                else "its description is empty; say in a few words what it does"
            )
            raise BadTool(f"tool {self.name!r} cannot be used: {why}")

    @property
    def line(self) -> str:
        """One line for the reasoner."""
        forms = {"text": "", "texts": ": list of texts", "integer": ": number"}
        taken = [
            f"{a.name}: {' | '.join(a.choices)}" if a.choices else f"{a.name}{forms[a.kind]}" for a in self.arguments
        ]
        return f"{self.name}({', '.join([*taken, 'region'])}): {self.description}"


# What the answerer does under a tool's name, so that it can be given a region, and be a step of a plan.
ANSWERER_TOOLS = (
    ToolSpec("vqa", "answers a question about what is seen there", (Argument("question"),)),
    ToolSpec("caption", "describes what is seen there"),
    ToolSpec("crop", "looks closely at a region"),
)
ANSWERERS = tuple(spec.name for spec in ANSWERER_TOOLS)


def tool_lines(tools: Sequence[ToolSpec]) -> str:
    """The tools that are there, a line each."""
    return "\n".join(f"- {spec.line}" for spec in tools)


def use_schemas(
    tools: Sequence[ToolSpec], images: int, region: str = PATTERN, more: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The JSON schema of a use of each tool. region: what a region may be; more: further fields."""
    schemas = []
    for spec in tools:
        fields: dict[str, Any] = {"tool": {"type": "string", "enum": [spec.name]}}
        fields |= {argument.name: argument.schema() for argument in spec.arguments}
        if images > 1:
            fields["image"] = {"type": "integer", "minimum": 1, "maximum": images}
        fields |= {"region": {"type": "string", "pattern": f"^({region})$"}, **(more or {})}
        schemas.append(
            {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        )
    return schemas


def read_use(said: Mapping[str, Any], tools: Sequence[ToolSpec], images: int) -> Question:
    """A use of a tool as the reasoner wrote it; a missing tool or bad arguments are a question with a `fault`."""
    name = str(said.get("tool"))[:40]
    try:
        return _read(said, name, tools, images)
    except ValueError as fault:
        given = {key: value for key, value in said.items() if key not in NOT_ARGUMENTS}
        shown = _use_text(name, {str(key)[:20]: _shown(value) for key, value in list(given.items())[:4]}, "")
        return Question(shown, use=ToolUse(name, fault=str(fault)))


def _read(said: Mapping[str, Any], name: str, tools: Sequence[ToolSpec], images: int) -> Question:
    spec = next((spec for spec in tools if spec.name == name), None)
    if spec is None:
        raise ValueError(unknown("tool", name, [spec.name for spec in tools]))
    known = [argument.name for argument in spec.arguments]
    for key in said:
        if key not in (*known, *NOT_ARGUMENTS):
            raise ValueError(unknown("argument", str(key)[:40], [*known, "region"]))
    values = {argument.name: argument.read(said.get(argument.name)) for argument in spec.arguments}
    region = read_region(said.get("region") or "")
    image = said.get("image", 1)
    if type(image) is not int or not 1 <= image <= images:
        raise ValueError(f"there is no image {_shown(image)}; the images are 1 to {images}")
    if name == "vqa":
        return Question(values["question"], image - 1, region)
    if name == "caption":
        return Question("", image - 1, region)
    shown = _use_text(name, values, region_text(region))
    return Question(shown, image - 1, region, ToolUse(name, json.dumps(values, ensure_ascii=False)))


def first_use(spec: ToolSpec, image: int) -> Question:
    """The use of a tool on a whole image before the first round: with no texts given."""
    values: dict[str, Any] = {argument.name: [] for argument in spec.arguments}
    return Question(_use_text(spec.name, values, region_text(None)), image, use=ToolUse(spec.name, json.dumps(values)))


def goes_first(spec: ToolSpec) -> bool:
    """Whether the tool can be used with no arguments given."""
    return all(argument.kind == "texts" for argument in spec.arguments)


def _use_text(name: str, values: Mapping[str, Any], region: str) -> str:
    """A use as it is shown: `detect(labels: dog, cat; top left)`."""
    given = [(key, ", ".join(value) if isinstance(value, list) else str(value)) for key, value in values.items()]
    return f"{name}({'; '.join([*(f'{key}: {text}' for key, text in given if text), *filter(None, [region])])})"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | list | dict) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
