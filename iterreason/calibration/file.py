"""The file that `iterreason calibrate` writes, and the policy that it makes: `evidence@run.toml`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from iterreason.calibration.rule import Calibrated
from iterreason.errors import BadConfig, BadPolicy

if TYPE_CHECKING:
    from iterreason.plan import Plan
    from iterreason.policy import NamedPolicy

VERSION = 1
_STRICT = ConfigDict(extra="forbid", frozen=True)


@checked_dataclass(config=_STRICT, kw_only=True)
class Step:
    """A rule that was tested, in order: what it answered, how many of that wrong, and Clopper and Pearson's bound."""

    confident: float
    round: int
    answered: int
    wrong: int
    p: float
    upper: float
    holds: bool


@checked_dataclass(config=_STRICT, kw_only=True)
class Probabilities:
    """How the probabilities do on problems that they were not fitted on: Brier score and ECE before and after."""

    n: int
    folds: int
    brier: tuple[float, float]
    ece: tuple[float, float]


@checked_dataclass(config=_STRICT, kw_only=True)
class CalibrationFile:
    """A calibrated rule with where it comes from.

    problems: that the run has; images: how many of them were used, one problem an image; ordered_on, tested_on: how
    many of these put the rules in order, and tested them. answered, wrong, upper: of the rule, where it was tested.
    seed: of the choice among an image's problems and of the split.
    """

    calibration: Annotated[int, Field(ge=VERSION, le=VERSION)]
    iterreason: str
    date: str
    command: str
    task: str
    version: str
    split: str
    policy: str
    problems: int
    images: int
    ordered_on: int
    tested_on: int
    errors: int
    seed: int
    answered: int
    wrong: int
    upper: float
    calibrated: Calibrated
    sequence: tuple[Step, ...]
    cross_fitted: Probabilities | None = None


@cache
def _files() -> TypeAdapter[CalibrationFile]:
    return TypeAdapter(CalibrationFile)


def read_calibration(path: Path) -> CalibrationFile:
    """Read a calibration file; raises BadConfig with every fault, each with its key."""
    again = "write it anew with `iterreason calibrate RUN --risk …`"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadConfig(f"cannot read the calibration file {path}: {error}") from None
    if "calibration" not in values:
        raise BadConfig(f"{path} is no calibration file: it has no key 'calibration'; {again}")
    if values["calibration"] != VERSION:
        raise BadConfig(f"{path} is of version {values['calibration']!r}; this iterreason reads {VERSION}; {again}")
    try:
        return _files().validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise BadConfig("\n".join([f"{path} cannot be used; {again}:", *lines])) from None


def write_calibration(file: CalibrationFile, comment: str) -> str:
    """The file as TOML, with a comment at its head."""
    values = {key: value for key, value in asdict(file).items() if value is not None}
    lines = [f"# {line}" for line in comment.splitlines()]
    tables = {key: values.pop(key) for key in ("cross_fitted", "sequence", "calibrated") if key in values}
    lines += _pairs(values)
    if "cross_fitted" in tables:
        lines += ["", "[cross_fitted]", *_pairs(tables["cross_fitted"])]
    lines += ["", *_rule(file.calibrated)]
    for step in tables["sequence"]:
        lines += ["", "[[sequence]]", *_pairs(step)]
    return "\n".join([*lines, ""])


def _rule(rule: Calibrated) -> list[str]:
    """The rule as the tables `[calibrated]` and `[calibrated.probability]`."""
    values = asdict(rule)
    curve = values.pop("probability")
    lines = ["[calibrated]", *_pairs(values)]
    return [*lines, "", "[calibrated.probability]", *_pairs(curve)] if curve else lines


def _pairs(values: dict[str, Any]) -> list[str]:
    """Keys and values as TOML: JSON writes texts, numbers, truth and lists of these alike."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def calibrated_policy(base: NamedPolicy, path: Path) -> NamedPolicy:
    """A policy with the rule of a calibration file in its text, so that traces hold it; its name is NAME@FILE's stem.

    Raises BadConfig where the file was made with another text of the policy.
    """
    from iterreason.policy import read_policy

    file = read_calibration(path)
    if base.policy.calibrated is not None:
        raise BadPolicy(f"policy '{base.name}' has a [calibrated] rule already; take it out, or leave '@{path}' away")
    if file.calibrated.base != base.hash:
        made = f"made with policy '{file.policy}', text {file.calibrated.base[:12]}"
        also = "that text has changed since" if file.policy == base.name else "that is another policy"
        raise BadConfig(
            f"{path} was {made}; '{base.name}' here is {base.hash[:12]}: {also}. Record a run of this policy with"
            " `iterreason eval … --all-rounds`, and calibrate on that"
        )
    text = "\n".join([base.text.rstrip("\n"), "", *_rule(file.calibrated), ""])
    name = f"{base.name}@{path.stem}"
    return read_policy(text, name, f"policy '{base.name}' with {path}")


def reliability_hash(counts: list[dict[str, Any]]) -> str:
    """What tells one count of the answerers' reliability from another; empty where nothing is counted."""
    return sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest() if counts else ""


def check_calibrated(plan: Plan) -> None:
    """Raise BadPolicy where a calibrated policy is to run with other models than its rule was tested with."""
    rule = plan.policy.calibrated
    if rule is None:
        return
    tested = (
        ("the models", rule.models, plan.models),
        ("the estimator", (rule.estimator,), (plan.confidence,)),
        ("the tools", rule.tools, tuple(tool.name for tool in plan.tools)),
        ("the answerers' reliability", (rule.reliability[:12],), (reliability_hash(plan.reliability.to_json())[:12],)),
    )
    for what, then, now in tested:
        if then != now:
            told = f"calibrated with {what} {_named(then)}; here it is {_named(now)}"
            mend = "Use the same, or record a run with these (`iterreason eval … --all-rounds`) and calibrate on it"
            raise BadPolicy(f"policy '{plan.named.name}' was {told}. What was tested does not hold there. {mend}")


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(name or "none" for name in names) or "none"
