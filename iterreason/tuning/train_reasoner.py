"""Tune a model on instruction data with LoRA: `python -m iterreason.tuning.train_reasoner`.

Trained is the last message of each triple alone, given all that stands before it; where a triple's prompt goes on from
another's response, the two are read as one text. Files in OUT: `adapter/` (as peft loads it), `log.jsonl`, `loss.svg`,
`recipe.json`, and `checkpoints/`, from which `--resume` goes on to the same losses.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from iterreason.errors import IterReasonError, MissingExtra
from iterreason.tuning.lora import MOST_RANK

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "safetensors", "matplotlib")
EMBEDDED = "embedded"  # the embedded reasoner's model, as it is before any tuning
STOPPED = 3  # the exit code of a training that a signal or --minutes ended before its last step


def main(arguments: list[str] | None = None) -> int:
    """Train; return 0 when finished, 3 when stopped before the last step, and as the command line does for errors."""
    options = _parser().parse_args(arguments)
    try:
        _check_packages()
        from iterreason.tuning.reasoner_training import Recipe, train

        if options.model == EMBEDDED:
            from iterreason.models.smollm import checkpoint

            options.model = str(checkpoint())
        values = {field.name: getattr(options, field.name) for field in fields(Recipe)}
        how = {"resume": options.resume, "minutes": options.minutes, "merge": options.merge}
        finished = train(Recipe(**values), options.out, **how)
    except IterReasonError as error:
        print(f"train_reasoner: {error}", file=sys.stderr)
        return error.exit_code
    if not finished:
        print(f"stopped; go on with the same command and --resume ({options.out})", file=sys.stderr)
    return 0 if finished else STOPPED


def _check_packages() -> None:
    """Raise MissingExtra where a package is missing, also one that only the end of a training needs."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise MissingExtra(f"training needs {', '.join(missing)}; run: pip install 'iterreason[local,bench,tuning]'")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m iterreason.tuning.train_reasoner", description=__doc__)
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="DIR|ID",
        help=f"a checkpoint's folder or hub name, causal or vision-language; '{EMBEDDED}': SmolLM2-135M, not tuned",
    )
    add(
        "--data",
        required=True,
        type=Path,
        metavar="FILE",
        help="train.jsonl, as `iterreason instruct export` writes it",
    )
    add("--validation", type=Path, metavar="FILE", help="validation.jsonl; its loss is logged, never trained on")
    add("--out", required=True, type=Path, metavar="DIR")
    add("--rank", type=int, default=MOST_RANK, metavar="R", help=f"of the adapter (default and most: {MOST_RANK})")
    add("--any-rank", action="store_true", help="allow a higher rank")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, default=1, metavar="N", help="times through the data (default: 1)")
    length.add_argument("--steps", type=int, metavar="N", help="optimiser steps, instead of epochs")
    add("--batch", type=int, default=16, metavar="N", help="conversations a step (default: 16)")
    add("--even", action="store_true", help="weigh responses alike, not their tokens: a letter as much as a paragraph")
    add("--rate", type=float, default=2e-4, metavar="R", help="the highest learning rate (default: 2e-4)")
    add("--seed", type=int, default=0, metavar="N")
    add("--most-tokens", type=int, default=4096, metavar="N", help="of a triple; longer ones are refused")
    add("--precision", default="auto", choices=("auto", "float32", "bfloat16"), help="of the frozen weights")
    add("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="of the processor")
    add("--save-every", type=int, default=50, metavar="N", help="steps between checkpoints (default: 50)")
    add("--minutes", type=float, metavar="M", help="stop after so long, leaving a checkpoint (exit code 3)")
    add("--merge", action="store_true", help="also write OUT/merged, a checkpoint with the adapter worked in")
    add("--resume", action="store_true", help="go on from the last checkpoint in --out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
