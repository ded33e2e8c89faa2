"""Rounds over real servers: `python -m iterreason.bench.speed.served --reasoner URI --answerer URI --out docs`.

Blocks of the loop and of what it is compared with take turns (A B B A), so that a busy spell of the machine meets both;
each is kept in a file as it ends, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from iterreason.bench.speed.blocks import Bench, Figures
from iterreason.bench.speed.served_page import SIZES, Kept, write
from iterreason.engine import collect_rarely
from iterreason.errors import IterReasonError

AT_ONCE = 32
CONCURRENCIES, ROUNDS = (1, 2, 4, 8, 16, 32, 64), range(1, 7)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, print, and write page, plot and JSON; a missed target is said, not an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--reasoner", required=True, metavar="URI", help="openai:MODEL@http://host:port/v1, freshly started")
    add("--answerer", required=True, metavar="URI", help="the same, or the reasoner's")
    add("--out", type=Path, metavar="DIR", help="write performance.md, .json and .svg there")
    add(
        "--keep", type=Path, default=Path("runs/bench.jsonl"), metavar="FILE", help="finished blocks (runs/bench.jsonl)"
    )
    add("--command", default="make bench", help="the command as the page names it")
    add("--block-size", type=int, default=16, help="tokens of a block of the servers' prefix cache (16; CPU: 32)")
    add("--pairs", type=int, default=6, help="pairs of blocks (6; five at least give an interval)")
    add("--problems", type=int, default=AT_ONCE, help="problems of a block in flight (32)")
    add("--alone", type=int, default=1, help="problems of a block call by call (1); all problems cost the same")
    add("--curves", type=int, default=4, metavar="N", help="problems at each number of rounds (4); 0: no curves")
    add("--minutes", type=float, default=18.0, help="start no block after that time (18)")
    options = parser.parse_args(arguments)
    collect_rarely()
    try:
        asyncio.run(_measure(options))
    except IterReasonError as error:
        print(f"iterreason: {error}", file=sys.stderr)
        return error.exit_code
    return 0


async def _measure(options: argparse.Namespace) -> None:
    kept = Kept(options.keep, {name: getattr(options, name) for name in SIZES})
    end = time.monotonic() + 60 * options.minutes
    bench = await Bench.open(options.reasoner, options.answerer, options.block_size, kept.next)
    try:
        vllm = await bench.version()
        for name, block in _plan(bench, options):
            if kept.has(name):
                continue
            if time.monotonic() > end:
                print(f"{options.minutes:.0f} minutes are over; the same command goes on with: {name}")
                break
            if not bench.opened:
                await _warm(bench, options)
            began = time.monotonic()
            figures = await block()
            kept.add(name, figures | {"next": bench.next})
            print(f"{name}: {time.monotonic() - began:.0f} s {_short(figures)}", flush=True)
    finally:
        await bench.close()
    models = tuple(dict.fromkeys(server.capabilities().model.partition("@")[0] for server in bench.servers))
    print(write(kept, options.out, options.command, models, vllm))


async def _warm(bench: Bench, options: argparse.Namespace) -> None:
    """First requests of a server are slow; and the limits of calls at once settle."""
    for name in ("idealgpt", "evidence"):
        _, made = await bench.solve(name, options.problems, options.problems, rounds=1)
        await bench.hits(made)
    await bench.solve("idealgpt", 1, 1, rounds=1)


Block = tuple[str, Callable[[], Awaitable[Figures]]]


def _plan(bench: Bench, options: argparse.Namespace) -> list[Block]:
    """All blocks, in order."""
    blocks: list[Block] = []
    for pair in range(options.pairs):
        both = [(f"alone {pair}", _alone(bench, options)), (f"together {pair}", _together(bench, options))]
        blocks += both if pair % 2 == 0 else both[::-1]
        blocks.append((f"evidence {pair}", _evidence(bench, options)))
    if options.curves:
        for rounds in ROUNDS:
            blocks.append((f"rounds {rounds}", _point(bench, options.curves, options.curves, rounds)))
        for number in CONCURRENCIES:
            blocks.append((f"concurrency {number}", _point(bench, max(2, number), number, 4)))
    return blocks


def _alone(bench: Bench, options: argparse.Namespace) -> Callable[[], Awaitable[Figures]]:
    """`idealgpt`, call by call."""

    async def block() -> Figures:
        return (await bench.solve("idealgpt", options.alone, 1))[0]

    return block


def _together(bench: Bench, options: argparse.Namespace) -> Callable[[], Awaitable[Figures]]:
    """`idealgpt` with all problems in flight, then the same requests open-loop."""

    async def block() -> Figures:
        figures, made = await bench.solve("idealgpt", options.problems, options.problems)
        again = await bench.send_again(made, options.problems, options.problems)
        return figures | {"open_loop_seconds": again}

    return block


def _evidence(bench: Bench, options: argparse.Namespace) -> Callable[[], Awaitable[Figures]]:
    """`evidence` with all problems in flight, and what of its prompts could be cached."""

    async def block() -> Figures:
        figures, made = await bench.solve("evidence", options.problems, options.problems)
        return figures | await bench.hits(made)

    return block


def _point(bench: Bench, count: int, concurrency: int, rounds: int) -> Callable[[], Awaitable[Figures]]:
    """A point of a curve."""

    async def block() -> Figures:
        return (await bench.solve("evidence", count, concurrency, rounds))[0]

    return block


def _short(figures: dict[str, Any]) -> str:
    return json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in figures.items()})


if __name__ == "__main__":
    sys.exit(main())
