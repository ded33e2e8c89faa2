"""How often each answerer was right in a labelled run, by kind of question: `iterreason calibrate RUN --answerers`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason.errors import BadRun, Misuse

if TYPE_CHECKING:
    from iterreason.bench.row import Run
    from iterreason.records import Evidence
    from iterreason.reliability import Count, Kind

DEFAULT_OUT = "answerers.toml"


def add_command(commands: Any) -> None:
    """Add `calibrate` to the command line's parsers."""
    parser = commands.add_parser("calibrate", help="learn from a labelled run: how often each answerer is right")
    parser.set_defaults(command=_calibrate)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of one task under one policy")
    parser.add_argument("--answerers", action="store_true", help="count right answers, for --reliability")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"to write (default: RUN/{DEFAULT_OUT})")


def _calibrate(options: argparse.Namespace) -> int:
    from iterreason.bench.disk import write_whole
    from iterreason.bench.row import find_runs

    if not options.answerers:
        raise Misuse("say what to learn: iterreason calibrate RUN --answerers")
    runs = find_runs(options.run)
    if len(runs) > 1:
        raise Misuse(f"{options.run} holds {len(runs)} runs; name one of: {', '.join(str(run.folder) for run in runs)}")
    counts = count_answerers(runs[0])
    out = options.out or runs[0].folder / DEFAULT_OUT
    write_whole(out, as_toml(runs[0], counts))
    for count in counts:
        print(f"{count.model}  {count.kind:<8} {count.right}/{count.asked}")
    print(f"wrote {out}", file=sys.stderr)
    return 0


def count_answerers(run: Run) -> tuple[Count, ...]:
    """Count what each answerer said to questions that the task has a right answer to, from the run's traces.

    Those are the problems' own questions, and sub-questions that ask the same of the same image as some problem does.
    Each question of an image counts once for each answerer, however often the run asked it. With `look.second_below`
    below 1 the second answerer is asked the hard ones only, and counted on these.
    Raises BadRun where the run has no such answer.
    """
    from iterreason.bench.row import TRACES
    from iterreason.bench.scoring import score
    from iterreason.bench.tasks.task import read_task
    from iterreason.folding import fold
    from iterreason.reliability import Count, kind_of
    from iterreason.trace import read_traces

    scoring = read_task(run.manifest["task"]["text"], f"the task in {run.folder}").scoring
    gold = {(row.images[0], fold(row.question)): row for row in run.rows if len(row.images) == 1}
    path = run.folder / TRACES
    marks: dict[tuple[str, str, str], tuple[Kind, bool]] = {}
    for trace in read_traces(path) if path.is_file() else ():
        for image, said in _answers(trace.replay().memory.evidence, [i.sha256 for i in trace.problem.images]):
            row = gold.get((image, fold(said.question)))
            if row and said.model in trace.plan.answerers:
                fits = score(scoring, said.answer, row.gold, row.choices) >= 1
                marks.setdefault((said.model, image, fold(said.question)), (kind_of(said.question), fits))
    asked = Counter((model, kind) for (model, _, _), (kind, _) in marks.items())
    right = Counter((model, kind) for (model, _, _), (kind, fits) in marks.items() if fits)
    if not asked:
        raise BadRun(f"{run.folder}: no answerer was asked a question that the task has a right answer to; take a"
                     " policy with look.first = ['question'], such as direct")  # fmt: skip
    return tuple(Count(model, kind, right[model, kind], n) for (model, kind), n in sorted(asked.items()))


def _answers(evidence: tuple[Evidence, ...], images: list[str]) -> Iterator[tuple[str, Evidence]]:
    """What was answered of whole images, with each image's sha256."""
    for said in evidence:
        if said.kind == "answer" and said.region is None:
            yield images[said.image], said


def as_toml(run: Run, counts: tuple[Count, ...]) -> str:
    """The file that `--reliability` reads."""
    lines = [
        "# How often each answerer was right, by kind of question; written by `iterreason calibrate RUN --answerers`.",
        *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in (
            ("task", run.task), ("policy", run.policy), ("policy_hash", str(run.manifest["policy"]["hash"])))),
    ]  # fmt: skip
    for count in counts:
        lines += ["", "[[answerer]]", f"model = {json.dumps(count.model, ensure_ascii=False)}"]
        lines += [f'kind = "{count.kind}"', f"right = {count.right}", f"asked = {count.asked}"]
    return "\n".join(lines) + "\n"
