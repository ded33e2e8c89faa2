"""How a session looks: lines of text, with bars where they can be drawn and words where they are read out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from iterreason.calls import Event, EvidenceFound, QuestionsAsked, VerdictReached
from iterreason.chat.inputs import COMMANDS
from iterreason.chat.session import Exchange, Session
from iterreason.display import STYLES, Line, attribution_lines, clean, ending_lines, event_lines, usage_line
from iterreason.errors import Misuse, unknown
from iterreason.memory import Memory
from iterreason.records import Candidate, Evidence, Verdict

WIDTH = 12  # of a bar, in cells
_EIGHTHS = " ▏▎▍▌▋▊▉"
_ASCII = str.maketrans(
    {"→": "->", "⇒": "=>", "≥": ">=", "×": "x", "…": "...", "–": "-", "▲": "+", "▼": "-", "·": "|", "—": "-"}
)


@dataclass(frozen=True, slots=True)
class Style:
    """What the terminal can show.

    unicode: more than ASCII. spoken: words in place of bars and signs, for screen readers.
    """

    unicode: bool = True
    spoken: bool = False

    def text(self, line: Line) -> Text:
        """A line as it is printed."""
        said = line.text
        if self.spoken:
            said = said.replace("⇒", "concludes:").replace(" →", ":")
        if not self.unicode:
            said = said.translate(_ASCII).encode("ascii", "replace").decode()
        return Text(said, style=STYLES[line.look])

    def bar(self, probability: float | None) -> str:
        """A probability as a bar and a number; the number alone where bars are not drawn."""
        if probability is None:
            return "probability unknown" if self.spoken else f"{'':{WIDTH}}   – "
        if self.spoken:
            return f"probability {probability:.2f}"
        whole, part = divmod(round(probability * WIDTH * 8), 8)
        drawn = "█" * whole + (_EIGHTHS[part] if part else "")
        if not self.unicode:
            drawn = "#" * round(probability * WIDTH)
            return f"[{drawn:.<{WIDTH}}] {probability:.2f}"
        return f"{drawn:<{WIDTH}} {probability:.2f}"


def happened(event: Event, style: Style, before: Verdict | None, images: int = 1) -> Iterator[Line]:
    """What to show of an event; `before` is the verdict that the belief moves from."""
    if isinstance(event, QuestionsAsked):
        for question in event.questions:
            yield Line("quiet", f"  ? {clean(question.text)}")
    elif isinstance(event, EvidenceFound):
        yield evidence_line(event.evidence, style, images)
    elif isinstance(event, VerdictReached):
        yield from verdict_lines(event.verdict, style, before)
    else:
        yield from event_lines(event, images)


def evidence_line(e: Evidence, style: Style, images: int = 1) -> Line:
    """One piece of evidence: number, what was asked and said, and how probable it is."""
    (line,) = event_lines(EvidenceFound(e), images)
    if e.probability is None or e.kind in ("error", "told"):
        return line
    text = line.text.removesuffix(f"  {e.probability:.2f}")
    return Line(line.look, f"{text}   {style.bar(e.probability)}")


def verdict_lines(verdict: Verdict, style: Style, before: Verdict | None) -> Iterator[Line]:
    """A verdict, and where the belief moved."""
    first, *_ = event_lines(VerdictReached(0, verdict))
    yield first
    yield from belief_lines(verdict.belief, style, before.belief if before else ())


def belief_lines(belief: Sequence[Candidate], style: Style, before: Sequence[Candidate] = ()) -> Iterator[Line]:
    """Each candidate answer with its probability, and how that moved since the last verdict."""
    earlier = {c.answer: c.probability for c in before}
    width = min(max((len(clean(c.answer)) for c in belief), default=0), 24)
    for candidate in belief[:6]:
        moved, was = "", earlier.get(candidate.answer)
        if was is not None and candidate.probability is not None and abs(candidate.probability - was) >= 0.005:
            change = candidate.probability - was
            sign = "▲" if change > 0 else "▼"
            moved = (
                f"  {'up' if change > 0 else 'down'} {abs(change):.2f}"
                if style.spoken
                else f"  {sign} {abs(change):.2f}"
            )
        yield Line(
            "verdict", f"      {clean(candidate.answer)[:24]:<{width}}  {style.bar(candidate.probability)}{moved}"
        )


def ended(exchange: Exchange, style: Style) -> Iterator[Line]:
    """How a question ended."""
    yield from (line for line in ending_lines(exchange.result) if not line.text.startswith("policy "))


# ------------------------------------------------------------------ what a person asks to see


def memory_lines(memory: Memory, style: Style, images: int) -> Iterator[Line]:
    """All that is known, what was withdrawn marked as such."""
    if not memory.entries:
        yield Line("quiet", "nothing is known yet")
    for e in memory.evidence:
        line = evidence_line(e, style, images)
        gone = e.number in memory.withdrawn
        yield Line("quiet", f"{line.text}  (withdrawn)") if gone else line


def weights(exchange: Exchange) -> tuple[tuple[Evidence, float | None], ...]:
    """The evidence that the last verdict cites, each with how probable its answer is; a person's word is certain."""
    memory = exchange.result.memory
    cited = exchange.result.rounds[-1].verdict.cites if exchange.result.rounds else ()
    numbers = [n for n in cited if 1 <= n <= len(memory) and n not in memory.withdrawn]
    return tuple((memory[n], 1.0 if memory[n].kind == "told" else memory[n].probability) for n in numbers)


def why_lines(exchange: Exchange | None, style: Style) -> Iterator[Line]:
    """The evidence behind the last verdict."""
    if exchange is None or not exchange.result.rounds:
        yield Line("quiet", "there is no verdict yet; ask something first")
        return
    verdict = exchange.result.rounds[-1].verdict
    yield Line("title", f"{clean(exchange.question)}  ⇒ {clean(verdict.answer or 'not sure')}")
    yield Line("quiet", f"  {clean(verdict.rationale) or 'no reason was given'}")
    found = weights(exchange)
    for e, _ in found:
        yield evidence_line(e, style, len(exchange.result.problem.images))
    if not found:
        yield Line("quiet", "  it cites no evidence")
    if exchange.result.attribution is not None:
        yield from attribution_lines(exchange.result.attribution)


def all_belief_lines(exchange: Exchange | None, style: Style) -> Iterator[Line]:
    """The belief over the candidates, round by round."""
    if exchange is None or not any(r.verdict.belief for r in exchange.result.rounds):
        yield Line("quiet", "there is no belief yet; this policy, or this question, estimated none")
        return
    before: Sequence[Candidate] = ()
    for each in exchange.result.rounds:
        yield Line("round", f"round {each.number}")
        yield from belief_lines(each.verdict.belief, style, before)
        before = each.verdict.belief


def cost_lines(session: Session) -> Iterator[Line]:
    """What each question cost, and all together."""
    for exchange in session.exchanges:
        cost = usage_line(exchange.result.usage).removeprefix("cost: ")
        yield Line("look", f"{clean(exchange.question)}: {cost}")
    count = len(session.exchanges)
    yield Line("title", f"{count} question{'' if count == 1 else 's'}, {usage_line(session.usage)}")


def help_lines(name: str = "") -> Iterator[Line]:
    """What can be typed."""
    if name and name not in COMMANDS:
        raise Misuse(unknown("command", name, COMMANDS))
    if not name:
        yield Line("look", "Type a question. A follow-up knows what was found before.")
    for command, how in COMMANDS.items():
        if name in ("", command):
            yield Line("look", f"  /{command} {how.usage}".ljust(34) + f" {how.does}")
    if not name:
        yield Line("quiet", "Ctrl-C stops a question and keeps what was learned; Ctrl-D leaves.")


def joined(lines: Iterable[Line], style: Style) -> Text:
    """Lines for a rich console; nothing in them is read as markup."""
    return Text("\n").join(style.text(line) for line in lines)
