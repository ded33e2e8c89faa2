"""The command line as a person uses it: real processes, scripted models, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image as Pixels
from written import verdict

LOOKS = [
    {"purpose": "look", "question": "", "text": "two red circles", "probability": 0.8},
    {"purpose": "look", "question": "Is it red?", "text": "yes", "probability": 0.7},
    {"purpose": "look", "text": "2", "probability": 0.9, "repeat": True},
]
REASONS = [
    {"purpose": "generation", "text": verdict("yes", "how many circles are red?")},
    {"purpose": "generation", "text": verdict("yes", "how many squares are red?", cites=(3,))},
    {"purpose": "readout", "probabilities": [0.9, 0.05], "repeat": True},
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image and two scripts, where the commands run, and no config of the machine's own."""
    Pixels.new("RGB", (32, 32), "red").save(tmp_path / "a.png")
    (tmp_path / "looks.jsonl").write_text("\n".join(map(json.dumps, LOOKS)))
    (tmp_path / "reasons.jsonl").write_text("\n".join(map(json.dumps, REASONS)))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("ITERREASON_REASONER", "ITERREASON_ANSWERER"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


MODELS = ("--reasoner", "scripted:reasons.jsonl", "--answerer", "scripted:looks.jsonl")
ASK = ("ask", "a.png", "Is it red?", "--choices", "yes,no", *MODELS)


def run(here: Path, *arguments: str, **more) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "iterreason", *arguments]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=120, check=False, **more)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_ask_prints_rounds_and_the_answer(here):
    """`ask` shows each round's evidence and verdict, the answer, why it stopped, and what it cost."""
    done = run(here, *ASK)
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "Is it red?  [yes, no]  (a.png 32×32)",
        "[1] caption: two red circles  0.80",
        "round 2",
        "[3] how many circles are red? → 2  0.90",
        "⇒ yes  confidence 0.95",
        "answer: yes  confidence 0.95 (choice-logprob)",
        "stopped: confident: 0.95 ≥ 0.90, stable: same answer for 2 rounds",
        "cost: 2 generations, 2 read-outs, 3 looks",
    ):
        assert part in done.stdout


def test_json_is_one_object_and_nothing_else(here):
    """`--json` prints one object with answer, confidence, stop_reason, rounds, memory and usage, also on failure."""
    done = run(here, *ASK, "--json")
    result = json.loads(done.stdout)
    assert {"answer", "confidence", "stop_reason", "rounds", "memory", "usage"} <= set(result)
    assert (result["answer"], len(result["rounds"]), len(result["memory"])) == ("yes", 2, 3)
    (here / "reasons.jsonl").write_text('{"error": "out of memory"}')
    failed = run(here, *ASK, "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["error"] == "the reasoner failed: out of memory"
    assert "iterreason: the reasoner failed: out of memory" in failed.stderr


def test_a_trace_replays_from_the_command_line(here):
    """`--trace` records, `replay` gives the same transcript and the same JSON without any model."""
    asked = run(here, *ASK, "--trace", "t.jsonl", "--trace-images", "--json")
    image = json.loads(asked.stdout)["images"][0]["sha256"]
    assert (here / "t.jsonl.images" / f"{image}.png").read_bytes() == (here / "a.png").read_bytes()
    for script in ("reasons.jsonl", "looks.jsonl", "a.png"):
        (here / script).unlink()
    replayed = run(here, "replay", "t.jsonl", "--json")
    assert json.loads(replayed.stdout) == json.loads(asked.stdout)
    assert "answer: yes" in run(here, "replay", "t.jsonl").stdout


def test_a_what_if_from_the_command_line(here):
    """`replay --policy` answers from the record, or says which call it lacks."""
    run(here, *ASK, "--trace", "t.jsonl")
    shipped = run(here, "policies", "evidence").stdout
    (here / "eager.toml").write_text(shipped.replace("stable = 2", "").replace("min = 2", ""))
    eager = run(here, "replay", "t.jsonl", "--policy", "eager.toml")
    assert eager.returncode == 1  # before round 2 the schema asks less: another call than the recorded one
    (here / "bold.toml").write_text(shipped.replace("confident = 0.9", "confident = 0.5"))
    assert "confident: 0.95 ≥ 0.50" in run(here, "replay", "t.jsonl", "--policy", "bold.toml").stdout
    missing = run(here, "replay", "t.jsonl", "--policy", "idealgpt")
    assert missing.returncode == 1
    assert "the trace holds no reply for this generation call" in missing.stderr


def test_a_killed_run_resumes(here):
    """kill -9 in the middle of an episode loses no finished turn; the same command goes on."""
    (here / "reasons.jsonl").write_text("\n".join(map(json.dumps, REASONS[:1] + REASONS[2:])))
    assert run(here, *ASK, "--trace", "t.jsonl").returncode == 1  # the script ends before round 2
    lines = (here / "t.jsonl").read_text().splitlines(keepends=True)
    (here / "t.jsonl").write_text("".join(lines[:-2]) + lines[-2][:30])
    (here / "reasons.jsonl").write_text("\n".join(map(json.dumps, REASONS[1:])))
    done = run(here, *ASK, "--trace", "t.jsonl")
    assert done.returncode == 0
    assert "answer: yes" in done.stdout
    assert run(here, "replay", "t.jsonl").returncode == 0


def test_policies_and_models_are_listed(here):
    """What is shipped, and what is usable here or how to make it so."""
    listed = run(here, "policies").stdout
    names = ["blind", "chat-captioner", "cot", "direct", "evidence", "exemplars", "idealgpt", "recoverr"]
    names += ["single-round", "vote"]
    assert [line.split()[0] for line in listed.splitlines()] == names
    assert run(here, "policies", "direct").stdout.startswith("description = ")
    models = run(here, "models").stdout
    assert all(name in models for name in ("embedded", "openai", "hf", "scripted", "tool ocr", "tool detect", "usable"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ask", "nothing.png", "Is it?", *MODELS), "nothing.png"),
        (("ask", ".", "Is it?", *MODELS), "directory"),
        (("ask", "https://example.com/a.png", "Is it?", *MODELS), "--allow-url"),
        (("ask", "looks.jsonl", "Is it?", *MODELS), "looks.jsonl"),
        (("ask", "a.png", " ", *MODELS), "the question is empty"),
        (("ask", "a.png", "x" * 100_000, *MODELS), "100,000 characters"),
        (("ask", "a.png", "Is it?", "--choices", "yes,Yes.", *MODELS), "'yes' and 'Yes.' mean the same"),
        (("ask", "a.png", "Is it?", "--choices", "yes,,no", *MODELS), "is empty"),
        (("ask", "a.png", "Is it?", "--choices", "", *MODELS), "choices must be 2 to 26"),
        (("ask", "a.png", "Is it?", "--choices", "yes", *MODELS), "choices must be 2 to 26"),
        (("ask", "a.png", "Is it?", "--policy", "evidense", *MODELS), "did you mean 'evidence'?"),
        (("ask", "a.png", "Is it?", "--policy", "no.toml", *MODELS), "cannot read the policy file no.toml"),
        (("ask", "a.png", "Is it?", "--reasoner", "gpt-4", "--answerer", "embedded"), "unknown model 'gpt-4'"),
        (("ask", "a.png", "Is it?", "--reasoner", "scripted:no.jsonl", "--answerer", "same"), "no.jsonl"),
        (("ask", "a.png", "Is it?", "--seed", "soon"), "invalid int value: 'soon'"),
        (("ask", "a.png"), "required"),
        (("ask", "a.png", "Is it?", "--trace-images", *MODELS), "name one with --trace FILE"),
        (("replay", "no.jsonl"), "cannot read the trace"),
        (("replay", "looks.jsonl"), "is not a trace"),
        (("policies", "evidense"), "did you mean 'evidence'?"),
        (("fly",), "invalid choice: 'fly'"),
        ((), "required"),
    ],
)
def test_misuse_is_one_clear_error_with_exit_code_2(here, arguments, why):
    """A user's mistake is told in words, with the value and the next step; never a traceback."""
    done = run(here, *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stdout == ""


def test_a_server_that_is_down_is_exit_code_1(here):
    """What went wrong outside is exit code 1, with the address and what to do."""
    done = run(here, "ask", "a.png", "Is it?", "--reasoner", "openai:m@http://127.0.0.1:9/v1", "--answerer", "same")
    assert done.returncode == 1
    assert "cannot reach http://127.0.0.1:9/v1" in done.stderr


def test_a_broken_config_file_is_named(here):
    """A mistake in the config file is an error with its path and a 'did you mean'."""
    config = here / "config" / "iterreason" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('resoner = "embedded"')
    done = run(here, "ask", "a.png", "Is it?")
    assert done.returncode == 2
    assert "did you mean 'reasoner'?" in done.stderr
    config.write_text('reasoner = "scripted:reasons.jsonl"\nanswerer = "scripted:looks.jsonl"')
    assert run(here, "ask", "a.png", "Is it red?", "--choices", "yes,no").returncode == 0


def test_ctrl_c_ends_at_once_and_cleanly(here):
    """An interrupt in the middle of a call ends the program within seconds, with 130 and no traceback."""
    import socket

    with socket.socket() as silent:  # accepts and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"openai:m@http://127.0.0.1:{silent.getsockname()[1]}/v1"
        command = [sys.executable, "-m", "iterreason", "ask", "a.png", "Is it?", "--reasoner", uri]
        program = subprocess.Popen(
            [*command, "--answerer", "same"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        silent.settimeout(60)
        connection, _ = silent.accept()
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=30)
        connection.close()
    assert program.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors


def test_a_closed_pipe_is_no_traceback(here):
    """`iterreason … | head -1` ends quietly."""
    command = f"{sys.executable} -m iterreason policies evidence | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=here, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_reader_that_leaves_ends_the_episode(here):
    """`iterreason ask … | head -1` ends by itself, without a traceback."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m iterreason {' '.join(map(repr, ASK))} | head -1"],
        cwd=here, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Is it red?" in done.stdout
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_a_model_loads_ends_at_once(here):
    """Loading a model takes a minute the first time; an interrupt does not wait for it."""
    code = (
        "import time, sys, iterreason.models as models, iterreason.cli as cli\n"
        "models._load = lambda *a: (print('loading', file=sys.stderr, flush=True), time.sleep(60))\n"
        "sys.exit(cli.main(['ask', 'a.png', 'Is it?', '--reasoner', 'embedded', '--answerer', 'embedded']))"
    )
    program = subprocess.Popen([sys.executable, "-c", code], cwd=here, stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    assert "loading" in program.stderr.readline()
    began = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert (program.returncode, "Traceback" in errors) == (130, False)


def test_a_terminal_without_the_characters_is_no_error(here):
    """Where the output cannot show a character it shows another."""
    done = run(here, *ASK, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, "answer: yes" in done.stdout) == (0, True)


def test_replaying_a_failure_is_a_failure(here):
    """`replay` of an episode that ended with an error tells it, with the exit code of `ask`."""
    (here / "reasons.jsonl").write_text('{"error": "out of memory"}')
    assert run(here, *ASK, "--trace", "t.jsonl").returncode == 1
    replayed = run(here, "replay", "t.jsonl")
    assert replayed.returncode == 1
    assert "error: the reasoner failed: out of memory" in replayed.stdout


def test_no_secret_reaches_trace_output_or_error(here):
    """The key from the environment is in no trace, log, output or error."""
    secret = "sk-very-secret-0123456789"
    env = {**os.environ, "ITERREASON_API_KEY": secret}
    done = run(here, *ASK, "--trace", "t.jsonl", env=env)
    down = run(here, "ask", "a.png", "Is it?", "--reasoner", "openai:m@http://127.0.0.1:9/v1", env=env)
    assert secret not in done.stdout + done.stderr + down.stdout + down.stderr + (here / "t.jsonl").read_text()


def test_control_characters_of_a_model_do_not_reach_the_terminal(here):
    """What a model says cannot move the cursor or colour the screen."""
    (here / "looks.jsonl").write_text(json.dumps({"text": "\x1b[2Jyes\x07", "repeat": True}))
    done = run(here, *ASK)
    assert "\x1b[2J" not in done.stdout
    assert "\x07" not in done.stdout
