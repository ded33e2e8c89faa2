"""The command line's benchmark commands: `iterreason eval | tasks | report | export`."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason.errors import Failure, Misuse
from iterreason.options import add_answerers

if TYPE_CHECKING:
    from rich.console import Console

    from iterreason.bench.live import LiveView, PlainView
    from iterreason.bench.row import Run
    from iterreason.bench.runner import Evaluation
    from iterreason.bench.tasks.task import NamedTask

DEFAULT_OUT = Path("runs")


# ------------------------------------------------------------------ what can be typed


def add_commands(commands: Any) -> None:
    """Add the benchmark commands to the command line's parsers."""
    _add_eval(commands.add_parser("eval", help="evaluate policies on benchmark tasks; goes on where it was stopped"))
    tasks = commands.add_parser("tasks", help="the benchmark tasks, or what one needs; `tasks new NAME` starts one")
    tasks.set_defaults(command=_tasks)
    tasks.add_argument("name", nargs="?", metavar="NAME", help="a task, a .toml file, or `new`")
    tasks.add_argument("new_name", nargs="?", metavar="NAME", help="after `new`: the new task's name")
    tasks.add_argument("--data", type=Path, metavar="DIR", help="the task's data")
    report = commands.add_parser("report", help="tables and a page of runs: accuracy, intervals, cost, every sample")
    report.set_defaults(command=_report)
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories, as --out of `eval`")
    report.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page")
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--markdown", action="store_true", help="print markdown")
    export = commands.add_parser("export", help="runs as .parquet, .csv, or an Inspect log (.eval, .json)")
    export.set_defaults(command=_export)
    export.add_argument("run", type=Path, metavar="RUN")
    export.add_argument("out", type=Path, metavar="FILE", help="its ending says the format")


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_eval)
    add = parser.add_argument
    add("tasks", nargs="*", metavar="TASK", help="names (`iterreason tasks` lists them) or .toml files; NAME:SPLIT")
    add("--policy", action="append", metavar="P", help="name or .toml file; may be repeated (default: evidence)")
    add("--limit", type=int, metavar="N", help="problems of each task at most, a sample that grows with N")
    add("--seeds", type=int, default=1, metavar="N", help="solve each problem under N seeds (default: 1)")
    add(
        "--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="for DIR/TASK/POLICY/results.jsonl (default: runs)"
    )
    add("--reasoner", metavar="URI", help="the model that asks and concludes, see `iterreason models`")
    add_answerers(parser)
    add("--lavis-python", metavar="FILE", help="the Python that has LAVIS, for `lavis:` models")
    add("--data", action="append", default=[], metavar="[TASK=]DIR", help="where a task's data lies; may be repeated")
    add("--no-baselines", action="store_true", help="without the policies `blind` and `direct`")
    add("--matched", action="store_true", help="also `direct`, sampled as often as the policy's tokens pay for")
    add("--all-rounds", action="store_true", help="no stop rule ends an episode; each round records which held")
    add("--probe", type=int, default=0, metavar="N", help="of N problems see whether the image moves the answer")
    add("--exemplars", type=Path, metavar="FILE", help="JSONL of worked exemplars, for a policy that shows some")
    add("--retry-errors", action="store_true", help="solve problems again that ended with an error")
    add("--strict", action="store_true", help="stop where an image is missing")
    add("--deterministic", action="store_true", help="one problem at a time, torch's deterministic algorithms")
    add(
        "--concurrency",
        type=int,
        default=32,
        metavar="N",
        help="bound of problems in flight (default: 32)",
    )
    add("--cache", type=Path, metavar="FILE", help="keep replies in this SQLite file and reuse them")
    add("--ray", nargs="?", const="", metavar="ADDRESS", help="solve on a Ray cluster, see docs/scale.md")
    add("--json", action="store_true", help="print one JSON object at the end, nothing else")


# ------------------------------------------------------------------ what they do


def _eval(options: argparse.Namespace) -> int:
    from iterreason.bench.runner import evaluate
    from iterreason.engine import collect_rarely

    if options.concurrency < 1:
        raise Misuse(f"--concurrency must be at least 1, not {options.concurrency}")
    if not options.tasks:
        taken = f" ('{options.ray}' was taken as the address of --ray; put tasks first)" if options.ray else ""
        raise Misuse(f"name a task; `iterreason tasks` lists them{taken}")
    if options.ray is not None and options.probe:
        raise Misuse("--probe asks the models of this process; leave --ray out, or probe in a second call")
    if options.ray is not None and options.deterministic:
        raise Misuse("--deterministic solves one problem at a time in this process; leave --ray out")
    wanted = _wanted(options)
    collect_rarely()
    console, errors = _console(quiet=options.json), _console(stderr=True)
    with _view(console if console.is_terminal and not options.json else errors) as view, _solving(options) as solving:
        runs = asyncio.run(
            evaluate(
                wanted,
                view,
                reasoner=options.reasoner,
                answerer=options.answerer,
                reliability=options.reliability,
                cache=options.cache,
                concurrency=options.concurrency,
                solving=solving,
            )
        )
    from iterreason.bench.report import as_json, as_table, summarise
    from iterreason.display import clean

    report = summarise(runs)
    if options.json:
        print(json.dumps(as_json(report), ensure_ascii=False))
    console.print(as_table(report))
    where = shlex.join(sorted({str(run.folder.parent) for run in runs}))
    said = f"every sample on one page: iterreason report {clean(where)} --html report.html"
    console.print(said, soft_wrap=True, markup=False)
    _refuse_failed(runs)
    return 0


def _wanted(options: argparse.Namespace) -> Evaluation:
    from iterreason.bench.runner import Evaluation
    from iterreason.exemplars import read_exemplars
    from iterreason.policy import find_policy

    return Evaluation(
        tasks=tuple(_named_tasks(options.tasks, options.data)),
        policies=tuple(find_policy(name) for name in options.policy or ["evidence"]),
        out=options.out,
        limit=options.limit,
        seeds=options.seeds,
        baselines=not options.no_baselines,
        matched=options.matched,
        all_rounds=options.all_rounds,
        exemplars=read_exemplars(options.exemplars) if options.exemplars else (),
        retry_errors=options.retry_errors,
        strict=options.strict,
        deterministic=options.deterministic,
        probe=options.probe,
    )


def _named_tasks(names: Sequence[str], data: Sequence[str]) -> list[tuple[NamedTask, str]]:
    """The tasks and their splits, from `NAME[:SPLIT]` and `[NAME=]DIR`."""
    from iterreason.bench.tasks.task import find_task

    tasks = [(name, split) for name, _, split in (text.partition(":") for text in names)]
    folders = _folders(data, [name for name, _ in tasks])
    found = [(find_task(name, folders.get(name)), split) for name, split in tasks]
    for named, _ in found:
        if not named.reads_files and any(Path(name).stem == named.name for name in folders):
            raise Misuse(f"task '{named.name}' reads no folder; leave its --data out")
    return found


def _folders(data: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """Which task's data lies where; a name before '=' is one only where it is that of a task."""
    known = {alias: name for name in names for alias in (name, Path(name).stem)}
    folders: dict[str, Path] = {}
    for value in data:
        alias, _, folder = value.partition("=")
        if not folder or alias not in known:
            if len(set(names)) > 1:
                told = f"say which task's it is, as in --data {names[0]}={value}"
                raise Misuse(f"--data {value}: {told}; the tasks are {', '.join(names)}")
            alias, folder = names[0], value
        if known[alias] in folders:
            raise Misuse(f"--data {value}: the folder of '{known[alias]}' is {folders[known[alias]]} already")
        folders[known[alias]] = Path(folder)
    return folders


def _solving(options: argparse.Namespace) -> Any:
    """Who solves the problems where this process does not."""
    if options.ray is None:
        return nullcontext()
    from iterreason.bench.cluster import on_cluster

    return on_cluster(options.ray, options.reasoner, options.answerer, options.cache, options.concurrency)


def _refuse_failed(runs: Sequence[Run]) -> None:
    """Fail where a run is nothing but errors: there is no result to speak of."""
    for run in runs:
        if run.rows and all(row.outcome == "error" for row in run.rows):
            raise Failure(
                f"{run.task} / {run.policy}: all {len(run.rows):,} problems ended with an error, the first with:"
                f" {run.rows[0].error}. Mend it, then run again with --retry-errors"
            )


def _tasks(options: argparse.Namespace) -> int:
    from iterreason.bench.tasks import command as tasks
    from iterreason.bench.tasks.task import find_task
    from iterreason.display import printable

    if options.name == "new":
        if not options.new_name:
            raise Misuse("name the new task: iterreason tasks new NAME [--data DIR]")
        print(f"wrote {tasks.new_task(options.new_name, options.data or Path())}")
        return 0
    if options.new_name:
        raise Misuse(f"one task at a time, not '{options.name}' and '{options.new_name}'")
    if options.data and not options.name:
        raise Misuse("--data is of one task; name it: iterreason tasks NAME --data DIR")
    lines = tasks.describe_task(find_task(options.name, options.data)) if options.name else tasks.list_tasks()
    for line in lines:
        print(printable(line))
    return 0


def _report(options: argparse.Namespace) -> int:
    from iterreason.bench.report import as_json, as_markdown, as_table, summarise, write_page
    from iterreason.bench.row import find_runs

    report = summarise([run for folder in options.runs for run in find_runs(folder)])
    if options.html:
        write_page(report, options.html)
        print(f"wrote {options.html}", file=sys.stderr)
    if options.json:
        print(json.dumps(as_json(report), ensure_ascii=False))
    elif options.markdown:
        print(as_markdown(report))
    else:
        _console().print(as_table(report))
    return 0


def _export(options: argparse.Namespace) -> int:
    from iterreason.bench.export import export_run

    for path in export_run(options.run, options.out):
        print(f"wrote {path}")
    return 0


def _console(*, stderr: bool = False, quiet: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, quiet=quiet, highlight=False)


def _view(console: Console) -> LiveView | PlainView:
    from iterreason.bench.live import LiveView, PlainView

    return LiveView(console) if console.is_terminal else PlainView(console)
