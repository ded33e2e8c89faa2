"""How often each answerer was right in a labelled run, by kind of question: `iterreason calibrate RUN --answerers`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from iterreason.errors import BadRun

if TYPE_CHECKING:
    from iterreason.bench.row import Run
    from iterreason.records import Evidence
    from iterreason.reliability import Count, Kind


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
