"""How episodes look: the same lines live in the terminal, as a transcript, in Jupyter, and as JSON."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from iterreason.belief import belief_json, belief_table
from iterreason.calls import (
    ContradictionFound,
    ContradictionSettled,
    Event,
    EvidenceFound,
    EvidenceWithdrawn,
    QuestionsAsked,
    ReplyRejected,
    RoundBegan,
    VerdictReached,
)
from iterreason.memory import contradictions
from iterreason.records import (
    ONLY_LOOKED,
    Attribution,
    Contradiction,
    Entry,
    Evidence,
    Problem,
    Question,
    Resolution,
    Result,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    from rich.text import Text

Look = Literal["title", "round", "look", "verdict", "quiet", "trouble", "answer"]
STYLES = {
    "title": "bold",
    "round": "bold cyan",
    "look": "",
    "verdict": "yellow",
    "quiet": "dim",
    "trouble": "red",
    "answer": "bold green",
}
_CSS = {
    "title": "font-weight:bold",
    "round": "font-weight:bold;color:#0a7ea4",
    "look": "",
    "verdict": "color:#9a6700",
    "quiet": "opacity:.65",
    "trouble": "color:#c0392b",
    "answer": "font-weight:bold;color:#1a7f37",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line to show, and the look it has where looks are to be had."""

    look: Look
    text: str


def clean(text: str) -> str:
    """Text from outside on one line, without control characters that a terminal would obey."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Text from outside, its lines kept, without control characters that a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


# ------------------------------------------------------------------ lines


def event_lines(event: Event, images: int = 1, *, several: bool = False) -> Iterator[Line]:
    """What to show of an event; with `several` answerers evidence names its own."""
    if isinstance(event, RoundBegan):
        yield Line("round", f"round {event.number}")
    elif isinstance(event, QuestionsAsked):
        return  # each is shown with its answer
    elif isinstance(event, EvidenceFound):
        yield _evidence(event.evidence, images, several)
    elif isinstance(event, EvidenceWithdrawn):
        yield Line("quiet", f"  [{event.retraction.number}] withdrawn by {clean(event.retraction.by)}")
    elif isinstance(event, ContradictionFound):
        yield _contradiction(event.contradiction)
    elif isinstance(event, ContradictionSettled):
        yield Line("quiet", f"  {_resolution(event.resolution)}")
    elif isinstance(event, ReplyRejected):
        yield Line("trouble", f"  the reply could not be used ({clean(event.error)}); asking again")
    else:
        yield from _verdict(event.verdict)


_WAYS = {
    "answerer": "another answerer is asked",
    "zoom": "asked again on the region",
    "reasoner": "the reasoner is asked for a question that settles it",
}


def _contradiction(c: Contradiction) -> Line:
    return Line("trouble", f"  [{c.one}] and [{c.other}] contradict each other: {_WAYS[c.way]}")


def _resolution(r: Resolution) -> str:
    return f"[{r.one}] against [{r.other}]: {clean(r.by)} {r.told}"


def _evidence(e: Evidence, images: int, several: bool) -> Line:
    where = f"image {e.image + 1}: " if images > 1 else ""
    if e.region:
        where += f"region {e.region.x0:.2f},{e.region.y0:.2f} to {e.region.x1:.2f},{e.region.y1:.2f}: "
    said = {"told": f"{clean(e.model)} says:"} | ({} if e.question else {"caption": "caption:"})
    question = said.get(e.kind, clean(e.question) + " →")
    answer = "nothing" if e.kind == "found" and not e.answer else clean(e.answer)
    sure = "" if e.probability is None else f"  {e.probability:.2f}"
    who = f"  ({clean(e.model.partition('@')[0])})" if several and e.kind != "told" else ""
    told = f"  [{e.number}] {where}{question} {answer}{sure}{who}"
    return Line("trouble" if e.kind == "error" else "look", told)


def _verdict(v: Verdict) -> Iterator[Line]:
    sure = "" if v.confidence is None else f"  confidence {v.confidence:.2f}"
    cites = "".join(f"[{n}]" for n in v.cites)
    reason = f"  {clean(v.rationale)} {cites}".rstrip()
    yield Line("verdict", f"  ⇒ {clean(v.answer) if v.answer is not None else 'not sure'}{sure}{reason}")
    if v.same_as is not None:
        yield Line("quiet", f"    means the same as: {clean(v.same_as)}")
    if len(v.belief) > 1 or (v.belief and v.outside and v.outside >= 0.005):
        shares = ", ".join(f"{clean(c.answer)} {c.probability or 0:.2f}" for c in v.belief[:5])
        outside = f"; outside these {v.outside:.2f}" if v.outside and v.outside >= 0.005 else ""
        yield Line("quiet", f"    belief: {shares}{outside}")
    if v.questions:
        yield Line("quiet", f"    wants to know: {' / '.join(_asked(q) for q in v.questions)}")
    if v.dropped:
        yield Line("quiet", f"    not worth asking: {' / '.join(_asked(q) for q in v.dropped)}")


def _asked(q: Question) -> str:
    return clean(q.text) + ("" if q.worth is None else f" (worth {q.worth:.2f})")


def ending_lines(result: Result) -> Iterator[Line]:
    """The belief over rounds, how the episode ended, and what it cost."""
    for row in belief_table(result):
        yield Line("quiet", clean_row(row))
    if result.error is not None:
        yield Line("trouble", f"error: {clean(result.error)}")
    elif result.answer is not None:
        yield Line("answer", f"answer: {clean(result.answer)}{_sure(result)}")
    elif result.stop_reason != ONLY_LOOKED:
        guess = f"; best guess: {clean(result.best_guess)}" if result.best_guess else ""
        yield Line("answer", f"no answer: not sure enough{_sure(result)}{guess}")
        if result.next_question:
            yield Line("look", f"it would help to know: {clean(result.next_question)}")
    resolutions = {(r.one, r.other): r for r in result.memory.resolutions}
    for one, other in contradictions(result.memory):
        came = resolutions.get((one.number, other.number))
        settled = f"; {clean(came.by)} {came.told}" if came else ""
        told = f"[{one.number}] and [{other.number}] answer the same question differently"
        yield Line("trouble", f"contradiction: {told}{settled}")
    if result.attribution is not None:
        yield from attribution_lines(result.attribution)
    yield Line("quiet", f"stopped: {clean(result.stop_reason)}")
    yield Line("quiet", usage_line(result.usage))
    seen = "; the reasoner saw the image" if result.reasoner_sees_image else ""
    models = ", ".join(clean(model) for model in result.models)
    yield Line("quiet", f"policy {clean(result.policy)} ({result.policy_hash[:8]}); {models}{seen}")


def clean_row(text: str) -> str:
    """A line of a table: its spaces kept, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def attribution_lines(a: Attribution) -> Iterator[Line]:
    """What each piece of evidence weighed."""
    for w in a.weights:
        weighs = "" if w.weight is None else f" weighs {w.weight:+.2f};"
        how = "moves to" if w.moved else "stays"
        without = "is not known: the model failed" if w.moved is None else f"{how} {clean(w.answer or '')}"
        yield Line("look" if w.moved else "quiet", f"[{w.number}]{weighs} without it the answer {without}")
    if not a.weights:
        yield Line("quiet", f"evidence not weighed: {a.reason}")
    else:
        why = f"; {a.reason}" if a.reason else ""
        yield Line("quiet", f"weighed by {a.by}: {a.usage.calls} calls beside the episode's own{why}")


def _sure(result: Result) -> str:
    if result.confidence is None:
        return ""
    if result.raw_confidence is None:
        return f"  confidence {result.confidence:.2f} ({result.confidence_source})"
    return f"  probability {result.confidence:.2f} ({result.confidence_source} {result.raw_confidence:.2f}, calibrated)"


def usage_line(usage: Usage) -> str:
    """The cost in one line."""
    counts = {
        "generation": usage.generations,
        "read-out": usage.readouts,
        "re-ask": usage.reasks,
        "look": usage.looks,
    }
    calls = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items() if n)
    tokens = (
        f"{usage.prompt_tokens:,} prompt tokens ({usage.cached_tokens:,} cached), {usage.completion_tokens:,} written"
    )
    return f"cost: {calls or 'no calls'}; {tokens}; {usage.elapsed_seconds:.1f} s"


def title_line(problem: Problem) -> Line:
    """The question and what it is about."""
    images = ", ".join(f"{clean(i.name) or i.sha256[:8]} {i.width}×{i.height}" for i in problem.images)
    choices = f"  [{', '.join(clean(c) for c in problem.choices)}]" if problem.choices else ""
    return Line("title", f"{clean(problem.question)}{choices}  ({images})")


def result_lines(result: Result) -> Iterator[Line]:
    """The whole transcript."""
    yield title_line(result.problem)
    several = len({e.model for e in result.memory.evidence if e.kind != "told"}) > 1
    for event in events_of(result):
        yield from event_lines(event, len(result.problem.images), several=several)
    yield from ending_lines(result)


def events_of(result: Result) -> Iterator[Event]:
    """The events of an episode, as far as its result tells them."""
    left = list(result.memory.entries)
    rounds = {r.number: r for r in result.rounds}
    last = max((e.round for e in result.memory.evidence), default=0)
    yield from _learned(left, 0)
    for number in range(1, max(len(rounds), last) + 1):
        yield RoundBegan(number)
        yield from _learned(left, number)
        if number in rounds:
            yield VerdictReached(number, rounds[number].verdict)
    yield from _learned(left, last)


def _learned(left: list[Entry], number: int) -> Iterator[Event]:
    """Take what was learned up to this round off the front, in the order in which it came."""
    while left:
        entry = left[0]
        if isinstance(entry, Evidence) and entry.round > number:
            return
        left.pop(0)
        yield _event(entry)


def _event(entry: Entry) -> Event:
    if isinstance(entry, Evidence):
        return EvidenceFound(entry)
    if isinstance(entry, Contradiction):
        return ContradictionFound(entry)
    return ContradictionSettled(entry) if isinstance(entry, Resolution) else EvidenceWithdrawn(entry)


# ------------------------------------------------------------------ their forms


def transcript(result: Result) -> str:
    """The transcript as plain text."""
    return "\n".join(line.text for line in result_lines(result))


def rich_lines(lines: Iterable[Line]) -> Text:
    """Lines for a rich console; nothing in them is read as markup."""
    from rich.text import Text

    return Text("\n").join(Text(line.text, style=STYLES[line.look]) for line in lines)


def rich_result(result: Result) -> Text:
    """The transcript for a rich console."""
    return rich_lines(result_lines(result))


def html_result(result: Result) -> str:
    """The transcript for a notebook."""
    rows = (f'<div style="{_CSS[line.look]}">{html.escape(line.text)}</div>' for line in result_lines(result))
    return f'<div style="font-family:monospace;white-space:pre-wrap">{"".join(rows)}</div>'


def result_json(result: Result) -> dict[str, Any]:
    """The result as JSON values."""
    from iterreason.trace import plain

    problem = result.problem
    return {
        "question": problem.question,
        "choices": list(problem.choices),
        "images": [plain(image) for image in problem.images],
        "answer": result.answer,
        "confidence": result.confidence,
        "confidence_source": result.confidence_source,
        "stop_reason": result.stop_reason,
        "rounds": [plain(r) for r in result.rounds],
        "belief": belief_json(result),
        "memory": plain(result.memory),
        "usage": asdict(result.usage),
        "contradictions": [[one.number, other.number] for one, other in contradictions(result.memory)],
        "resolutions": [plain(r) for r in result.memory.resolutions],
        "attribution": plain(result.attribution),
        "best_guess": result.best_guess,
        "next_question": result.next_question,
        "error": result.error,
        "policy": {"name": result.policy, "hash": result.policy_hash},
        "models": list(result.models),
        "reasoner_sees_image": result.reasoner_sees_image,
        **({} if result.raw_confidence is None else {"raw_confidence": result.raw_confidence}),
    }
