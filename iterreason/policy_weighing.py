"""The tables of a policy that say how answers, contradictions and questions are weighed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from iterreason.records import SettlingWay

_STRICT = ConfigDict(extra="forbid", frozen=True)


@checked_dataclass(config=_STRICT, kw_only=True)
class Believing:
    """Which answers are one candidate, and how much the reasoner's is worth.

    same: `folded`, those that are the same text after folding; `reasoner`, also those that a read-out of the reasoner
        holds to mean the same (one read-out for each earlier candidate, at most four a round; open questions only).
    reliability: how often the reasoner concludes rightly from right answers, in [0, 1); for the estimator `combined`.
    """

    same: Literal["folded", "reasoner"] = "folded"
    reliability: Annotated[float, Field(ge=0, lt=1)] = 0.9


@checked_dataclass(config=_STRICT, kw_only=True)
class Contradicting:
    """What happens where two answers to one question differ.

    most: so many targeted questions an episode at most; 0: none, the reasoner sees both answers and no more.
    ways: the first that can be had is taken. `answerer`: one that has not answered it yet; `zoom`: the same question
        on the region where a tool found what it is about; `reasoner`: it reads of it, and asks.
    """

    most: Annotated[int, Field(ge=0, le=20)] = 0
    ways: Annotated[tuple[SettlingWay, ...], Field(min_length=1)] = ("answerer", "zoom", "reasoner")


@checked_dataclass(config=_STRICT, kw_only=True)
class Worth:
    """Which of the proposed questions are put.

    keep: `first`, the first `rounds.questions` of them; `worth`, those with the highest expected change of belief.
    propose: how many the reasoner may propose, of which at most `rounds.questions` are put.
    cost: a question whose expected change of belief, in [0, 1], is not above this is not put.
    """

    keep: Literal["first", "worth"] = "first"
    propose: Annotated[int, Field(ge=1, le=20)] = 5
    cost: Annotated[float, Field(ge=0, le=1)] = 0.02
