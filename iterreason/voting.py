"""Adaptive consistency: each round is one more sample of the same prompt, until the leading answer is sure to lead.

Source: Aggarwal et al. 2023, "Let's Sample Step by Step" (arXiv 2305.11860), and its code's BetaStoppingCriteria.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import comb

from iterreason.confidence import majority
from iterreason.memory import SameText
from iterreason.records import Verdict


def leading(samples: Sequence[Verdict], same: SameText) -> Verdict:
    """The verdict that the samples come to: the latest with the answer given most often, of equals the one given first.

    Its belief is the share of each answer; its confidence the probability that the answer beats the runner-up.
    """
    belief = majority([sample.answer for sample in samples], same)
    if not belief:
        return replace(samples[-1], confidence=None)
    counts = [round((candidate.probability or 0.0) * len(samples)) for candidate in belief]
    best = belief[0].answer
    latest = next(s for s in reversed(samples) if s.answer is not None and same(best, s.answer))
    sure = majority_probability(counts[0], counts[1] if len(counts) > 1 else 0)
    return replace(latest, answer=best, belief=belief, confidence=sure, outside=1 - sum(counts) / len(samples))


def majority_probability(first: int, second: int) -> float:
    """The probability that the leading answer is the more frequent of the two, given how often each was sampled.

    first ≥ second ≥ 0. That a Beta(first + 1, second + 1) variable (the posterior, uniform prior) is above one half:
    exact, as the binomial tail that it is: P(X ≤ first) for X of first + second + 1 fair coins.
    """
    coins = first + second + 1
    return float(sum(comb(coins, heads) for heads in range(first + 1)) / 2**coins)
