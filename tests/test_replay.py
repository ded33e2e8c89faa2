"""Replay, resume, undo and what-if: one driver over what is recorded and what is live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from written import Script, plan, policy, problem, said, scored, verdict

from iterreason.calls import EvidenceFound, Returned, Told, Turn, VerdictReached, Vetoed
from iterreason.driver import RecordedTurn, drive, drive_recorded, without_waiting
from iterreason.errors import BadTrace, Misuse, NotRecorded
from iterreason.loop import episode
from iterreason.memory import EMPTY
from iterreason.recording import TraceFile
from iterreason.records import Result
from iterreason.trace import TraceWriter, read_trace, read_traces, result_line


def four_rounds(**more) -> Script:
    replies = [verdict("no", "is it red?", "is it blue?")] + [verdict("yes", f"what is thing {n}?") for n in range(3)]
    return Script(replies, [scored(0.5, 0.5), scored(0.6, 0.3), scored(0.7, 0.3), scored(0.99, 0.01)], **more)


def recorded(script: Script, path: Path, name: str = "evidence", seed: int | None = 7) -> Result:
    """Run an episode live into a trace file."""
    resolved = plan(name)
    file = TraceFile(path, TraceWriter(problem(), resolved, EMPTY, seed))
    running = episode(problem(), resolved, seed=seed)
    result = asyncio.run(drive(running, live=script.live, on_returned=file.turn))
    file.close(result)
    return result


def test_a_trace_replays_exactly_without_a_model(tmp_path):
    """The record alone gives the same result again: answer, rounds, memory, usage, down to the seconds."""
    path = tmp_path / "t.jsonl"
    result = recorded(four_rounds(notes={4: (Told("it is night"), Vetoed(2))}), path)
    again = read_trace(path).replay()
    assert again == result
    assert again.to_json() == result.to_json()


def test_replay_tells_the_same_events(tmp_path):
    """Whoever watches a replay sees what was seen live."""
    live: list = []
    script = four_rounds()
    resolved = plan()
    path = tmp_path / "t.jsonl"
    file = TraceFile(path, TraceWriter(problem(), resolved, EMPTY, None))
    result = asyncio.run(
        drive(episode(problem(), resolved), live=script.live, on_events=live.extend, on_returned=file.turn)
    )
    file.close(result)
    replayed: list = []
    read_trace(path).replay(on_events=replayed.extend)
    assert replayed == live
    assert [e.round for e in live if isinstance(e, VerdictReached)] == [1, 2, 3, 4]


def test_every_turn_is_on_disk_before_the_next_is_made(tmp_path):
    """A run killed at any point leaves a trace of all turns made so far."""
    path = tmp_path / "t.jsonl"
    resolved = plan()
    file = TraceFile(path, TraceWriter(problem(), resolved, EMPTY, None))
    script, on_disk = four_rounds(), []

    async def live(turn: Turn) -> Returned:
        on_disk.append(len(path.read_text().splitlines()))
        return script.returned(turn)

    asyncio.run(drive(episode(problem(), resolved), live=live, on_returned=file.turn))
    assert on_disk == list(range(1, len(on_disk) + 1))


def test_a_killed_run_resumes_to_the_same_end(tmp_path):
    """For every prefix of the turns, also with a torn last line: recorded then live ends as if never cut."""
    whole = tmp_path / "whole.jsonl"
    result = recorded(four_rounds(), whole)
    lines = whole.read_text().splitlines(keepends=True)
    turns = len(lines) - 2
    for kept in range(turns):
        part = tmp_path / f"part{kept}.jsonl"
        part.write_text("".join(lines[: kept + 1]) + lines[kept + 1][:40])
        trace = read_trace(part)
        assert (len(trace.turns), trace.finished) == (kept, False)
        answers = iter(read_trace(whole).turns[kept:])  # what the models would have said

        async def live(turn: Turn, answers=answers) -> Returned:
            made = next(answers)
            assert made.keys == tuple(call.key for call in turn.calls)
            return made.returned

        again = asyncio.run(drive(episode(problem(), trace.plan, seed=7), trace.turns, live))
        assert again == result


def test_undo_is_all_but_the_last_turn():
    """Dropping the last turn from the record and going on live gives another end from the same beginning."""
    script = four_rounds()
    made: list[RecordedTurn] = []

    def record(turn: Turn, returned: Returned) -> None:
        made.append(RecordedTurn(tuple(c.key for c in turn.calls), returned))

    asyncio.run(drive(episode(problem(), plan()), live=script.live, on_returned=record))
    other = Script([], scored(0.1, 0.9))
    result = asyncio.run(drive(episode(problem(), plan()), made[:-1], other.live))
    assert other.purposes == ["readout"]
    assert result.confidence == pytest.approx(0.1)


def test_votes_with_the_same_key_are_played_back_in_order():
    """Replay matches key and occurrence: the second use of a key gets the second recorded reply."""
    first, second = said("one"), said("two")
    running = episode(problem(), plan("direct"))
    turn = next(running)
    key = turn.calls[0].key
    record = [RecordedTurn((key,), Returned((first,))), RecordedTurn((key,), Returned((second,)))]
    from iterreason.driver import _Tape

    tape = _Tape(record)
    assert [tape.play(turn, strict=True).replies[0].text for _ in range(2)] == ["one", "two"]  # type: ignore[union-attr]
    with pytest.raises(NotRecorded):
        tape.play(turn, strict=True)


def test_a_what_if_costs_no_call_where_the_calls_are_recorded(tmp_path):
    """Another stop rule or budget is answered from the record; one that asks for more is refused by name."""
    path = tmp_path / "t.jsonl"
    recorded(four_rounds(), path)
    trace = read_trace(path)
    earlier = trace.replay(policy("evidence", max="max = 4", confident="confident = 0.65"))
    assert (len(earlier.rounds), earlier.stop_reason) == (3, "confident: 0.70 ≥ 0.65, stable: same answer for 2 rounds")
    assert earlier.usage.elapsed_seconds == 9
    with pytest.raises(NotRecorded, match="generation call to reasoner"):
        trace.replay(policy("idealgpt"))


def test_a_what_if_that_runs_past_the_record_is_refused(tmp_path):
    """An episode that stopped early says nothing about later rounds; the missing call is named, never guessed."""
    path = tmp_path / "t.jsonl"
    script = Script([verdict("yes", "is it red?"), verdict("yes", "is it blue?")], scored(0.95, 0.05))
    assert len(recorded(script, path).rounds) == 2
    with pytest.raises(NotRecorded, match="look call to answerer:0 \\('is it blue\\?'"):
        read_trace(path).replay(policy("evidence", confident="confident = 0.99"))


def test_many_episodes_fit_in_one_file(tmp_path):
    """A file with a whole episode on each line reads back one by one."""
    single = tmp_path / "one.jsonl"
    result = recorded(four_rounds(), single)
    begin, *turns, end = [json.loads(line) for line in single.read_text().splitlines()]
    many = tmp_path / "many.jsonl"
    many.write_text("".join(json.dumps({**begin, "turns": turns, **end}) + "\n" for _ in range(3)))
    traces = list(read_traces(many))
    assert [t.replay() for t in traces] == [result] * 3
    assert all(t.finished for t in traces)
    with pytest.raises(BadTrace, match="more than one episode"):
        read_trace(many)


def test_messages_and_schemas_are_written_once(tmp_path):
    """A trace holds each message of the growing conversation one time, whatever the number of rounds."""
    path = tmp_path / "t.jsonl"
    recorded(four_rounds(), path)
    text = path.read_text()
    assert text.count("You answer a question about an image that you cannot see.") == 2  # the policy, and one message
    assert text.count('"additionalProperties"') == 2  # one for the first round, which must ask, and one for the others
    assert text.count("is it red?") <= 8


def test_a_trace_is_never_overwritten(tmp_path):
    """Recorded work is not lost to a second run with the same file name."""
    path = tmp_path / "t.jsonl"
    recorded(four_rounds(), path)
    with pytest.raises(Misuse, match="never overwritten"):
        TraceFile(path, TraceWriter(problem(), plan(), EMPTY, None))
    with pytest.raises(Misuse, match="cannot write the trace"):
        TraceFile(tmp_path / "no" / "t.jsonl", TraceWriter(problem(), plan(), EMPTY, None))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a trace"),
        ("{}\n", "is not a trace"),
        ("[1]\n", "line 1 is not a JSON object"),
        ("not json\n{}\n", "line 1 is not JSON"),
        ('{"trace": 99}\n', "trace version 99"),
        ('{"trace": 1}\n', "not a trace of this version"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path, text, why):
    """A file that is no trace, or of another version, is a clear error with file and line."""
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(BadTrace, match=why):
        read_trace(path)


def test_a_spoiled_trace_is_refused(tmp_path):
    """A missing file, wrong types and unequal numbers of calls and replies are each an error of their own."""
    path = tmp_path / "t.jsonl"
    with pytest.raises(BadTrace, match="cannot read the trace"):
        read_trace(path)
    recorded(four_rounds(), path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for spoil in (
        lambda ls: ls[1]["replies"].pop(),
        lambda ls: ls[1]["replies"][0].update(seconds="soon"),
        lambda ls: ls[0]["problem"].update(images=[]),
        lambda ls: ls[0]["policy"].update(text="rounds = 3"),
        lambda ls: ls[1].update(notes=[{"note": "Shouted"}]),
        lambda ls: ls[1].pop("elapsed"),
    ):
        copy = json.loads(json.dumps(lines))
        spoil(copy)
        path.write_text("\n".join(json.dumps(line) for line in copy))
        with pytest.raises((BadTrace, Misuse)):
            read_trace(path)


def test_a_driver_without_models_never_waits():
    """What needs an event loop is refused rather than left hanging."""

    class Pause:
        def __await__(self):
            yield

    async def waits() -> None:
        await Pause()

    with pytest.raises(RuntimeError, match="waits"):
        without_waiting(waits())
    with pytest.raises(NotRecorded):
        drive_recorded(episode(problem(), plan()), ())


def test_events_come_before_the_calls_that_follow_them():
    """Evidence is shown as soon as it is found, before the reasoner is asked to weigh it."""
    seen: list[object] = []
    script = Script([verdict("yes")], scored(0.6, 0.4))

    async def live(turn: Turn) -> Returned:
        seen.append(turn.calls[0].purpose)
        return script.returned(turn)

    running = episode(problem(), plan(min="min = 1"))
    asyncio.run(drive(running, live=live, on_events=lambda es: seen.extend(es)))
    assert [type(s).__name__ if isinstance(s, EvidenceFound) else s for s in seen if not hasattr(s, "number")][:4] == [
        "look",
        "EvidenceFound",
        "EvidenceFound",
        "generation",
    ]


def test_the_result_line_is_for_readers(tmp_path):
    """The last line of a trace says what came of it, in plain JSON."""
    path = tmp_path / "t.jsonl"
    result = recorded(four_rounds(), path)
    assert json.loads(path.read_text().splitlines()[-1]) == json.loads(json.dumps(result_line(result)))
