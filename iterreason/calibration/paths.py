"""Recorded episodes as arrays: what any rule of (threshold, rounds) would have made of each, without replaying it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Paths:
    """What n episodes came to at the end of each of their R rounds.

    confidence: (n, R); nan where there is no answer or no confidence, where the round was never made, and before the
        first round in which the policy may stop.
    wrong: (n, R); whether the answer held then is wrong. ended: (n, R); whether the episode ends there in any case.
    """

    confidence: Floats
    wrong: Bools
    ended: Bools

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def rounds(self) -> int:
        """The most rounds of an episode."""
        return int(self.confidence.shape[1])

    def part(self, places: Sequence[int] | NDArray[np.int64]) -> Paths:
        """Those at these places."""
        return Paths(self.confidence[places], self.wrong[places], self.ended[places])


@dataclass(frozen=True, slots=True)
class Answers:
    """What rules would have answered: (n, m), an episode a row, a rule a column.

    given: whether an answer is given. wrong: whether one is given and is wrong. round: when it stops, from 1 on.
    """

    given: Bools
    wrong: Bools
    round: NDArray[np.int64]


def answers(paths: Paths, thresholds: Sequence[float] | Floats, rounds: int) -> Answers:
    """Stop once the confidence is at least the threshold, and after so many rounds in any case; else give no answer.

    Episodes of equal confidence stop together. An episode that failed before it stopped gives no answer.
    """
    import numpy as np

    confidence, ended = paths.confidence[:, :rounds, None], paths.ended[:, :rounds, None]
    sure = confidence >= np.asarray(thresholds, dtype=float)  # nan is never sure
    stops = sure | ended
    stops[:, -1] = True
    at = stops.argmax(axis=1)
    given = np.take_along_axis(sure, at[:, None], axis=1)[:, 0]
    wrong = np.take_along_axis(paths.wrong, at, axis=1) & given
    return Answers(given, wrong, at + 1)
