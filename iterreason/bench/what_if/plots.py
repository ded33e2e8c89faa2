"""The plots of a what-if, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from iterreason.bench import stats
from iterreason.bench.what_if.grid import ByRound, WhatIf
from iterreason.errors import Misuse
from iterreason.extras import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = {"svg.hashsalt": "iterreason", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9,
          "axes.grid": True, "grid.color": "0.9", "axes.axisbelow": True, "axes.spines.top": False,
          "axes.spines.right": False}  # fmt: skip
_MOST_LINES = 6  # more could not be told apart


def draw_all(found: WhatIf, folder: Path) -> Iterator[Path]:
    """Draw every plot that has something to show; gives the files. Raises MissingExtra without matplotlib, Misuse."""
    made: dict[str, Callable[[Axes, WhatIf], None]] = {
        "anytime-rounds": lambda axes, found: _anytime(axes, found, "round", lambda point: float(point.round)),
        "anytime-tokens": lambda axes, found: _anytime(axes, found, "tokens a problem", lambda point: point.tokens),
        "anytime-seconds": lambda axes, found: _anytime(axes, found, "seconds a problem", lambda point: point.seconds),
        "risk-coverage": _risk,
        "reliability": _reliability,
        "helped-hurt": _changed,
    }
    matplotlib = needed("matplotlib", "bench", "plots")
    figures = needed("matplotlib.figure", "bench", "plots")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misuse(f"cannot use the folder {folder}: {error.strerror}; name another with --plots") from None
    for name, draw in made.items():
        if name == "helped-hurt" and not found.changed:
            continue
        with matplotlib.rc_context(_STYLE):
            figure = figures.Figure(figsize=(5.6, 3.8), layout="constrained")
            axes = figure.add_subplot()
            draw(axes, found)
            run = found.run.run
            axes.set_title(f"{run.task} / {run.policy}, n = {len(run.rows)}", loc="left", fontsize=9)
            for ending in ("png", "svg"):
                path = folder / f"{name}.{ending}"
                figure.savefig(path, dpi=150, metadata={"Date": None} if ending == "svg" else {"Software": None})
                yield path


def _anytime(axes: Axes, found: WhatIf, label: str, cost: Callable[[ByRound], float]) -> None:
    points = [point for point in found.by_round if point.accuracy.value is not None]
    xs, ys = [cost(point) for point in points], [point.accuracy.value or 0.0 for point in points]
    low = [y - point.accuracy.low for y, point in zip(ys, points, strict=True)]
    high = [point.accuracy.high - y for y, point in zip(ys, points, strict=True)]
    axes.errorbar(xs, ys, [low, high], marker="o", capsize=2, linewidth=1.6)
    for x, y, point in zip(xs, ys, points, strict=True) if label != "round" else ():
        axes.annotate(f"round {point.round}", (x, y), textcoords="offset points", xytext=(5, 6), fontsize=8)
    if label == "round":
        axes.set_xticks(xs)
    axes.set(xlabel=label, ylabel="accuracy over all (bars: 95 %)")


def _risk(axes: Axes, found: WhatIf) -> None:
    for outcome in found.outcomes[:_MOST_LINES]:
        points = stats.risk_coverage(outcome.rows)
        if points and outcome.aurc is not None:
            xs, ys = [point.coverage for point in points], [point.risk for point in points]
            axes.step(xs, ys, where="post", linewidth=1.6, label=f"{outcome.setting.name} (AURC {outcome.aurc:.3f})")
    axes.set(xlabel="answered", ylabel="wrong among the answers", xlim=(0, 1.02), ylim=(0, None))
    _legend(axes, found)


def _reliability(axes: Axes, found: WhatIf) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=(0, (2, 3)))
    for outcome in found.outcomes[:_MOST_LINES]:
        bins = [(b.confidence, b.accuracy) for b in stats.reliability(outcome.rows) if b.n]
        if bins and outcome.ece.value is not None and outcome.brier is not None:
            label = f"{outcome.setting.name} (ECE {outcome.ece.value:.3f}, Brier {outcome.brier:.3f})"
            xs, ys = [sure or 0.0 for sure, _ in bins], [right or 0.0 for _, right in bins]
            axes.plot(xs, ys, marker="o", linewidth=1.6, label=label)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    _legend(axes, found)


def _legend(axes: Axes, found: WhatIf) -> None:
    left = len(found.outcomes) - _MOST_LINES
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            fontsize=7, title=f"the first {_MOST_LINES} of {len(found.outcomes)} settings" if left > 0 else None
        )


def _changed(axes: Axes, found: WhatIf) -> None:
    rounds = [change.round for change in found.changed]
    axes.bar(rounds, [change.fixed / max(change.n, 1) for change in found.changed], 0.6, label="helped")
    axes.bar(rounds, [-change.broken / max(change.n, 1) for change in found.changed], 0.6, label="hurt")
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xticks(rounds)
    axes.set(xlabel="round", ylabel="share of the answers that reached it")
    axes.legend(fontsize=8)
