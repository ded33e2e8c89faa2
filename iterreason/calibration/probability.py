"""Fitting what a confidence is worth as a probability: isotonic, Platt's, or a temperature; checked by cross-fitting.

Source: Zadrozny and Elkan, KDD 2002 (isotonic); Platt, 1999 (a logistic of the log odds); Guo, Pleiss, Sun and
Weinberger, ICML 2017 (temperature). scikit-learn fits all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iterreason.calibration.rule import Curve, Method, logit

FOLDS = 5
_BINS = 10
_HARDLY = 1e6  # scikit-learn's C: no penalty to speak of


@dataclass(frozen=True, slots=True)
class Fitted:
    """A curve, and how it does on problems that it was not fitted on.

    brier, ece: before and after, in [0, 1]; after, each problem has the curve fitted on the other folds.
    """

    curve: Curve
    n: int
    folds: int
    brier: tuple[float, float]
    ece: tuple[float, float]


def fit(method: Method, confidence: Sequence[float], score: Sequence[float]) -> Curve:
    """Fit a curve on confidences and scores, both in [0, 1]; a score between is right in part."""
    import numpy as np

    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        found = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(confidence, score)
        x, y = found.X_thresholds_, found.y_thresholds_
        return Curve(method=method, x=tuple(map(float, x)), y=tuple(map(float, np.clip(y, 0, 1))))
    from sklearn.linear_model import LogisticRegression

    platt = method == "platt"
    odds = np.array([logit(one) for one in confidence])
    right = np.asarray(score, dtype=float)
    if platt:  # Platt's targets: a little off 0 and 1, so that a perfect run does not claim certainty
        positive, negative = right.sum(), (1 - right).sum()
        right = right * (positive + 1) / (positive + 2) + (1 - right) / (negative + 2)
    found = LogisticRegression(C=_HARDLY, fit_intercept=platt, max_iter=1_000)
    found.fit(np.tile(odds, 2)[:, None], np.repeat([1, 0], len(odds)), np.concatenate((right, 1 - right)))
    offset = float(found.intercept_[0]) if platt else 0.0
    return Curve(method=method, slope=float(found.coef_[0, 0]), offset=offset)


def cross_fit(method: Method, confidence: Sequence[float], score: Sequence[float], seed: int = 0) -> Fitted:
    """Fit on all, and judge by folds: each problem by a curve that never saw it. Wants at least 10 problems."""
    from sklearn.model_selection import KFold

    after = [0.0] * len(confidence)
    for rest, fold in KFold(FOLDS, shuffle=True, random_state=seed).split(confidence):
        curve = fit(method, [confidence[n] for n in rest], [score[n] for n in rest])
        for n in fold:
            after[n] = curve.of(confidence[n])
    return Fitted(
        fit(method, confidence, score),
        len(confidence),
        FOLDS,
        (brier(confidence, score), brier(after, score)),
        (ece(confidence, score), ece(after, score)),
    )


def brier(confidence: Sequence[float], score: Sequence[float]) -> float:
    """The mean squared distance between confidence and score, in [0, 1]; lower is better.

    Source: Brier, Monthly Weather Review 78 (1950).
    """
    return sum((sure - got) ** 2 for sure, got in zip(confidence, score, strict=True)) / len(confidence)


def ece(confidence: Sequence[float], score: Sequence[float]) -> float:
    """The expected calibration error over ten bins of equal width, in [0, 1]."""
    gaps = [0.0] * _BINS
    for sure, got in zip(confidence, score, strict=True):
        gaps[min(int(sure * _BINS), _BINS - 1)] += sure - got
    return sum(map(abs, gaps)) / len(confidence)
