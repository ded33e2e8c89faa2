"""From a model's text to records: the schemas it is asked to follow, and the reading of what it wrote.

What cannot be read is `Unreadable`, with a reason that is shown to the model; it is never guessed at.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from iterreason.folding import fold, match_choice, same_text
from iterreason.plan import Plan
from iterreason.records import Problem, Question, Verdict
from iterreason.tools.spec import ToolSpec, read_use, use_schemas

NOT_SURE = "not sure"
MAX_ANSWER_CHARS = 80
MAX_MEANS = 10  # answers to a question of which it is said what they speak for
MAX_REPLY_CHARS = 100_000
_ASIDE = re.compile(r"""\{(?!\s*\})[^{}"':]*+\}""")  # braces in prose or mathematics: {1, 2}, {your reply}


class Unreadable(Exception):
    """A reply that does not say what was asked for; the message is for the model that wrote it."""


# ------------------------------------------------------------------ finding the JSON object in a reply


def read_object(text: str) -> dict[str, Any]:
    """The one JSON object in a reply, fences and words around it left aside.

    Raises Unreadable where there is none, where it does not close, names a key twice, or where there are two.
    """
    if len(text) > MAX_REPLY_CHARS:
        raise Unreadable(f"the reply has {len(text):,} characters; at most {MAX_REPLY_CHARS:,} are read")
    text = _without_thoughts(text)
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_float=_number, parse_constant=_number)
    found: dict[bytes, dict[str, Any]] = {}
    start = text.find("{")
    while start >= 0:
        if aside := _ASIDE.match(text, start):
            start = text.find("{", aside.end())
            continue
        try:
            value, end = decoder.raw_decode(text, start)
            found[json.dumps(value, ensure_ascii=False).encode()] = value
        except json.JSONDecodeError as error:
            # Not skipped: what lies inside an object that cannot be read must not pass for the object itself.
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
                raise Unreadable("the JSON object ends before it closes") from None
            near = _cut(" ".join(text[error.pos :].split()), 30)
            raise Unreadable(f"the JSON is malformed at {near!r}: {error.msg}") from None
        except UnicodeEncodeError:
            raise Unreadable("a \\u escape stands for half a character; write the character itself") from None
        except (ValueError, RecursionError):
            raise Unreadable("the JSON has numbers or nesting past any sense") from None
        if len(found) > 1:
            raise Unreadable("there are two JSON objects; give one")
        start = text.find("{", end)
    if not found:
        raise Unreadable("there is no JSON object in the reply")
    return next(iter(found.values()))


def _without_thoughts(text: str) -> str:
    """The text after the model's thinking; its drafts must not pass for the reply."""
    text = text.rpartition("</think>")[2]
    if "<think>" in text.partition("{")[0]:
        raise Unreadable("the thinking never ends; give the JSON object")
    return text


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise Unreadable(f"the key {_cut(next(k for k in keys if keys.count(k) > 1), 60)!r} appears twice")
    return values


def _number(text: str) -> float:
    """A number with a point or exponent; also called for NaN and Infinity."""
    if not math.isfinite(number := float(text)):
        raise Unreadable(f"{_cut(text, 30)} is not a JSON number")
    return number


# ------------------------------------------------------------------ what a reply must hold


_KINDS = (
    "_Means",
    "str",
    "int",
    "float",
    "bool",
    "_Asked",
    "_Used",
)  # pydantic names them where a value may be one of several kinds


class _Used(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    tool: str


class _Means(BaseModel):
    model_config = ConfigDict(strict=True)
    answer: str
    speaks_for: str


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True)
    question: str
    image: Annotated[int, Field(ge=1)] = 1
    tool: None = None  # what names one is `_Used`, also where it has a question
    means: list[_Means] = []


class _QuestionsReply(BaseModel):
    model_config = ConfigDict(strict=True)
    questions: list[Annotated[str | _Asked | _Used, Field(union_mode="left_to_right")]] = []


class _RationaleReply(BaseModel):
    model_config = ConfigDict(strict=True)
    rationale: str
    cites: list[int] = []


class _VerdictReply(_QuestionsReply):
    answer: str | int | float | bool
    rationale: str = ""
    cites: list[int] = []
    missing: str = ""
    confidence: float | str | None = None


@cache
def _reader(kind: type[BaseModel]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def validate(kind: type[BaseModel], text: str) -> Any:
    """The reply as this kind of record; raises Unreadable with where it is not one."""
    try:
        return _reader(kind).validate_python(read_object(text))
    except ValidationError as error:
        fault = max(error.errors(), key=lambda fault: len(fault["loc"]))
        where = ".".join(str(part) for part in fault["loc"] if part not in _KINDS)
        raise Unreadable(f"'{where}': {fault['msg']}") from None


def read_verdict(text: str, problem: Problem, plan: Plan, known: int, number: int) -> Verdict:
    """Read the concluding reply of a round; `known` is how much evidence there is to cite. Raises Unreadable."""
    reply = validate(_VerdictReply, text)
    said = str(reply.answer).lower() if isinstance(reply.answer, bool) else str(reply.answer)
    return Verdict(
        answer=_read_answer(said, problem, plan, number),
        rationale=_cut(reply.rationale, plan.policy.reasoner.rationale_chars),
        cites=tuple(dict.fromkeys(n for n in reply.cites if 1 <= n <= known)),
        missing=_cut(reply.missing, plan.policy.reasoner.question_chars),
        questions=_read_questions(reply.questions, problem, plan),
        stated=_stated(reply.confidence),
    )


def read_rationale(text: str, plan: Plan, known: int) -> tuple[str, tuple[int, ...]]:
    """Read a rationale that is a reply of its own, and the evidence that it cites; raises Unreadable."""
    reply = validate(_RationaleReply, text)
    if not reply.rationale.strip():
        raise Unreadable("'rationale' is empty; say what the answer follows from")
    cites = tuple(dict.fromkeys(n for n in reply.cites if 1 <= n <= known))
    return _cut(reply.rationale, plan.policy.reasoner.rationale_chars), cites


def read_questions(text: str, problem: Problem, plan: Plan) -> tuple[Question, ...]:
    """Read a reply that only asks; raises Unreadable, also where it asks nothing."""
    questions = _read_questions(validate(_QuestionsReply, text).questions, problem, plan)
    if not questions:
        raise Unreadable("'questions' is empty; ask at least one")
    return questions


def _read_answer(said: str, problem: Problem, plan: Plan, number: int) -> str | None:
    said = " ".join(said.split())
    if (named := match_choice(said, problem.choices)) is not None:
        return named
    may_pass = plan.policy.layout == "separate" and plan.confidence != "majority"
    if may_pass and same_text(said, NOT_SURE):
        if number == plan.policy.rounds.max:
            raise Unreadable("this is the last round; 'answer' must be the most likely answer")
        return None
    if problem.choices:
        raise Unreadable(f"'answer' is {_cut(said, 60)!r}; it must be one of: {', '.join(problem.choices)}")
    if len(said) > MAX_ANSWER_CHARS or not fold(said):
        raise Unreadable(f"'answer' must have 1 to {MAX_ANSWER_CHARS} characters")
    return said


def _read_questions(asked: Sequence[str | _Asked | _Used], problem: Problem, plan: Plan) -> tuple[Question, ...]:
    """At most as many as the policy allows; a surplus stays in the trace with the reply's text."""
    questions: list[Question] = []
    for item in asked:
        if len(questions) == _most_asked(plan):
            break
        if isinstance(item, _Used):
            questions.append(read_use(item.model_dump(), plan.tools, len(problem.images)))
            continue
        text, image, said = (item, 1, []) if isinstance(item, str) else (item.question, item.image, item.means)
        if image > len(problem.images):
            raise Unreadable(f"there is no image {image}; the images are 1 to {len(problem.images)}")
        if text.strip():
            means = _read_means(said, problem) if plan.policy.ask.keep == "worth" else ()
            cut = _cut(" ".join(text.split()), plan.policy.reasoner.question_chars)
            questions.append(Question(cut, image - 1, means=means))
    return tuple(questions)


def _most_asked(plan: Plan) -> int:
    """How many questions a reply may hold: those to be put, or those to choose them from."""
    ask, rounds = plan.policy.ask, plan.policy.rounds
    return ask.propose if ask.keep == "worth" and rounds.questions else rounds.questions


def _read_means(said: Sequence[_Means], problem: Problem) -> tuple[tuple[str, str], ...]:
    """What the answers to a question speak for; what names no answer, or none of the choices, says nothing."""
    means: dict[str, tuple[str, str]] = {}
    for one in said[:MAX_MEANS]:
        spoken = match_choice(one.speaks_for, problem.choices) if problem.choices else one.speaks_for
        if fold(one.answer) and spoken and fold(spoken):
            means.setdefault(fold(one.answer), (_cut(one.answer, MAX_ANSWER_CHARS), _cut(spoken, MAX_ANSWER_CHARS)))
    return tuple(means.values())


def _stated(value: float | str | None) -> float | None:
    """A claimed confidence, only where it is a number in [0, 1]; small models write 1e15."""
    try:
        number = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def _cut(text: str, limit: int) -> str:
    """The text, visibly cut where it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


# ------------------------------------------------------------------ the schemas


def verdict_schema(problem: Problem, plan: Plan, number: int) -> str:
    """The JSON schema of the concluding reply of a round; all in it is bounded, so that it always closes."""
    policy = plan.policy
    separate = policy.layout == "separate"
    asks = 0 if separate or policy.rounds.max == 1 else _most_asked(plan)
    choices, may_pass = problem.choices, separate and plan.confidence != "majority"  # a vote names an answer
    if may_pass and choices and number < policy.rounds.max and match_choice(NOT_SURE, choices) is None:
        choices += (NOT_SURE,)
    return _verdict_schema(
        choices,
        policy.reasoner.rationale_chars,
        policy.reasoner.question_chars,
        (int(number < policy.rounds.min and asks > 0), asks),
        len(problem.images),
        plan.confidence == "stated",
        plan.tools,
        policy.ask.keep == "worth",
        policy.reasoner.rationale_first,
    )


@lru_cache(maxsize=256)
def _verdict_schema(
    choices: tuple[str, ...],
    rationale: int,
    chars: int,
    asks: tuple[int, int],
    images: int,
    stated: bool,
    tools: tuple[ToolSpec, ...],
    worth: bool = False,
    explained: bool = False,
) -> str:
    fields: dict[str, Any] = {} if explained else _rationale(rationale)
    fields |= {
        "answer": {"type": "string", "enum": list(choices)} if choices else _text(1, MAX_ANSWER_CHARS),
    }
    if stated:
        fields["confidence"] = {"enum": [n / 20 for n in range(21)]}  # a number's digits could go on for ever
    if asks[1]:
        fields["missing"] = {"type": "string", "maxLength": chars}
        meant = _meant(choices) if worth else None
        fields["questions"] = _questions(chars, asks, images, tools, meant)
    return _object(fields)


def rationale_schema(plan: Plan) -> str:
    """The JSON schema of a rationale that is a reply of its own."""
    fields = _rationale(plan.policy.reasoner.rationale_chars)
    return _object(fields | {"rationale": fields["rationale"] | {"minLength": 1}})


def _rationale(chars: int) -> dict[str, Any]:
    cites = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 999}, "maxItems": 8}
    return {"rationale": {"type": "string", "maxLength": chars}, "cites": cites}


def questions_schema(problem: Problem, plan: Plan) -> str:
    """The JSON schema of a reply that only asks."""
    policy = plan.policy
    return _questions_schema(policy.reasoner.question_chars, policy.rounds.questions, len(problem.images))


@lru_cache(maxsize=256)
def _questions_schema(chars: int, asks: int, images: int) -> str:
    return _object({"questions": _questions(chars, (1, asks), images)})


def _meant(choices: tuple[str, ...]) -> dict[str, Any]:
    """For each answer that a question may bring, which answer to the problem it speaks for."""
    spoken = {"type": "string", "enum": list(choices)} if choices else _text(1, MAX_ANSWER_CHARS)
    item = json.loads(_object({"answer": _text(1, MAX_ANSWER_CHARS), "speaks_for": spoken}))
    return {"type": "array", "items": item, "maxItems": MAX_MEANS}


def _questions(
    chars: int,
    asks: tuple[int, int],
    images: int,
    tools: tuple[ToolSpec, ...] = (),
    meant: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """At least `asks[0]` questions or uses of tools, at most `asks[1]`."""
    # The form of a question, so that a small model's reply stays one: no brackets, a question mark at the end.
    item = {**_text(3, chars), "pattern": rf"^[^\[\]{{}}<>\"\\\n]{{2,{chars - 1}}}[?？]$"}
    if images > 1 or meant:
        fields = {"image": {"type": "integer", "minimum": 1, "maximum": images}} if images > 1 else {}
        fields |= {"question": item} | ({"means": meant} if meant else {})
        item = json.loads(_object(fields))
    if tools:
        item = {"anyOf": [item, *use_schemas(tools, images)]}
    return {"type": "array", "items": item, "minItems": asks[0], "maxItems": asks[1]}


def _text(shortest: int, longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def _object(fields: dict[str, Any]) -> str:
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
