"""The settings of a what-if: grids of stop rules, rounds and budgets, read from what the command line says.

--stop 'confident=0.8,0.9+stable=2|dry'    two settings: (confident ≥ 0.8 and stable) or dry; the same with 0.9
--rounds 2,3                               each with at most 2, and at most 3 rounds
--budget calls=8,12 --budget tokens=3000   each with one of three budgets
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from pydantic import ValidationError

from iterreason.bench.recorded import Recorded
from iterreason.errors import Misuse, unknown
from iterreason.policy import NamedPolicy, Stop

_CONDITIONS = {"confident": float, "stable": int, "dry": bool, "answered": bool, "round": int}
_BUDGETS = {"calls": int, "tokens": int, "seconds": float}
_MOST = 500  # settings; each replays every episode


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting and what it is called; without a policy it is the run as recorded."""

    name: str
    policy: NamedPolicy | None


def settings(
    run: Recorded, other: NamedPolicy | None, stops: Sequence[str], rounds: str | None, budgets: Sequence[str]
) -> list[Setting]:
    """The run as recorded, then the grid of what was named. Raises Misuse.

    other: a policy whose rules are tried; by default the run's own.
    """
    base = other or run.plan.named
    rules: list[tuple[str, tuple[Stop, ...] | None]] = [made for text in stops for made in _stops(text)] or [("", None)]
    limits = [_whole(part, "--rounds") for part in rounds.split(",")] if rounds else [None]
    costs: list[tuple[str, dict[str, Any]]] = [made for text in budgets for made in _values(text, _BUDGETS, "--budget")]
    found = [Setting("recorded: all rounds" if run.plan.all_rounds else "recorded", None)]
    if run.plan.all_rounds or other or stops or rounds or budgets:
        grid = list(product(rules, limits, costs or [("", {})]))
        if len(grid) > _MOST:
            raise Misuse(f"{len(grid):,} settings are too many; name at most {_MOST}")
        found += [_setting(base, *one) for one in grid]
    return found


def _setting(
    base: NamedPolicy, rule: tuple[str, tuple[Stop, ...] | None], limit: int | None, budget: tuple[str, dict[str, Any]]
) -> Setting:
    policy = base.policy
    own = "rules of " + base.name
    stops = policy.stop if rule[1] is None else rule[1]
    names = [own if rule[1] is None else rule[0] or "no rule", f"{limit} rounds" if limit else "", budget[0]]
    name = ", ".join(filter(None, names))
    try:
        if rule[1] is not None:
            policy = replace(policy, calibrated=None, stop=stops)
        if limit is not None:
            if not policy.rounds.min <= limit <= policy.rounds.max:
                raise Misuse(
                    f"--rounds {limit}: policy '{base.name}' may stop after {policy.rounds.min} rounds at the earliest,"
                    f" and makes at most {policy.rounds.max}"
                )
            policy = replace(policy, stop=(*policy.stop, Stop(round=limit)))
        policy = replace(policy, budget=replace(policy.budget, **budget[1]) if budget[1] else policy.budget)
    except (ValidationError, ValueError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise Misuse(f"'{name}': {fault.removeprefix('Value error, ')}") from None
    return Setting(name, NamedPolicy(base.name, base.text, policy))


def _stops(text: str) -> Iterator[tuple[str, tuple[Stop, ...]]]:
    """The rules that a text stands for, a grid where it has lists."""
    if text.strip() == "none":
        yield "", ()
        return
    for tables in product(*(list(_values(part, _CONDITIONS, "--stop")) for part in text.split("|"))):
        try:
            yield " | ".join(name for name, _ in tables), tuple(Stop(**values) for _, values in tables)
        except ValidationError as error:
            fault = error.errors()[0]
            raise Misuse(f"--stop {text}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None


def _values(text: str, kinds: dict[str, type], option: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """`a=1,2+b=3` as ({a: 1, b: 3}, {a: 2, b: 3}), each with its name."""
    grids = list[list[tuple[str, Any]]]()
    for part in text.split("+"):
        key, _, said = part.strip().partition("=")
        if key not in kinds:
            raise Misuse(f"{option} {text}: {unknown('condition', key, kinds)}")
        if kinds[key] is bool:
            if said:
                raise Misuse(f"{option} {text}: '{key}' takes no value")
            grids.append([(key, True)])
            continue
        grids.append([(key, _number(value, kinds[key], f"{option} {text}")) for value in said.split(",")])
    for chosen in product(*grids):
        yield "+".join(key if value is True else f"{key}={value:g}" for key, value in chosen), dict(chosen)


def _number(text: str, kind: type, where: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise Misuse(f"{where}: {text!r} is no {'whole ' if kind is int else ''}number") from None


def _whole(text: str, where: str) -> int:
    number: int = _number(text, int, where)
    return number
