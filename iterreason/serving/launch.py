"""From a setup to the processes: command line, environment and address of each server."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from iterreason.errors import BadConfig, MissingExtra, Misuse
from iterreason.models.address import KEY, KEY_VARIABLES
from iterreason.models.vllm_settings import adapter_room
from iterreason.serving.setup import Served, Setup

KEY_VARIABLE = KEY_VARIABLES[0]
# xgrammar, vLLM's first choice, refuses texts bound by both pattern and length, as our questions are. White space costs
# tokens and gives small models room to ramble.
GRAMMARS = json.dumps({"backend": "guidance", "disable_any_whitespace": True})


@dataclass(frozen=True, slots=True)
class Launch:
    """One server to start.

    role: `both`, `reasoner` or `answerer`. names: the model's, then its adapters'. gpus: that it takes part of.
    environment: of the process; it may hold the key, so it is shown nowhere.
    """

    role: str
    names: tuple[str, ...]
    host: str
    port: int
    gpus: frozenset[int]
    log: Path
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{near}]:{self.port}" if ":" in near else f"http://{near}:{self.port}"

    @property
    def uris(self) -> tuple[str, ...]:
        """The model URIs: the model's, then its adapters'."""
        return tuple(f"openai:{name}@{self.url}/v1" for name in self.names)


def launches(setup: Setup) -> list[Launch]:
    """The servers to start. Raises Misuse where a key is missing, MissingExtra without vLLM, BadConfig, ModelFailed."""
    key = _key(setup)
    program, logs = _program(), _log_folder(setup)
    return [_launch(setup, role, served, program, logs, key) for role, served in setup.servers.items()]


def _key(setup: Setup) -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and not setup.local:
        raise Misuse(f"host {setup.host!r} can be reached from elsewhere; set a key in {KEY_VARIABLE}, for clients too")
    if key and not KEY.fullmatch(key):
        raise BadConfig(f"{KEY_VARIABLE} holds blanks, quotes or characters outside ASCII; set it to the key alone")
    return key


def _program() -> str:
    """The `vllm` of this environment, or the one on the path."""
    beside = shutil.which("vllm", path=str(Path(sys.executable).parent))
    if found := beside or shutil.which("vllm"):
        return found
    raise MissingExtra("there is no program 'vllm' here; run: pip install 'iterreason[vllm]', on a machine with a GPU")


def _log_folder(setup: Setup) -> Path:
    from platformdirs import user_log_path

    return Path(setup.logs).expanduser() if setup.logs else user_log_path("iterreason")


def _launch(setup: Setup, role: str, served: Served, program: str, logs: Path, key: str) -> Launch:
    environment = {**os.environ, **served.environment}
    if served.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, served.gpus))
    environment.pop(KEY_VARIABLE, None)
    if key:
        environment["VLLM_API_KEY"] = key
    return Launch(
        role=role,
        names=(served.served_name, *served.adapters),
        host=setup.host,
        port=served.port,
        gpus=frozenset(served.gpus),
        log=logs / f"vllm-{served.port}.log",
        command=(program, "serve", served.model, *_flags(setup, served)),
        environment=environment,
    )


def _flags(setup: Setup, served: Served) -> Iterator[str]:
    yield from (f"--host={setup.host}", f"--port={served.port}", f"--served-model-name={served.served_name}")
    if served.gpus:
        yield f"--gpu-memory-utilization={served.gpu_memory}"
        yield f"--tensor-parallel-size={served.tensor_parallel or len(served.gpus)}"
    if served.max_length:
        yield f"--max-model-len={served.max_length}"
    yield f"--dtype={served.dtype}"
    yield "--enable-prefix-caching"
    yield "--enable-prompt-tokens-details"  # so that replies tell how much of a prompt the prefix cache served
    yield "--generation-config=vllm"  # else the model's own penalties would change what is measured
    yield f"--limit-mm-per-prompt={json.dumps({'image': served.images, 'video': 0})}"
    yield f"--structured-outputs-config={GRAMMARS}"
    if served.adapters:
        folders = {name: Path(folder).expanduser() for name, folder in served.adapters.items()}
        yield from ("--enable-lora", f"--max-lora-rank={max(map(adapter_room, folders.values()))}", "--lora-modules")
        yield from (f"{name}={folder}" for name, folder in folders.items())
    yield from served.flags
