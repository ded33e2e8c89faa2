"""What the real LAVIS opens and refuses, and how soon; models other than VQA."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from opened import Opened, look

from iterreason.errors import ModelFailed, UnknownModel
from iterreason.models import hf, lavis
from iterreason.models.lavis_folder import write_folder

HERE = Path(__file__).parent
RED, BLUE = tiny.picture("red", 64), tiny.picture("blue", 40)


def ran(python: Path, script: str, *arguments: str, asked: object = None) -> str:
    """What a script says under LAVIS's Python."""
    command = [str(python), "-E", str(HERE / script), str(lavis.WORKER), *arguments]
    environment = {**os.environ, "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------ other families


@pytest.fixture(scope="module")
def captions(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny captioning BLIP, as transformers has it."""
    return tiny.save_blip(tmp_path_factory.mktemp("captions"), captions=True)


def test_captions_are_those_of_transformers(captions, tmp_path):
    """A captioner with the same weights says the same, ranks the same, and takes no question."""
    calls = [look(RED, None, 6), look(BLUE, None, 6), look(RED, None, 6, choices=("red circle", "two blue square"))]
    with Opened(hf.load(str(captions), "answerer")) as reference:
        wanted = reference.answers(calls)
    with Opened(lavis.load(str(write_folder(captions, tmp_path)), "answerer")) as real:
        told = real.answers(calls)
        assert "gives captions only" in (real.answers([look(RED, "is it red?")])[0].error or "")
    for one, other in zip(told, wanted, strict=True):
        assert one.error is None
        assert one.text == other.text
        assert one.samples[0].logprobs == pytest.approx(other.samples[0].logprobs, abs=1e-3)
        assert one.scores == pytest.approx(other.scores, abs=1e-3)


def test_a_prompt_is_no_part_of_the_caption(captions, tmp_path, python):
    """With LAVIS's prompt the caption goes on from it, as LAVIS's own `generate` does."""
    file = write_folder(captions, tmp_path)
    file.write_text(file.read_text().replace('prompt: ""', 'prompt: "a red "'))
    image = tmp_path / "red.png"
    image.write_bytes(RED.data)
    wanted = json.loads(ran(python, "direct.py", str(file), asked=[{"image": str(image), "length": 8}]).split("\n")[-2])
    with Opened(lavis.load(str(file), "answerer")) as real:
        [reply] = real.answers([look(RED, None, 5)])
    assert reply.text == wanted["generated"][0].strip()
    assert reply.tokens.prompt == 3


@pytest.mark.parametrize("arch", ["blip2_opt", "blip2_t5"])
def test_blip2_is_loaded_and_answers(arch, python, tmp_path):
    """BLIP-2's own loading runs; its answers are LAVIS's, and ranks do not depend on the batch."""
    ran(python, "make_blip2.py", str(tmp_path), arch)
    image = tmp_path / "red.png"
    image.write_bytes(RED.data)
    questions = ["is it red?", "how many red circle are there?"]
    asked = [{"image": str(image), "question": question} for question in questions]
    wanted = json.loads(ran(python, "direct.py", str(tmp_path / "model.yaml"), asked=asked).split("\n")[-2])
    with Opened(lavis.load(str(tmp_path / "model.yaml"), "answerer")) as real:
        free = real.answers([*(look(RED, question, 6) for question in questions), look(BLUE, None, 6)])
        assert [reply.error for reply in free] == [None] * 3
        assert [reply.text for reply in free[:2]] == [text.strip() for text in wanted["generated"]]
        choices = ("red", "two blue square")
        ranked = real.answers([look(RED, question, choices=choices) for question in questions])
        for reply, question in zip(ranked, questions, strict=True):
            [alone] = real.answers([look(RED, question, choices=choices)])
            assert reply.scores == pytest.approx(alone.scores, abs=1e-3)
            assert reply.text in choices
        for reply in free:
            assert all(value <= 0 for value in reply.samples[0].logprobs or (1.0,))


# ------------------------------------------------------------------ what is refused


def refused(file: Path | str, words: str, error: type[Exception] = ModelFailed) -> None:
    with pytest.raises(error, match=words):
        lavis.load(str(file), "answerer")


def test_nothing_is_cut_in_silence(real):
    """A question that LAVIS would cut short is an error that says how long it is."""
    long, good = real.answers([look(RED, "is the red circle " * 30), look(RED, "is it red?")])
    assert (long.error or "").startswith("context: ")
    assert good.error is None


def test_a_checkpoint_must_hold_all_weights(weights, tmp_path):
    """LAVIS would pass over weights that a checkpoint lacks and answer at random; here that is an error."""
    folder = Path(shutil.copytree(weights.parent, tmp_path / "copy"))
    held = torch.load(folder / "weights.pth")["model"]
    lacking = {key: value for key, value in held.items() if not key.startswith("text_decoder.bert.encoder.layer.0.")}
    torch.save({"model": lacking}, folder / "weights.pth")
    refused(folder / "model.yaml", r"lacks 26 of the model's weights: text_decoder\.bert\.encoder\.layer\.0")
    (folder / "weights.pth").unlink()
    refused(folder / "model.yaml", "there is no checkpoint .*copy/weights.pth")


def test_a_checkpoint_runs_no_code(weights, tmp_path):
    """A checkpoint that is a pickle with code in it is refused, and the code does not run."""
    folder = Path(shutil.copytree(weights.parent, tmp_path / "copy"))
    torch.save({"model": {"x": Trap(tmp_path / "sprung")}}, folder / "weights.pth")
    refused(folder / "model.yaml", "cannot be loaded")
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_names_that_lavis_has_not(python):
    """An unknown model, and an unknown type of a known one, name what is known."""
    refused("blop_vqa/vqav2", "unknown LAVIS model 'blop_vqa'. Known: blip_vqa, blip_caption, .*", UnknownModel)
    refused("blip_vqa/vqav9", "unknown type 'vqav9' .* Known: vqav2, okvqa, aokvqa", UnknownModel)


# ------------------------------------------------------------------ without a network


@pytest.fixture
def nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, so that everything would have to come from the network."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def silent() -> Iterator[str]:
    """A proxy that takes every connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("network", ["none", "silent", "forbidden"])
def test_without_a_network_it_fails_soon(python, nothing_cached, silent, monkeypatch, network):
    """Whether the network refuses, hangs or is switched off: within a minute the error names what is lacking."""
    if network == "forbidden":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, silent if network != "none" else "http://127.0.0.1:9")
    began = time.monotonic()
    words = "HF_HUB_OFFLINE is set" if network == "forbidden" else "cannot be reached"
    refused("blip_vqa/vqav2", f"{words}.*model_base_vqa_capfilt_large.pth, bert-base-uncased")
    assert time.monotonic() - began < 90  # most of it is LAVIS's own import


def test_local_files_need_no_network(weights, nothing_cached, silent, monkeypatch):
    """A local checkpoint with its vocabulary opens with an empty cache and a network that hangs."""
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, silent)
    began = time.monotonic()
    with Opened(lavis.load(str(weights), "answerer")) as model:
        assert model.answers([look(RED, "is it red?")])[0].error is None
    assert time.monotonic() - began < 90


# ------------------------------------------------------------------ from the command line


def test_the_command_line_answers_by_lavis(weights, tmp_path):
    """`iterreason ask` with a LAVIS model gives an answer whose evidence names it, with its probability."""
    (tmp_path / "red.png").write_bytes(RED.data)
    command = [sys.executable, "-m", "iterreason", "ask", "red.png", "is there a red square?", "--choices", "yes,no"]
    command += ["--policy", "direct", "--answerer", f"lavis:{weights}", "--json"]
    environment = {**os.environ, lavis.PYTHON_VARIABLE: str(lavis.find_python())}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["answer"] in ("yes", "no")
    [evidence] = result["memory"]
    assert evidence["model"].startswith("lavis/renamed")
    assert 0 < evidence["probability"] <= 1
