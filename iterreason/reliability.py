"""How often each answerer is right, by kind of question: counted on a labelled run, read from a small TOML file.

    task = "gqa"                      # where it was counted, and under which policy
    policy = "evidence"
    policy_hash = "9f2c…"

    [[answerer]]
    model = "hf/blip-vqa-base@52f1…"  # as results name it
    kind = "count"                    # yes-no, count, colour, place or other
    right = 31
    asked = 50

`iterreason calibrate RUN --answerers` writes it. Without such a file all answerers weigh the same.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from iterreason.errors import BadConfig, unknown
from iterreason.folding import fold

Kind = Literal["yes-no", "count", "colour", "place", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ASKS_YES_NO = re.compile(
    r"(is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|should|may|might)(n't)?\b(?! many\b)"
)
_COUNT = re.compile(r"\b(how many|number of|count)\b")
_COLOUR = re.compile(r"\bcolou?rs?\b")
_PLACE = re.compile(r"^(where|which (side|direction|corner|part))\b|\b(what|which) (side|direction|corner|part)\b")
_STRICT = ConfigDict(extra="forbid", frozen=True)


def kind_of(question: str) -> Kind:
    """What kind of answer a question wants, by its English words; anything else is `other`."""
    text = fold(question)
    if _COUNT.search(text):
        return "count"
    if _ASKS_YES_NO.match(text):
        return "yes-no"
    if _COLOUR.search(text):
        return "colour"
    return "place" if _PLACE.search(text) else "other"


@checked_dataclass(config=_STRICT)
class Count:
    """Of so many labelled questions of a kind that this model was asked it answered so many right."""

    model: Annotated[str, Field(min_length=1)]
    kind: Kind
    right: Annotated[int, Field(ge=0)]
    asked: Annotated[int, Field(ge=1)]

    def __post_init__(self) -> None:
        if self.right > self.asked:
            raise ValueError(f"right = {self.right} is more than asked = {self.asked}")


@dataclass(frozen=True, slots=True)
class Reliability:
    """What is counted of the answerers; nothing where nobody has counted."""

    counts: tuple[Count, ...] = ()

    @property
    def learned(self) -> bool:
        """Whether anything is counted; else all answerers weigh the same."""
        return bool(self.counts)

    def weight(self, model: str, question: str) -> float:
        """How much an answer of this model to this question counts, in (0, 1]; 1 for all where nothing is counted.

        The mean of a Beta(1, 1) prior and the counts of this kind; of all kinds where this kind was never asked.
        """
        if not self.counts:
            return 1.0
        kind = kind_of(question)
        own = [count for count in self.counts if count.model == model]
        used = [count for count in own if count.kind == kind] or own
        return (sum(count.right for count in used) + 1) / (sum(count.asked for count in used) + 2)

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON values, for traces and manifests."""
        return [
            {"model": count.model, "kind": count.kind, "right": count.right, "asked": count.asked}
            for count in self.counts
        ]


FLAT = Reliability()


@checked_dataclass(config=_STRICT)
class _File:
    answerer: Annotated[tuple[Count, ...], Field(min_length=1)]
    task: str = ""
    policy: str = ""
    policy_hash: str = ""

    def __post_init__(self) -> None:
        keys = [(count.model, count.kind) for count in self.answerer]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"{twice[0]} is counted twice for '{twice[1]}'")


@cache
def _files() -> TypeAdapter[_File]:
    return TypeAdapter(_File)


@cache
def _counts() -> TypeAdapter[tuple[Count, ...]]:
    return TypeAdapter(tuple[Count, ...])


def read_reliability(path: Path) -> Reliability:
    """Read a file of counts; raises BadConfig with every fault, each with its key."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Reliability(_files().validate_json(json.dumps(values, default=str), strict=True).answerer)
    except ValidationError as error:
        lines = [f"  {_explain(fault['loc'], fault['type'], fault['msg'])}" for fault in error.errors()]
        raise BadConfig("\n".join([f"{path} cannot be used:", *lines])) from None
    except (OSError, ValueError) as error:
        raise BadConfig(f"cannot read the answerers' reliability from {path}: {error}") from None


def from_json(values: Sequence[Any]) -> Reliability:
    """The counts in a trace; raises ValueError."""
    return Reliability(_counts().validate_python(tuple(Count(**value) for value in values)))


def _explain(path: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(str(part) for part in path)
    if kind == "value_error":
        return f"{where}: {message.removeprefix('Value error, ')}".removeprefix(": ")
    if kind not in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: {message}"
    known = ("model", "kind", "right", "asked") if len(path) > 1 else ("answerer", "task", "policy", "policy_hash")
    return f"{where}: {unknown('key', str(path[-1]), known)}"
