"""A calibrated rule as it stands in a policy: its threshold and rounds, what it was tested with, and its probabilities.

[calibrated]
confident = 0.87       # stop once the confidence is at least this; give no answer with less
round = 3              # and stop after so many rounds in any case
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

Method = Literal["isotonic", "platt", "temperature"]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
_STRICT = ConfigDict(extra="forbid", frozen=True)
_EDGE = 1e-6  # a logit needs a confidence within (0, 1)


@checked_dataclass(config=_STRICT, kw_only=True)
class Curve:
    """What a confidence is worth as a probability of being right.

    x, y: of `isotonic`, the points between which it is straight, x ascending; beyond them it is level.
    slope, offset: of `platt`, logit(probability) = slope · logit(confidence) + offset; of `temperature` offset is 0 and
        slope one over the temperature.
    """

    method: Method
    x: tuple[Probability, ...] = ()
    y: tuple[Probability, ...] = ()
    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        points = len(self.x)
        if self.method == "isotonic" and (not points or points != len(self.y)):
            raise ValueError(
                f"probability: isotonic wants as many x as y, at least one, not {points} and {len(self.y)}"
            )
        if any(a > b for axis in (self.x, self.y) for a, b in pairwise(axis)):
            raise ValueError("probability: x and y must not fall")
        if not (math.isfinite(self.slope) and math.isfinite(self.offset)):
            raise ValueError("probability: slope and offset must be finite")

    def of(self, confidence: float) -> float:
        """The probability that an answer of this confidence is right, both in [0, 1]."""
        if self.method == "isotonic":
            return self._between(confidence)
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, self.slope * logit(confidence) + self.offset))))

    def _between(self, confidence: float) -> float:
        place = bisect_right(self.x, confidence)
        if place in (0, len(self.x)):
            return self.y[0 if place == 0 else -1]
        x0, x1, y0, y1 = self.x[place - 1], self.x[place], self.y[place - 1], self.y[place]
        return y0 + (y1 - y0) * (confidence - x0) / (x1 - x0)


def logit(confidence: float) -> float:
    """The log odds of a confidence, which is first brought into [1e-6, 1 - 1e-6]."""
    inside = min(max(confidence, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))


@checked_dataclass(config=_STRICT, kw_only=True)
class Calibrated:
    """A tested rule, in place of a policy's own `confident` and `abstain_below`.

    confident, round: stop once the confidence is at least this, and after so many rounds in any case; an answer of less
        confidence is not given. risk, delta: at most this share of the answers is wrong, with probability at least
        1 - delta over the problems that the rule was tested on.
    base: the sha256 of the policy's text without this. estimator, models, tools, reliability: what it was tested with.
    probability: what a confidence is worth at the end of an episode.
    """

    confident: Annotated[float, Field(gt=0, le=1)]
    round: Annotated[int, Field(ge=1, le=50)]
    risk: Share
    delta: Share
    base: str
    estimator: str
    models: tuple[str, ...]
    tools: tuple[str, ...] = ()
    reliability: str = ""
    probability: Curve | None = None
