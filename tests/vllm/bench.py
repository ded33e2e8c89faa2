"""`make bench`: the served benchmark on two real vLLM servers on the CPU; further arguments are the benchmark's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import checkpoints
import servers

LENGTH = 4096
BLOCK = "32"  # as the preset `cpu` sets it
FASTER = "--dtype=bfloat16"  # what is written does not depend on near-ties here


def main(client: str, arguments: list[str]) -> int:
    """Serve SmolLM2 as reasoner and a tiny LLaVA as answerer; `client`: the Python that runs the benchmark."""
    with TemporaryDirectory(prefix="iterreason-bench-") as place:
        logs = Path(place)
        wanted = {
            "SmolLM2-135M-Instruct": (checkpoints.smollm2(), LENGTH),
            "tiny-random-llava": (checkpoints.tiny_llava(logs / "llava"), LENGTH),
        }
        print("starting two vLLM servers (a minute) …", flush=True)
        with servers.serving(wanted, logs, FASTER) as serving:
            reasoner, answerer = (f"--{role}={one.uri}" for role, one in zip(ROLES, serving.values(), strict=True))
            command = [client, "-m", "iterreason.bench.speed.served", reasoner, answerer, "--block-size", BLOCK]
            # The shim is for vLLM alone.
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            return subprocess.run([*command, *arguments], env=environment, check=False).returncode


ROLES = ("reasoner", "answerer")

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    sys.exit(main(sys.argv[1], sys.argv[2:]))
