"""What the served benchmark has measured so far: kept block by block, and written as page, plot and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from iterreason._version import __version__
from iterreason.bench.speed.figures import machine, write_part
from iterreason.errors import Misuse

SIZES = ("problems", "alone", "curves", "block_size", "reasoner", "answerer")
_NAMED = ("problems", "alone", "curves", "block_size")  # ports change when servers start again; what they serve may not


class Kept:
    """Finished blocks in a JSONL file, the sizes of the run in its first line; Misuse where those differ."""

    def __init__(self, path: Path, sizes: dict[str, Any]) -> None:
        self._path, self.sizes = path, sizes
        self.blocks: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if not lines:
            path.write_text(json.dumps(_named(sizes)) + "\n", encoding="utf-8")
            return
        if json.loads(lines[0]) != _named(sizes):
            raise Misuse(
                f"{path} holds blocks of other sizes ({lines[0]}); name another file with --keep, or delete it"
            )
        for line in lines[1:]:
            block = json.loads(line)
            self.blocks[block.pop("block")] = block

    @property
    def next(self) -> int:
        """The number of the next problem that no block has had."""
        return max((int(block["next"]) for block in self.blocks.values()), default=0)

    def has(self, name: str) -> bool:
        """Whether this block was measured."""
        return name in self.blocks

    def add(self, name: str, figures: dict[str, Any]) -> None:
        """Keep a block."""
        self.blocks[name] = figures
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"block": name, **figures}) + "\n")

    def all(self, kind: str) -> dict[int, dict[str, Any]]:
        """The blocks of a kind by their number."""
        named = ((name.split(), block) for name, block in self.blocks.items())
        return {int(number): block for (what, number), block in named if what == kind}


def _named(sizes: dict[str, Any]) -> dict[str, Any]:
    models = {role: sizes[role].partition("@")[0] for role in ("reasoner", "answerer")}
    return {name: sizes[name] for name in _NAMED} | models


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure over pairs of blocks. low, high: the 95 % interval of the median. target: with its direction."""

    what: str
    median: float
    low: float
    high: float
    n: int
    target: float | None
    rising: bool

    @property
    def verdict(self) -> str:
        """Met, or missed and by how much."""
        if self.target is None:
            return "reported"
        if self.median >= self.target if self.rising else self.median <= self.target:
            return "met"
        return f"**missed** by {abs(self.median - self.target) / self.target:.0%}"


def measured(what: str, values: Sequence[float], target: float | None = None, rising: bool = True) -> Measured:
    """The median and its interval from order statistics, which need no assumption; below six values the whole range,
    whose coverage is 1 - 2^(1-n)."""
    ordered, n = sorted(values), len(values)
    rank = 0  # of the interval's lower end: the greatest whose binomial tails hold at most 2.5 % each
    while sum(math.comb(n, k) for k in range(rank + 1)) <= 0.025 * 2**n:
        rank += 1
    rank = max(rank - 1, 0)
    return Measured(what, median(ordered), ordered[rank], ordered[n - 1 - rank], n, target, rising)


def figures(kept: Kept) -> dict[str, Measured]:
    """The figures that the blocks so far give."""
    alone, together, evidence = (kept.all(kind) for kind in ("alone", "together", "evidence"))
    found: dict[str, Measured] = {}

    def add(key: str, what: str, values: Sequence[float], target: float | None = None, rising: bool = True) -> None:
        if values:
            found[key] = measured(what, values, target, rising)

    both = sorted(alone.keys() & together.keys())
    three = sorted(evidence.keys() & alone.keys() & together.keys())
    n = kept.sizes["problems"]
    add("throughput_ratio", f"`idealgpt`: {n} problems in flight, over call by call",
        [_rate(together[i]) / _rate(alone[i]) for i in both], 5.0)  # fmt: skip
    add("throughput_ratio_evidence", f"`evidence`, {n} in flight, over `idealgpt` call by call",
        [_rate(evidence[i]) / _rate(alone[i]) for i in three])  # fmt: skip
    add("open_loop_ratio", "the same requests open-loop, over call by call: the most that there is",
        [_rate(together[i]) * together[i]["seconds"] / together[i]["open_loop_seconds"] / _rate(alone[i])
         for i in both])  # fmt: skip
    add("saturation", f"`idealgpt`, {n} in flight, over the same requests open-loop",
        [one["open_loop_seconds"] / one["seconds"] for one in together.values()], 0.95)  # fmt: skip
    pairs = sorted(evidence.keys() & together.keys())
    add("prompt_tokens_vs_cached_idealgpt", "prompt tokens computed, `evidence` over `idealgpt`, with a prefix cache",
        [_computed(evidence[i]) / _computed(together[i]) for i in pairs], 0.6, False)  # fmt: skip
    add("prompt_tokens_vs_uncached_idealgpt", "the same over `idealgpt` without one (all its prompt tokens)",
        [_computed(evidence[i]) / _sent(together[i]) for i in pairs], 0.25, False)  # fmt: skip
    add("prefix_hit_rate", "`evidence`: tokens that the cache served, of those that it could",
        [one["cached"] / one["could"] for one in evidence.values()], 0.95)  # fmt: skip
    add("generations_a_round", "`evidence`: full generations a round, the most of any problem",
        [one["generations"] for one in evidence.values()], 1.0, False)  # fmt: skip
    return found


def _rate(block: dict[str, Any]) -> float:
    return float(block["problems"] / block["seconds"])


def _computed(block: dict[str, Any]) -> float:
    """Prompt tokens of a problem that the cache did not serve."""
    return float((block["prompt"] - block["cached"]) / block["problems"])


def _sent(block: dict[str, Any]) -> float:
    """All prompt tokens of a problem."""
    return float(block["prompt"] / block["problems"])


# ------------------------------------------------------------------ writing


def write(kept: Kept, out: Path | None, command: str, models: Sequence[str], vllm: str) -> str:
    """The part of the page as text; written with plot and JSON where a folder is named."""
    found = figures(kept)
    text = "\n".join(_page(kept, found, command, models))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        write_part(out / "performance.md", command, text)
        name = "performance.json" if command == "make bench" else "performance-gpu.json"
        facts = {"machine": machine(), "date": machine().partition(",")[0], "models": list(models), "sizes": kept.sizes}
        values = {key: asdict(one) | {"verdict": one.verdict} for key, one in found.items()}
        versions = {
            "iterreason": __version__,
            "vllm": vllm,
            "openai": _version("openai"),
        }
        whole = {**values, **facts, "versions": versions, "n": {key: one.n for key, one in found.items()}}
        (out / name).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        if svg := _plot(kept):
            (out / name.replace(".json", ".svg")).write_text(svg, encoding="utf-8")
    return text


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _page(kept: Kept, found: dict[str, Measured], command: str, models: Sequence[str]) -> Iterator[str]:
    sizes = kept.sizes
    yield f"## Rounds over real servers (`{command}`)\n"
    yield (
        f"{machine()}; models {', '.join(models)}. Both policies run exactly 4 rounds of 3 sub-questions with replies"
        " of fixed length: stop rules are off, and the server's grammar leaves each reply one value, of which the model"
        " generates every token. Blocks take turns (A B B A), warmed; a block in flight has"
        f" {sizes['problems']} problems, a block call by call {sizes['alone']} of the same make; each has problems and"
        " images of its own, so that no cache knows them. Tokens are the reasoner's. Median and its 95 % interval"
        " (order statistics) over n blocks.\n"
    )
    yield "| what | target | median | interval | n | |\n| --- | --- | --- | --- | --- | --- |"
    for one in found.values():
        target = "" if one.target is None else f"{'≥' if one.rising else '≤'} {one.target:g}"
        yield (
            f"| {one.what} | {target} | {one.median:.3g} | {one.low:.3g} – {one.high:.3g} | {one.n} | {one.verdict} |"
        )
    missed = [f"{one.what} ({one.verdict})" for one in found.values() if "missed" in one.verdict]
    yield f"\nMissed: {'; '.join(missed)}." if missed else "\nNo target is missed."
    last = max(kept.all("together").items(), default=(0, {}))[1]
    if last:
        yield f"\nCalls at once that the engine came to: {last['limit']}."
    yield from _curves(kept)


def _curves(kept: Kept) -> Iterator[str]:
    rounds, concurrency = kept.all("rounds"), kept.all("concurrency")
    if rounds:
        yield "\n| rounds of `evidence` | prompt tokens computed | reply tokens | calls | seconds a problem |"
        yield "| --- | --- | --- | --- | --- |"
        for number, one in sorted(rounds.items()):
            count = one["problems"]
            yield (
                f"| {number} | {_computed(one):,.0f} | {one['completion'] / count:,.0f} | {one['calls'] / count:.0f} |"
                f" {one['seconds'] / count:.2f} |"
            )
    if concurrency:
        yield "\n| `evidence`, problems in flight | problems | problems a minute |\n| --- | --- | --- |"
        for number, one in sorted(concurrency.items()):
            yield f"| {number} | {one['problems']} | {60 * _rate(one):.2f} |"
        yield "\n![Problems a minute over problems in flight; tokens and seconds over rounds](performance.svg)"


def _plot(kept: Kept) -> str | None:
    """Both curves as SVG; None where there are no points or no matplotlib."""
    rounds, concurrency = sorted(kept.all("rounds").items()), sorted(kept.all("concurrency").items())
    try:
        import io

        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'iterreason[report]')")
        return None
    if not rounds or not concurrency:
        return None
    drawn = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    left.plot([n for n, _ in concurrency], [60 * _rate(one) for _, one in concurrency], "o-")
    left.set(xscale="log", xlabel="problems in flight", ylabel="problems a minute", title="evidence, 4 rounds", ylim=0)
    left.set_xticks([n for n, _ in concurrency], [str(n) for n, _ in concurrency])
    right.plot([n for n, _ in rounds], [_computed(one) for _, one in rounds], "o-", label="prompt tokens computed")
    right.plot(
        [n for n, _ in rounds], [b["completion"] / b["problems"] for _, b in rounds], "s--", label="reply tokens"
    )
    right.set(xlabel="rounds", ylabel="tokens a problem", title="cost over rounds", ylim=0)
    right.legend()
    written = io.StringIO()
    drawn.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()
