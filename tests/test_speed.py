"""What the loop costs: counts, ratios and linearity. Seconds are for `make bench-core`, not for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from iterreason.bench.speed import core
from iterreason.bench.speed.figures import best_of, table, write_part
from iterreason.bench.speed.written import QUESTIONS, written_episode, written_live, written_plan, written_replies
from iterreason.calls import Returned, Turn
from iterreason.driver import drive, without_waiting
from iterreason.memory import EMPTY
from iterreason.records import Result
from iterreason.trace import TraceWriter, result_line

FEW, MANY = 10, 40  # rounds


def run(rounds: int, on_returned: Callable[[Turn, Returned], None] | None = None) -> Result:
    """One episode of so many rounds, its replies written beforehand."""
    running = written_episode(1, written_plan(rounds))
    live = written_live(written_replies(1, rounds))
    return without_waiting(drive(running, live=live, on_returned=on_returned))


def function_calls(work: Callable[[], Any]) -> int:
    """How many functions, Python's and C's, the work calls: its cost without a clock."""
    count = 0

    def counted(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def least_seconds(work: Callable[[], Any], repeats: int = 9) -> float:
    """The least processor time of several runs, for ratios alone."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def peak_bytes(work: Callable[[], Any]) -> int:
    """The most memory that the work has allocated at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bytes_in_flight(episodes: int) -> float:
    """By how much a process grows with so many episodes in flight; without coverage, which takes memory itself."""
    command = [sys.executable, "-m", "iterreason.bench.speed.core", "--in-flight", str(episodes)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(command, env=plain, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["bytes"])


def trace_bytes(rounds: int) -> int:
    """The size of an episode's trace."""
    plan, lines = written_plan(rounds), list[dict[str, Any]]()
    problem = run(FEW).problem
    writer = TraceWriter(problem, plan, EMPTY, None)
    result = run(rounds, lambda turn, returned: lines.append(writer.turn(turn, returned)))
    return sum(len(json.dumps(line)) for line in [writer.begin, *lines, result_line(result)])


@pytest.fixture(autouse=True)
def warm() -> None:
    """What is made once, at first use, is made before anything is counted."""
    run(FEW)


def test_a_round_costs_one_generation_one_readout_and_its_looks():
    """No round has the reasoner write more than one reply; the read-out is its only branch."""
    usage = run(MANY).usage
    assert (usage.generations, usage.readouts, usage.reasks) == (MANY, MANY, 0)
    assert usage.looks == 2 + QUESTIONS * (MANY - 1), "two looks come before the first round"


def test_time_grows_with_the_rounds():
    """Four times the rounds take about four times the time: hashing and rendering touch only what is new."""
    assert least_seconds(lambda: run(MANY)) < 2 * MANY / FEW * least_seconds(lambda: run(FEW))


def test_memory_grows_with_the_rounds():
    """Four times the rounds take about four times the memory: no round holds a copy of what came before it."""
    assert peak_bytes(lambda: run(MANY)) < 1.25 * MANY / FEW * peak_bytes(lambda: run(FEW))


def test_a_trace_grows_with_the_rounds():
    """A trace holds each message once, so that four times the rounds make at most four times the bytes."""
    assert trace_bytes(MANY) < 1.1 * MANY / FEW * trace_bytes(FEW)


def test_an_episode_in_flight_takes_little_memory():
    """Each further episode in flight, down to its last turn, takes less than 20 KB of resident memory."""
    few, many = 200, 1000
    assert (bytes_in_flight(many) - bytes_in_flight(few)) / (many - few) < 20_000


def test_episodes_in_flight_cost_the_same_work_each():
    """Five times the episodes in flight cost about five times the work: none looks at the others."""
    plan = written_plan()
    few, many = 20, 100
    work = {n: function_calls(lambda n=n: core.run_all_at_once(n, plan)) for n in (few, many)}
    assert work[many] < 1.2 * many / few * work[few]


def test_the_benchmark_writes_its_own_part_of_the_page(tmp_path, capsys):
    """A run replaces what its own command wrote before, names the machine, and leaves the rest of the page."""
    page = tmp_path / "performance.md"
    write_part(page, "make bench-other", "other figures")
    for _ in range(2):
        assert core.main(["--out", str(page), "--repeats", "1", "--episodes", "20"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("other figures") == text.count("| `import iterreason` |") == 1
    assert text.startswith("# Performance\n")
    assert "20 episodes in flight: resident memory" in capsys.readouterr().out
    write_part(page, "make bench-other", "newer figures")
    assert "other figures" not in page.read_text(encoding="utf-8")


def test_a_missed_target_is_said():
    """A table says which targets were missed, for figures that are to be high as for those that are to be low."""
    slow = best_of("start", [0.4, 0.5], "{:.1f} s", 0.3)
    fast = best_of("speed", [90.0, 110.0], "{:.0f} rounds/s", 100, rising=True)
    free = best_of("size", [7.0], "{:.0f} KB")
    text = table([slow, fast, free], 2)
    assert (slow.met, fast.met, free.met) == (False, True, True)
    assert "| start | < 0.3 s | 0.4 s | 0.4 s – 0.5 s | **missed** |" in text
    assert "| speed | ≥ 100 rounds/s | 110 rounds/s | 90 rounds/s – 110 rounds/s | met |" in text
    assert text.endswith("Missed: start.")
    assert table([fast], 2).endswith("No target is missed.")


def test_memory_and_time_of_episodes_in_flight_are_measured(capsys):
    """The part that runs in a process of its own prints both as JSON."""
    assert core.main(["--in-flight", "50"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["seconds"] > measured["collecting"] >= 0
    assert measured["bytes"] >= 0
