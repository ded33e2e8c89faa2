"""The loop's side of tools: from a use to a call, from a reply to evidence. No I/O."""

from __future__ import annotations

import json
from typing import Any

from iterreason.calls import EMPTY_PROMPT, Call, Look, Reply, Sampling, View
from iterreason.prompts import look_prompt, one_line
from iterreason.records import Question, Region
from iterreason.state import State
from iterreason.tools.spec import ANSWERERS

MAX_FOUND = 12  # pieces of evidence that one use may add; what is past them is counted, and stays in the trace
MAX_FOUND_CHARS = 1_000


def refused(state: State, question: Question) -> bool:
    """Whether the question is a use that no tool can take; the reasoner then finds the reason among its evidence."""
    if question.use is None or not question.use.fault:
        return False
    state.add("error", question.text, question.use.fault, None, "", question)
    return True


def use_call(state: State, question: Question) -> Call:
    """The call of a tool; a crop is looked at by the answerer."""
    assert question.use is not None, "only the use of a tool makes such a call"
    view = View(state.problem.images[question.image], question.region)
    if question.use.tool in ANSWERERS:
        return Call(
            slot="answerer:0",
            purpose="look",
            prompt=look_prompt(state.plan, view, None, ()),
            look=Look(view),
            sampling=Sampling(max_tokens=state.policy.look.max_tokens, seed=state.seed),
        )
    look = Look(view, question.text, question.use.arguments)
    return Call(slot=f"tool:{question.use.tool}", purpose="look", prompt=EMPTY_PROMPT, look=look)


def learn_use(state: State, question: Question, reply: Reply) -> None:
    """Turn what a tool found into evidence, each finding with its own probability and region."""
    assert question.use is not None, "only the use of a tool has such a reply"
    if question.use.tool in ANSWERERS:
        said = next((sample for sample in reply.samples if sample.text.strip()), None)
        if reply.error or said is None:
            state.add("error", question.text, reply.error or "the answer is empty", None, _model(state, ""), question)
            return
        state.add("caption", question.text, said.text.strip(), said.probability, _model(state, ""), question)
        return
    model = _model(state, question.use.tool)
    try:
        found = [] if reply.error else read_found(reply.text)
    except ValueError as fault:
        reply = Reply(error=f"the tool's reply cannot be read: {fault}")
    if reply.error:
        state.add("error", question.text, reply.error, None, model, question)
        return
    for text, probability, region in found[:MAX_FOUND]:
        at = Question(question.text, question.image, region or question.region)
        state.add("found", question.text, text, probability, model, at)
    if not found:
        state.add("found", question.text, "", None, model, question)
    if (more := len(found) - MAX_FOUND) > 0:
        state.add("told", "", f"{question.text} found {more} more, not shown here", None, model, question)


def _model(state: State, tool: str) -> str:
    named = (spec.model for spec in state.plan.tools if spec.name == tool)
    return next(named, "") if tool else state.plan.answerers[0]


def read_found(text: str) -> list[tuple[str, float | None, Region | None]]:
    """A tool's findings out of its reply: text, probability in [0, 1], and box in the image; raises ValueError."""
    values: Any = json.loads(text)
    if not isinstance(values, list):
        raise ValueError("it is not a list")
    return [_finding(value) for value in values]


def _finding(value: Any) -> tuple[str, float | None, Region | None]:
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise ValueError("a finding has no text")
    probability, box = value.get("probability"), value.get("region")
    if probability is not None and not (isinstance(probability, int | float) and 0 <= probability <= 1):
        raise ValueError(f"the probability {str(probability)[:20]} is not in [0, 1]")
    try:
        region = None if box is None else Region(*(float(edge) for edge in box))
    except Exception:  # whatever a tool wrote there
        raise ValueError(f"{str(box)[:60]} is no region") from None
    return one_line(value["text"], MAX_FOUND_CHARS), None if probability is None else float(probability), region
