"""Whether calibrated rules keep their promise on a recorded run, over many random splits of it.

    python -m iterreason.bench.promise runs/…/evidence.all-rounds --beside runs/…/direct.all-rounds --risk 0.1

In each split half of the images calibrate a rule, and the other half show how often its answers are wrong there.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from iterreason.bench.calibrating import SEED, SPLIT
from iterreason.bench.episode_paths import Sample, sample
from iterreason.bench.recorded import one_run
from iterreason.calibration.paths import answers
from iterreason.calibration.testing import answers_needed, certify, order_share
from iterreason.errors import BadRun, IterReasonError

SPLITS = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the splits.

    certified: splits in which a rule was found. violated: of these, those whose answers on the other half were wrong
    more often than allowed. answered: the share answered there on average, nothing where no rule was found.
    """

    policy: str
    images: int
    splits: int
    certified: int
    violated: int
    answered: float


def kept(policy: str, drawn: Sample, risk: float, delta: float, splits: int = SPLITS) -> Kept:
    """Calibrate on half of the images and look at the other half, again and again. Raises BadRun where they are few."""
    n = len(drawn.rows)
    half = n // 2
    needed, tested = answers_needed(risk, delta), half - order_share(range(max(half, 2)), SPLIT)
    if tested < needed:
        raise BadRun(f"{n} images leave {tested} to test a rule in each split; at least {needed} are needed")
    certified = violated = 0
    answered = 0.0
    for number in range(splits):
        places = list(range(n))
        random.Random(f"promise {SEED} {number}").shuffle(places)
        cut = order_share(places[:half], SPLIT)
        parts = [drawn.paths.part(part) for part in (places[:cut], places[cut:half], places[half:])]
        found = certify(parts[0], parts[1], risk, delta).chosen
        if found is None:
            continue
        out = answers(parts[2], [found.rule.confident], found.rule.rounds)
        given, wrong = int(out.given.sum()), int(out.wrong.sum())
        certified, violated = certified + 1, violated + (wrong > risk * given)
        answered += given / len(parts[2]) / splits
    return Kept(policy, n, splits, certified, violated, answered)


def told(found: Kept, risk: float, delta: float) -> str:
    """A run's splits in a sentence."""
    share = found.violated / found.splits
    return (
        f"{found.policy}: {found.images} images, {found.splits} splits; a rule for risk {risk:g} at delta {delta:g} was"
        f" found in {found.certified}; in {found.violated} ({share:.1%} of all) the other half was wrong more often;"
        f" answered there on average: {found.answered:.1%}"
    )


NO_INTERVAL = (
    "No interval is given: the splits share the same problems and are not independent. The other half is a sample too,"
    " so that its share of wrong answers passes the allowed one by chance where the true risk does not."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge one run, and others beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run recorded with --all-rounds")
    parser.add_argument(
        "--beside", type=Path, action="append", default=[], metavar="RUN", help="others, as of `direct`"
    )
    parser.add_argument("--risk", type=float, default=0.1)
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        runs = [one_run(folder) for folder in (options.run, *options.beside)]
        found = [kept(r.run.policy, sample(r, SEED), options.risk, options.delta, options.splits) for r in runs]
    except IterReasonError as error:
        print(f"promise: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps({"risk": options.risk, "delta": options.delta, "runs": [asdict(one) for one in found]}))
        return 0
    for one in found:
        print(told(one, options.risk, options.delta))
    for one in found[1:]:
        print(
            f"{found[0].policy} answers {100 * (found[0].answered - one.answered):+.1f} points more than {one.policy}"
        )
    print(NO_INTERVAL)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
