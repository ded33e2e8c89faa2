"""The client of the LAVIS worker: its messages, and what becomes of a worker that ends, hangs, or is not the right one.

A program of the test's own stands where LAVIS would; tests/lavis runs the real one.
"""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pixels

from iterreason.calls import EMPTY_PROMPT, Call, Look, Reply, Sampling, View
from iterreason.errors import MissingExtra, ModelFailed, UnknownModel
from iterreason.images import load_image
from iterreason.models import lavis, missing, open_model
from iterreason.models.framed import Framed, WorkerFailed
from iterreason.models.lavis import LavisAnswerer, Patience
from iterreason.records import Image

FAKE = Path(__file__).with_name("fake_worker.py")
MODELS = Path(lavis.__file__).parent
OUTPUT = "iterreason worker output"
OPEN: list[LavisAnswerer] = []
RED, BLUE = (View(load_image(Pixels.new("RGB", (8, 4), colour))) for colour in ("red", "blue"))


def look(question: str | None = "is it red?", view: View = RED, **options: Any) -> Call:
    sampling = Sampling(max_tokens=5, **options.pop("sampling", {}))
    return Call("answerer:0", "look", EMPTY_PROMPT, Look(view, question), sampling=sampling, **options)


def opened(folder: Path, *plans: dict[str, Any], seconds: float = 20) -> LavisAnswerer:
    (folder / "plan.json").write_text(json.dumps(plans or [{}]))
    command = [sys.executable, str(FAKE), str(folder)]
    OPEN.append(LavisAnswerer(command, {"name": "blip_vqa"}, "lavis/fake", Patience(20, 20, seconds)))
    return OPEN[-1]


def answers(model: LavisAnswerer, *calls: Call) -> list[Reply]:
    async def main() -> list[Reply]:
        return list(await asyncio.gather(*(model.complete(call) for call in calls)))

    return asyncio.run(main())


def starts(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "starts").read_text().split()]


def asked(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "asked").read_text().splitlines()]


def runs(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.fixture(autouse=True)
def _closed(tmp_path: Path) -> Iterator[None]:
    """Close what a test has opened, and see that no process, thread or pipe stays."""
    before, threads = len(os.listdir("/proc/self/fd")), threading.enumerate()
    yield

    async def close() -> None:
        while OPEN:
            await OPEN.pop().close()

    asyncio.run(close())
    started = [t.name for t in threading.enumerate() if t not in threads]
    assert not {"iterreason-batches", OUTPUT} & {*started}
    assert not (tmp_path / "starts").exists() or not any(map(runs, starts(tmp_path)))
    assert len(os.listdir("/proc/self/fd")) <= before


# ------------------------------------------------------------------ messages


def test_what_the_libraries_print_does_not_reach_the_messages(tmp_path):
    """However much is printed to stdout, each call gets its own answer, with its probability and tokens."""
    one, two = answers(opened(tmp_path), look(), look("is it blue?"))
    assert (one.text, two.text) == ("is it red? ff0000 [None]", "is it blue? ff0000 [None]")
    assert one.samples[0].logprobs == (-0.5, -0.25)
    assert one.samples[0].mean_logprob == -0.375
    assert (one.tokens.prompt, one.tokens.completion) == (7, 2)
    assert one.seconds > 0


def test_calls_travel_in_one_batch_and_pixels_once(tmp_path):
    """Calls that wait go together; a view that the worker still has is not sent again, one that it forgot is."""
    model = opened(tmp_path)
    answers(model, look(), look("is it blue?"), look(view=BLUE))
    assert answers(model, look("again?"))[0].text == "again? nothing new [None]"
    first, second = asked(tmp_path)[2:]
    assert (len(first["calls"]), len(first["views"]), first["bytes"]) == (3, 2, 2 * 8 * 4 * 3)
    assert (len(second["calls"]), second["views"], second["bytes"]) == (1, [], 0)
    (tmp_path / "starts").unlink()
    (tmp_path / "asked").unlink()
    forgetful = opened(tmp_path, {"answer": "forgets"})
    answers(forgetful, look())
    assert answers(forgetful, look())[0].text == "is it red? ff0000 [None]"


def test_a_batch_is_as_large_as_the_worker_says(tmp_path):
    """A model of billions of parameters gets small batches, so that none takes so long that it looks like a hang."""
    answers(opened(tmp_path, {"load": {"asks": True, "batch": 2, "weights": "0"}}), *[look()] * 5)
    assert [len(request["calls"]) for request in asked(tmp_path)[2:]] == [2, 2, 1]


def test_choices_carry_sum_and_mean(tmp_path):
    """A choice's score is the sum of its tokens' log-probabilities; the picked one carries each, for the mean."""
    [reply] = answers(opened(tmp_path), look(choices=("a long one", "short")))
    assert reply.scores == (-1.5, -2.0)
    assert reply.text == "short"
    assert reply.samples[0].logprobs == (-2.0,)


def test_a_seed_goes_to_the_worker_as_the_calls_own(tmp_path):
    """Each sample has the seed that other backends draw it by; without a seed the worker takes one of its own."""
    call = look(sampling={"temperature": 1.0, "n": 2, "seed": 3})
    [reply] = answers(opened(tmp_path), call)
    assert len(reply.samples) == 2
    assert asked(tmp_path)[2]["calls"][0]["seeds"] == [call.seed_of(0), call.seed_of(1)]
    assert call.seed_of(0) != call.seed_of(1)


def test_a_big_picture_passes(tmp_path):
    """A message of many megabytes is cut into no pieces and waits for no one."""
    view = View(load_image(Pixels.new("RGB", (4000, 2000), "lime")))
    assert answers(opened(tmp_path), look(view=view))[0].text == "is it red? 00ff00 [None]"
    assert asked(tmp_path)[2]["bytes"] == 24_000_000


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call("answerer:0", "look", EMPTY_PROMPT.plus("user", "hello"), sampling=Sampling(max_tokens=5)), "only looks"),
        (look(view=View(Image("0" * 64, 9, 9))), "has no pixels here"),
        (look(view=View(Image("1" * 64, 9, 9, data=b"no image"))), "BadImage"),
        (look("too long"), "context: "),
    ],
)
def test_a_look_that_cannot_be_answered_fails_alone(tmp_path, call, reason):
    """One bad look is its own error in one line; the look beside it is answered."""
    bad, good = answers(opened(tmp_path), call, look())
    assert reason in (bad.error or "")
    assert "\n" not in bad.error
    assert good.error is None


def test_a_captioner_is_asked_nothing(tmp_path):
    """A model that gives captions only says so instead of taking the question for nothing."""
    told = {"load": {"asks": False, "batch": 2, "weights": "0"}}
    question, caption = answers(opened(tmp_path, told), look(), look(None))
    assert "gives captions only" in (question.error or "")
    assert caption.error is None
    assert asked(tmp_path)[2]["calls"][0]["question"] is None


def test_an_error_inside_lavis_is_the_batchs_alone(tmp_path):
    """What LAVIS raises comes back as the reason, and the worker lives on."""
    assert answers(opened(tmp_path, {"answer": "error"}), look())[0].error == "RuntimeError: CUDA out of memory"
    assert len(starts(tmp_path)) == 1


def test_keys_do_not_reach_the_worker(tmp_path, monkeypatch):
    """No API key and no path of our Python are in the worker's environment; the hub is never asked by chance."""
    for name in ("ITERREASON_API_KEY", "OPENAI_API_KEY", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    opened(tmp_path)
    names = (tmp_path / "environment").read_text().split()
    assert not {"ITERREASON_API_KEY", "OPENAI_API_KEY", "PYTHONPATH"} & {*names}
    assert "TRANSFORMERS_OFFLINE" in names


# ------------------------------------------------------------------ a worker that ends or hangs


def test_a_worker_that_ends_is_started_again_and_gets_the_batch(tmp_path, caplog):
    """One end costs a warning and no answer."""
    with caplog.at_level(logging.WARNING, "iterreason"):
        replies = answers(opened(tmp_path, {"answer": "crash"}, {}), look(), look("is it blue?"))
    assert [reply.text for reply in replies] == ["is it red? ff0000 [None]", "is it blue? ff0000 [None]"]
    assert len(starts(tmp_path)) == 2
    assert "ended with exit code 3" in caplog.text


def test_two_ends_in_a_row_are_the_end(tmp_path):
    """The second end with no answer between gives the reason and the last words, and no third worker is started."""
    model = opened(tmp_path, {"answer": "crash"})
    for _ in range(2):
        [reply] = answers(model, look())
        assert "ended with exit code 3; last words: Segmentation fault, says a library" in (reply.error or "")
        assert "not started again after 2 failures" in (reply.error or "")
        assert not reply.samples
    assert len(starts(tmp_path)) == 2


def test_an_answer_between_pardons(tmp_path):
    """Failures count in a row: a worker that ends now and then is started again each time."""
    model = opened(tmp_path, {"answer": "crash"}, {})
    assert answers(model, look())[0].samples
    os.kill(starts(tmp_path)[-1], 9)
    assert answers(model, look())[0].samples
    os.kill(starts(tmp_path)[-1], 9)
    assert answers(model, look())[0].samples
    assert len(starts(tmp_path)) == 4


def test_a_kill_is_named(tmp_path):
    """A worker that the system killed says by which signal, and what that mostly means."""
    [reply] = answers(opened(tmp_path, {"answer": "killed"}), look())
    assert "killed by SIGKILL (out of memory?)" in (reply.error or "")


def test_a_worker_that_hangs_is_an_error_in_time(tmp_path):
    """A batch without an answer fails when patience is over; the next gets a new worker, and the old one is gone."""
    model = opened(tmp_path, {"answer": "hang"}, {}, seconds=2)
    began = time.monotonic()
    assert "has not answered for 2 s" in (answers(model, look())[0].error or "")
    assert time.monotonic() - began < 10
    assert not runs(starts(tmp_path)[0])
    assert answers(model, look())[0].samples
    assert len(starts(tmp_path)) == 2


def test_closing_does_not_wait_for_a_worker_that_hangs(tmp_path):
    """close() in the middle of a batch ends the worker at once and answers the caller."""
    model = opened(tmp_path, {"answer": "hang"})

    async def main() -> Reply:
        task = asyncio.create_task(model.complete(look()))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await model.close()
        assert time.monotonic() - began < 5
        return await task

    assert asyncio.run(main()).error == "the model is closed"
    assert answers(model, look())[0].error == "the model is closed"
    assert len(starts(tmp_path)) == 1


@pytest.mark.parametrize("how", ["noise", "endless", "list", "text", "short"])
def test_what_is_no_message_is_a_failure(tmp_path, how):
    """A worker that sends anything else than a reply for each call is not believed; no answer is made up."""
    [reply] = answers(opened(tmp_path, {"answer": how}), look())
    assert "it sent what is no" in (reply.error or "")
    assert not reply.samples


def test_other_weights_after_a_start_are_refused(tmp_path):
    """A worker that comes back with other weights than the model's name says answers nothing."""
    changed = {"load": {"asks": True, "batch": 32, "weights": "other"}}
    [reply] = answers(opened(tmp_path, {"answer": "crash"}, changed), look())
    assert "its files have changed" in (reply.error or "")


# ------------------------------------------------------------------ opening


@pytest.mark.parametrize(
    ("plan", "error", "words"),
    [
        ({"hello": {"lavis": "2.1.0"}}, MissingExtra, "has LAVIS 2.1.0; iterreason works with 1.0.x. Run: make lavis"),
        ({"hello": {"error": "no module", "kind": "missing"}}, MissingExtra, "no module; run: make lavis"),
        ({"load": {"error": "unknown LAVIS model 'blop'", "kind": "unknown"}}, UnknownModel, "'blop'"),
        ({"load": {"error": "HF_HUB_OFFLINE is set", "kind": "failed"}}, ModelFailed, "HF_HUB_OFFLINE is set"),
    ],
)
def test_what_does_not_open_says_why(tmp_path, plan, error, words):
    """A LAVIS of another version, none at all, or a model that it has not: each is an error with the next step."""
    with pytest.raises(error, match=words.replace(".", r"\.")):
        opened(tmp_path, plan)


def test_a_python_that_is_none_says_so(tmp_path):
    """A program that cannot run, or is no worker, is an error that shows what it said."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho I am no worker\nexit 7\n")
    with pytest.raises(ModelFailed, match="Permission denied"):
        LavisAnswerer([str(script)], {}, "lavis/x")
    script.chmod(0o755)
    with pytest.raises(ModelFailed, match="ended with exit code 7; last words: I am no worker"):
        LavisAnswerer([str(script)], {}, "lavis/x")


def test_a_worker_that_never_starts_is_an_error_in_time(tmp_path):
    """Opening has its own patience."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    with pytest.raises(ModelFailed, match="has not answered for 1 s"):
        LavisAnswerer([str(script)], {}, "lavis/x", Patience(start=1))


@pytest.mark.parametrize(
    ("rest", "role", "error", "words"),
    [
        ("blip_vqa/vqav2", "reasoner", UnknownModel, "cannot be the reasoner"),
        ("blip_vqa", "answerer", UnknownModel, "names no model; the forms are: lavis:NAME/TYPE"),
        ("a/b/c", "answerer", UnknownModel, "names no model"),
        ("no/such.yaml", "answerer", ModelFailed, "is no file"),
        ("blip_vqa/vqav2", "answerer", MissingExtra, "names /no/python, which is no file; run: make lavis".replace(
            "; run", r"\); run")),
    ],
)  # fmt: skip
def test_a_uri_that_cannot_be_opened_says_the_next_step(monkeypatch, rest, role, error, words):
    """Forms, roles and a missing Python are told apart before anything is started."""
    monkeypatch.setenv(lavis.PYTHON_VARIABLE, "/no/python")
    with pytest.raises(error, match=words):
        asyncio.run(open_model(f"lavis:{rest}", role))


def test_the_python_is_found_by_name_or_in_its_folder(tmp_path, monkeypatch):
    """The environment variable comes first, then .venv-lavis of the folder one works in; the link is kept as it is."""
    monkeypatch.delenv(lavis.PYTHON_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lavis, "CHECKOUT", tmp_path / "elsewhere")
    assert lavis.find_python() is None
    assert "make lavis" in (missing("lavis") or "")
    python = tmp_path / ".venv-lavis/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert lavis.find_python() == python
    assert missing("lavis") is None
    monkeypatch.setenv(lavis.PYTHON_VARIABLE, "other/python")
    assert lavis.find_python() == tmp_path / "other/python"
    assert "make lavis" in (missing("lavis") or "")


def test_the_flag_names_the_python(tmp_path):
    """`--lavis-python` reaches the model; what it names is in the error, and the exit code is that of misuse."""
    Pixels.new("RGB", (8, 8)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "iterreason", "ask", "a.png", "Is it?", "--policy", "direct"]
    command += ["--answerer", "lavis:blip_vqa/vqav2", "--lavis-python", "mine/python"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"names {tmp_path}/mine/python, which is no file" in done.stderr


# ------------------------------------------------------------------ the worker's own file, without LAVIS


def test_the_worker_knows_nothing_of_us_nor_we_of_it():
    """Only the worker imports lavis; it imports nothing of ours, and no module of ours imports it."""
    for file in MODELS.parent.rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module or ".", *(f"{node.module}.{alias.name}" for alias in node.names)}
        if file.name == "lavis_worker.py":
            assert not [name for name in names if name.startswith(("iterreason", "."))]
        else:
            assert not [name for name in names if name.split(".")[0] == "lavis" or "lavis_worker" in name], file


def test_the_worker_says_that_there_is_no_lavis():
    """Under a Python without LAVIS the real worker says so, and does not take our own lavis.py for it."""
    worker = Framed([sys.executable, "-E", str(lavis.WORKER)], os.environ)
    try:
        told = worker.ask({"do": "hello"}, seconds=60)
    finally:
        worker.close()
    assert told["kind"] == "missing"
    assert "No module named 'lavis'" in told["error"]


def test_the_worker_ends_with_whoever_wants_it():
    """When the other side is gone, however that came, no worker stays."""
    request_in, request_out = os.pipe()
    reply_in, reply_out = os.pipe()
    command = [sys.executable, "-E", str(lavis.WORKER), str(request_in), str(reply_out)]
    with subprocess.Popen(command, pass_fds=(request_in, reply_out)) as process:
        for end in (request_in, reply_out, request_out):
            os.close(end)
        assert process.wait(timeout=30) == 0
    os.close(reply_in)


def test_a_worker_whose_user_hangs_up_is_no_reader():
    """A program that does not read a large message is late, not waited for."""
    worker = Framed([sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    try:
        with pytest.raises(WorkerFailed, match="has not answered for 1 s") as failed:
            worker.ask({"do": "answer"}, [bytes(10_000_000)], seconds=1)
    finally:
        worker.close()
    assert failed.value.hung
