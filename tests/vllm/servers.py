"""Real `vllm serve` processes on the CPU, run by `iterreason serve` with the settings of its preset `cpu`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from iterreason.serving.setup import find_setup

SHIM = Path(__file__).parent / "shim"
ENVIRONMENT = {
    "PYTHONPATH": str(SHIM),
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # two servers on two cores
}


@dataclass(frozen=True)
class Serving:
    """A served model: its URI, and its server's log."""

    uri: str
    log: Path

    def adapted(self, name: str) -> str:
        """The URI of an adapter that is served beside the model."""
        return f"openai:{name}@{self.uri.rpartition('@')[2]}"


@contextmanager
def serving(
    wanted: Mapping[str, tuple[Path, int]], logs: Path, *flags: str, adapters: Mapping[str, Path] | None = None
) -> Iterator[dict[str, Serving]]:
    """Serve one or two checkpoints, each under a name, with the longest prompt plus reply that it takes.

    The first is the setup's reasoner, the second its answerer. adapters: of the first, by name. Ready when entered.
    """
    file = logs / "setup.toml"
    file.write_text(_setup(wanted, logs, flags, adapters or {}))
    command = [sys.executable, "-m", "iterreason", "serve", str(file)]
    with (logs / "serve.log").open("wb") as told:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True, start_new_session=True)
    try:
        uris = dict(_announced(process, names := list(wanted)))
        if set(uris) != set(names):
            raise RuntimeError(f"the servers do not start; {(logs / 'serve.log').read_text()}")
        ports = {name: urlsplit(uri.rpartition("@")[2]).port for name, uri in uris.items()}
        yield {name: Serving(uri, logs / f"vllm-{ports[name]}.log") for name, uri in uris.items()}
    finally:
        process.terminate()
        process.wait(60)


def _announced(process: subprocess.Popen[str], names: list[str]) -> Iterator[tuple[str, str]]:
    """The URIs as they are printed, up to the last one, or to the end where it fails."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("export"):
            uri = line.partition("=")[2].strip().strip("'")
            yield uri.removeprefix("openai:").partition("@")[0], uri
            if len(names) == 1 or line.startswith("export ITERREASON_ANSWERER"):
                return


def _setup(
    wanted: Mapping[str, tuple[Path, int]], logs: Path, flags: tuple[str, ...], adapters: Mapping[str, Path]
) -> str:
    """The TOML of these servers; JSON's texts, lists and numbers are TOML's, too."""
    preset = find_setup("cpu")[0].servers["both"]
    lines = [f"logs = {json.dumps(str(logs))}"]
    for role, (name, (folder, length)) in zip(("reasoner", "answerer"), wanted.items(), strict=False):
        lines += [
            f"[{role}]",
            f"model = {json.dumps(str(folder))}",
            f"name = {json.dumps(name)}",
            f"port = {_free_port()}",
            "gpus = []",
            f"dtype = {json.dumps(preset.dtype)}",
            f"max_length = {length}",
            f"images = {preset.images}",
            f"flags = {json.dumps([*preset.flags, *flags])}",
            f"[{role}.environment]",
            *(f"{key} = {json.dumps(value)}" for key, value in {**preset.environment, **ENVIRONMENT}.items()),
        ]
        if adapters and role == "reasoner":
            lines += [f"[{role}.adapters]", *(f"{key} = {json.dumps(str(path))}" for key, path in adapters.items())]
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
