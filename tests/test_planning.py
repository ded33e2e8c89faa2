"""Plans: read as a graph without circles, carried out level by level, with failures recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image as Pixels
from written import ABLE, Script, policy, problem, scored

from iterreason.api import Reasoner
from iterreason.calls import QuestionsAsked, Reply
from iterreason.errors import BadPolicy
from iterreason.loop import episode
from iterreason.models.scripted import Scripted
from iterreason.plan import resolve
from iterreason.planning import levels, plan_schema, read_plan
from iterreason.policy import find_policy, read_policy
from iterreason.records import Region, Result
from iterreason.replies import Unreadable
from iterreason.tools import Argument, Found, ToolSpec
from iterreason.trace import read_trace

OCR = ToolSpec("ocr", "reads text", (), "reader 1")
DETECT = ToolSpec("detect", "finds objects", (Argument("labels", "texts"),), "finder 1")
SIGN = '[{"text": "sign", "probability": 0.9, "region": [0.1, 0.2, 0.3, 0.4]}]'
STOP = '[{"text": "STOP", "probability": 0.8, "region": [0.1, 0.25, 0.3, 0.35]}]'


def single(*tools: ToolSpec) -> Any:
    """The policy single-round with these tools beside its own."""
    given = [tool.name for tool in tools]
    return resolve(policy("single-round"), ABLE, [ABLE], tools=tools, given=given)


def steps(*uses: dict[str, Any]) -> str:
    return json.dumps({"steps": list(uses)})


def vqa(question: str, region: str = "whole", *needs: int) -> dict[str, Any]:
    return {"tool": "vqa", "question": question, "region": region, "needs": list(needs)}


def decision(answer: str = "yes") -> str:
    return json.dumps({"rationale": "As found.", "cites": [1], "answer": answer})


def answers(question: str) -> str:
    if question.startswith("detect"):
        return SIGN
    return STOP if question.startswith("ocr") else f"an answer to {question or 'nothing'}"


def evidence(result: Any) -> list[tuple[str, str, str]]:
    return [(e.kind, e.question, e.answer) for e in result.memory.evidence]


# ------------------------------------------------------------------ the whole course


def test_the_plan_is_carried_out_level_by_level():
    """The planner's generation, then a turn for each level with its steps at once, then one decision and its read-out:
    the course of HuggingGPT, with references to earlier results as in VisProg."""
    written = steps(
        {"tool": "detect", "labels": ["sign"], "region": "whole", "needs": []},
        vqa("is it day?"),
        {"tool": "ocr", "region": "#1", "needs": [1]},
        vqa("what does a sign that says #3 ask for?", "#1"),
    )
    script = Script([written, decision()], scored(0.8, 0.1), answers)
    result = script.play(episode(problem(), single(OCR, DETECT)))
    assert script.purposes == ["generation", "look look", "look", "look", "generation", "readout"]
    assert [call.slot for call in script.calls] == [
        "reasoner",
        "tool:detect",
        "answerer:0",
        "tool:ocr",
        "answerer:0",
        "reasoner",
        "reasoner",
    ]
    detect, day, ocr, asks = (call.look for call in script.calls if call.look)
    assert (detect.arguments, detect.view.region, day.question) == ('{"labels": ["sign"]}', None, "is it day?")
    assert ocr.view.region == asks.view.region == Region(0.1, 0.2, 0.3, 0.4)
    assert asks.question == "what does a sign that says STOP ask for?"
    assert evidence(result) == [
        ("found", "detect(labels: sign; whole)", "sign"),
        ("answer", "is it day?", "an answer to is it day?"),
        ("found", "ocr(0.1,0.2,0.3,0.4)", "STOP"),
        ("answer", asks.question, f"an answer to {asks.question}"),
    ]
    assert [(e.probability, e.region, e.model) for e in result.memory.evidence if e.kind == "found"] == [
        (0.9, Region(0.1, 0.2, 0.3, 0.4), "finder 1"),
        (0.8, Region(0.1, 0.25, 0.3, 0.35), "reader 1"),
    ]
    assert (result.answer, result.stop_reason, len(result.rounds)) == ("yes", "budget: rounds", 1)
    assert result.usage.generations == 2
    assert [len(e.questions) for e in script.events if isinstance(e, QuestionsAsked)] == [2, 1, 1]


def test_one_conversation_plans_and_decides():
    """The decision's prompt is the plan's, the plan, and the evidence; the read-out is a branch of it."""
    script = Script([steps(vqa("is it red?")), decision()], scored(0.8, 0.1), answers)
    script.play(episode(problem(), single()))
    first, second = (call.prompt for call in script.calls if call.purpose == "generation")
    assert second.starts_with(first)
    assert second.messages[-2].text == steps(vqa("is it red?"))
    assert "[1] is it red? an answer to is it red?" in second.messages[-1].text


class Reader:
    """A tool of the test's own: it reads the size of what it is shown."""

    spec = ToolSpec("size", "reads the size")

    def use(self, pixels):
        return [Found(f"{pixels.width} by {pixels.height}", 0.75, Region(0.5, 0, 1, 1))]


def scripted() -> tuple[Scripted, Scripted]:
    """A reasoner that plans and decides, and an answerer."""
    written = steps({"tool": "size", "region": "left half"}, vqa("is it red?", "#1"), vqa("is it big?"))
    lines = [
        {"purpose": "generation", "contains": "Write the plan", "text": written},
        {"purpose": "generation", "contains": "Decide", "text": decision(), "prompt_tokens": 300},
        {"purpose": "readout", "probabilities": [0.8, 0.1]},
    ]
    return Scripted(lines), Scripted([{"purpose": "look", "text": "yes", "probability": 0.9, "repeat": True}])


def solved(trace: Path) -> Result:
    pixels = Pixels.new("RGB", (80, 40), "red")
    with Reasoner(*scripted(), policy="single-round", tools=[Reader()]) as reasoner:
        return reasoner.reason(pixels, "Is it red?", ["yes", "no"], trace=trace)


def test_it_replays_and_resumes_to_the_same_result(tmp_path):
    """From its trace alone the episode comes to the same result, tools and all; a trace that was cut off after any turn
    goes on to it too, and makes only the calls that it lacks."""
    whole = solved(tmp_path / "whole.jsonl")
    assert [(e.question, e.answer, e.region) for e in whole.memory.evidence] == [
        ("size(left half)", "40 by 40", Region(0.25, 0, 0.5, 1)),
        ("is it big?", "yes", None),
        ("is it red?", "yes", Region(0.25, 0, 0.5, 1)),
    ]
    assert whole.models == ("scripted", "scripted", "tool/size")
    trace = read_trace(tmp_path / "whole.jsonl")
    assert trace.replay() == whole
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        cut = tmp_path / f"{kept}.jsonl"
        cut.write_text("".join(lines[:kept]))
        result = solved(cut)
        assert (result.answer, result.memory, result.rounds) == (whole.answer, whole.memory, whole.rounds)
        assert [turn.keys for turn in read_trace(cut).turns] == [turn.keys for turn in trace.turns]


@pytest.mark.parametrize("tools", [(), (OCR,), (OCR, DETECT)])
def test_the_planner_sees_only_the_tools_that_are_there(tools):
    """Prompt and schema name the tools that were opened and no other."""
    known = single(*tools)
    names = ["vqa", "caption", "crop", *(tool.name for tool in tools)]
    system = known.opening.messages[0].text
    assert [line.split("(")[0][2:] for line in system.splitlines() if line.startswith("- ")] == names
    schema = json.loads(plan_schema(problem(), known))
    uses = schema["properties"]["steps"]["items"]["anyOf"]
    assert [use["properties"]["tool"]["enum"] for use in uses] == [[name] for name in names]


# ------------------------------------------------------------------ failures


def test_a_failed_step_is_recorded_and_so_is_what_needed_it():
    """A tool that fails leaves an error, a step that needs it another; the rest of the plan goes on, and it decides."""
    script = Script(
        [steps({"tool": "ocr", "region": "top left"}, vqa("what of #1?"), vqa("is it red?")), decision()],
        scored(0.8, 0.1),
        lambda q: Reply(error="out of memory") if q.startswith("ocr") else "yes",
    )
    result = script.play(episode(problem(), single(OCR)))
    assert evidence(result) == [
        ("error", "ocr(top left)", "out of memory"),
        ("answer", "is it red?", "yes"),
        ("error", "step 2, vqa:", "it needs step 1, which failed"),
    ]
    assert (result.answer, result.error) == ("yes", None)
    said = script.calls[-2].prompt.messages[-1].text
    assert "[3] step 2, vqa: No answer: it needs step 1, which failed" in said


@pytest.mark.parametrize(
    ("use", "why"),
    [
        ({"tool": "segment", "region": "whole"}, "unknown tool 'segment'"),
        ({"tool": "detect", "labels": "dog"}, "'labels' must be a list of at most 6 texts, not \"dog\""),
        ({"tool": "detect"}, "'labels' must be a list"),
        ({"tool": "ocr", "region": "upstairs"}, "the region 'upstairs' is neither one of: whole, left half"),
        ({"tool": "ocr", "region": [0.5, 0, 0.2, 1]}, "is neither one of"),
        ({"tool": "ocr", "regoin": "whole"}, "unknown argument 'regoin'; did you mean 'region'?"),
        ({"tool": "vqa", "question": 5}, "'question' must be a text"),
        ({"tool": "vqa", "question": "?" * 81}, "'question' must be a text of 1 to 80 characters"),
        ({"tool": "ocr", "image": 2}, "there is no image 2; the images are 1 to 1"),
        ({"tool": "ocr", "region": "#9"}, "there is no step 9"),
        ({}, "unknown tool 'None'"),
    ],
)
def test_a_missing_tool_or_bad_arguments_are_evidence(use, why):
    """What no tool can take is not called; the reason is evidence of kind `error` that the reasoner reads."""
    script = Script([steps(use, vqa("is it red?")), decision()], scored(0.8, 0.1), answers)
    result = script.play(episode(problem(), single(OCR, DETECT)))
    errors = [e for e in result.memory.evidence if e.kind == "error"]
    assert len(errors) == 1
    assert why in errors[0].answer
    assert errors[0].answer[:30] in script.calls[-2].prompt.messages[-1].text
    assert [call.slot for call in script.calls if call.look] == ["answerer:0"]


def test_a_step_cannot_look_at_what_was_not_found():
    """A reference to where a result is, when nothing was found, is a failure of the step that refers to it."""
    script = Script(
        [steps({"tool": "detect", "labels": ["dog"]}, {"tool": "ocr", "region": "#1"}), decision()],
        scored(0.8, 0.1),
        lambda q: "[]",
    )
    result = script.play(episode(problem(), single(OCR, DETECT)))
    assert evidence(result) == [
        ("found", "detect(labels: dog; whole)", ""),
        ("error", "step 2, ocr:", "step 1 found nothing to look at"),
    ]
    assert "detect(labels: dog; whole) found nothing" in script.calls[-2].prompt.messages[-1].text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"steps": []}', "the plan has 0 steps; it must have 1 to 6"),
        (steps(*[vqa(f"is thing {n} red?") for n in range(7)]), "the plan has 7 steps"),
        (steps(vqa("a?", "whole", 2), vqa("b?", "whole", 1)), "steps 1, 2 wait for each other"),
        (steps(vqa("a?", "whole", 1)), "steps 1 wait for each other"),
        (steps(vqa("a?", "#2"), vqa("what of #1?")), "steps 1, 2 wait for each other"),
        (steps(vqa("a?", "whole", 3)), "'steps.1.needs' must list numbers of steps, 1 to 1"),
        (steps({**vqa("a?"), "needs": "1"}), "'steps.1.needs'"),
        ('{"plan": []}', "'steps': Field required"),
        ('{"steps": ["ocr"]}', "'steps.0'"),
        ("1. ocr", "no JSON object"),
    ],
)
def test_what_is_no_plan_is_asked_for_again(text, why):
    """A plan that cannot be carried out, a circle among them, is shown to the planner once with what is wrong."""
    with pytest.raises(Unreadable) as caught:
        read_plan(text, problem(), single())
    assert why in str(caught.value)
    script = Script([text, steps(vqa("is it red?")), decision()], scored(0.8, 0.1), answers)
    result = script.play(episode(problem(), single()))
    assert (result.usage.reasks, result.answer) == (1, "yes")
    assert why in script.calls[1].prompt.messages[-1].text


def test_levels_keep_the_order_of_the_plan():
    """A step stands in the first level that all its needs allow."""
    text = steps(vqa("a?"), vqa("b?", "#1"), vqa("c?"), vqa("d?", "whole", 2, 3), vqa("e?", "#3"))
    read = read_plan(text, problem(), single())
    assert [[step.number for step in level] for level in levels(read)] == [[1, 3], [2, 5], [4]]


def test_the_same_step_twice_is_made_once():
    """Equal steps share one call, and both count as done."""
    twice = steps(vqa("is it red?"), vqa("is it red?"), vqa("how #2 is it?"))
    script = Script([twice, decision()], scored(0.8, 0.1), lambda q: "yes")
    result = script.play(episode(problem(), single()))
    assert [e.question for e in result.memory.evidence] == ["is it red?", "how yes is it?"]


def test_a_reference_stays_with_its_image():
    """The place of a result is a place in its own image."""
    detect = {"tool": "detect", "labels": ["sign"], "image": 2}
    script = Script(
        [steps(detect, {"tool": "ocr", "region": "#1"}, {"tool": "ocr", "region": "#1", "image": 1}), decision()],
        scored(0.8, 0.1),
        answers,
    )
    result = script.play(episode(problem(images=2), single(OCR, DETECT)))
    assert [(e.kind, e.image) for e in result.memory.evidence] == [("found", 1), ("error", 0), ("found", 1)]
    assert result.memory[2].answer == "step 1 is about image 2"


# ------------------------------------------------------------------ form


def test_the_schema_takes_good_plans_and_refuses_bad_ones():
    """What the planner is bound to can be read, and every text and list in it is bounded."""
    known = single(OCR, DETECT)
    check = Draft202012Validator(json.loads(plan_schema(problem(), known)))
    ocr = {"tool": "ocr", "region": "#1", "needs": [1]}
    detect = {"tool": "detect", "labels": ["sign", "dog"], "region": "top left", "needs": []}
    good = {"steps": [detect, ocr, vqa("is it red?", "0,0.25,0.5,1")]}
    assert not list(check.iter_errors(good))
    read_plan(json.dumps(good), problem(), known)
    for bad in ({**ocr, "region": "upstairs"}, {**ocr, "tool": "segment"}, {"tool": "ocr"}, {**detect, "labels": [""]}):
        assert list(check.iter_errors({"steps": [bad]}))

    def bounded(schema: Any) -> bool:
        kind = schema.get("type")
        if kind == "string":
            return "enum" in schema or "maxLength" in schema or schema["pattern"].endswith(")$")
        if kind == "array":
            return "maxItems" in schema and bounded(schema["items"])
        if kind == "object":
            return schema["additionalProperties"] is False and all(map(bounded, schema["properties"].values()))
        return all(map(bounded, schema["anyOf"])) if "anyOf" in schema else "maximum" in schema

    assert bounded(check.schema)


def test_a_policy_plans_once_and_in_one_conversation():
    """More rounds, or separate prompts, contradict a plan, and the fault names its key."""
    text = find_policy("single-round").text
    for old, new, why in (
        ("max = 1", "max = 2", "plan.steps = 6 plans once: rounds.max must be 1"),
        ("steps = 6", "stps = 6", "plan.stps: unknown key 'stps'; did you mean 'steps'?"),
        ('use = ["vqa", "caption", "crop"]', 'first = ["ocr"]', "tools.first names 'ocr'; tools.use does not"),
    ):
        with pytest.raises(BadPolicy) as caught:
            read_policy(text.replace(old, new, 1), "mine")
        assert why in str(caught.value)


def test_a_what_if_keeps_the_tools_it_was_given():
    """Under another policy the tools that came from outside stay, and those of the first policy go."""
    known = single(OCR)
    other = known.with_policy(find_policy("evidence"))
    assert [spec.name for spec in other.tools] == ["ocr"]
    assert [spec.name for spec in other.with_policy(find_policy("direct")).tools] == []
