"""What is kept on disk, traces and cached replies: one run at a time writes a trace, and nothing kept is lost."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from written import Script, image, plan, problem, scored, verdict

from iterreason.cache import Cached, ReplyCache
from iterreason.calls import EMPTY_PROMPT, Call, Reply, Returned, Sample, Turn
from iterreason.driver import drive
from iterreason.errors import BadProblem, BadTrace, Failure, Misuse
from iterreason.loop import episode
from iterreason.memory import EMPTY
from iterreason.models.scripted import Scripted
from iterreason.recording import EpisodesFile, TraceFile, append_trace, open_trace, store_images
from iterreason.records import Exemplar, Problem, Result
from iterreason.trace import EpisodeRecorder, TraceWriter, read_trace, read_traces

PLAN = plan()


def script() -> Script:
    replies = [verdict("no", "is it red?", "is it blue?")] + [verdict("yes", f"what is thing {n}?") for n in range(3)]
    return Script(replies, [scored(0.5, 0.5), scored(0.6, 0.3), scored(0.7, 0.3), scored(0.99, 0.01)])


def run(on_returned: Callable[[Turn, Returned], None], problem: Problem = problem()) -> Result:
    """An episode of four rounds."""
    return asyncio.run(drive(episode(problem, PLAN), live=script().live, on_returned=on_returned))


def record(path: Path, problem: Problem = problem()) -> Result:
    """An episode in a trace of its own."""
    file, _ = open_trace(path, problem, PLAN, EMPTY, None)
    assert file is not None
    result = run(file.turn, problem)
    file.close(result)
    return result


def cut(path: Path, lines: int, torn: int = 0) -> None:
    """What a kill leaves: so many lines, and some bytes of the next."""
    kept = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:lines]) + kept[lines][:torn])


# ------------------------------------------------------------------ many episodes


def append(path: Path, problem: Problem = problem()) -> Result:
    turns: list[tuple[Turn, Returned]] = []
    result = run(lambda turn, returned: turns.append((turn, returned)), problem)
    append_trace(path, problem, PLAN, EMPTY, None, turns, result)
    return result


def test_appended_episodes_read_back_one_by_one(tmp_path):
    """A whole episode a line: each replays to its own result."""
    path, problems = tmp_path / "many.jsonl", [problem("Is it red?"), problem("Is it blue?"), problem("Is it green?")]
    results = [append(path, p) for p in problems]
    traces = list(read_traces(path))
    assert len(path.read_text().splitlines()) == 3
    assert [t.problem for t in traces] == problems
    assert [t.replay() for t in traces] == results
    assert all(t.finished for t in traces)


def test_episodes_in_flight_together_are_recorded_apart(tmp_path):
    """Each episode has its own recorder; the lines stand in the order in which the episodes ended."""
    path, first, second = tmp_path / "many.jsonl", problem("Is it red?"), problem("Is it blue?")
    with EpisodesFile(path) as file:
        recorders = [EpisodeRecorder(p, PLAN, EMPTY, None) for p in (first, second)]
        ended = [(run(r.turn, p), r) for r, p in zip(recorders, (first, second), strict=True)]
        for result, recorder in reversed(ended):
            file.append(recorder.line(result))
            assert list(read_traces(path))[-1].replay() == result
    assert [t.problem for t in read_traces(path)] == [second, first]


@pytest.mark.parametrize("torn", [9, 40, 5000])
def test_a_torn_line_is_mended_before_the_next(tmp_path, torn):
    """A kill in mid-append costs that episode alone, also where it was the first of the file."""
    for whole in (0, 1):
        path = tmp_path / f"many{whole}.jsonl"
        for _ in range(whole + 1):
            append(path)
        cut(path, whole, torn)
        append(path)
        assert [t.finished for t in read_traces(path)] == [True] * (whole + 1)


def test_a_last_line_without_its_end_is_kept(tmp_path):
    """An episode whose newline alone is lacking is whole."""
    path = tmp_path / "many.jsonl"
    append(path)
    path.write_bytes(path.read_bytes()[:-1])
    append(path)
    assert len(list(read_traces(path))) == 2


def test_many_episodes_go_into_no_other_file(tmp_path):
    """A file of notes, or the trace of one episode, is not written into and stays as it was."""
    notes, one = tmp_path / "notes.txt", tmp_path / "one.jsonl"
    notes.write_text("do not lose me")
    record(one)
    before = one.read_bytes()
    with pytest.raises(Misuse, match="not a trace"):
        EpisodesFile(notes)
    with pytest.raises(Misuse, match="holds one episode"):
        EpisodesFile(one)
    assert (notes.read_text(), one.read_bytes()) == ("do not lose me", before)


def test_a_line_of_many_that_is_no_episode_is_named(tmp_path):
    """A foreign line among whole episodes is an error with its number."""
    path = tmp_path / "many.jsonl"
    append(path)
    with path.open("a") as file:
        file.write('{"trace": 1, "turns": 3}\n')
    with pytest.raises(BadTrace, match="line 2 is not a whole episode"):
        list(read_traces(path))


# ------------------------------------------------------------------ one run at a time


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_two_runs_do_not_write_one_trace(tmp_path):
    """The second run on a trace that is being written is refused, and the first goes on undisturbed."""
    path, many = tmp_path / "t.jsonl", tmp_path / "many.jsonl"
    file, _ = open_trace(path, problem(), PLAN, EMPTY, None)
    assert file is not None
    with pytest.raises(Misuse, match="being written by another run"):
        open_trace(path, problem(), PLAN, EMPTY, None)
    result = run(file.turn)
    file.close(result)
    assert read_trace(path).replay() == result
    cut(path, 3)
    file, recorded = open_trace(path, problem(), PLAN, EMPTY, None)
    assert (file is not None, len(recorded)) == (True, 2)
    with pytest.raises(Misuse, match="being written by another run"):
        open_trace(path, problem(), PLAN, EMPTY, None)
    with EpisodesFile(many), pytest.raises(Misuse, match="being written by another run"):
        append(many)
    append(many)


def test_a_resumed_trace_repeats_nothing(tmp_path):
    """For every turn at which a run may be killed: the resumed file is the one that was never cut, byte for byte."""
    whole = tmp_path / "whole.jsonl"
    result = record(whole)
    lines, answers = whole.read_bytes().splitlines(keepends=True), read_trace(whole).turns
    for kept in range(len(answers)):
        path = tmp_path / f"part{kept}.jsonl"
        path.write_bytes(b"".join(lines[: kept + 1]) + lines[kept + 1][:25])
        file, recorded = open_trace(path, problem(), PLAN, EMPTY, None)
        assert file is not None
        said = iter(answers[kept:])

        async def live(turn: Turn, said=said) -> Returned:
            return next(said).returned

        file.close(asyncio.run(drive(episode(problem(), PLAN), recorded, live, on_returned=file.turn)))
        assert path.read_bytes() == whole.read_bytes()
        assert read_trace(path).replay() == result


# ------------------------------------------------------------------ how a file begins


def test_a_refused_problem_leaves_no_trace(tmp_path):
    """An episode that made no turn leaves no file, so that the corrected call can use its name."""
    path = tmp_path / "t.jsonl"
    file, _ = open_trace(path, problem("Is it red?"), PLAN, EMPTY, None)
    assert file is not None
    try:
        raise BadProblem("this policy does not take it")
    except BadProblem:
        file.close()
    assert not path.exists()
    assert record(path).answer == "yes"


@pytest.mark.parametrize("left", [0, 1])
def test_a_file_with_no_turn_is_as_good_as_none(tmp_path, left):
    """An empty file, or what a run killed before its first turn left, takes another problem's trace."""
    path = tmp_path / "t.jsonl"
    record(path, problem("Is it red?"))
    cut(path, left, torn=30)
    result = record(path, problem("Is it blue?"))
    assert read_trace(path).replay() == result
    path.write_bytes(b"")
    assert record(path) == read_trace(path).replay()


def test_an_empty_file_of_the_users_is_not_removed(tmp_path):
    """Only a file that this run made is taken away again."""
    path = tmp_path / "t.jsonl"
    path.touch()
    TraceFile(path, TraceWriter(problem(), PLAN, EMPTY, None)).close()
    assert path.read_bytes() == b""


def test_what_is_no_trace_is_not_written_into(tmp_path):
    """Another file, a device or a folder under the trace's name is refused and stays as it is."""
    notes = tmp_path / "notes.txt"
    notes.write_text("do not lose me")
    with pytest.raises(BadTrace):
        open_trace(notes, problem(), PLAN, EMPTY, None)
    assert notes.read_text() == "do not lose me"
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(Misuse, match="it is not a file"):
            open_trace(path, problem(), PLAN, EMPTY, None)


def test_another_models_trace_is_not_continued(tmp_path):
    """An unfinished trace goes on with the same models only; a script may hold other lines than the one before."""
    path = tmp_path / "t.jsonl"
    record(path)
    cut(path, 3)
    with pytest.raises(Misuse, match="unfinished trace of another"):
        open_trace(path, problem(), replace(PLAN, reasoner="other"), EMPTY, None)
    path.write_text(path.read_text().replace('"reasoner": "written"', '"reasoner": "scripted:a.jsonl#01234567"'))
    _, recorded = open_trace(path, problem(), replace(PLAN, reasoner="scripted:a.jsonl#89abcdef"), EMPTY, None)
    assert len(recorded) == 2


# ------------------------------------------------------------------ what cannot be written

FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, "tests")
import test_trace
from iterreason.errors import Failure
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    for _ in range(10):
        getattr(test_trace, sys.argv[1])(Path(sys.argv[2]))
except Failure as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file-size limits")
@pytest.mark.parametrize("work", ["record", "append"])
def test_a_full_disk_is_a_failure_and_keeps_what_was_written(tmp_path, work):
    """A file that may not grow: path and reason are told, and every turn and episode before can be read."""
    whole, path = tmp_path / "whole", tmp_path / "t.jsonl"
    {"record": record, "append": append}[work](whole)
    limit = whole.stat().st_size * (2.5 if work == "append" else 0.8)
    command = [sys.executable, "-c", FULL, work, str(path), str(int(limit))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert done.stdout == f"cannot write the trace {path}: File too large; it is whole up to there\n"
    assert path.read_bytes().endswith(b"}\n")
    if work == "append":
        assert [t.turns for t in read_traces(path)] == [read_trace(whole).turns] * 2
    else:
        turns = read_trace(path).turns
        assert len(turns) > 1
        assert turns == read_trace(whole).turns[: len(turns)]


def test_images_of_problem_and_exemplars_are_kept(tmp_path):
    """Everything that a model may have seen lies beside the trace, named by its hash."""
    mine, shown = (replace(image(name), data=name.encode()) for name in ("mine", "shown"))
    asked = replace(problem(), images=(mine,), exemplars=(Exemplar((shown,), "Is it red?", "yes"),))
    store_images(tmp_path / "t.jsonl", asked)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "t.jsonl.images").iterdir()}
    assert kept == {f"{mine.sha256}.png": b"mine", f"{shown.sha256}.png": b"shown"}


def test_images_that_cannot_be_kept_are_an_error_of_ours(tmp_path):
    """A folder that is a file, and an image that is a folder, are told with path and reason."""
    (tmp_path / "t.jsonl.images").touch()
    with pytest.raises(Misuse, match=r"cannot keep images in .*t\.jsonl\.images: File exists"):
        store_images(tmp_path / "t.jsonl", problem())
    (tmp_path / "u.jsonl.images" / f"{image('scene0').sha256}.png").mkdir(parents=True)
    with pytest.raises(Failure, match=r"cannot keep the image .*: Is a directory"):
        store_images(tmp_path / "u.jsonl", problem())


def test_half_a_character_does_not_end_an_episode(tmp_path):
    """What a model says is written even where it is not quite text."""
    path = tmp_path / "many.jsonl"
    with EpisodesFile(path) as file:
        file.append({"trace": 1, "turns": [], "said": "\ud83d"})
    assert json.loads(path.read_text())["said"] == "\ud83d"


# ------------------------------------------------------------------ the reply cache


def kept(path: Path, statement: str, *values: object) -> None:
    """Do something to the cache's file from outside."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement, values)


REPLY = Reply((Sample("yes", (-math.inf, -0.5)),), (-math.inf, None, -0.1))


def test_an_impossible_token_survives_the_cache(tmp_path):
    """A log-probability of minus infinity comes back as it went in."""
    replies = ReplyCache(tmp_path / "r.sqlite")
    replies.put("m", "k", REPLY)
    assert replies.get("m", "k") == REPLY
    replies.close()


def test_a_row_that_is_no_reply_is_a_miss_and_is_replaced(tmp_path, caplog):
    """A spoiled row costs one call and one line in the log; after it the cache holds the reply."""
    path = tmp_path / "r.sqlite"
    replies = ReplyCache(path)
    for spoiled in (b"not json", b'{"samples": 3}', b"[]", None):
        kept(path, "INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", "m", "k", spoiled)
        caplog.clear()
        assert replies.get("m", "k") is None
        assert [r.name for r in caplog.records] == ["iterreason"]
        replies.put("m", "k", REPLY)
        assert replies.get("m", "k") == REPLY
    replies.close()


def test_a_cache_that_fails_never_fails_an_episode(tmp_path, caplog):
    """Locked or broken, the cache is a miss and a line in the log; the reply comes from the model."""
    path = tmp_path / "r.sqlite"
    replies = ReplyCache(path, patience=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        replies.put("m", "k", REPLY)
    assert "database is locked" in caplog.text
    assert replies.get("m", "k") is None
    kept(path, "DROP TABLE replies")
    model = Scripted([{"text": "yes", "repeat": True}])
    call = Call("reasoner", "generation", EMPTY_PROMPT.plus("user", "Is it red?"))
    assert asyncio.run(Cached(model, replies).complete(call)).text == "yes"
    assert "could not be read: no such table" in caplog.text
    assert "could not be written: no such table" in caplog.text
    replies.close()


def test_half_a_character_is_not_kept(tmp_path, caplog):
    """A reply that is not quite text goes on to the episode and is not cached."""
    replies = ReplyCache(tmp_path / "r.sqlite")
    replies.put("m", "k", Reply((Sample("\ud83d"),)))
    assert "was not kept" in caplog.text
    assert replies.get("m", "k") is None
    replies.close()


def test_two_scripts_of_one_name_are_two_models(tmp_path):
    """Scripts that differ share no cached replies, whatever their names; equal ones do."""
    names = []
    for folder, text in (("a", "yes"), ("b", "no"), ("c", "yes")):
        path = tmp_path / folder / "reasons.jsonl"
        path.parent.mkdir()
        path.write_text(json.dumps({"text": text}))
        names.append(Scripted.open(path).capabilities().model)
    assert names[0] == names[2] != names[1]
    assert all(name.startswith("scripted:reasons.jsonl#") for name in names)
