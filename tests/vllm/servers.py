"""Real `vllm serve` processes on the CPU: SmolLM2 as reasoner and a tiny LLaVA as answerer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

SHIM = Path(__file__).parent / "shim"
START_SECONDS = 180.0
ENVIRONMENT = {
    "PYTHONPATH": str(SHIM),
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "OMP_NUM_THREADS": "1",  # two servers on two cores
}
FLAGS = (
    "--dtype=float32",  # bfloat16 flips near-ties, so that nothing could be asserted
    "--enforce-eager",
    "--block-size=32",  # the CPU's default of 128 never caches a shorter prompt
    "--distributed-executor-backend=uni",
    "--enable-prompt-tokens-details",
    '--structured-outputs-config={"backend":"xgrammar","disable_any_whitespace":true}',
)


@dataclass(frozen=True)
class Serving:
    """A running server: its model URI, and its process."""

    uri: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serving(wanted: dict[str, tuple[Path, int]], logs: Path, *flags: str) -> Iterator[dict[str, Serving]]:
    """Serve checkpoints, each under a name, with the longest prompt plus reply that it takes; ready when entered."""
    with ExitStack() as stack:
        running = {name: _start(name, folder, length, logs, flags, stack) for name, (folder, length) in wanted.items()}
        for server in running.values():
            _wait(server)
        yield running


def _start(name: str, folder: Path, length: int, logs: Path, flags: tuple[str, ...], stack: ExitStack) -> Serving:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    images = '--limit-mm-per-prompt={"image":2,"video":0}'
    command = [
        str(Path(sys.executable).parent / "vllm"), "serve", str(folder), "--host=127.0.0.1", f"--port={port}",
        f"--served-model-name={name}", f"--max-model-len={length}", images, *FLAGS, *flags,
    ]  # fmt: skip
    log = logs / f"{name}.log"
    out = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(
        command, env=os.environ | ENVIRONMENT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
    )
    stack.callback(_stop, process)
    return Serving(f"openai:{name}@http://127.0.0.1:{port}/v1", process, log)


def _wait(server: Serving) -> None:
    health = server.uri.partition("@")[2].removesuffix("/v1") + "/health"
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            with urlopen(health, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.25)
    raise RuntimeError(f"{server.uri} does not serve; {server.log} ends:\n{server.log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the engine's own process, where it outlives its server
    process.wait()
