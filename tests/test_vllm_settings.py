"""What a `vllm:` URI may say, and what a machine without vLLM says to it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_server import FakeServer
from tiny import save_llama

from iterreason.errors import MissingExtra, ModelFailed, UnknownModel
from iterreason.models import installed, missing, open_model
from iterreason.models.vllm_settings import Settings, adapter_room, read_settings


def adapter(folder: Path, rank: object) -> Path:
    """A folder that looks like an adapter's."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return folder


def test_options_follow_the_model(tmp_path: Path) -> None:
    """Each option stands after a plus; a model's own name may hold one."""
    lora = adapter(tmp_path / "mine", 8)
    assert read_settings("Qwen/Qwen2.5-VL-7B-Instruct") == Settings("Qwen/Qwen2.5-VL-7B-Instruct")
    uri = f"org/a+b+lora={lora}+memory=0.4+length=8192+gpus=2"
    assert read_settings(uri) == Settings("org/a+b", lora, 0.4, 8192, 2)


def test_the_name_tells_weights_and_adapters_apart(tmp_path: Path) -> None:
    """Results and caches know a folder's model by its weights, and by the adapter on it."""
    first, second = (save_llama(tmp_path / f"model-{seed}", initializer_range=0.1 * seed) for seed in (1, 2))
    names = {Settings(str(folder), lora).name for folder in (first, second)
             for lora in (None, adapter(tmp_path / f"on-{folder.name}", 4))}  # fmt: skip
    assert len(names) == 4
    assert Settings("org/name").name == "vllm/org/name"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "names no model"),
        ("+memory=0.4", "names no model"),
        ("org/m+memroy=0.4", "unknown option 'memroy'; did you mean 'memory'?"),
        ("org/m+memory=2", "memory is '2'; it must be a share above 0, 1 at most"),
        ("org/m+length=long", "length is 'long'; it must be a whole number, 1 or more"),
        ("org/m+gpus=0", "gpus is '0'"),
        ("org/m+gpus=1+gpus=2", "gives gpus twice"),
    ],
)
def test_a_bad_option_is_named(uri: str, words: str) -> None:
    """What cannot be read is refused with its value and what may stand there, before anything is loaded."""
    with pytest.raises(UnknownModel) as caught:
        read_settings(uri)
    assert words in str(caught.value)


@pytest.mark.parametrize("uri", ["./nowhere", "a/b/c", "/tmp", "org/m+lora=nowhere"])
def test_a_folder_that_is_none_is_named(uri: str) -> None:
    """A path to no checkpoint, or to no adapter, is an error before vLLM is asked."""
    with pytest.raises(ModelFailed):
        read_settings(uri)


@pytest.mark.parametrize(("rank", "room"), [(1, 8), (8, 8), (9, 16), (16, 16), (300, 320)])
def test_an_adapter_gets_room_for_its_rank(tmp_path: Path, rank: int, room: int) -> None:
    """vLLM takes only some ranks; the next larger one is asked for."""
    assert adapter_room(adapter(tmp_path / "a", rank)) == room


@pytest.mark.parametrize("rank", [0, 513, "8", None])
def test_a_rank_that_cannot_be_is_refused(tmp_path: Path, rank: object) -> None:
    """An adapter whose rank is out of bounds is the error's subject."""
    with pytest.raises(ModelFailed, match="the rank r is"):
        adapter_room(adapter(tmp_path / "a", rank))


@pytest.mark.skipif(installed("vllm"), reason="vLLM is installed here")
def test_without_vllm_the_pip_line_is_told() -> None:
    """A machine without vLLM says so in `iterreason models`, and to who names such a model."""
    assert missing("vllm") == "pip install 'iterreason[vllm]'"
    with pytest.raises(MissingExtra, match=r"pip install 'iterreason\[vllm\]'"):
        asyncio.run(open_model("vllm:org/m", "reasoner"))


def test_a_folder_with_a_packages_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder `zzz` beside a script can be imported as a namespace, and has nothing in it."""
    (tmp_path / "zzz").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not installed("zzz")
    assert installed("json")


@pytest.mark.usefixtures("bare_environment")
def test_the_command_shows_what_a_model_can_do() -> None:
    """`iterreason models URI` opens the model and prints each ability as it was found; code 1 where it cannot."""
    line = [sys.executable, "-m", "iterreason", "models"]
    with FakeServer(vllm=True, images=False, entry={"max_model_len": 2048}) as fake:
        done = subprocess.run([*line, fake.uri()], capture_output=True, text=True, check=False)
    shown = dict(text.split()[1::-1] for text in done.stdout.splitlines()[1:-1])
    assert (done.returncode, shown["schema"], shown["ranks"], shown["images"]) == (0, "yes", "yes", "no")
    assert "2,048 tokens" in done.stdout
    down = subprocess.run([*line, fake.uri()], capture_output=True, text=True, check=False)
    assert (down.returncode, down.stdout) == (1, "")
    assert "connection refused" in down.stderr
