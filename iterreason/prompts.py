"""What the models read: the policy's texts with the problem and the evidence filled in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from string import Template, ascii_uppercase

from iterreason.calls import EMPTY_PROMPT, Prompt, View
from iterreason.memory import Memory
from iterreason.plan import Plan
from iterreason.records import (
    Candidate,
    Contradiction,
    Entry,
    Evidence,
    Image,
    Problem,
    Question,
    Resolution,
    Retraction,
)

SaidBy = Callable[[Evidence], str]
MAX_EVIDENCE_CHARS = 300
NONE_OF_THESE = "none of these"


@lru_cache(maxsize=512)
def _form(text: str) -> str:
    """The text for `str.format`, which is several times as fast as `Template`."""
    form, end, text = "", 0, text.strip()
    for found in Template.pattern.finditer(text):
        name = found["named"] or found["braced"]
        form += _escaped(text[end : found.start()]) + ("$" if found["escaped"] else f"{{{name}}}")
        end = found.end()
    return form + _escaped(text[end:])


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def fill(text: str, **values: object) -> str:
    """The text with its `$names` filled in."""
    return _form(text).format_map(values)


def one_line(text: str, limit: int = MAX_EVIDENCE_CHARS) -> str:
    """Text from a model or a person as data: on one line, visibly cut where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}… [cut]"


def evidence_line(entry: Entry, images: int = 1, said_by: SaidBy = lambda found: "") -> str:
    """One entry of the memory as the reasoner reads it; rendered once, never again. said_by: who says it, if told."""
    if isinstance(entry, Retraction):
        return f"[{entry.number}] is withdrawn by {one_line(entry.by, 60)}."
    if isinstance(entry, Contradiction):
        asked = "; ask one question that settles it" if entry.way == "reasoner" else ""
        return f"[{entry.one}] and [{entry.other}] contradict each other{asked}."
    if isinstance(entry, Resolution):
        return f"[{entry.one}] against [{entry.other}]: {one_line(entry.by, 60)} {entry.told}."
    where = f"image {entry.image + 1}: " if images > 1 else ""
    if entry.region:
        box = entry.region
        where += f"in the region {box.x0:.2f},{box.y0:.2f}–{box.x1:.2f},{box.y1:.2f}: "
    answer = one_line(entry.answer)
    if entry.kind == "caption":
        said = f"Caption: {answer}"
    elif entry.kind == "found":  # in quotes that the text cannot close: what stands in an image is data
        said = f"{one_line(entry.question)} found {json.dumps(answer, ensure_ascii=False) if answer else 'nothing'}"
    elif entry.kind == "told":
        said = f"Told by {entry.model}: {answer}"
    elif entry.kind == "error":
        said = f"{one_line(entry.question)} No answer: {answer}"
    else:
        said = f"{one_line(entry.question)} {answer}"
    sure = f"probability {entry.probability:.2f}" if entry.probability is not None else ""
    told = ", ".join(part for part in (sure, one_line(said_by(entry))) if part)
    return f"[{entry.number}] {where}{said}{f' ({told})' if told else ''}"


def evidence_lines(entries: Iterable[Entry], images: int, said_by: SaidBy = lambda found: "") -> str:
    """Entries of the memory, a line each."""
    return "\n".join(evidence_line(e, images, said_by) for e in entries) or "none"


def choices_line(problem: Problem) -> str:
    """The choices on one line; empty for an open question."""
    return f"Choices: {', '.join(one_line(c, 1_000) for c in problem.choices)}" if problem.choices else ""


def problem_prompt(
    problem: Problem, plan: Plan, memory: Memory, number: int, shown: Mapping[str, str] | None = None
) -> Prompt:
    """The conversation up to the first round: what all problems share, then the images, then what varies.

    shown: captions of the exemplars' images, by hash, for a reasoner that sees none.
    """
    text = fill(
        plan.policy.prompts.problem,
        **_problem_values(problem),
        evidence=evidence_lines(memory.entries, len(problem.images), plan.said_by),
        **_round_values(plan, number),
    )
    prompt = _exemplars(problem, plan, shown or {})
    return prompt.plus("user", *_views(problem.images, plan), _without_blank_lines(text))


def _exemplars(problem: Problem, plan: Plan, shown: Mapping[str, str]) -> Prompt:
    """The opening and the problem's exemplars, each as an exchange that went as it should."""
    prompt = plan.opening
    for exemplar in problem.exemplars[: plan.policy.exemplars]:
        known = [f"[{n}] Caption: {shown[i.sha256]}" for n, i in enumerate(exemplar.images, 1) if i.sha256 in shown]
        evidence = "\n".join(known) or evidence_lines((), 1)
        asked = {"question": exemplar.question.strip(), "choices": "", "context": "", "evidence": evidence}
        values = {**asked, **_round_values(plan, 1)}
        text = _without_blank_lines(fill(plan.policy.prompts.problem, **values))
        reply = {"rationale": exemplar.rationale, "cites": [], "answer": exemplar.answer}
        if plan.policy.rounds.max > 1:
            reply |= {"missing": "", "questions": []}
        prompt = prompt.plus("user", *_views(exemplar.images, plan), text)
        prompt = prompt.plus("assistant", json.dumps(reply, ensure_ascii=False))
    return prompt


def _problem_values(problem: Problem) -> dict[str, str]:
    context = problem.context.strip()
    return {
        "question": problem.question.strip(),
        "choices": choices_line(problem),
        "context": f"Context: {context}" if context else "",
    }


def _views(images: Sequence[Image], plan: Plan) -> tuple[View, ...]:
    return tuple(View(image) for image in images) if plan.sees_image else ()


def evidence_prompt(prompt: Prompt, plan: Plan, added: Sequence[Entry], number: int, images: Sequence[Image]) -> Prompt:
    """The conversation, and what was learned since; a reasoner that sees images sees what was cropped."""
    text = evidence_text(plan, evidence_lines(added, len(images), plan.said_by), number)
    return prompt.plus("user", *_crops(added, plan, images), text)


def evidence_text(plan: Plan, lines: str, number: int) -> str:
    """What stands before a later verdict: these lines of evidence."""
    return fill(plan.policy.prompts.evidence or "$evidence", evidence=lines, **_round_values(plan, number))


def _crops(added: Sequence[Entry], plan: Plan, images: Sequence[Image]) -> tuple[View, ...]:
    """A caption that answers something is of a crop."""
    if not plan.sees_image:
        return ()
    crops = [entry for entry in added if isinstance(entry, Evidence) and entry.kind == "caption" and entry.question]
    return tuple(View(images[crop.image], crop.region) for crop in crops)


def _round_values(plan: Plan, number: int) -> dict[str, int]:
    rounds = plan.policy.rounds
    return {"round": number, "rounds": rounds.max, "questions": rounds.questions}


def _without_blank_lines(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())


def separate_prompt(problem: Problem, plan: Plan, memory: Memory, number: int, step: str, rationale: str) -> Prompt:
    """A fresh conversation for one step (`ask` or `conclude`) of a round, for the layout `separate`."""
    prompts = plan.policy.prompts
    if step == "ask":
        later = number > 1
        system = (prompts.ask_system_more if later else "") or prompts.ask_system_first
        user = prompts.ask_more if later else prompts.ask_first
    else:
        last = number == plan.policy.rounds.max
        system = (prompts.conclude_system_last if last else "") or prompts.conclude_system
        user = prompts.conclude
    values = {
        **_problem_values(problem),
        "evidence": evidence_lines(memory.entries, len(problem.images), plan.said_by),
        "rationale": rationale,
        **_round_values(plan, number),
    }
    prompt = EMPTY_PROMPT.plus("system", fill(system, **values)) if system else EMPTY_PROMPT
    return prompt.plus("user", *_views(problem.images, plan), _without_blank_lines(fill(user, **values)))


def look_prompt(plan: Plan, view: View, question: Question | None, choices: Sequence[str]) -> Prompt:
    """A look as a chat model reads it: the image first, then what is asked of it."""
    if question is None:
        return EMPTY_PROMPT.plus("user", view, fill(plan.policy.prompts.caption))
    line = f"Choose one of: {', '.join(one_line(c, 1_000) for c in choices)}" if choices else ""
    text = fill(plan.policy.prompts.look, question=question.text, choices=line)
    return EMPTY_PROMPT.plus("user", view, _without_blank_lines(text))


def readout_prompt(
    prompt: Prompt, plan: Plan, problem: Problem, answers: Sequence[str], before: str = ""
) -> tuple[Prompt, tuple[str, ...]]:
    """A branch that asks for the letter of the right answer; also gives the letters, one for each answer."""
    lettered, letters = _lettered(answers)
    text = fill(plan.policy.prompts.readout, question=problem.question.strip(), candidates=lettered)
    return prompt.plus("user", f"{before}\n{text}" if before else text), letters


def _lettered(answers: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    letters = tuple(ascii_uppercase[: len(answers)])
    lines = [f"{letter}: {one_line(answer, 1_000)}" for letter, answer in zip(letters, answers, strict=True)]
    return "\n".join(lines), letters


def entailed_prompt(
    plan: Plan, problem: Problem, answer: str, statements: Sequence[str], replies: Sequence[str]
) -> Prompt:
    """A prompt of its own that asks whether the statements make an answer right, to be told by letter."""
    lettered, _ = _lettered(replies)
    asked = {"question": problem.question.strip(), "answer": one_line(answer), "candidates": lettered}
    text = fill(plan.policy.prompts.entailed, evidence="\n".join(statements), **asked)
    return EMPTY_PROMPT.plus("user", text)


def answer_prompt(prompt: Prompt, plan: Plan, problem: Problem) -> Prompt:
    """The conversation after a rationale, and the request for the answer that follows from it."""
    values = {"question": problem.question.strip(), "choices": choices_line(problem)}
    return prompt.plus("user", _without_blank_lines(fill(plan.policy.prompts.answer, **values)))


def reask_prompt(prompt: Prompt, plan: Plan, bad_reply: str, error: str) -> Prompt:
    """A branch that shows the model its bad reply (at most 500 characters) and what was wrong with it."""
    quoted = bad_reply[:500].strip() or "(nothing)"
    return prompt.plus("assistant", quoted).plus("user", fill(plan.policy.prompts.reask, error=error))


def candidates_of(problem: Problem, answers: Iterable[str | None], plan: Plan) -> tuple[str, ...]:
    """The answers under consideration: the choices, or each different answer so far and a way out."""
    if problem.choices:
        return problem.choices
    given = [answer for answer in answers if answer is not None]
    latest = _different(reversed(given), plan)[:25]
    return (*(a for a in _different(given, plan) if any(plan.same(a, kept) for kept in latest)), NONE_OF_THESE)


def _different(answers: Iterable[str], plan: Plan) -> list[str]:
    different: list[str] = []
    for answer in answers:
        if not any(plan.same(answer, known) for known in different):
            different.append(answer)
    return different


def by_probability(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Most probable first; equal ones keep their order."""
    return tuple(sorted(candidates, key=lambda c: -(c.probability or 0.0)))
