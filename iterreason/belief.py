"""The belief over rounds: which answers were under consideration after each, and how probable each was held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from iterreason.folding import same_text
from iterreason.records import Candidate, Result

MAX_SHOWN = 8


@dataclass(frozen=True, slots=True)
class RoundBelief:
    """The belief after one round.

    candidates: the choices, or each different answer so far; a probability of None: the estimator says nothing of it.
    outside: the mass on none of them; None where not measured.
    """

    number: int
    candidates: tuple[Candidate, ...]
    outside: float | None


def belief_by_round(result: Result) -> tuple[RoundBelief, ...]:
    """The belief after each round that has one, its candidates in the same order throughout."""
    known = list(result.problem.choices)
    made: list[RoundBelief] = []
    for r in result.rounds:
        verdict = r.verdict
        named = [c.answer for c in verdict.belief] + ([verdict.candidate] if verdict.candidate is not None else [])
        for answer in named:
            if not any(same_text(answer, one) for one in known):
                known.append(answer)
        if r.estimated:
            given = {one: next((c for c in verdict.belief if same_text(c.answer, one)), None) for one in known}
            candidates = tuple(Candidate(one, c.probability if c else None) for one, c in given.items())
            made.append(RoundBelief(r.number, candidates, verdict.outside))
    return tuple(made)


def belief_table(result: Result) -> Iterator[str]:
    """The belief as lines, a column a round; none where fewer than two rounds have one."""
    rounds = belief_by_round(result)
    if len(rounds) < 2 or not any(c.probability is not None for r in rounds for c in r.candidates):
        return
    last = rounds[-1].candidates
    rows = [(c.answer, [_probability(r, place) for r in rounds]) for place, c in enumerate(last)]
    told = [row for row in rows if any(p is not None for p in row[1])]
    shown = sorted(told, key=lambda row: -(row[1][-1] or 0.0))[:MAX_SHOWN]
    if any(r.outside is not None and r.outside >= 0.005 for r in rounds):
        shown.append(("outside these", [r.outside for r in rounds]))
    names = [" ".join(name.split())[:30] for name, _ in shown]
    width = max(len("belief, by round"), *(len(name) + 2 for name in names))
    yield "belief, by round".ljust(width) + "".join(f"{r.number:>7}" for r in rounds)
    for name, (_, row) in zip(names, shown, strict=True):
        yield f"  {name}".ljust(width) + "".join("      –" if p is None else f"{p:7.2f}" for p in row)
    if len(told) > MAX_SHOWN:
        yield f"  … and {len(told) - MAX_SHOWN} more"


def _probability(r: RoundBelief, place: int) -> float | None:
    return r.candidates[place].probability if place < len(r.candidates) else None


def belief_json(result: Result) -> list[dict[str, Any]]:
    """The belief over rounds as JSON values."""
    return [
        {
            "round": r.number,
            "candidates": [{"answer": c.answer, "probability": c.probability} for c in r.candidates],
            "outside": r.outside,
        }
        for r in belief_by_round(result)
    ]
