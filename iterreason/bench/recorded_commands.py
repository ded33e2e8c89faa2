"""The commands that learn from a recorded run, without a model: `iterreason calibrate | what-if`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iterreason.errors import Misuse

if TYPE_CHECKING:
    from iterreason.calibration.file import CalibrationFile

ANSWERERS, RULE = "answerers.toml", "calibration.toml"


def add_commands(commands: Any) -> None:
    """Add the commands to the command line's parsers."""
    parser = commands.add_parser(
        "calibrate",
        help="learn from a labelled run: a stop rule that keeps a risk, or how often each answerer is right",
    )
    parser.set_defaults(command=_calibrate)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of one task under one policy")
    add("--answerers", action="store_true", help="count right answers, for --reliability")
    add("--risk", type=float, metavar="ALPHA", help="at most this share of the answers given is to be wrong, as 0.1")
    add("--delta", type=float, metavar="D", help="the chance that this is not so all the same (default: 0.05)")
    add("--split", type=float, metavar="S", help="share of problems that propose rules; the others test (default: 0.5)")
    add("--probability", choices=("isotonic", "platt", "temperature"), help="also turn confidence into a probability")
    add("--out", type=Path, metavar="FILE", help=f"to write (default: RUN/{RULE}, with --answerers RUN/{ANSWERERS})")
    what_if = commands.add_parser("what-if", help="what other rules would have made of a recorded run, without a model")
    what_if.set_defaults(command=_what_if)
    add = what_if.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of one task under one policy, best of `eval --all-rounds`")
    add(
        "--policy",
        metavar="P",
        help="the rules of another policy, as evidence@calibration.toml (default: the run's own)",
    )
    told = (
        "stop rules, as 'confident=0.8,0.9+stable=2|dry': + both hold, | either, commas a grid; `none`; may be repeated"
    )
    add("--stop", action="append", metavar="RULES", help=told)
    add("--rounds", metavar="N,N", help="at most so many rounds")
    add("--budget", action="append", metavar="B", help="as calls=8,12 or tokens=3000+seconds=20; may be repeated")
    add("--plots", type=Path, metavar="DIR", help="draw the curves, as PNG and SVG")
    add("--json", action="store_true", help="print one JSON object")


def _calibrate(options: argparse.Namespace) -> int:
    if options.answerers == (options.risk is not None):
        raise Misuse(
            "say what to learn, one at a time: iterreason calibrate RUN --risk 0.1, or"
            " iterreason calibrate RUN --answerers"
        )
    if options.answerers:
        for name in ("delta", "split", "probability"):
            if getattr(options, name) is not None:
                raise Misuse(f"--{name} goes with --risk; leave it out, or --answerers")
        return _answerers(options)
    return _rule(options)


def _answerers(options: argparse.Namespace) -> int:
    from iterreason.bench.counting import as_toml, count_answerers
    from iterreason.bench.disk import write_whole
    from iterreason.bench.row import only_run

    run = only_run(options.run)
    counts = count_answerers(run)
    out = options.out or run.folder / ANSWERERS
    write_whole(out, as_toml(run, counts))
    for count in counts:
        print(f"{count.model}  {count.kind:<8} {count.right}/{count.asked}")
    print(f"wrote {out}", file=sys.stderr)
    return 0


def _rule(options: argparse.Namespace) -> int:
    from iterreason.bench.calibrating import SPLIT, Promise, calibrate
    from iterreason.bench.disk import write_whole
    from iterreason.bench.recorded import one_run
    from iterreason.calibration.file import write_calibration

    wanted = Promise(
        risk=options.risk,
        delta=0.05 if options.delta is None else options.delta,
        split=SPLIT if options.split is None else options.split,
        probability=options.probability,
    )
    run = one_run(options.run)
    if options.out and options.out.suffix != ".toml":
        raise Misuse(f"--out {options.out} must end in .toml, so that a policy can be named with it")
    named = ["iterreason", "calibrate", str(options.run), "--risk", f"{wanted.risk:g}", "--delta", f"{wanted.delta:g}"]
    named += ["--split", f"{wanted.split:g}", *(["--probability", wanted.probability] if wanted.probability else [])]
    file = calibrate(run, wanted, shlex.join(named))
    out = options.out or run.run.folder / RULE
    text = "\n".join(_told(file))
    write_whole(out, write_calibration(file, f"{text}\nUse: --policy {file.policy}@{out}"))
    print(text)
    print(f"wrote {out}; use it: iterreason ask … --policy {file.policy}@{out}", file=sys.stderr)
    return 0


def _told(file: CalibrationFile) -> list[str]:
    """What was found, in sentences."""
    rule = file.calibrated
    rounds = f"{rule.round} round{'s' if rule.round > 1 else ''}"
    lines = [
        f"{file.problems} problems about {file.images} images: one an image is used (seed {file.seed}),"
        f" {file.ordered_on} to order the rules, {file.tested_on} to test them; {file.errors} ended in an error and"
        " count as not answered",
        f"stop at confidence ≥ {rule.confident:.4g}, after {rounds} in any case; with less confidence give no answer",
        f"tested: {file.answered} of {file.tested_on} answered, {file.wrong} of them wrong; risk at most"
        f" {file.upper:.3f} (Clopper–Pearson, one-sided, {1 - rule.delta:.0%})",
        f"promise: at most {rule.risk:g} of the answers given are wrong, with probability {1 - rule.delta:g} over the"
        " problems tested on, for problems like these, one an image",
    ]
    if fitted := file.cross_fitted:
        lines.append(
            f"probability ({rule.probability.method if rule.probability else ''}), cross-fitted on {fitted.n} problems"
            f" in {fitted.folds} folds: Brier {fitted.brier[0]:.3f} → {fitted.brier[1]:.3f}, ECE {fitted.ece[0]:.3f}"
            f" → {fitted.ece[1]:.3f}"
        )
    return lines


def _what_if(options: argparse.Namespace) -> int:
    from rich.console import Console

    from iterreason.bench.recorded import one_run
    from iterreason.bench.what_if.grid import what_if
    from iterreason.bench.what_if.settings import settings
    from iterreason.bench.what_if.show import as_json, tables
    from iterreason.policy import find_policy

    run = one_run(options.run)
    other = find_policy(options.policy) if options.policy else None
    found = what_if(run, settings(run, other, options.stop or (), options.rounds, options.budget or ()))
    if options.plots:
        from iterreason.bench.what_if.plots import draw_all

        for path in draw_all(found, options.plots):
            print(f"wrote {path}", file=sys.stderr)
    if options.json:
        print(json.dumps(as_json(found), ensure_ascii=False))
    else:
        console = Console(highlight=False)
        for table in tables(found):
            console.print(table)
    return 0
