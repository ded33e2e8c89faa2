"""Sessions on disk: episodes as in any trace, and between them a line for every other step; appended, never changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from iterreason.calls import Returned, Turn
from iterreason.chat.session import Exchange, Models, Session
from iterreason.chat.tuned import PolicyChoice
from iterreason.driver import RecordedTurn
from iterreason.errors import BadImage, BadTrace, IterReasonError, Misuse
from iterreason.images import load_image
from iterreason.plan import Plan
from iterreason.recording import LineFile
from iterreason.records import Image, Problem, Question, Result
from iterreason.trace import Trace, TraceWriter, read_lines, read_traces, result_line

OnTurn = Callable[[Turn, Returned], None]


def sessions_folder() -> Path:
    """Where sessions are kept by themselves."""
    from platformdirs import user_state_path

    return user_state_path("iterreason") / "sessions"


def newest_session() -> Path:
    """The session that was written last; raises Misuse where there is none."""
    found = sorted(sessions_folder().glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise Misuse(f"there is no session to go on with in {sessions_folder()}; start one: iterreason chat IMAGE")
    return found[-1]


class SessionFile:
    """The file of the session in progress: every step and every turn is on disk once it is made.

    Nothing is written before the first step, so that a session in which nothing was said leaves no file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or sessions_folder() / time.strftime("%Y-%m-%dT%H-%M-%S.jsonl")
        while path is None and self.path.exists():
            self.path = self.path.with_stem(f"{self.path.stem}-1")
        self._lines: LineFile | None = None

    def step(self, session: Session, kind: str, **values: Any) -> None:
        """Record a step other than an episode; `session` is how it stood before. Raises Misuse, Failure."""
        self._opened(session).write({"session": kind, **values})

    def begin(
        self, session: Session, problem: Problem, plan: Plan, seed: int | None, asked: tuple[Question, ...],
        pending: Trace | None,
    ) -> tuple[OnTurn, tuple[RecordedTurn, ...]]:  # fmt: skip
        """Start to record an episode; gives what is told of its turns, and those that a killed session left of it."""
        lines = self._opened(session)
        writer = TraceWriter(problem, plan, session.memory, seed, asked)
        recorded: tuple[RecordedTurn, ...] = ()
        if pending is not None and writer.continues(pending):
            writer.resume(_last_episode(self.path))
            recorded = pending.turns
        else:
            lines.write(writer.begin)
        return lambda turn, returned: lines.write(writer.turn(turn, returned)), recorded

    def end(self, result: Result) -> None:
        """Record an episode's result."""
        if self._lines is not None:
            self._lines.write(result_line(result))

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        if self._lines is not None:
            self._lines.close()

    def _opened(self, session: Session) -> LineFile:
        if self._lines is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = LineFile(self.path, "session")
            self._lines.mend()
            if self._lines.first_line() is None:
                self._lines.write({"session": "began", **state_line(session)})
        return self._lines


def state_line(session: Session) -> dict[str, Any]:
    """All of a session that is no memory: what a step that changes it records."""
    images = [{"sha256": image.sha256, "path": path} for image, path in zip(session.images, session.paths, strict=True)]
    return {
        "images": images,
        "view": list(session.view),
        "policy": asdict(session.policy),
        "models": asdict(session.models),
        "ask_me": session.ask_me,
    }


def read_session(path: Path, known: tuple[Image, ...] = ()) -> tuple[Session, Trace | None]:
    """The session in a file, and the episode that was not ended, if any; an ordinary trace is a session, too.

    known: images that are open already. Raises BadTrace, BadImage where an image is gone or has changed.
    """
    session, pending = Session(), None
    traces = iter(read_traces(path)) if _has_episodes(path) else iter(())
    images = {image.sha256: image for image in known}
    for number, line in read_lines(path):
        if "trace" in line:
            trace = next(traces)
            session = _seen(session, trace, images)
            pending = None if trace.finished else trace
            if trace.finished:
                asked = bool(trace.asked)
                session = session.answered(Exchange(trace.problem.question, trace.replay(), session.view, asked))
        elif "session" in line:
            try:
                session = _applied(session, line, images)
            except (KeyError, TypeError, ValueError) as error:
                raise BadTrace(f"{path}, line {number}: not a step of a session of this version ({error})") from None
    return session, pending


def _has_episodes(path: Path) -> bool:
    return any("trace" in line for _, line in read_lines(path))


def _last_episode(path: Path) -> list[dict[str, Any]]:
    lines = [line for _, line in read_lines(path)]
    start = max(place for place, line in enumerate(lines) if "trace" in line)
    return lines[start:]


def _seen(session: Session, trace: Trace, images: dict[str, Image]) -> Session:
    """With the trace's images in view: those of an ordinary trace are looked for where they are known from."""
    if tuple(i.sha256 for i in session.viewed) == tuple(i.sha256 for i in trace.problem.images):
        return session
    for image in trace.problem.images:
        session = session.with_image(_image(image.sha256, image.name, images), image.name)
    places = [i.sha256 for i in session.images]
    return session.viewing(tuple(places.index(image.sha256) for image in trace.problem.images))


def _applied(session: Session, line: dict[str, Any], images: dict[str, Image]) -> Session:
    kind = line["session"]
    if kind == "told":
        return session.told(line["fact"])
    if kind == "vetoed":
        return session.vetoed(line["number"])
    if kind == "undone":
        return session.undone()
    if kind == "skipped":
        return replace(session, open_question=None)
    models = Models(line["models"]["reasoner"], tuple(line["models"]["answerers"]))
    changed = session.step(
        images=tuple(_image(image["sha256"], image["path"], images) for image in line["images"]),
        paths=tuple(image["path"] for image in line["images"]),
        view=tuple(line["view"]),
        policy=PolicyChoice(**line["policy"]),
        models=models,
        ask_me=line["ask_me"],
    )
    return replace(changed, before=None) if kind == "began" else changed


def _image(sha256: str, path: str, images: dict[str, Image]) -> Image:
    if sha256 not in images:
        try:
            image = load_image(path)
        except IterReasonError as error:
            raise BadImage(
                f"the session's image cannot be read again: {error}. Put it back, or name it as IMAGE"
            ) from None
        if image.sha256 != sha256:
            raise BadImage(f"the session's image {path} has changed since; put the old one back, or name it as IMAGE")
        images[sha256] = image
    return images[sha256]
