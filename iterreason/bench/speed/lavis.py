"""LAVIS's speed beside transformers': `make bench-lavis`, for docs/answerers.md.

The embedded weights under both, on the same drawn images and questions, in turn, in one run; each on one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from iterreason.bench.speed.figures import machine
from iterreason.calls import EMPTY_PROMPT, Call, Look, Sampling, View
from iterreason.errors import ModelFailed
from iterreason.images import load_image
from iterreason.models import Model, hf, lavis
from iterreason.models.lavis_folder import write_folder

QUESTIONS = (
    "how many circles are there?",
    "is there a red square?",
    "what color is the large shape?",
    "are there more circles than squares?",
)
CHOICES = ("yes", "no", "red", "two")
SAMPLING = Sampling(max_tokens=40)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32, help="images of each measurement, each asked four questions")
    parser.add_argument("--repeats", type=int, default=9, help="measurements; each takes new images")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder, as_file(files("iterreason.models.embedded") / "answerer") as weights:
        asyncio.run(_measure(weights, Path(folder), options.images, options.repeats))
    return 0


async def _measure(weights: Path, folder: Path, images: int, repeats: int) -> None:
    file = write_folder(weights, folder)
    began = time.perf_counter()
    worker = lavis.load(str(file), "answerer")
    opening = time.perf_counter() - began
    models: list[Model] = [hf.load(str(weights), "answerer"), worker]
    print(f"{machine()}. {repeats} measurements of {images} images by {len(QUESTIONS)} questions, one thread each.")
    print(f"The worker was open after {opening:.0f} s.")
    try:
        for kind, choices in (("free answers", ()), (f"{len(CHOICES)} choices", CHOICES)):
            await _time(models, _calls(images, -1, choices))  # warms up
            pairs = [await _time(models, _calls(images, number, choices)) for number in range(repeats)]
            ratios = sorted(theirs / ours for ours, theirs in pairs)
            each = [1000 * statistics.median(column) / (images * len(QUESTIONS)) for column in zip(*pairs, strict=True)]
            print(
                f"{kind}: LAVIS takes {statistics.median(ratios):.2f} times as long as transformers (median; all:"
                f" {ratios[0]:.2f} to {ratios[-1]:.2f}); {each[1]:.1f} ms and {each[0]:.1f} ms an answer"
            )
    finally:
        for model in models:
            await model.close()


async def _time(models: Sequence[Model], calls: Sequence[Call]) -> list[float]:
    """Seconds of each model for the same calls, all made at once."""
    seconds = []
    for model in models:
        began = time.perf_counter()
        replies = await asyncio.gather(*(model.complete(call) for call in calls))
        seconds.append(time.perf_counter() - began)
        if failed := next((reply.error for reply in replies if reply.error), None):
            raise ModelFailed(failed)
    return seconds


def _calls(images: int, number: int, choices: tuple[str, ...]) -> list[Call]:
    from iterreason.tuning.scenes import draw, make_scene, scene_rng

    drawn = [load_image(draw(make_scene(scene_rng(1000 + number, "test", index)))) for index in range(images)]
    return [
        Call("answerer:0", "look", EMPTY_PROMPT, Look(View(image), question), SAMPLING, "", choices)
        for image in drawn
        for question in QUESTIONS
    ]


if __name__ == "__main__":
    sys.exit(main())
