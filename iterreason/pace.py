"""How many calls to a model may be in flight: more while that brings throughput, fewer where it brings only waiting.

Pure: it is told what happened, and reads no clock. While calls wait for room there are always as many in flight as the
limit says, so that throughput is the limit divided by the seconds of a call (Little's law). Those are compared
between windows of replies, kind by kind, by their medians: neither the mix of calls nor a few that were retried or
stalled shows in them.

Source: additive increase, multiplicative decrease after Chiu and Jain, "Analysis of the increase and decrease
algorithms for congestion avoidance" (1989); doubling while it pays, as in TCP's slow start.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

FIRST = 8  # calls in flight to begin with: a turn's calls should not wait for each other
FIRST_STEP, STEP = 2.0, 1.5  # by which the limit is tried higher: until that first fails, then
WORTH, IDLE = 0.1, 0.2  # of a higher limit, the share that must show in throughput; of a lower one, the most that may
LEAST_REPLIES, LEAST_OF_A_KIND = 24, 3  # in a window, twice that for smaller steps; of a kind to be compared
RESTS = (4, 32)  # windows between two tries: at first, at most
CHANGED = 0.6  # of the throughput that the same limit had: from here on, or its inverse, something else has changed
CUT = 0.7  # of the limit stays when the model is under strain
TOLERATED = 0.1  # share of replies that may come with strain: a stray 429 or time-out is no overload


@dataclass(slots=True)
class Window:
    """Replies that came one after another under one limit: their seconds, by kind of call.

    full: at how many of their ends other calls waited for room.
    """

    limit: int
    count: int = 0
    full: int = 0
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, seconds: float, *, waiting: bool) -> None:
        """Count a reply."""
        self.count += 1
        self.full += waiting
        self.seconds[kind].append(seconds)

    @property
    def kinds(self) -> set[str]:
        """The kinds with replies enough for a median."""
        return {kind for kind, seconds in self.seconds.items() if len(seconds) >= LEAST_OF_A_KIND}


def gain(before: Window, after: Window) -> float | None:
    """How many times the throughput of `before` that of `after` is, by the kinds of call that both have; None where
    they have none in common."""
    first = second = 0.0
    for kind in before.kinds & after.kinds:
        one, other = before.seconds[kind], after.seconds[kind]
        replies = len(one) + len(other)
        first, second = first + replies * median(one), second + replies * median(other)
    return after.limit / before.limit * first / second if second > 0 else None


class Pace:
    """The limit of calls in flight to one model, from 1 to `most`.

    limit: now. highest: so far. cuts: how often strain lowered it. resume: no call should begin before this time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = self.highest = min(FIRST, most)
        self.cuts = 0
        self.resume = self._cut_at = float("-inf")
        self._strains = self._replies = 0  # since the last window or cut
        self._settling = self.limit  # replies to wait for before the limit in force shows in them
        self._now = Window(self.limit)
        self._before: Window | None = None  # what the window under way is compared with
        self._up, self._step = True, FIRST_STEP
        self._rest, self._resting = RESTS[0], 0

    def ended(self, kind: str, seconds: float, *, waiting: bool) -> None:
        """A call has its reply. waiting: others wait for room, so that the limit is what holds them back."""
        self._replies += 1
        if self._settling > 0:
            self._settling -= 1
            return
        self._now.add(kind, seconds, waiting=waiting)
        if self._now.count >= max(2 * self.limit, LEAST_REPLIES) * (1 if self._step == FIRST_STEP else 2):
            window, self._now = self._now, Window(self.limit)
            self._strains = self._replies = 0
            if 2 * window.full >= window.count:  # a limit that held nobody back says nothing
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
        self._strains = self._replies = 0
        self._cut_at, self.resume = now, now + wait
        self._before, self._up, self._step = None, True, STEP
        self._rest, self._resting = RESTS[0], 1
        self._set(int(self.limit * CUT))

    def _judge(self, window: Window) -> None:
        """Choose the next limit after a full window: a try is kept where it pays, and then tried further."""
        before = self._before
        if before is None or window.limit == before.limit:
            change = before and gain(before, window)
            if change and not CHANGED < change < 1 / CHANGED:
                self._up, self._rest, self._resting = change > 1, RESTS[0], 0
            if before is None or not self._resting:
                self._before = window
            if self._resting:
                self._resting -= 1
            else:
                self._try()
            return
        change, ratio = gain(before, window), window.limit / before.limit
        if change is not None and change >= 1 + (WORTH if ratio > 1 else IDLE) * (ratio - 1):
            self._before, self._rest = window, RESTS[0]
            self._try()
        else:
            self._up, self._step = not self._up, STEP
            self._resting, self._rest = self._rest, min(2 * self._rest, RESTS[1])
            self._set(before.limit)

    def _try(self) -> None:
        """A higher limit or a lower one, in turns; at the bounds the other."""
        self._up = self.limit == 1 or (self._up and self.limit < self.most)
        if self._up:
            self._set(max(self.limit + 1, int(self.limit * self._step)))
        else:
            self._set(min(self.limit - 1, int(self.limit / STEP)))

    def _set(self, limit: int) -> None:
        limit = min(max(limit, 1), self.most)
        if limit != self.limit:
            self._settling, self._now = self.limit, Window(limit)
        self.limit = limit
        self.highest = max(self.highest, limit)
