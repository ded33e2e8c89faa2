"""Regions as a reasoner writes them: a name, or fractions of width and height."""

from __future__ import annotations

import re
from typing import Any

from iterreason.folding import fold
from iterreason.records import Region

WHOLE = "whole"
NAMED = {
    "left half": Region(0, 0, 0.5, 1),
    "right half": Region(0.5, 0, 1, 1),
    "top half": Region(0, 0, 1, 0.5),
    "bottom half": Region(0, 0.5, 1, 1),
    "top left": Region(0, 0, 0.5, 0.5),
    "top right": Region(0.5, 0, 1, 0.5),
    "bottom left": Region(0, 0.5, 0.5, 1),
    "bottom right": Region(0.5, 0.5, 1, 1),
    "center": Region(0.25, 0.25, 0.75, 0.75),
}
_ALSO = {"whole image": WHOLE, "": WHOLE, "centre": "center", "middle": "center"}
_SYNONYMS = {"upper": "top", "lower": "bottom"}
_FRACTION = r"(?:0(?:\.\d{1,2})?|1)"
_FRACTIONS = rf"{_FRACTION}(?:,{_FRACTION}){{3}}"
# What a schema lets a model write; bounded, so that it always closes.
PATTERN = f"{WHOLE}|{'|'.join(NAMED)}|{_FRACTIONS}"


def read_region(value: Any) -> Region | None:
    """The region that a name or four fractions (x0, y0, x1, y1, as text or list) mean; None for the whole image.

    Raises ValueError with what is wrong and which names there are.
    """
    numbers = value
    if isinstance(value, str):
        words = [_SYNONYMS.get(word, word) for word in fold(value).split()]
        name = " ".join(words)
        name = _ALSO.get(name, name)
        if name == WHOLE or name in NAMED:
            return NAMED.get(name)
        numbers = [part for part in re.split(r"[\s,\[\]()]+", value) if part]
    try:
        x0, y0, x1, y1 = (float(number) for number in numbers)
        whole = (x0, y0, x1, y1) == (0, 0, 1, 1)
        return None if whole else Region(x0, y0, x1, y1)
    except Exception:  # whatever a model wrote there
        names = ", ".join((WHOLE, *NAMED))
        raise ValueError(
            f"the region {str(value)[:40]!r} is neither one of: {names}; nor x0,y0,x1,y1 in fractions from the top left"
        ) from None


def region_text(region: Region | None) -> str:
    """The region as it is read: by its name where it has one."""
    if region is None:
        return WHOLE
    named = next((name for name, known in NAMED.items() if known == region), None)
    return named or ",".join(f"{value:.4g}" for value in (region.x0, region.y0, region.x1, region.y1))


def within(outer: Region | None, inner: Region | None) -> Region | None:
    """A region of a region, as a region of the image."""
    if outer is None or inner is None:
        return inner or outer
    width, height = outer.x1 - outer.x0, outer.y1 - outer.y0
    return Region(
        outer.x0 + inner.x0 * width,
        outer.y0 + inner.y0 * height,
        min(outer.x0 + inner.x1 * width, 1.0),
        min(outer.y0 + inner.y1 * height, 1.0),
    )
