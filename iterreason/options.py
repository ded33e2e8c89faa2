"""Options that several commands share, and what they name: a problem, the models, a reasoner over them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iterreason.api import Reasoner
    from iterreason.records import Problem


def add_problem(parser: argparse.ArgumentParser) -> None:
    """Add what names one problem."""
    parser.add_argument("image", nargs="+", metavar="IMAGE", help="image file(s); a URL with --allow-url")
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--choices", metavar="A,B", help="the answers to choose from, separated by commas")
    parser.add_argument("--context", default="", metavar="TEXT", help="text that comes with the image")
    parser.add_argument("--allow-url", action="store_true", help="allow http(s) image addresses (public hosts only)")


def problem_of(options: argparse.Namespace) -> Problem:
    """The problem that was named. Raises BadImage, BadProblem."""
    from iterreason.api import make_problem

    choices = [c.strip() for c in options.choices.split(",")] if options.choices is not None else []
    return make_problem(options.image, options.question, choices, context=options.context, allow_url=options.allow_url)


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add what names the policy, the models, and how they are used."""
    parser.add_argument(
        "--policy",
        default="evidence",
        metavar="P",
        help="name, .toml file, or NAME@CALIBRATION.toml (default: evidence)",
    )
    parser.add_argument("--reasoner", metavar="URI", help="the model that asks and concludes, see `iterreason models`")
    add_answerers(parser)
    parser.add_argument("--lavis-python", metavar="FILE", help="the Python that has LAVIS, for `lavis:` models")
    parser.add_argument(
        "--tool", action="append", default=[], metavar="NAME", help="a tool for the reasoner: ocr, detect:PATH-OR-ID, …"
    )
    parser.add_argument(
        "--exemplars", type=Path, metavar="FILE", help="JSONL of worked exemplars, for a policy that shows some"
    )
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep replies in this SQLite file and reuse them")
    parser.add_argument("--seed", type=int, metavar="N", help="for models that sample")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each answer, nothing else")


def add_answerers(parser: argparse.ArgumentParser) -> None:
    """Add the options that name those who look at the image."""
    told = "the model that looks at the image; `same`: the reasoner; repeated: who is asked where the last was unsure"
    parser.add_argument("--answerer", action="append", metavar="URI", help=told)
    told = "how often each answerer is right, as `calibrate --answerers` wrote it"
    parser.add_argument("--reliability", type=Path, metavar="FILE", help=told)


def add_attribution(parser: argparse.ArgumentParser) -> None:
    """Add the option that has the evidence weighed."""
    parser.add_argument(
        "--attribution", action="store_true", help="weigh each piece of evidence: what changes without it"
    )


def reasoner_of(options: argparse.Namespace, *, attribution: bool = False) -> Reasoner:
    """A reasoner over the models that were named; nothing is open yet."""
    from iterreason.api import Reasoner

    return Reasoner(
        options.reasoner,
        options.answerer,
        policy=options.policy,
        reliability=options.reliability,
        tools=options.tool,
        cache=options.cache,
        seed=options.seed,
        attribution=attribution,
        exemplars=options.exemplars or (),
    )
