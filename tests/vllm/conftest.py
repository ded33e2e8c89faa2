"""The models under test: each served by `iterreason serve`, and each in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import servers

from iterreason.background import Background
from iterreason.calls import Call, Capabilities, Reply
from iterreason.models import Model, embedded, open_model

LENGTH = 4096
KINDS = ("served", "in process")


@dataclass(frozen=True)
class Opened:
    """An open model on an event loop of its own thread."""

    uri: str
    model: Model
    background: Background

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self.model.capabilities()

    def __call__(self, *calls: Call, on_text: Any = None) -> list[Reply]:
        """The replies to calls that are made at once."""
        import asyncio

        async def all_at_once() -> list[Reply]:
            return await asyncio.gather(*(self.model.complete(call, on_text) for call in calls))

        return self.background.run(all_at_once())


@pytest.fixture(scope="session", autouse=True)
def _environment() -> None:
    """What vLLM on the CPU wants, in this process and in those that it starts."""
    os.environ.update(servers.ENVIRONMENT, VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1")
    for name in ("ITERREASON_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints: `smollm2`, `llava`, and for the former the `adapter` that comes with the package."""
    place = tmp_path_factory.mktemp("models")
    return {
        "smollm2": checkpoints.smollm2(),
        "llava": checkpoints.tiny_llava(place / "llava"),
        "adapter": Path(embedded.__file__).parent / "reasoner",
    }


@pytest.fixture(scope="session")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, servers.Serving]]:
    """Both models behind `vllm serve`."""
    wanted = {name: (folders[name], LENGTH) for name in ("smollm2", "llava")}
    with servers.serving(wanted, tmp_path_factory.mktemp("serving"), adapters={"tuned": folders["adapter"]}) as run:
        yield run


@pytest.fixture(scope="session")
def opened(folders: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Opened]]:
    """Opens a model by kind and name, once."""
    background, found = Background(), dict[tuple[str, str], Opened]()

    def uri(kind: str, name: str) -> str:
        if kind == "served":
            running = request.getfixturevalue("served")
            return running["smollm2"].adapted("tuned") if name == "tuned" else running[name].uri
        if name == "tuned":
            return f"vllm:{folders['smollm2']}+length={LENGTH}+lora={folders['adapter']}"
        return f"vllm:{folders[name]}+length={LENGTH}"

    def opener(kind: str, name: str) -> Opened:
        if (kind, name) not in found:
            named = uri(kind, name)
            found[kind, name] = Opened(named, background.run(open_model(named, "reasoner")), background)
        return found[kind, name]

    yield opener
    for one in found.values():
        background.run(one.model.close())
    background.close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """How the model is run."""
    return str(request.param)
