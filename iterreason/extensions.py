"""Stop rules and confidence estimators of other packages, found by entry point; a policy names them like our own.

A stop rule is a pure function of the verdicts so far and the memory: the reason to stop, or None. An estimator is a
pure function of the verdict and the memory: a number in [0, 1], or None where it can tell none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from iterreason.errors import BadPolicy
from iterreason.memory import Memory
from iterreason.records import Verdict

Kind = Literal["stop rule", "estimator"]
GROUPS: dict[Kind, str] = {"stop rule": "iterreason.stop_rules", "estimator": "iterreason.estimators"}


def installed(kind: Kind) -> dict[str, EntryPoint]:
    """The entry points of a kind, by name."""
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def origin(kind: Kind, name: str) -> str:
    """Which distribution, in which version, an installed extension is of: `name (distribution version)`."""
    of = installed(kind)[name].dist
    return f"{name} ({of.name} {of.version})" if of else f"{name} (of no distribution)"


def stop_rule_of(name: str) -> Callable[[Sequence[Verdict], Memory], str | None]:
    """An installed stop rule; what it raises, or gives that is no reason, ends the episode with an error."""
    function = _load("stop rule", name)

    def rule(verdicts: Sequence[Verdict], memory: Memory) -> str | None:
        said = _call("stop rule", name, function, tuple(verdicts), memory)
        if said is not None and not isinstance(said, str):
            raise _failed("stop rule", name, f"it gave {said!r}; it must give a reason (text) or None")
        return f"{name}: {said}" if said else None

    return rule


def estimator_of(name: str) -> Callable[[Verdict, Memory], float | None]:
    """An installed estimator; what it raises, or gives that is no probability, ends the episode with an error."""
    function = _load("estimator", name)

    def estimate(verdict: Verdict, memory: Memory) -> float | None:
        said = _call("estimator", name, function, verdict, memory)
        if said is None:
            return None
        if isinstance(said, bool) or not isinstance(said, int | float) or not (math.isfinite(said) and 0 <= said <= 1):
            raise _failed("estimator", name, f"it gave {said!r}; it must give a number from 0 to 1, or None")
        return float(said)

    return estimate


def _load(kind: Kind, name: str) -> Any:
    try:
        function = installed(kind)[name].load()
    except Exception as error:  # another package's code
        raise BadPolicy(f"the {kind} {origin(kind, name)} cannot be loaded: {_told(error)}") from None
    if not callable(function):
        raise BadPolicy(f"the {kind} {origin(kind, name)} is no function but {function!r}; mend its entry point")
    return function


def _call(kind: Kind, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # another package's code
        raise _failed(kind, name, _told(error)) from error


def _failed(kind: Kind, name: str, why: str) -> Exception:
    from iterreason.state import Ended

    return Ended("error", f"the {kind} {origin(kind, name)} failed: {why}")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
