"""Fit what the embedded answerer takes for a drawn scene: `python -m iterreason.tuning.fit_limits`.

Fitted on drawn scenes (dev seeds), images of easy-VQA's training split, and crops of the two photographs that
scikit-learn bundles; needs no weights. Needs scikit-learn (the extra `bench`).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from iterreason.models.embedded.limits import Limits, Numbers, features
from iterreason.tuning.answerer_data import easy_images, shrink
from iterreason.tuning.layouts import make_varied
from iterreason.tuning.scenes import Rng, draw, scene_rng
from iterreason.tuning.train_answerer import EMBEDDED

SEED, SCENES, EASY, CROPS = 11, 1500, 300, 600


def photographs() -> dict[str, Image.Image]:
    """Return scikit-learn's two photographs by name; raises ModuleNotFoundError without it."""
    from sklearn.datasets import load_sample_images

    made = load_sample_images()
    return {Path(n).stem: Image.fromarray(p) for n, p in zip(made.filenames, made.images, strict=True)}


def crop(image: Image.Image, rng: Rng) -> Image.Image:
    """Return a random part of a photograph, now and then without colour, or in other light."""
    share = rng.uniform(0.15, 1)
    width, height = int(image.width * share), int(image.height * share)
    left, top = int(rng.uniform(0, image.width - width + 1)), int(rng.uniform(0, image.height - height + 1))
    part = image.crop((left, top, left + width, top + height))
    if rng.random() < 0.4:
        part = part.convert("L").convert("RGB")
    if rng.random() < 0.4:
        part = ImageEnhance.Contrast(part).enhance(rng.uniform(0.4, 1.6))
    if rng.random() < 0.3:
        part = ImageEnhance.Brightness(part).enhance(rng.uniform(0.3, 1.2))
    return part


def fit(drawn: Numbers, photographed: Numbers) -> Limits:
    """Return the regression that tells features (n, 13) of drawn scenes from those of photographs."""
    from sklearn.linear_model import LogisticRegression

    size = drawn.shape[1]
    blank = Limits(tuple(drawn.mean(0)), tuple(drawn.std(0) + 1e-6), (0.0,) * 2 * size, 0.0)
    inputs = blank.inputs(np.concatenate([drawn, photographed]))
    made = LogisticRegression(C=0.1, max_iter=5000).fit(inputs, [0] * len(drawn) + [1] * len(photographed))
    weights = [round(float(w), 5) for w in made.coef_[0]]
    middle, spread = ([round(float(v), 5) for v in values] for values in (blank.middle, blank.spread))
    return Limits(tuple(middle), tuple(spread), tuple(weights), round(float(made.intercept_[0]), 5))


def main(arguments: list[str] | None = None) -> int:
    """Fit and write limits.json beside the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=EMBEDDED / "limits.json")
    options = parser.parse_args(arguments)
    scenes = [shrink(draw(make_varied(scene_rng(SEED, "dev", index)))) for index in range(SCENES)]
    scenes += easy_images("train")[0][:EASY]
    rng = scene_rng(SEED, "dev", SCENES)
    shown = photographs()
    crops = [shrink(crop(image, rng)) for image in shown.values() for _ in range(CROPS)]
    made = fit(np.stack([features(p) for p in scenes]), np.stack([features(p) for p in crops]))
    said = {name: getattr(made, name) for name in ("middle", "spread", "weights", "bias")}
    said["fitted_on"] = f"{len(scenes)} drawn images; {CROPS} crops of each of {', '.join(shown)} (scikit-learn)"
    options.out.write_text(json.dumps(said, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
