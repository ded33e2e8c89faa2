"""The command line's `iterreason serve`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iterreason.serving.launch import Launch


def add_commands(commands: Any) -> None:
    """Add `serve` to the command line's parsers."""
    serve = commands.add_parser("serve", help="run vLLM servers for the two roles, from a preset or a .toml file")
    serve.set_defaults(command=_serve)
    serve.add_argument(
        "setup", nargs="?", default="one-24gb", metavar="SETUP", help="preset or .toml file (default: one-24gb)"
    )
    serve.add_argument(
        "--show", action="store_true", help="print the setup's text, and the presets there are; no start"
    )


def _serve(options: argparse.Namespace) -> int:
    from iterreason.serving.launch import launches
    from iterreason.serving.setup import find_setup, presets

    setup, text = find_setup(options.setup)
    if options.show:
        print(text, end="")
        print(f"\n# presets: {', '.join(presets())}")
        return 0
    return asyncio.run(_run(launches(setup)))


async def _run(wanted: Sequence[Launch]) -> int:
    """Serve until SIGINT or SIGTERM, which are a server's normal end: 0."""
    from iterreason.serving.supervisor import Supervisor

    supervisor = Supervisor(wanted, lambda line: print(f"iterreason: {line}", file=sys.stderr, flush=True))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    await supervisor.run(lambda: _announce(wanted))
    return 0


def _announce(ready: Sequence[Launch]) -> None:
    """Print the URIs, in a form that a shell takes."""
    first = ready[0]
    if first.host not in first.url:
        print(f"# reachable from elsewhere: {first.host}, with the key in ITERREASON_API_KEY")
    for launch in ready:
        for adapted in launch.uris[1:]:
            print(f"# {launch.role}, with an adapter: {adapted}")
        role = "REASONER" if launch.role == "both" else launch.role.upper()
        print(f"export ITERREASON_{role}='{launch.uris[0]}'")
    if first.role == "both":
        print("export ITERREASON_ANSWERER=same")
    sys.stdout.flush()
