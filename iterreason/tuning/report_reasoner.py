"""What runs of `scenes` came to, kind by kind: `python -m iterreason.tuning.report_reasoner RUNS`.

RUNS holds the runs that `iterreason eval scenes` makes, under `evidence` and what it is compared with; those of all
rounds are left out. Only problems that all runs have are counted, an abstention or an error as not right; at the end
best guesses are counted too. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from iterreason.bench import stats
from iterreason.bench.row import Row, Run, find_runs
from iterreason.errors import BadRun, IterReasonError
from iterreason.folding import same_text
from iterreason.tuning.lessons import SIMPLE
from iterreason.tuning.proportions import wilson

MEASURED = "evidence"
OTHER_WORDS = " (other words)"
Group = tuple[str, Callable[[Row], bool]]
_GROUPS: tuple[Group, ...] = (
    ("all", lambda row: True),
    ("simple questions", lambda row: row.kind in SIMPLE),
    ("composed, in the answerer's phrasings", lambda row: row.kind not in SIMPLE and OTHER_WORDS not in row.kind),
    ("composed, in words that nothing was trained on", lambda row: OTHER_WORDS in row.kind),
)


def main(arguments: list[str] | None = None) -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, metavar="RUNS")
    options = parser.parse_args(arguments)
    try:
        print("\n".join(report(find_runs(options.runs))))
    except IterReasonError as error:
        print(f"report_reasoner: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def report(runs: Sequence[Run]) -> Iterator[str]:
    """The lines of the report. Raises BadRun where no run is of `scenes` and `evidence`, or runs share no problem."""
    rows = _shared({run.policy: run.rows for run in runs if run.task == "scenes" and not _all_rounds(run)})
    shown = ", ".join(str(run.folder) for run in runs)
    if MEASURED not in rows:
        raise BadRun(f"no run of scenes under '{MEASURED}' among {shown}")
    if not rows[MEASURED]:
        raise BadRun(f"no problem that all of these have: {shown}")
    names = [MEASURED, *(name for name in rows if name != MEASURED)]
    yield _line("", *(f"`{name}`" for name in names), "n")
    yield _line(*["---"] * (len(names) + 2))
    kinds = sorted({row.kind for row in rows[MEASURED]})
    for title, belongs in (*_GROUPS, *((kind, _of_kind(kind)) for kind in kinds)):
        some = [[row for row in rows[name] if belongs(row)] for name in names]
        if some[0]:
            yield _line(title, *(_share(each) for each in some), str(len(some[0])))
    yield ""
    for name in names[1:]:
        for title, belongs in _GROUPS:
            yield _difference(title, name, *([row for row in rows[n] if belongs(row)] for n in (name, MEASURED)))
    for name in names[1:]:
        guessed = [[_with_guess(row) for row in rows[n]] for n in (name, MEASURED)]
        yield _difference("all, best guesses counted", name, *guessed)
    yield from _costs(rows[MEASURED])


def _all_rounds(run: Run) -> bool:
    return any(row.all_rounds for row in run.rows)


def _of_kind(kind: str) -> Callable[[Row], bool]:
    return lambda row: row.kind == kind


def _shared(rows: dict[str, tuple[Row, ...]]) -> dict[str, list[Row]]:
    """The rows of the problems that all runs have, in the first one's order."""
    keys = [{row.key for row in some} for some in rows.values()]
    return {name: [row for row in some if all(row.key in k for k in keys)] for name, some in rows.items()}


def _share(rows: Sequence[Row]) -> str:
    right = sum(row.score == 1 for row in rows)
    low, high = wilson(right, len(rows))
    return f"{right / len(rows):.3f} ({low:.3f}–{high:.3f})"


def _difference(title: str, name: str, before: Sequence[Row], after: Sequence[Row]) -> str:
    if not before:
        return f"- {title}: no problem of this sort"
    found = stats.compare(before, after)
    return f"- {title}: `{MEASURED}` less `{name}` {found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _costs(rows: Sequence[Row]) -> Iterator[str]:
    n = len(rows)
    mean = {
        "generations": sum(row.usage.generations for row in rows) / n,
        "re-asks": sum(row.usage.reasks for row in rows) / n,
        "looks": sum(row.usage.looks for row in rows) / n,
    }
    yield f"- a problem took {', '.join(f'{value:.2f} {what}' for what, value in mean.items())} on average"
    errors = [row for row in rows if row.outcome == "error"]
    unreadable = sum(row.usage.reasks > 0 for row in rows)
    yield f"- {unreadable} of {n} had a reply that could not be read and was asked for again"
    yield f"- {len(errors)} of {n} ended in an error"
    guessed = sum(_with_guess(row).score == 1 for row in rows)
    abstained = sum(row.outcome == "abstained" for row in rows)
    low, high = wilson(guessed, n)
    yield f"- {abstained} abstained; with best guesses counted {guessed / n:.3f} ({low:.3f}–{high:.3f}) are right"


def _with_guess(row: Row) -> Row:
    """An abstention with the score of what it would have answered."""
    if row.score is not None or row.best_guess is None:
        return row
    return replace(row, score=float(any(same_text(row.best_guess, gold) for gold in row.gold)))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
