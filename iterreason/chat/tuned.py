"""A policy with other stop thresholds or rounds, as the TOML text that it then is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iterreason.extras import needed
from iterreason.policy import NamedPolicy, find_policy, read_policy


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """The policy to reason by: a shipped name or a file's path, and what a person changed of it.

    stop: the confidence to stop at, in [0, 1]. rounds: at most so many. None leaves it as the policy has it.
    """

    name: str = "evidence"
    stop: float | None = None
    rounds: int | None = None

    def find(self) -> NamedPolicy:
        """The policy itself, its name telling what was changed. Raises UnknownPolicy, BadPolicy."""
        named = find_policy(self.name)
        if self.stop is None and self.rounds is None:
            return named
        tomlkit = _tomlkit()
        document: Any = tomlkit.parse(named.text)
        name = named.name
        if self.rounds is not None:
            _bound_rounds(document, named, self.rounds)
            name += f"+rounds={self.rounds}"
        if self.stop is not None:
            _stop_at(document, self.stop)
            name += f"+stop={self.stop:g}"
        return read_policy(tomlkit.dumps(document), name, f"policy {name}")


def _tomlkit() -> Any:
    """The package that keeps comments and layout, so that what a trace holds stays readable. Raises MissingExtra."""
    return needed("tomlkit", "terminal", "changing a policy in a session")


def _bound_rounds(document: Any, named: NamedPolicy, most: int) -> None:
    rounds = document.setdefault("rounds", {})
    rounds["max"] = most
    if named.policy.rounds.min > most:
        rounds["min"] = most
    asks = most > 1 or named.policy.layout == "separate"
    # Rules that could never hold go, and where nothing is asked, those that would hold at once.
    for rule in [
        rule for rule in document.get("stop", ()) if rule.get("stable", 0) > most or ("dry" in rule and not asks)
    ]:
        document["stop"].remove(rule)


def _stop_at(document: Any, threshold: float) -> None:
    tomlkit = _tomlkit()
    rules = [rule for rule in document.get("stop", ()) if "confident" in rule]
    for rule in rules:
        rule["confident"] = threshold
    if not rules:
        rule = tomlkit.table()
        rule["confident"] = threshold
        document.setdefault("stop", tomlkit.aot()).append(rule)
