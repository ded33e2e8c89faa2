"""What must be said beside the figures of a task: how the runs were made, and what keeps them from being compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from iterreason.bench.report.records import Change, RunReport


def notes_on(runs: Sequence[RunReport], changes: Sequence[Change]) -> tuple[str, ...]:
    """The notes on a task's runs, a sentence each."""
    made = (*_settings(runs), *_unfinished(runs), *_other_texts(runs))
    return (*made, *_outcomes(runs), *_probed(runs), *_pairs(changes))


def _settings(runs: Sequence[RunReport]) -> Iterator[str]:
    yield _each(runs, lambda run: run.reasoner_saw, "the reasoner {}")
    yield _each(runs, lambda run: _models(run.run.manifest), "models: {}")
    yield _each(runs, lambda run: _limit(run.run.manifest), "problems: {}")
    yield _each(runs, _seeds, "seeds: {}")
    if any(run.run.manifest.get("all_rounds") for run in runs):
        yield _each(
            runs,
            lambda run: (
                "recorded to the last round" if run.run.manifest.get("all_rounds") else "stopped by their rules"
            ),
            "episodes were {}; accuracy and cost are of the last round then, whatever rule would have stopped sooner",
        )
    if any((run.run.manifest.get("determinism") or {}).get("sampled") for run in runs):
        yield _each(
            runs,
            lambda run: "sampled" if (run.run.manifest.get("determinism") or {}).get("sampled") else "greedy",
            "replies were {}",
        )
    for part, what in (("hash", "texts"), ("data_hash", "data")):
        if len({(run.run.manifest["task"].get(part)) for run in runs}) > 1:
            yield f"the runs used different {what} of the task under one version; they may not be comparable"


def _each(runs: Sequence[RunReport], says: Callable[[RunReport], str], sentence: str) -> str:
    """A sentence that holds for all runs, or what holds for which."""
    said: dict[str, list[str]] = {}
    for run in runs:
        said.setdefault(says(run), []).append(run.label)
    if len(said) == 1:
        return sentence.format(next(iter(said)))
    return sentence.format("; ".join(f"{what} ({', '.join(labels)})" for what, labels in said.items()))


def _models(manifest: dict[str, Any]) -> str:
    models = manifest.get("models") or {}
    parts = {"reasoner": models.get("reasoner") or "none", "answerer": ", ".join(models.get("answerers", ())) or "none"}
    parts |= {"tools": ", ".join(models["tools"])} if models.get("tools") else {}
    return ", ".join(f"{role} {name}" for role, name in parts.items())


def _limit(manifest: dict[str, Any]) -> str:
    limit, split = manifest.get("limit"), manifest["task"].get("split", "")
    return f"all of the split {split}" if limit is None else f"{limit:,} of the split {split} at most (--limit)"


def _seeds(run: RunReport) -> str:
    between = run.seeds
    names = ", ".join(str(seed) for seed, _ in between.seeds) or "none"
    if between.deviation is None or between.mean is None:
        return names
    return f"{names}, accuracy {100 * between.mean:.1f} % ± {100 * between.deviation:.1f} points between them"


def _unfinished(runs: Sequence[RunReport]) -> Iterator[str]:
    for run in runs:
        if run.wanted is None:
            yield f"{run.label}: the manifest does not say how many rows a finished run has"
        elif run.n < run.wanted:
            there = f"{run.n:,} of {run.wanted:,} problems"
            yield f"{run.label}: not finished, {there}; the commands that it was made with go on with it"


def _other_texts(runs: Sequence[RunReport]) -> Iterator[str]:
    """Runs whose policies share a name but not a text."""
    hashes: dict[str, dict[str, str]] = {}
    for run in runs:
        found = str(run.run.manifest["policy"].get("hash", ""))
        hashes.setdefault(run.run.policy, {}).setdefault(found, run.label)
    for policy, known in hashes.items():
        if len(known) > 1:
            told = "; ".join(f"{label}: {found[:8]}" for found, label in known.items())
            yield f"the policies called {policy} differ ({told})"


def _outcomes(runs: Sequence[RunReport]) -> Iterator[str]:
    failed = [f"{run.accuracy.errors:,} ({run.label})" for run in runs if run.accuracy.errors]
    if failed:
        yield f"episodes that ended in an error: {', '.join(failed)}; over all they count as 0 (--retry-errors)"


def _probed(runs: Sequence[RunReport]) -> Iterator[str]:
    for run in runs:
        if run.moved is not None:
            yield f"{run.label}: {run.moved.told}"


def _pairs(changes: Sequence[Change]) -> Iterator[str]:
    for change in changes:
        compared = change.comparison
        if compared.only_first or compared.only_second:
            yield (
                f"{change.second} against {change.first}: compared on the {compared.n:,} problems that both have;"
                f" {compared.only_first:,} only {change.first} has, {compared.only_second:,} only {change.second}"
            )
