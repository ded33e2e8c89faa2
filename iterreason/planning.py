"""A plan before the looks: the reasoner writes steps for tools, which are carried out level by level.

Source: HuggingGPT (Shen et al. 2023, arXiv 2303.17580): task planning with dependencies, execution, a response out of
all results; VisProg (Gupta & Kembhavi 2023, arXiv 2211.11559): a step names the result of an earlier one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from iterreason.calls import Prompt, QuestionsAsked
from iterreason.memory import repeated
from iterreason.plan import Plan
from iterreason.prompts import one_line, problem_prompt
from iterreason.records import Evidence, Problem, Question, Region, ToolUse
from iterreason.replies import Unreadable, validate
from iterreason.state import State, Steps
from iterreason.tools.regions import PATTERN, region_text
from iterreason.tools.spec import ToolSpec, read_use, use_schemas
from iterreason.tools.uses import refused

Look = Callable[[State, Sequence[Question]], Steps[None]]
_REFERENCE = re.compile(r"#(\d{1,2})\b")
_QUOTED_CHARS = 60  # of an earlier result that goes into a later question


class Generate(Protocol):
    """Has the reasoner write a reply and reads it, as the loop does."""

    def __call__(
        self, state: State, prompt: Prompt, schema: str, read: Callable[[str], tuple[Step, ...]], /
    ) -> Steps[tuple[tuple[Step, ...], str]]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan: its number (from 1), the use that was written, and the steps whose results it needs."""

    number: int
    use: Mapping[str, Any]
    needs: frozenset[int]


# ------------------------------------------------------------------ reading a plan


class _PlanReply(BaseModel):
    model_config = ConfigDict(strict=True)
    steps: list[dict[str, Any]]


def read_plan(text: str, problem: Problem, plan: Plan) -> tuple[Step, ...]:
    """The steps that the reasoner wrote; raises Unreadable, also where steps need each other in a circle."""
    written = validate(_PlanReply, text).steps
    most = plan.policy.plan.steps
    if not 1 <= len(written) <= most:
        raise Unreadable(f"the plan has {len(written)} steps; it must have 1 to {most}")
    steps = tuple(Step(number, use, _needs(number, use, len(written))) for number, use in enumerate(written, 1))
    levels(steps)
    return steps


def _needs(number: int, use: Mapping[str, Any], count: int) -> frozenset[int]:
    said = use.get("needs", [])
    if not isinstance(said, list) or not all(type(n) is int and 1 <= n <= count for n in said):
        raise Unreadable(f"'steps.{number}.needs' must list numbers of steps, 1 to {count}")
    texts = [text for value in use.values() for text in (value if isinstance(value, list) else [value])]
    named = [int(found) for text in texts if isinstance(text, str) for found in _REFERENCE.findall(text)]
    return frozenset((*said, *(n for n in named if 1 <= n <= count)))


def levels(steps: Sequence[Step]) -> tuple[tuple[Step, ...], ...]:
    """The steps in the order of their needs: those of a level need only earlier levels. Raises Unreadable."""
    ordered: list[tuple[Step, ...]] = []
    done, left = frozenset[int](), list(steps)
    while left:
        level = tuple(step for step in left if step.needs <= done)
        if not level:
            numbers = ", ".join(str(step.number) for step in left)
            raise Unreadable(f"steps {numbers} wait for each other; a step may not need one that needs it")
        ordered.append(level)
        done |= {step.number for step in level}
        left = [step for step in left if step not in level]
    return tuple(ordered)


def plan_schema(problem: Problem, plan: Plan) -> str:
    """The JSON schema of a plan; bounded, so that it always closes."""
    return _plan_schema(plan.policy.plan.steps, len(problem.images), plan.tools)


@lru_cache(maxsize=256)
def _plan_schema(most: int, images: int, tools: tuple[ToolSpec, ...]) -> str:
    numbers = "|".join(str(n) for n in range(1, most + 1))
    needs = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": most}, "maxItems": most}
    uses = use_schemas(tools, images, f"{PATTERN}|#({numbers})", {"needs": needs})
    steps = {"type": "array", "items": {"anyOf": uses}, "minItems": 1, "maxItems": most}
    fields = {"type": "object", "properties": {"steps": steps}, "required": ["steps"], "additionalProperties": False}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


# ------------------------------------------------------------------ carrying it out


def planned(state: State, generate: Generate, look: Look) -> Steps[None]:
    """Have a plan written, and carry it out: the steps of a level at once, each with what its needs have found."""
    prompt = problem_prompt(state.problem, state.plan, state.memory, state.number, state.shown)
    state.rendered = state.memory
    schema = plan_schema(state.problem, state.plan)
    steps, text = yield from generate(state, prompt, schema, lambda text: read_plan(text, state.problem, state.plan))
    state.prompt = prompt.plus("assistant", text)
    asked: dict[int, Question] = {}
    for level in levels(steps):
        for step in level:
            asked[step.number] = _question(state, step, asked)
        questions = tuple(dict.fromkeys(asked[step.number] for step in level))
        state.events.append(QuestionsAsked(state.number, questions))
        sound = [question for question in questions if not refused(state, question)]
        yield from look(state, [q for q in sound if repeated(state.memory, q, state.plan.same) is None])


def _question(state: State, step: Step, asked: Mapping[int, Question]) -> Question:
    """What a step asks, with the results that it names filled in; one that lacks a result has a fault."""
    found = {number: _results(state, asked[number]) for number in step.needs}
    try:
        for number in sorted(step.needs):
            if not found[number]:
                raise ValueError(f"it needs step {number}, which failed")
        said = {key: _filled(value, found) for key, value in step.use.items() if key not in ("needs", "region")}
        said |= _placed(step.use, found, asked)
    except ValueError as fault:
        tool = one_line(str(step.use.get("tool")), 40)
        return Question(f"step {step.number}, {tool}:", use=ToolUse(tool, fault=str(fault)))
    return read_use(said, state.plan.tools, len(state.problem.images))


def _results(state: State, question: Question) -> tuple[Evidence, ...]:
    """The evidence that a step's question brought, none where it failed."""
    place = question.image, question.region
    return tuple(
        evidence
        for evidence in state.memory.standing
        if evidence.kind in ("answer", "caption", "found")
        and evidence.question == question.text
        and (evidence.image == question.image if question.use else (evidence.image, evidence.region) == place)
    )


def _placed(
    use: Mapping[str, Any], found: Mapping[int, Sequence[Evidence]], asked: Mapping[int, Question]
) -> dict[str, Any]:
    """The region, where it is a reference the place of that step's result, in the image that it is of."""
    written = use.get("region", "")
    reference = _REFERENCE.fullmatch(written.strip()) if isinstance(written, str) else None
    if reference is None:
        return {"region": written}
    number = int(reference[1])
    if number not in found:
        raise ValueError(f"there is no step {number}")
    image = asked[number].image + 1
    if use.get("image", image) != image:
        raise ValueError(f"step {number} is about image {image}")
    return {"region": region_text(_where(number, found[number], asked[number])), "image": image}


def _filled(value: Any, found: Mapping[int, Sequence[Evidence]]) -> Any:
    """An argument, each reference in it replaced by what that step's result says."""
    if isinstance(value, list):
        return [_filled(item, found) for item in value]
    if not isinstance(value, str):
        return value

    def said(reference: re.Match[str]) -> str:
        results = found.get(int(reference[1]))
        return one_line(", ".join(e.answer or "nothing" for e in results), _QUOTED_CHARS) if results else reference[0]

    return _REFERENCE.sub(said, value)


def _where(number: int, results: Sequence[Evidence], asked: Question) -> Region | None:
    """Where a result is: a tool's first finding, else the place that was looked at."""
    first = results[0]
    if first.kind == "found" and not first.answer:
        raise ValueError(f"step {number} found nothing to look at")
    return first.region if first.kind == "found" else asked.region
