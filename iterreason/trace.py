"""Traces: the complete record of an episode as JSON lines; enough to replay it with no model at all.

A file of one episode: a line for what it began with, a line for each turn, a line for the result, each on disk before
the next call is made. A session: such episodes one after the other, and between them lines of its own that a replay
passes over. A file of many: a whole episode on each line. Messages and schemas are written once and then referred to,
so that a trace stays linear in rounds. Images are named by sha256. Nothing in it is secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from iterreason import calls
from iterreason._version import __version__
from iterreason.asked import looks
from iterreason.calls import Call, Message, Note, Prompt, Reply, Returned, Turn, View
from iterreason.driver import OnEvents, RecordedTurn, drive_recorded
from iterreason.errors import BadTrace, NotRecorded
from iterreason.folding import same_text
from iterreason.loop import Episode, episode
from iterreason.memory import Memory, SameText
from iterreason.plan import Plan
from iterreason.policy import NamedPolicy, read_policy
from iterreason.records import Image, Problem, Question, Result
from iterreason.reliability import from_json
from iterreason.tools.spec import ToolSpec

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """What an episode began with, and the turns made so far. `finished`: whether its result was recorded.

    asked: what a person only wanted looked at, in an episode that concludes nothing.
    """

    problem: Problem
    plan: Plan
    start: Memory
    seed: int | None
    turns: tuple[RecordedTurn, ...] = ()
    finished: bool = False
    same: str = ""
    asked: tuple[Question, ...] = ()

    def episode(self, plan: Plan) -> Episode:
        """The recorded episode from its start, under this plan."""
        if self.asked:
            return looks(self.problem, plan, self.asked, start=self.start, seed=self.seed)
        return episode(self.problem, plan, start=self.start, seed=self.seed)

    def replay(
        self,
        named: NamedPolicy | None = None,
        on_events: OnEvents | None = None,
        *,
        same: SameText | None = None,
    ) -> Result:
        """The same episode again, or under another policy, from the record alone.

        same: the comparison that the episode was recorded with, where that was not the usual one.
        Raises NotRecorded, also where that comparison is not given.
        """
        if self.same and same is None:
            raise NotRecorded(f"the episode was recorded with the comparison '{self.same}'; replay it with same=…")
        plan = self.plan.with_policy(named) if named else self.plan
        plan = replace(plan, same=same) if same else plan
        return drive_recorded(self.episode(plan), self.turns, on_events)


# ------------------------------------------------------------------ records to JSON


def plain(value: Any) -> Any:
    """A record as JSON values; images without their pixels."""
    if isinstance(value, Image):
        return {"sha256": value.sha256, "width": value.width, "height": value.height} | {
            "media_type": value.media_type,
            "name": value.name,
        }
    if isinstance(value, Memory):
        return [plain(e) for e in value.entries]
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value


class TraceWriter:
    """Turns one episode into JSON lines, remembering which messages and schemas were written."""

    def __init__(
        self, problem: Problem, plan: Plan, start: Memory, seed: int | None, asked: tuple[Question, ...] = ()
    ) -> None:
        self._written: set[str] = {calls.EMPTY_PROMPT.digest}
        self._schemas: dict[str, int] = {}  # by their text as called with, and as written
        self._began = Trace(problem, plan, start, seed, asked=asked)
        self.begin = {
            "trace": SCHEMA_VERSION,
            "iterreason": __version__,
            "problem": plain(problem),
            "policy": {"name": plan.named.name, "hash": plan.named.hash, "text": plan.named.text}
            | ({"extensions": list(plan.named.extensions)} if plan.named.extensions else {}),
            "models": {"reasoner": plan.reasoner, "answerers": list(plan.answerers)},
            "tools": plain(plan.tools),
            "confidence": plan.confidence,
            **({"reasoner_scores": plan.reasoner_scores} if "entailment" in plan.policy.confidence else {}),
            "context_tokens": plan.context_tokens,
            "start": plain(start),
            "seed": seed,
            "all_rounds": plan.all_rounds,
            **({"attribution": True} if plan.attribution else {}),
            "reliability": plan.reliability.to_json(),
            "same": "" if plan.same is same_text else getattr(plan.same, "__qualname__", "of the caller's own"),
        } | ({"asked": plain(asked)} if asked else {})

    def turn(self, turn: Turn, returned: Returned) -> dict[str, Any]:
        """The line of one turn."""
        return {
            "calls": [self._call(call) for call in turn.calls],
            "replies": [plain(reply) for reply in returned.replies],
            "elapsed": returned.elapsed,
            "notes": [{"note": type(note).__name__} | plain(note) for note in returned.notes],
        }

    def continues(self, trace: Trace) -> bool:
        """Whether this is the episode of that trace; what is left of a script goes on where the script began."""
        return _without_contents(self._began) == _without_contents(replace(trace, turns=(), finished=False))

    def resume(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take note of the messages and schemas in lines that were written before."""
        for call in (call for line in lines for call in line.get("calls", ())):
            if isinstance(schema := call["schema"], dict):
                self._schemas[encode(schema["text"])] = schema["number"]
            digest = call["after"]
            for message in call["messages"]:
                digest = calls.digest(digest, message["role"], [identity(part) for part in message["parts"]])
                self._written.add(digest)

    def _call(self, call: Call) -> dict[str, Any]:
        look = call.look
        return {
            "key": call.key,
            "slot": call.slot,
            "purpose": call.purpose,
            "look": look and {"question": look.question, "arguments": look.arguments, **_view(look.view)},
            "sampling": plain(call.sampling),
            "schema": self._schema(call.schema),
            "choices": list(call.choices),
            "sample": call.sample,
            **self._messages(call.prompt),
        }

    def _schema(self, text: str) -> Any:
        if not text or text in self._schemas:
            return self._schemas.get(text)
        value = json.loads(text)
        known = self._schemas.get(encode(value))
        number = known or max(self._schemas.values(), default=0) + 1
        self._schemas[text] = self._schemas[encode(value)] = number
        return known or {"number": number, "text": value}

    def _messages(self, prompt: Prompt) -> dict[str, Any]:
        """The messages that no earlier line holds, and the digest of the prompt that they are added to."""
        added: list[Message] = []
        node = prompt
        while node.digest not in self._written and node.parent is not None and node.message is not None:
            added.append(node.message)
            self._written.add(node.digest)
            node = node.parent
        return {"after": node.digest, "messages": [_message(m) for m in reversed(added)], "digest": prompt.digest}


def _message(message: Message) -> dict[str, Any]:
    parts = [_view(p) if isinstance(p, View) else {"text": p} for p in message.parts]
    return {"role": message.role, "parts": parts}


def _view(view: View) -> dict[str, Any]:
    return {"image": view.image.sha256, "region": plain(view.region)}


def identity(part: dict[str, Any]) -> Any:
    """A message's part as it counts in the digest, from how a trace has it."""
    return part["text"] if "text" in part else [part["image"], part["region"] and [*part["region"].values()]]


def _without_contents(trace: Trace) -> Trace:
    """With scripts named by their file alone: one that goes on with an episode holds other lines."""
    reasoner, *answerers = (
        name.partition("#")[0] if name.startswith("scripted:") else name
        for name in (trace.plan.reasoner, *trace.plan.answerers)
    )
    return replace(trace, plan=replace(trace.plan, reasoner=reasoner, answerers=tuple(answerers)))


class EpisodeRecorder:
    """One of many episodes: keeps its turns until it ends."""

    def __init__(self, problem: Problem, plan: Plan, start: Memory, seed: int | None) -> None:
        self._writer = TraceWriter(problem, plan, start, seed)
        self._turns: list[dict[str, Any]] = []

    def turn(self, turn: Turn, returned: Returned) -> None:
        """Keep a turn."""
        self._turns.append(self._writer.turn(turn, returned))

    def line(self, result: Result) -> dict[str, Any]:
        """The whole episode, for `EpisodesFile.append`."""
        return {**self._writer.begin, "turns": self._turns, **result_line(result)}


def result_line(result: Result) -> dict[str, Any]:
    """The last line of an episode; for readers of the file, replay does not need it."""
    return {"result": result.to_json()}


_LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can hold
        return False
    return True


def encode(value: Any) -> str:
    """A line of a trace; what no file can hold is escaped, and what many a reader takes for the end of a line."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isascii():
        return text
    return text.translate(_LINE_ENDS) if _is_text(text) else json.dumps(value)


# ------------------------------------------------------------------ reading


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_traces(path: Path) -> Iterator[Trace]:
    """The episodes of a trace file, one by one; a torn last line is left out. Raises BadTrace."""
    lines = ((number, line) for number, line in read_lines(path) if "session" not in line)
    first = next(lines, None)
    if first is None or "trace" not in first[1]:
        raise BadTrace(f"{path} is not a trace: its first line does not say 'trace'")
    if "turns" in first[1]:
        for number, line in (first, *lines):
            yield parse_episode(line, path, number)
        return
    number, begin, rest = *first, list[dict[str, Any]]()
    for place, line in lines:
        if "trace" in line:
            yield _read(path, number, begin, rest)
            number, begin, rest = place, line, []
        else:
            rest.append(line)
    yield _read(path, number, begin, rest)


def parse_episode(line: dict[str, Any], where: Path, number: int = 1) -> Trace:
    """The episode on one line of a file of many. Raises BadTrace."""
    turns = line.get("turns")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise BadTrace(f"{where}, line {number} is not a whole episode: it has no list of turns")
    return _read(where, number, line, [*turns, line])


def read_trace(path: Path) -> Trace:
    """The one episode of a trace file. Raises BadTrace."""
    traces = read_traces(path)
    trace = next(traces)
    if next(traces, None) is not None:
        raise BadTrace(f"{path} holds more than one episode; use read_traces")
    return trace


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        texts = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadTrace(f"cannot read the trace {path}: {error.strerror}") from None
    for number, text in enumerate(texts, 1):
        try:
            value = json.loads(text) if text.strip() else None
        except ValueError as error:
            if number == len(texts) and number > 1:  # torn by a kill in mid-write; nothing after it was promised
                return
            raise BadTrace(f"{path}, line {number} is not JSON: {error}") from None
        if value is not None and not isinstance(value, dict):
            raise BadTrace(f"{path}, line {number} is not a JSON object")
        if value is not None:
            yield number, value


def _read(path: Path, number: int, begin: dict[str, Any], rest: list[dict[str, Any]]) -> Trace:
    if begin.get("trace") != SCHEMA_VERSION:
        raise BadTrace(
            f"{path}, line {number}: trace version {begin.get('trace')!r}; this version reads {SCHEMA_VERSION}"
        )
    try:
        named = read_policy(begin["policy"]["text"], begin["policy"]["name"], f"the policy in {path}")
        _check_extensions(path, begin["policy"].get("extensions", []), named)
        models = begin["models"]
        plan = Plan(
            named,
            begin["confidence"],
            models["reasoner"],
            tuple(models["answerers"]),
            begin["context_tokens"],
            all_rounds=begin.get("all_rounds", False),
            reliability=from_json(begin.get("reliability", ())),
            attribution=begin.get("attribution", False),
            reasoner_scores=begin.get("reasoner_scores", False),
            tools=tuple(_adapter(ToolSpec).validate_python(spec) for spec in begin.get("tools", ())),
        )
        asked = tuple(_adapter(Question).validate_python(question) for question in begin.get("asked", ()))
        start = _memory(begin["start"])
        trace = Trace(_problem(begin["problem"]), plan, start, begin["seed"], same=begin["same"], asked=asked)
        turns = tuple(_turn(line) for line in rest if "calls" in line)
    except (ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        what = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
        raise BadTrace(f"{path}, line {number} or its turns: not a trace of this version ({what})") from None
    return replace(trace, turns=turns, finished=any("result" in line for line in rest))


def _check_extensions(path: Path, recorded: list[str], named: NamedPolicy) -> None:
    """Raise BadTrace where a stop rule or estimator of another package is not the one that the episode ran with."""
    if recorded != list(named.extensions):
        here = ", ".join(named.extensions) or "none"
        raise BadTrace(f"{path} was recorded with {', '.join(recorded)}; here is {here}: install the recorded version")


def _problem(value: dict[str, Any]) -> Problem:
    problem: Problem = _adapter(Problem).validate_python(value)
    return problem


def _memory(entries: list[Any]) -> Memory:
    memory: Memory = _adapter(Memory).validate_python({"entries": entries})
    return memory


def _turn(line: dict[str, Any]) -> RecordedTurn:
    replies = tuple(_adapter(Reply).validate_python(reply) for reply in line["replies"])
    notes = tuple(_note(**note) for note in line["notes"])
    keys = tuple(str(call["key"]) for call in line["calls"])
    if len(keys) != len(replies):
        raise ValueError(f"{len(keys)} calls but {len(replies)} replies")
    return RecordedTurn(keys, Returned(replies, float(line["elapsed"]), notes))


def _note(note: str, **values: Any) -> Note:
    kinds = {kind.__name__: kind for kind in get_args(Note)}
    read: Note = _adapter(kinds[note]).validate_python(values)
    return read
