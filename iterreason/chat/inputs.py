"""What a person can type: a question, or a command; read into records, with no effect yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from iterreason.errors import Misuse, unknown
from iterreason.records import Region
from iterreason.tools.regions import NAMED, read_region

Shown = Literal["why", "memory", "belief", "cost"]


@dataclass(frozen=True, slots=True)
class Reason:
    """A question to be reasoned about; while the session waits for the person's answer, that answer."""

    text: str


@dataclass(frozen=True, slots=True)
class AskAnswerer:
    """A question put to the answerer itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Tell:
    """The person's own evidence."""

    fact: str


@dataclass(frozen=True, slots=True)
class Veto:
    """Withdraw the evidence with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class LookAt:
    """Have a region of the first image in view described; None is the whole image."""

    region: Region | None


@dataclass(frozen=True, slots=True)
class Show:
    """Show something of the session."""

    what: Shown


@dataclass(frozen=True, slots=True)
class UsePolicy:
    """Reason by another policy; an empty name lists them."""

    name: str


@dataclass(frozen=True, slots=True)
class StopAt:
    """Stop a question once the confidence is at least this; None stops the one that runs."""

    threshold: float | None


@dataclass(frozen=True, slots=True)
class RoundsAtMost:
    """At most so many rounds for a question."""

    number: int


@dataclass(frozen=True, slots=True)
class UseModel:
    """Another model, or several answerers, for a role; no role shows what is in use."""

    role: Literal["", "reasoner", "answerer"]
    uris: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UseImage:
    """Show, switch to or add an image: a number, `all`, a name in the session, or a path; empty shows those in view."""

    name: str


@dataclass(frozen=True, slots=True)
class AskMe:
    """Whether the person is asked where the policy would abstain."""

    on: bool


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back the last step."""


@dataclass(frozen=True, slots=True)
class Again:
    """Reason about the last question again, from what is known now."""


@dataclass(frozen=True, slots=True)
class Save:
    """Copy the session's trace to a file."""

    path: str


@dataclass(frozen=True, slots=True)
class Load:
    """Go on from the session in a file."""

    path: str


@dataclass(frozen=True, slots=True)
class Export:
    """Write the session as a page or as JSON; no path names it after the session."""

    form: Literal["html", "json"]
    path: str


@dataclass(frozen=True, slots=True)
class Help:
    """What can be typed; with a name, about that command."""

    name: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End the session."""


Input = (
    Reason | AskAnswerer | Tell | Veto | LookAt | Show | UsePolicy | StopAt | RoundsAtMost | UseModel | UseImage
    | AskMe | Undo | Again | Save | Load | Export | Help | Leave
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Command:
    """A command: what follows its name, what it does, and how the rest of its line is read (Misuse where it cannot)."""

    usage: str
    does: str
    read: Callable[[str], Input]


def parse(line: str) -> Input | None:
    """What a line means; None for an empty one. A leading `//` asks a question that starts with a slash.

    Raises Misuse with the known commands, or with how the command is used.
    """
    text = line.strip()
    if not text:
        return None
    if not text.startswith("/") or text.startswith("//"):
        return Reason(text.removeprefix("/") if text.startswith("//") else text)
    name, _, rest = text[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise Misuse(f"{unknown('command', name, COMMANDS)} /help says what each does")
    try:
        return command.read(rest.strip())
    except ValueError as error:
        raise Misuse(f"/{name} {command.usage}: {error}".replace(" :", ":")) from None


def _text(make: Callable[[str], Input], what: str) -> Callable[[str], Input]:
    def read(rest: str) -> Input:
        if not rest:
            raise ValueError(f"name {what}")
        return make(rest)

    return read


def _nothing(made: Input) -> Callable[[str], Input]:
    def read(rest: str) -> Input:
        if rest:
            raise ValueError(f"takes nothing more, not {rest[:40]!r}")
        return made

    return read


def _number(rest: str, low: int, high: int, what: str) -> int:
    if not rest.isascii() or not rest.isdigit() or not low <= int(rest[:9]) <= high:
        raise ValueError(f"{what} is a whole number from {low} to {high:,}, not {rest[:40]!r}")
    return int(rest)


def _look(rest: str) -> Input:
    if (region := read_region(rest)) is None:
        return LookAt(None)
    # As fractions, the way a trace gives them back: a call's key tells 0 from 0.0.
    return LookAt(Region(float(region.x0), float(region.y0), float(region.x1), float(region.y1)))


def _stop(rest: str) -> Input:
    if not rest:
        return StopAt(None)
    try:
        threshold = float(rest)
    except ValueError:
        threshold = -1
    if not 0 <= threshold <= 1:
        raise ValueError(f"the confidence to stop at is a number from 0 to 1, not {rest[:40]!r}")
    return StopAt(threshold)


def _model(rest: str) -> Input:
    role, *uris = rest.split() or [""]
    if role not in ("", "reasoner", "answerer"):
        raise ValueError(unknown("role", role, ("reasoner", "answerer")))
    if role and not uris:
        raise ValueError("name the model's URI; `iterreason models` lists the kinds")
    if role == "reasoner" and len(uris) > 1:
        raise ValueError(f"there is one reasoner, not {len(uris)}")
    return UseModel(role, tuple(uris))  # type: ignore[arg-type]  # one of the roles, as just checked


def _export(rest: str) -> Input:
    form, _, path = rest.partition(" ")
    if form not in ("html", "json"):
        raise ValueError(unknown("form", form, ("html", "json")))
    return Export(form, path.strip())  # type: ignore[arg-type]  # as just checked


def _ask_me(rest: str) -> Input:
    if rest not in ("on", "off"):
        raise ValueError(f"say on or off, not {rest[:40]!r}")
    return AskMe(rest == "on")


COMMANDS: Mapping[str, Command] = {
    "ask": Command("QUESTION", "put a question to the answerer yourself", _text(AskAnswerer, "the question")),
    "tell": Command("FACT", "add evidence of your own, marked as yours", _text(Tell, "the fact")),
    "veto": Command(
        "N", "withdraw evidence N; the verdict is revised",
        lambda rest: Veto(_number(rest.strip("[]"), 1, 1_000_000, "the number of evidence")),
    ),
    "look": Command(
        "REGION", f"look closer: {', '.join(NAMED)}, or x0,y0,x1,y1", _look
    ),
    "why": Command("", "the evidence behind the last verdict, and its weight", _nothing(Show("why"))),
    "memory": Command("", "all that is known, with numbers", _nothing(Show("memory"))),
    "belief": Command("", "the candidate answers, round by round", _nothing(Show("belief"))),
    "policy": Command("[NAME]", "reason by another policy; alone: list them", UsePolicy),
    "stop": Command("[CONFIDENCE]", "stop once it is this sure (0 to 1); alone: stop now", _stop),
    "rounds": Command(
        "N", "at most N rounds for a question", lambda rest: RoundsAtMost(_number(rest, 1, 50, "the number of rounds"))
    ),
    "model": Command("[reasoner|answerer URI …]", "use another model; alone: show them", _model),
    "image": Command("[PATH|N|all]", "add an image or switch to one; alone: show it", UseImage),
    "askme": Command("on|off", "be asked where the policy would abstain", _ask_me),
    "undo": Command("", "take back the last step", _nothing(Undo())),
    "again": Command("", "reason about the last question again, with what is known now", _nothing(Again())),
    "save": Command("FILE", "copy the session, a trace, to a file", _text(Save, "the file")),
    "load": Command("FILE", "go on from a saved session", _text(Load, "the file")),
    "export": Command("html|json [FILE]", "write the session as a page, or as JSON", _export),
    "cost": Command("", "what the session cost so far", _nothing(Show("cost"))),
    "help": Command("[COMMAND]", "this list", lambda rest: Help(rest.removeprefix("/"))),
    "quit": Command("", "leave, as Ctrl-D does", _nothing(Leave())),
}  # fmt: skip
