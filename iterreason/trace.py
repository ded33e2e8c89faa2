"""Traces: the complete record of an episode as JSON lines; enough to replay it with no model at all.

A file of one episode: a line for what it began with, a line for each turn, a line for the result, each on disk before
the next call is made. A file of many: a whole episode on each line. Messages and schemas are written once and then
referred to, so that a trace stays linear in rounds. Images are named by sha256. Nothing in it is secret.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from iterreason import calls
from iterreason._version import __version__
from iterreason.calls import Call, Message, Note, Prompt, Reply, Returned, Turn, View
from iterreason.driver import OnEvents, RecordedTurn, drive_recorded
from iterreason.errors import BadTrace, Failure, Misuse
from iterreason.loop import episode
from iterreason.memory import Memory
from iterreason.plan import Plan
from iterreason.policy import NamedPolicy, read_policy
from iterreason.records import Image, Problem, Result

if sys.platform != "win32":
    import fcntl

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """What an episode began with, and the turns made so far. `finished`: whether its result was recorded."""

    problem: Problem
    plan: Plan
    start: Memory
    seed: int | None
    turns: tuple[RecordedTurn, ...] = ()
    finished: bool = False

    def replay(self, named: NamedPolicy | None = None, on_events: OnEvents | None = None) -> Result:
        """The same episode again, or under another policy, from the record alone. Raises NotRecorded."""
        plan = self.plan.with_policy(named) if named else self.plan
        return drive_recorded(episode(self.problem, plan, start=self.start, seed=self.seed), self.turns, on_events)


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

    def __init__(self, problem: Problem, plan: Plan, start: Memory, seed: int | None) -> None:
        self._written: set[str] = {calls.EMPTY_PROMPT.digest}
        self._schemas: dict[str, int] = {}  # by their text as called with, and as written
        self._began = Trace(problem, plan, start, seed)
        self.begin = {
            "trace": SCHEMA_VERSION,
            "iterreason": __version__,
            "problem": plain(problem),
            "policy": {"name": plan.named.name, "hash": plan.named.hash, "text": plan.named.text},
            "models": {"reasoner": plan.reasoner, "answerers": list(plan.answerers)},
            "confidence": plan.confidence,
            "context_tokens": plan.context_tokens,
            "start": plain(start),
            "seed": seed,
        }

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
                self._schemas[_encode(schema["text"])] = schema["number"]
            digest = call["after"]
            for message in call["messages"]:
                digest = calls.digest(digest, message["role"], [_identity(part) for part in message["parts"]])
                self._written.add(digest)

    def _call(self, call: Call) -> dict[str, Any]:
        look = call.look
        return {
            "key": call.key,
            "slot": call.slot,
            "purpose": call.purpose,
            "look": look and {"question": look.question, **_view(look.view)},
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
        known = self._schemas.get(_encode(value))
        number = known or max(self._schemas.values(), default=0) + 1
        self._schemas[text] = self._schemas[_encode(value)] = number
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


def _identity(part: dict[str, Any]) -> Any:
    """A message's part as it counts in the digest, from how it is written."""
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


# ------------------------------------------------------------------ writing


class LineFile:
    """A file of JSON lines that one run at a time may write; each line is on disk once `write` returns.

    Raises Misuse where the file cannot be opened, Failure where a line cannot be written. A file that was made here
    and is still empty at the end is not left behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._made = not path.exists()
            if not self._made and not path.is_file():
                raise Misuse(f"cannot write the trace {path}: it is not a file")
            self._file = FileIO(path, "a+")
        except OSError as error:
            raise Misuse(f"cannot write the trace {path}: {error.strerror}") from None
        try:
            _lock(self._file, path)
        except Misuse:
            self._file.close()
            raise

    def write(self, line: dict[str, Any]) -> None:
        """Add a line, or none of it."""
        before, data = self._size, _encode(line).encode() + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(before)
            raise Failure(f"cannot write the trace {self._path}: {error.strerror}; it is whole up to there") from None

    def first_line(self) -> dict[str, Any] | None:
        """What the file begins with; None for one that is empty, or was cut off in the first line of a trace."""
        with self._path.open("rb") as file:
            text = file.readline()
        try:
            value = json.loads(text) if text else None
        except ValueError:
            value = None if text.startswith(b'{"trace"') and not text.endswith(b"\n") else {}
        return value if isinstance(value, dict | None) else {}

    def mend(self) -> None:
        """Cut off what a kill left of a line, or end a whole one, so that the next starts a line of its own."""
        with self._path.open("rb") as file:
            file.seek(max(self._size - 1, 0))
            if file.read() in (b"", b"\n"):
                return
            file.seek(0)
            start, last = 0, b""
            for line in file:
                start, last = start + len(last), line
        try:
            json.loads(last)
        except ValueError:
            self._file.truncate(start)
        else:
            self._file.write(b"\n")

    def empty(self) -> None:
        """Remove all lines."""
        self._file.truncate(0)

    def close(self) -> None:
        """Let go of the file."""
        if self._made and not self._file.closed and not self._size:
            with suppress(OSError):  # before the lock is gone
                self._path.resolve().unlink()
        self._file.close()

    @property
    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size


def _encode(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or _is_text(text) else json.dumps(value)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can hold
        return False
    return True


def _lock(file: FileIO, path: Path) -> None:
    if sys.platform == "win32":
        return
    other = Misuse(f"{path} is being written by another run; wait for it to end or name another trace file")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise other from None
    except OSError:  # a file system without locks
        return
    if not os.fstat(file.fileno()).st_nlink:  # the run that held it has just removed it
        raise other


class TraceFile:
    """The trace of one running episode: every turn is on disk before the next begins.

    recorded: the turns that a killed run left in the file, to be played back; the trace goes on after them. An episode
    that makes no turn and comes to no result leaves no trace.
    """

    def __init__(self, path: Path, writer: TraceWriter) -> None:
        self._writer, self._lines = writer, LineFile(path)
        self.recorded: tuple[RecordedTurn, ...] = ()
        try:
            self._begin(path)
        except BaseException:
            self._lines.close()
            raise
        self._kept = bool(self.recorded)

    def _begin(self, path: Path) -> None:
        trace = None if self._lines.first_line() is None else read_trace(path)
        if trace and trace.finished:
            raise Misuse(f"{path} holds a finished episode; a trace is never overwritten. Name another trace file")
        if trace and trace.turns:
            if not self._writer.continues(trace):
                raise Misuse(
                    f"{path} is the unfinished trace of another question, policy or model; name another trace file"
                )
            self._lines.mend()
            self._writer.resume(line for _, line in _lines(path))
            self.recorded = trace.turns
        else:
            self._lines.empty()
            self._lines.write(self._writer.begin)

    def turn(self, turn: Turn, returned: Returned) -> None:
        """Record a turn."""
        self._lines.write(self._writer.turn(turn, returned))
        self._kept = True

    def close(self, result: Result | None = None) -> None:
        """Record the result, if the episode came to one, and close the file."""
        try:
            if result is not None:
                self._lines.write(result_line(result))
            elif not self._kept:
                self._lines.empty()
        finally:
            self._lines.close()


class EpisodesFile:
    """A file of many episodes, each whole on a line of its own, held by this run until `close`; lines are added."""

    def __init__(self, path: Path) -> None:
        self._lines = LineFile(path)
        first = self._lines.first_line()
        if first is not None and not {"trace", "turns"} <= set(first):
            self._lines.close()
            what = "holds one episode, turn by turn" if "trace" in first else "is not a trace"
            raise Misuse(f"{path} {what}; name another file for the traces of many episodes")
        self._lines.mend()

    def append(self, line: dict[str, Any]) -> None:
        """Add the line of an `EpisodeRecorder`. Raises Failure where it cannot be written."""
        self._lines.write(line)

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        self._lines.close()

    def __enter__(self) -> EpisodesFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def append_trace(
    path: Path,
    problem: Problem,
    plan: Plan,
    start: Memory,
    seed: int | None,
    turns: Sequence[tuple[Turn, Returned]],
    result: Result,
) -> None:
    """Add an ended episode to a file of many. Raises Misuse, Failure."""
    recorder = EpisodeRecorder(problem, plan, start, seed)
    for turn, returned in turns:
        recorder.turn(turn, returned)
    with EpisodesFile(path) as file:
        file.append(recorder.line(result))


def open_trace(
    path: str | Path | None, problem: Problem, plan: Plan, start: Memory, seed: int | None
) -> tuple[TraceFile | None, tuple[RecordedTurn, ...]]:
    """The file to record in, and the turns that it holds already where a killed run left it unfinished."""
    if path is None:
        return None, ()
    file = TraceFile(Path(path), TraceWriter(problem, plan, start, seed))
    return file, file.recorded


def store_images(path: Path, problem: Problem) -> None:
    """Keep the problem's images, and those of its exemplars, in a folder beside the trace, each named by its sha256.

    Raises Misuse where the folder cannot be made, Failure where an image cannot be written.
    """
    folder = path.with_name(path.name + ".images")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misuse(f"cannot keep images in {folder}: {error.strerror}") from None
    for image in (*problem.images, *(image for shown in problem.exemplars for image in shown.images)):
        kept = folder / f"{image.sha256}.{image.media_type.removeprefix('image/')}"
        try:
            kept.write_bytes(image.data)
        except OSError as error:
            with suppress(OSError):
                kept.unlink()  # half an image is none
            raise Failure(f"cannot keep the image {kept}: {error.strerror}") from None


# ------------------------------------------------------------------ reading


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_traces(path: Path) -> Iterator[Trace]:
    """The episodes of a trace file, one by one; a torn last line is left out. Raises BadTrace."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None or "trace" not in first[1]:
        raise BadTrace(f"{path} is not a trace: its first line does not say 'trace'")
    if "turns" not in first[1]:
        yield _read(path, first[0], first[1], [line for _, line in lines])
        return
    for number, line in (first, *lines):
        turns = line.get("turns")
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise BadTrace(f"{path}, line {number} is not a whole episode: it has no list of turns")
        yield _read(path, number, line, [*turns, line])


def read_trace(path: Path) -> Trace:
    """The one episode of a trace file. Raises BadTrace."""
    traces = read_traces(path)
    trace = next(traces)
    if next(traces, None) is not None:
        raise BadTrace(f"{path} holds more than one episode; use read_traces")
    return trace


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
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
        models = begin["models"]
        plan = Plan(named, begin["confidence"], models["reasoner"], tuple(models["answerers"]), begin["context_tokens"])
        trace = Trace(_problem(begin["problem"]), plan, _memory(begin["start"]), begin["seed"])
        turns = tuple(_turn(line) for line in rest if "calls" in line)
    except (ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        what = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
        raise BadTrace(f"{path}, line {number} or its turns: not a trace of this version ({what})") from None
    return replace(trace, turns=turns, finished=any("result" in line for line in rest))


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
