"""Plots of the page: matplotlib draws them, as inline SVG that takes its colours from the page's theme."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

from iterreason.extras import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POLICY_COLOURS = 6  # as many as page.css has; a seventh policy has the first colour again, and a dashed line
# Colours that stand for the page's variables; matplotlib leaves black out of what it writes, so no text is black.
_QUIET, _LINE = "#bb0001", "#bb0002"
_VARIABLES = {_QUIET: "var(--quiet)", _LINE: "var(--line)"} | {
    f"#aa000{number}": f"var(--policy-{number})" for number in range(POLICY_COLOURS)
}
_MARKERS = "os^DvP"  # the swatches of page.css
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "iterreason",
    "font.size": 9,
    "text.parse_math": False,
    "text.color": _QUIET,
    "axes.labelcolor": _QUIET,
    "axes.edgecolor": _LINE,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Series:
    """One policy's part of a plot.

    points: x and y, and where these are known the ends of y's interval; in order of x.
    colour: the policy's number among those of its task.
    """

    label: str
    colour: int
    points: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """What is plotted, and how.

    kind: `line`, `steps` (a line without marks), `bars` (x are whole numbers) or `points`.
    says: what is to be seen, in a sentence, for those who do not see it.
    percent: which axes are shares: `x`, `y` or `xy`.
    diagonal: whether a line is drawn where x equals y. columns: of the table of points; x, y, and the interval's ends.
    """

    name: str
    title: str
    says: str
    x: str
    y: str
    series: tuple[Series, ...]
    kind: Literal["line", "steps", "bars", "points"] = "line"
    percent: str = "y"
    diagonal: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of the table behind the plot."""
        widest = max((len(point) for s in self.series for point in s.points), default=2)
        return ("policy", self.x, self.y, "low", "high")[: widest + 1]


def draw(plot: Plot) -> str:
    """The plot as an `<svg>` element, the same for the same points. Raises MissingExtra without matplotlib."""
    matplotlib = needed("matplotlib", "bench", "plots")
    figures = needed("matplotlib.figure", "bench", "plots")
    with matplotlib.rc_context(_STYLE):
        figure = figures.Figure(figsize=(4.2, 3.0), layout="constrained", facecolor="none")
        axes = figure.add_subplot(facecolor="none")
        if plot.diagonal:
            axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle=(0, (2, 3)))
        for number, series in enumerate(plot.series):
            _draw_series(axes, plot, series, number)
        _label(axes, plot)
        written = StringIO()
        figure.savefig(written, format="svg", metadata=_NO_METADATA)
    return inline(written.getvalue(), plot.name, f"{plot.title}. {plot.says}")


def _draw_series(axes: Axes, plot: Plot, series: Series, number: int) -> None:
    colour = f"#aa000{series.colour % POLICY_COLOURS}"
    marker = _MARKERS[series.colour % POLICY_COLOURS]
    again = series.colour >= POLICY_COLOURS
    xs, ys = [point[0] for point in series.points], [point[1] for point in series.points]
    if plot.kind == "bars":
        width = 0.8 / len(plot.series)
        left = [x - 0.4 + width * (number + 0.5) for x in xs]
        axes.bar(left, ys, width * 0.92, color=colour, alpha=0.55 if again else 1.0)
        return
    bounded = [point for point in series.points if len(point) == 4]
    if bounded:
        down = [max(0.0, y - low) for _, y, low, _ in bounded]
        up = [max(0.0, high - y) for _, y, _, high in bounded]
        at, values = [point[0] for point in bounded], [point[1] for point in bounded]
        axes.errorbar(at, values, [down, up], fmt="none", ecolor=colour, elinewidth=1.2, alpha=0.6)
    line = "none" if plot.kind == "points" else "--" if again else "-"
    axes.plot(xs, ys, color=colour, linestyle=line, marker="none" if plot.kind == "steps" else marker)


def _label(axes: Axes, plot: Plot) -> None:
    ticker = needed("matplotlib.ticker", "bench", "plots")
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if name in plot.percent:
            axis.set_major_formatter(ticker.PercentFormatter(1, decimals=None))
    if plot.percent == "xy":
        axes.set_xlim(-0.02, 1.02)
    if plot.diagonal:
        axes.set_ylim(-0.02, 1.02)
    if plot.kind == "bars":
        axes.grid(False, axis="x")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    elif "x" not in plot.percent:
        axes.set_xlim(left=0 if plot.kind == "points" else 0.8)
        whole = all(float(point[0]).is_integer() for s in plot.series for point in s.points)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=whole))
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))


def inline(svg: str, name: str, says: str) -> str:
    """An SVG document as an element of the page: its colours are the theme's, its ids its own; `says` stands for it."""
    from html import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"font-family: [^;\"]+; ", "", svg)  # the page's own
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))

    def own_id(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', own_id, svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", svg)
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(says)}"', 1).strip()


def table(plot: Plot) -> list[list[Any]]:
    """The numbers behind the plot: a row a point, the policy first."""
    return [[series.label, *point] for series in plot.series for point in series.points]
