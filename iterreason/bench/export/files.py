"""Runs in the formats of others: Parquet, CSV, logs of Inspect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iterreason.bench.export.frames import load_run
from iterreason.bench.row import TRACES, Run, find_runs
from iterreason.errors import BadTrace, Misuse, unknown
from iterreason.extras import needed
from iterreason.trace import read_lines

FORMATS = {
    ".parquet": "all runs as one table",
    ".csv": "all runs as one table, lists as JSON",
    ".eval": "a log of Inspect for each run, compressed",
    ".json": "a log of Inspect for each run, as JSON",
}


def export_run(folder: str | Path, out: str | Path) -> list[Path]:
    """Write the runs in a folder in the format that the ending of `out` names; gives the files written.

    .parquet, .csv: one table of all runs, as `load_run` gives it. .eval, .json: a log of Inspect for each task under
    each policy; where there are several runs, each adds its task and policy to the file's name. A file of that name is
    replaced once the new one is whole.
    Raises Misuse for another ending or where it cannot be written, BadRun, BadTrace, MissingExtra.
    """
    folder, out = Path(folder), Path(out)
    if out.suffix not in FORMATS:
        raise Misuse(f"cannot export to {out}: {unknown('ending', out.suffix or out.name, FORMATS)}")
    if out.suffix in (".parquet", ".csv"):
        return [_table(folder, out)]
    needed("inspect_ai.log", "inspect", "logs of Inspect")
    runs = find_runs(folder)
    names = [out] if len(runs) == 1 else [_named(out, run, folder) for run in runs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Misuse(f"two runs in {folder} would both be written to {twice}; export them one by one")
    return [_log(run, name) for run, name in zip(runs, names, strict=True)]


def _named(out: Path, run: Run, folder: Path) -> Path:
    part = re.sub(r"[^\w.-]+", "-", str(run.folder.relative_to(folder)))
    return out.with_name(f"{out.stem}-{part}{out.suffix}")


def _table(folder: Path, out: Path) -> Path:
    frame = load_run(folder)
    if out.suffix == ".parquet":
        needed("pyarrow", "bench", "Parquet files")
        return _whole(out, lambda path: frame.to_parquet(path, index=False, schema=_schema(frame)))
    lists = ("models", "choices", "gold", "images", "rounds")
    text = {name: frame[name].map(lambda value: json.dumps(value, ensure_ascii=False)) for name in lists}
    return _whole(out, lambda path: frame.assign(**text).to_csv(path, index=False))


def _schema(frame: Any) -> Any:
    """The Arrow types of the columns; those of lists do not depend on whether there is anything in them."""
    import pyarrow

    texts = pyarrow.list_(pyarrow.string())
    rounds = {"answer": pyarrow.string(), "confidence": pyarrow.float64(), "score": pyarrow.float64(), "stops": texts}
    lists = dict.fromkeys(("models", "choices", "gold", "images"), texts) | {
        "rounds": pyarrow.list_(pyarrow.struct(list(rounds.items())))
    }
    found = pyarrow.Schema.from_pandas(frame, preserve_index=False)
    return pyarrow.schema([pyarrow.field(field.name, lists.get(field.name, field.type)) for field in found])


def _log(run: Run, out: Path) -> Path:
    from inspect_ai.log import write_eval_log

    from iterreason.bench.export.inspect_log import inspect_log

    log = inspect_log(run, episodes(run))
    return _whole(out, lambda path: write_eval_log(log, path))


def episodes(run: Run) -> dict[tuple[str, int], dict[str, Any]]:
    """The recorded episodes of a run as they stand in its traces, by problem and seed: those that the rows tell of.

    Raises BadTrace.
    """
    path = run.folder / TRACES
    if not path.is_file():
        return {}
    found = {}
    rows = {row.key: asdict(row.usage) for row in run.rows}
    for number, line in read_lines(path):
        try:
            key = line["problem"]["id"], line["seed"] or 0
            if key not in rows or line["result"]["usage"] == rows[key]:  # not an attempt that was made again
                found[key] = line
        except (KeyError, TypeError):
            raise BadTrace(f"{path}, line {number} is not an episode: it names no problem and seed") from None
    return found


def _whole(out: Path, write: Callable[[Path], object]) -> Path:
    """Write beside the file and put it in its place once it is whole."""
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(out)
    except OSError as error:
        raise Misuse(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return out
