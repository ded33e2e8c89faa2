"""Benchmark runs as a pandas DataFrame: `iterreason.load_run(DIR)`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from iterreason.bench.row import ROW_FIELDS, Outcome, Row, find_runs
from iterreason.extras import needed

if TYPE_CHECKING:
    from pandas import DataFrame

_CATEGORIES = ("run", "task", "version", "split", "policy", "policy_hash", "confidence_source", "stop_reason", "kind")
_TEXTS = ("id", "question", "answer", "best_guess", "error", "group", "unit")
_WHOLE = ("generations", "readouts", "reasks", "looks", "prompt_tokens", "cached_tokens", "completion_tokens")
_TYPES = (
    dict.fromkeys(_CATEGORIES, "category")
    | dict.fromkeys(_TEXTS, "string")
    | {"seed": "int64", "all_rounds": "bool", "score": "Float64", "confidence": "Float64"}
    | {f"usage_{name}": "int64" for name in (*_WHOLE, "calls", "tokens")}
    | {"usage_call_seconds": "float64", "usage_elapsed_seconds": "float64"}
)


def load_run(folder: str | Path) -> DataFrame:
    """All runs in a folder as a DataFrame, a row for each problem, policy and seed.

    run: the run's folder inside `folder` (category). Then the fields of `iterreason.bench.row.Row`, under their names:
    task, version, split, policy, policy_hash, outcome, confidence_source, stop_reason, kind: category; `outcome` has
    all five as categories. id, question, answer, best_guess, error, group, unit: string, missing where None.
    score, confidence: Float64 in [0, 1], missing where there is none. seed: int64. all_rounds: bool.
    models, choices, gold, images: lists of strings. rounds: a list of dicts with answer, confidence, score, stops.
    usage_…: the fields of `iterreason.Usage`, and their sums usage_calls and usage_tokens (int64; seconds float64).
    Raises BadRun where there is no run or one cannot be read, MissingExtra without pandas.
    """
    pandas = needed("pandas", "bench", "a DataFrame of a run")
    folder = Path(folder)
    values = [_values(row, str(run.folder.relative_to(folder))) for run in find_runs(folder) for row in run.rows]
    frame = pandas.DataFrame(values, columns=_columns())
    frame["outcome"] = pandas.Categorical(frame["outcome"], categories=get_args(Outcome))
    return frame.astype(_TYPES)


def _columns() -> list[str]:
    usage = [name for name in _TYPES if name.startswith("usage_")]
    return ["run", *(name for name in ROW_FIELDS if name != "usage"), *usage]


def _values(row: Row, run: str) -> dict[str, Any]:
    """One row, flat; tuples as lists, as a Parquet file gives them back."""
    values = {"run": run} | {name: _plain(value) for name, value in asdict(row).items()}
    usage: dict[str, Any] = values.pop("usage") | {"calls": row.usage.calls, "tokens": row.usage.tokens}
    return values | {f"usage_{name}": value for name, value in usage.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value
