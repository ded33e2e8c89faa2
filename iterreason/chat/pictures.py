"""Images in the terminal, with what was looked at outlined."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from iterreason.calls import View
from iterreason.images import decode
from iterreason.records import Image, Region


def can_show() -> bool:
    """Whether images can be drawn here: a terminal that is not a dumb one, and the package that draws them."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and _drawing() is not None


@cache
def _drawing() -> Callable[..., Any] | None:
    """What draws; it asks the terminal what that can do once it is imported, so nothing else may be reading then."""
    # A terminal that does not tell the size of its cells gets the usual one; no word of it belongs on the screen.
    logging.getLogger("textual_image").setLevel(logging.ERROR)
    try:
        from textual_image.renderable import Image as Drawn
    except ImportError:
        return None
    return Drawn


def outlined(image: Image, regions: Sequence[Region]) -> Any:
    """The image's pixels with a frame around each region."""
    from PIL import ImageDraw

    pixels = decode(View(image))
    draw, line = ImageDraw.Draw(pixels), max(2, min(pixels.size) // 60)
    for region in regions:
        box = (
            region.x0 * (pixels.width - 1), region.y0 * (pixels.height - 1),
            region.x1 * (pixels.width - 1), region.y1 * (pixels.height - 1),
        )  # fmt: skip
        draw.rectangle(box, outline=(255, 0, 160), width=line)
    return pixels


def drawn(image: Image, regions: Sequence[Region], columns: int, rows: int) -> Any:
    """What a rich console prints: at most so many columns and a third of the rows, the image's shape kept."""
    drawing = _drawing()
    assert drawing is not None, "ask `can_show` first"
    height = max(4, min(14, rows // 3))
    width = min(columns - 1, max(1, round(2 * height * image.width / image.height)))
    return drawing(outlined(image, regions), width=width, height=max(1, round(width * image.height / image.width / 2)))
