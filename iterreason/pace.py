"""How many calls to a model may be in flight: more while that brings throughput, fewer where it brings only waiting.

Pure: it is told what happened and when, and reads no clock. Throughput is compared between windows of replies. A call
that asks for more work takes longer, so each kind of call counts with the mean seconds that its replies took over both
windows; by that the comparison does not depend on which calls happened to end in which window.

Source: additive increase, multiplicative decrease after Chiu and Jain, "Analysis of the increase and decrease
algorithms for congestion avoidance" (1989); doubling while it pays, as in TCP's slow start.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

FIRST = 8  # calls in flight to begin with: a turn's calls should not wait for each other
WORTH = 0.1  # of the throughput that more calls could bring at best, the least for which they stay
SLOWER = 0.6  # of the throughput measured under the same limit: from here on somebody queues
CUT = 0.7  # of the limit stays when the model is under strain
TOLERATED = 0.1  # share of replies that may come with strain: a stray 429 or time-out is no overload
LEAST_REPLIES = 16  # in a window
RESTS = (4, 64)  # windows without a try at more: at first, at most


@dataclass(slots=True)
class Window:
    """The replies that came within a span of time under one limit; seconds and counts by kind of call.

    full: at how many of their ends other calls waited for room.
    """

    limit: int
    began: float
    ended: float = 0.0
    count: int = 0
    full: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, kind: str, seconds: float, now: float, *, waiting: bool) -> None:
        """Count a reply."""
        self.count += 1
        self.full += waiting
        self.counts[kind] += 1
        self.seconds[kind] += seconds
        self.ended = now

    def work_a_second(self, costs: dict[str, float]) -> float:
        """Throughput, each kind of call at its cost; infinite where no time passed."""
        work = sum(costs[kind] * count for kind, count in self.counts.items())
        passed = self.ended - self.began
        return work / passed if passed > 0 else float("inf")


def gain(before: Window, after: Window) -> float:
    """How many times the throughput of `before` that of `after` is; 1 where no time was measured."""
    kinds = {*before.counts, *after.counts}
    costs = {k: (before.seconds[k] + after.seconds[k]) / (before.counts[k] + after.counts[k]) for k in kinds}
    first, second = before.work_a_second(costs), after.work_a_second(costs)
    return second / first if 0 < first < float("inf") and second < float("inf") else 1.0


class Pace:
    """The limit of calls in flight to one model, from 1 to `most`.

    limit: now. highest: so far. cuts: how often strain lowered it. resume: no call should begin before this time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = self.highest = min(FIRST, most)
        self.cuts = 0
        self.resume = float("-inf")
        self._cut_at = float("-inf")
        self._strains = self._replies = 0  # since the last window or cut
        self._settling = 0  # replies to wait for before the limit in force shows in them
        self._now: Window | None = None
        self._before: Window | None = None  # what the window under way is compared with
        self._growth = 2.0
        self._rest, self._resting = RESTS[0], 0

    def ended(self, kind: str, began: float, now: float, *, waiting: bool) -> None:
        """A call has its reply. waiting: others wait for room, so that the limit is what holds them back."""
        self._replies += 1
        if self._settling > 0:
            self._settling -= 1
        elif self._now is None:
            self._now = Window(self.limit, now)
        else:
            self._now.add(kind, now - began, now, waiting=waiting)
            if self._now.count >= max(2 * self.limit, LEAST_REPLIES):
                window, self._now = self._now, None
                self._strains = self._replies = 0
                if 2 * window.full >= window.count:  # a limit that held nobody back says nothing by its throughput
                    self._judge(window)

    def strained(self, began: float, now: float, wait: float = 0.0) -> None:
        """A request that began then was turned away as one too many, or had no reply in time.

        wait: seconds that the server wants to be left alone.
        """
        if began < self._cut_at:  # sent before the last cut: it says nothing about the limit in force
            return
        self._strains += 1
        if self._strains <= 2 + TOLERATED * self._replies:
            return
        self.cuts += 1
        self._cut_at, self.resume = now, now + wait
        self._before, self._growth = None, 1.25
        self._rest, self._resting = RESTS[0], 1
        self._set(int(self.limit * CUT))

    def _judge(self, window: Window) -> None:
        """Choose the next limit after a full window."""
        before = self._before
        if before is None:
            self._hold(window)
            return
        change, ratio = gain(before, window), window.limit / before.limit
        if ratio > 1 and change >= 1 + WORTH * (ratio - 1):
            self._before, self._rest = window, RESTS[0]
            self._raise()
        elif ratio > 1:  # only longer queues: back, and a while of peace
            self._growth = 1.25
            self._resting, self._rest = self._rest, min(2 * self._rest, RESTS[1])
            self._set(before.limit)
        elif ratio < 1 and change < 1 - WORTH:  # the lower limit costs throughput: nobody queued
            self._before, self._resting = None, self._rest
            self._set(before.limit)
        elif ratio < 1 or change < SLOWER:  # the same calls take longer than they did: does a lower limit do as well?
            self._before = window
            self._set(self.limit * 2 // 3)
        else:
            self._hold(before)

    def _hold(self, reference: Window) -> None:
        """Stay for the windows of rest that are left; then try more."""
        self._before = reference
        if self._resting:
            self._resting -= 1
        else:
            self._raise()

    def _raise(self) -> None:
        self._set(max(self.limit + 1, int(self.limit * self._growth)))

    def _set(self, limit: int) -> None:
        limit = min(max(limit, 1), self.most)
        if limit != self.limit:
            self._settling, self._now = self.limit, None
        self.limit = limit
        self.highest = max(self.highest, limit)
