"""`iterreason eval`, `report`, `export` and `tasks` as a user types them, in processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_case import write_models, write_pool, write_task

from iterreason.trace import read_traces


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a task of six problems in `task/` and scripted models."""
    write_task(tmp_path / "task")
    write_models(tmp_path)
    return tmp_path


MODELS = ("--reasoner", "scripted:reasoner.jsonl", "--answerer", "scripted:answerer.jsonl")
EVAL = ("eval", "task/squares.toml", *MODELS)


def iterreason(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command; its output."""
    command = [sys.executable, "-m", "iterreason", *arguments]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=120)


def test_an_evaluation_prints_its_table(here):
    """Baselines run beside; the table has accuracy with its interval, and says how to see every sample."""
    done = iterreason(here, *EVAL, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "squares / blind: 6 of 6" in done.stderr
    for name in ("evidence", "blind", "direct"):
        assert name in done.stdout
        assert (here / "out/squares" / name / "results.jsonl").is_file()
    assert "iterreason report out/squares --html report.html" in done.stdout


def test_json_is_one_object_and_nothing_else(here):
    """`--json` prints the runs with task, policy, n, accuracy and interval."""
    done = iterreason(here, *EVAL, "--json", "--no-baselines", "--limit", "4")
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["task"], run["policy"], run["n"]) == ("squares", "evidence", 4)
    assert run["interval"][0] <= run["accuracy"] <= run["interval"][1]


def test_what_was_evaluated_is_reported_and_exported(here):
    """Report as table, markdown, JSON and page; export as Parquet and CSV; what exists is named where it lies."""
    iterreason(here, *EVAL, "--out", "out", "--no-baselines")
    assert "evidence" in iterreason(here, "report", "out").stdout
    assert iterreason(here, "report", "out", "--markdown").stdout.count("|") > 10
    assert json.loads(iterreason(here, "report", "out", "--json").stdout)["runs"][0]["n"] == 6
    assert "wrote page.html" in iterreason(here, "report", "out", "--html", "page.html").stderr
    assert (here / "page.html").read_text().startswith("<!doctype html>")
    assert "wrote rows.parquet" in iterreason(here, "export", "out", "rows.parquet").stdout


def test_a_directory_with_brackets_in_its_name_is_a_name(here):
    """What looks like markup in a path is printed as it is, and quoted for the shell."""
    done = iterreason(here, *EVAL, "--no-baselines", "--out", "x[/b] y")
    assert done.returncode == 0, done.stderr
    assert "iterreason report 'x[/b] y/squares' --html report.html" in done.stdout


def test_the_same_command_solves_nothing_twice(here):
    """The second time says what is there already."""
    iterreason(here, *EVAL, "--no-baselines")
    again = iterreason(here, *EVAL, "--no-baselines")
    assert "6 problems, 6 there already" in again.stderr


def test_a_pool_of_exemplars_is_drawn_from_for_each_problem(here):
    """`--exemplars`: each problem is shown as many as the policy says, never itself; the trace holds them."""
    write_pool(here / "task/squares.toml")
    asked = (*EVAL, "--no-baselines", "--policy", "exemplars", "--out", "out")
    refused = iterreason(here, *asked)
    assert refused.returncode == 2
    assert "policy 'exemplars' shows worked exemplars; name a pool of them with --exemplars FILE" in refused.stderr
    done = iterreason(here, *asked, "--exemplars", "task/pool.jsonl")
    assert done.returncode == 0, done.stderr
    traces = list(read_traces(here / "out/squares/exemplars/traces.jsonl"))
    assert len(traces) == 6
    for trace in traces:
        shown = trace.problem.exemplars
        assert len({exemplar.question for exemplar in shown}) == 4
        assert trace.problem.question not in {exemplar.question for exemplar in shown}
        assert trace.replay().answer == "red"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("eval",), "name a task"),
        (("eval", "--ray", "task/squares.toml"), "'task/squares.toml' was taken as the address of --ray"),
        (("eval", "squares"), "unknown task 'squares'; did you mean"),
        (("eval", "task/gone.toml"), "cannot read the task file task/gone.toml"),
        (("eval", "task/squares.toml:tset", *MODELS), "unknown split 'tset'; did you mean 'test'?"),
        (("eval", "task/squares.toml", "task/squares.toml"), "two tasks are called 'squares:test'"),
        ((*EVAL, "--policy", "evidense"), "unknown policy 'evidense'; did you mean 'evidence'?"),
        ((*EVAL, "--policy", "mine.toml"), "cannot read the policy file mine.toml"),
        ((*EVAL, "--limit", "0"), "--limit must be at least 1, not 0"),
        ((*EVAL, "--seeds", "0"), "--seeds must be at least 1, not 0"),
        ((*EVAL, "--concurrency", "0"), "--concurrency must be at least 1, not 0"),
        ((*EVAL, "--data", "gone"), "has no file gone/rows.jsonl"),
        ((*EVAL, "--data", "task", "--data", "squares=task"), "the folder of 'task/squares.toml' is task already"),
        (("eval", "scenes", "--data", "task", *MODELS), "task 'scenes' reads no folder; leave its --data out"),
        (
            ("eval", "task/squares.toml", "scenes", "--data", "task"),
            "say which task's it is, as in --data task/squares.toml=task",
        ),
        ((*EVAL, "--ray", "--deterministic"), "leave --ray out"),
        ((*EVAL, "--matched", "--all-rounds"), "leave --all-rounds out"),
        ((*EVAL, "--out", "reasoner.jsonl"), "name another with --out"),
        (("report", "gone"), "gone"),
        (("report", "task"), "task holds no run"),
        (("export", "task", "x.parquet"), "task holds no run"),
        (("tasks", "nlvx"), "did you mean 'nlvr'?"),
        (("tasks", "--data", "task"), "name it: iterreason tasks NAME --data DIR"),
        (("tasks", "new"), "name the new task"),
    ],
)
def test_misuse_is_one_clear_error_with_exit_code_2(here, arguments, why):
    """Each says what was wrong and what to do; no traceback."""
    done = iterreason(here, *arguments)
    assert done.returncode == 2, done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_of_nothing_but_errors_is_a_failure(here):
    """Exit code 1 with the first reason, and what to do; control characters in it do not reach the terminal."""
    look = {"purpose": "look", "error": "gone \x1b[2J away", "repeat": True}
    (here / "answerer.jsonl").write_text(json.dumps(look) + "\n")
    done = iterreason(here, *EVAL, "--no-baselines", "--policy", "direct")
    assert done.returncode == 1
    assert "all 6 problems ended with an error" in done.stderr
    assert "--retry-errors" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_what_data_say_does_not_steer_the_terminal(here):
    """Control characters and markup in a data set are shown as text."""
    rows = here / "task/rows.jsonl"
    rows.write_text(rows.read_text().replace('"p0"', '"p0\\u001b[31m"').replace('"p1"', '"p0\\u001b[31m"'))
    done = iterreason(here, "eval", "task/squares.toml", *MODELS)
    assert "stands twice" in done.stderr
    assert "\x1b" not in done.stderr


def test_ctrl_c_leaves_whole_lines_and_goes_on_later(here):
    """Exit code 130, no traceback, every line whole; the same command then does the rest."""
    write_task(here / "task", 400)
    command = [sys.executable, "-m", "iterreason", *EVAL, "--no-baselines", "--concurrency", "1", "--out", "out"]
    running = subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    results = here / "out/squares/evidence/results.jsonl"
    deadline = time.monotonic() + 60
    while not (results.exists() and results.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors.decode()
    assert b"Traceback" not in errors
    lines = results.read_text().splitlines()
    assert 0 < len(lines) < 400
    assert all(json.loads(line) for line in lines)
    assert f"{len(lines)} there already" in iterreason(here, *EVAL, "--no-baselines", "--out", "out").stderr
