"""Where instruction data come from: any benchmark task, any recorded run or trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from iterreason.bench.row import RESULTS, TRACES, Row, Run, find_runs, read_rows
from iterreason.bench.tasks.loading import load_items
from iterreason.bench.tasks.task import NamedTask, read_task
from iterreason.calls import Call, Message, Prompt, Reply, Returned, Turn, View
from iterreason.driver import drive_recorded
from iterreason.errors import BadData, BadImage, BadProblem, BadTrace, NotRecorded
from iterreason.images import load_image
from iterreason.loop import Episode, episode
from iterreason.records import Image, Problem, Result
from iterreason.trace import Trace, read_traces
from iterreason.tuning.instruct_template import NamedTemplate, messages_of

PixelsOf = Callable[[Image], Image]


@dataclass(frozen=True, slots=True)
class Draft:
    """A triple whose images are at hand, not yet files.

    about: the sha256 of all images that the problem is about. group: what the data set calls these images.
    """

    id: str
    messages: tuple[Message, ...]
    source: str
    about: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which episodes are taken.

    only_correct: those scored 1. confidence: those at least so sure, in [0, 1]. most_rounds: those with no more rounds.
    looks: take the looks, too: the image and a sub-question, and what the answerer said. limit: problems at most.
    """

    only_correct: bool = False
    confidence: float | None = None
    most_rounds: int | None = None
    looks: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Drafts:
    """What a source gives: triples in an order that the data decide, and how many problems were left out, and why."""

    triples: tuple[Draft, ...]
    left_out: Counter[str] = field(default_factory=Counter)


# ------------------------------------------------------------------ a task


def from_task(named: NamedTask, template: NamedTemplate, split: str = "", limit: int | None = None) -> Drafts:
    """A triple of each problem of a task; raises BadData where an image is missing or cannot be read."""
    split = named.split(split)
    several = named.task.scoring.scorer == "multi-answer"
    source, drafts = f"{named.name}:{split}", []
    for item in load_items(named, split, limit, strict=True).items:
        try:
            problem = item.problem()
        except (BadImage, BadProblem) as error:
            raise BadData(f"{item.where or source}: problem '{item.id}': {error}") from None
        asked = replace(item, gold=(", ".join(item.gold),)) if several else item
        messages = messages_of(template, asked, problem)
        about = tuple(image.sha256 for image in problem.images)
        drafts.append(Draft(f"{source}:{item.id}", messages, source, about, f"{named.name}:{item.group}"))
    return Drafts(tuple(drafts))


# ------------------------------------------------------------------ runs and traces


def from_recorded(path: Path, wanted: Wanted, split: str = "") -> Drafts:
    """A triple of each reply in the episodes of a trace file, or of all runs in a folder.

    The prompts are those of the policy, to the letter: each episode is driven again from its record. A reply that could
    not be read is left out; the one that took its place stands as the answer to the first prompt. A read-out's response
    is the letter with the highest score; votes are left out. Episodes that failed are left out.
    split: only runs of this split. Raises BadTrace, BadRun, BadData.
    """
    if path.is_dir():
        runs = [run for run in find_runs(path) if not split or run.manifest["task"].get("split") == split]
        if not runs:
            raise BadData(f"{path} holds no run of the split '{split}'")
        sources = [_Recorded(run.folder / TRACES, _name(run), run.rows, run) for run in runs]
    else:
        beside = path.with_name(RESULTS)
        rows = tuple(read_rows(beside)) if path.name == TRACES and beside.is_file() else None
        sources = [_Recorded(path, path.stem, rows)]
    left_out: Counter[str] = Counter()
    episodes = [found for source in sources for found in source.episodes(wanted, left_out)]
    episodes.sort(key=lambda found: found.rank)
    if wanted.limit is not None:
        left_out["beyond the limit"] += max(0, len(episodes) - wanted.limit)
        episodes = episodes[: wanted.limit]
    episodes.sort(key=lambda found: found.name)
    return Drafts(tuple(draft for found in episodes for draft in found.drafts()), +left_out)


def _name(run: Run) -> str:
    split = run.manifest["task"].get("split")
    return "/".join([run.task, *([split] if split else []), run.policy])


@dataclass(frozen=True, slots=True)
class _Episode:
    """An episode that is taken; `seen`: its calls and their replies, in order."""

    source: str
    name: str
    group: str
    trace: Trace
    seen: tuple[tuple[Call, Reply], ...]
    pixels: PixelsOf
    looks: bool

    @property
    def rank(self) -> bytes:
        """A pseudo-random order that does not depend on which episode ended first."""
        return sha256(self.name.encode()).digest()

    def drafts(self) -> Iterator[Draft]:
        for draft in drafts_of(self.trace.problem, self.seen, self.name, self.source, looks=self.looks):
            messages = tuple(_with_pixels(message, self.pixels) for message in draft.messages)
            yield replace(draft, messages=messages, group=self.group)


def drafts_of(
    problem: Problem, seen: Sequence[tuple[Call, Reply]], name: str, source: str, *, looks: bool = False
) -> Iterator[Draft]:
    """A triple of each reply of an episode that is to be learned; `seen`: its calls and their replies, in order."""
    about = tuple(image.sha256 for image in problem.images)
    chosen = [(prompt, text) for prompt, text in _replies(seen, looks) if text.strip()]
    for number, (prompt, text) in enumerate(chosen, 1):
        yield Draft(f"{name}:{number}", (*prompt.messages, Message("assistant", (text,))), source, about)


def _replies(seen: Sequence[tuple[Call, Reply]], looks: bool) -> Iterator[tuple[Prompt, str]]:
    """The prompts and what the reply to each should be."""
    for (call, reply), (later, mended) in zip(seen, [*seen[1:], seen[-1]], strict=True):
        if reply.error:
            continue
        if call.purpose == "generation":
            yield call.prompt, (mended if later.purpose == "reask" else reply).text
        elif call.purpose == "readout" and call.choices:
            known = [(score, letter) for score, letter in zip(reply.scores, call.choices, strict=True)
                     if score is not None]  # fmt: skip
            yield call.prompt, max(known, key=lambda pair: pair[0])[1] if known else ""
        elif call.purpose == "look" and looks and not call.slot.startswith("tool:"):  # a tool is told nothing in words
            yield call.prompt, reply.text


def _with_pixels(message: Message, pixels: PixelsOf) -> Message:
    shown = [replace(p, image=pixels(p.image)) if isinstance(p, View) else p for p in message.parts]
    return Message(message.role, tuple(shown))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A file of traces; `rows`: what came of its problems, where that is known."""

    path: Path
    name: str
    rows: tuple[Row, ...] | None
    run: Run | None = None

    def episodes(self, wanted: Wanted, left_out: Counter[str]) -> Iterator[_Episode]:
        if wanted.only_correct and self.rows is None:
            raise BadData(f"{self.path}: nothing says which of its episodes are correct; --only-correct needs a run"
                          f" directory, or a {RESULTS} beside {TRACES}")  # fmt: skip
        rows = {row.key: row for row in self.rows or ()}
        pixels = _Pixels(self.path, self.run)
        for number, trace in enumerate(read_traces(self.path), 1):
            where = f"{self.path}, episode {number}"
            result, seen = _driven(trace, where)
            key = trace.problem.id or str(number), trace.seed or 0
            row = rows.get(key)
            if why := _unwanted(result, row, wanted):
                left_out[why] += 1
            elif seen:
                name = f"{self.name}:{key[0]}:{key[1]}"
                group = f"{row.task}:{row.group}" if row else ""
                yield _Episode(self.name, name, group, trace, tuple(seen), pixels, wanted.looks)


def _driven(trace: Trace, where: str) -> tuple[Result, list[tuple[Call, Reply]]]:
    """The episode's result, and its calls with their replies."""
    if trace.same:
        raise BadTrace(f"{where} was recorded with the comparison '{trace.same}', which is not known here")
    seen: list[tuple[Call, Reply]] = []
    running = episode(trace.problem, trace.plan, start=trace.start, seed=trace.seed)
    try:
        return drive_recorded(_watched(running, seen), trace.turns), seen
    except NotRecorded as error:
        raise BadTrace(f"{where} cannot be driven again: {error}") from None


def _watched(running: Episode, seen: list[tuple[Call, Reply]]) -> Generator[Turn, Returned, Result]:
    try:
        turn = next(running)
        while True:
            returned = yield turn
            seen += zip(turn.calls, returned.replies, strict=True)
            turn = running.send(returned)
    except StopIteration as end:
        result: Result = end.value
        return result


def _unwanted(result: Result, row: Row | None, wanted: Wanted) -> str:
    """Why an episode is left out; empty where it is taken."""
    if result.error:
        return "failed"
    if wanted.only_correct and (row is None or row.outcome != "correct"):
        return "not correct"
    if wanted.confidence is not None and (result.confidence is None or result.confidence < wanted.confidence):
        return "not confident enough"
    if wanted.most_rounds is not None and len(result.rounds) > wanted.most_rounds:
        return "too many rounds"
    return ""


class _Pixels:
    """Finds the pixels of a trace's images: beside the trace, or in the data of the run's task."""

    def __init__(self, path: Path, run: Run | None) -> None:
        self._path, self._run = path, run
        self._folder = path.with_name(path.name + ".images")
        self._known: dict[str, Image] | None = None

    def __call__(self, image: Image) -> Image:
        for file in self._folder.glob(f"{image.sha256}.*"):
            return load_image(file)
        if self._known is None:
            self._known = {} if self._run is None else dict(_task_images(self._run))
        if image.sha256 not in self._known:
            raise BadData(
                f"{self._path}: a prompt shows the image '{image.name}' ({image.sha256[:12]}…), whose pixels are not"
                f" known; record with --trace-images, or put it into {self._folder} under its sha256"
            )
        return self._known[image.sha256]


def _task_images(run: Run) -> Iterator[tuple[str, Image]]:
    task = run.manifest["task"]
    named = NamedTask(
        task["name"], task["text"], read_task(task["text"], f"{run.folder}: the task"), Path(task["data"])
    )
    for item in named.items(task["split"]):
        for source in item.images:
            image = source() if callable(source) else load_image(source)
            yield image.sha256, image
