"""Measure the embedded answerer on unseen drawn scenes and on the test split of easy-VQA."""

from __future__ import annotations

import math
import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from transformers import BlipForQuestionAnswering, BlipProcessor

from iterreason.tuning.answerer_data import Pixels, easy_images, normalised, shrink
from iterreason.tuning.questions import KINDS, ask, describe
from iterreason.tuning.scenes import draw, make_scene, scene_rng

Asked = tuple[int, str, str, str]
BATCH = 64


@dataclass(frozen=True, slots=True)
class Answerer:
    """The exported model as any user of the folder loads it: float32 computation, transformers' own classes."""

    model: BlipForQuestionAnswering
    processor: BlipProcessor

    @classmethod
    def load(cls, folder: Path) -> Answerer:
        """Return the model of the folder; raises OSError where a file is missing."""
        model = BlipForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()
        return cls(model, BlipProcessor.from_pretrained(folder))

    def answers(self, pixels: Sequence[Pixels], questions: Sequence[str], *, most_tokens: int = 8) -> list[str]:
        """Return the greedy answer to each question about the image beside it."""
        texts: list[str] = []
        for start in range(0, len(questions), BATCH):
            words = self.processor.tokenizer(list(questions[start : start + BATCH]), padding=True, return_tensors="pt")
            made = self.model.generate(
                input_ids=words.input_ids,
                attention_mask=words.attention_mask,
                pixel_values=normalised(np.stack(pixels[start : start + BATCH])),
                max_new_tokens=most_tokens,
                do_sample=False,
            )
            texts += self.processor.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [text.strip() for text in texts]


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion, each end in [0, 1]."""
    if total == 0:
        return 0.0, 1.0
    z = 1.959964
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (centre - spread) / (1 + z * z / total), (centre + spread) / (1 + z * z / total)


def score(right: Sequence[bool]) -> dict[str, object]:
    """Return count, accuracy and its interval, as written to accuracy.json."""
    low, high = wilson(sum(right), len(right))
    return {
        "n": len(right),
        "accuracy": round(sum(right) / max(1, len(right)), 4),
        "interval_95": [round(low, 4), round(high, 4)],
    }


def on_scenes(answerer: Answerer, *, seed: int, scenes: int, kinds: Sequence[str] = tuple(KINDS)) -> dict[str, object]:
    """Return the accuracy per question kind: one question of each kind about each of the unseen scenes."""
    images: list[Pixels] = []
    asked: list[Asked] = []
    for index in range(scenes):
        rng = scene_rng(seed, "test", index)
        scene = make_scene(rng)
        images.append(shrink(draw(scene)))
        made = [ask(scene, kind, rng) for kind in kinds]
        asked += [(index, q.kind, q.text, q.answer) for q in made if q]
    said = answerer.answers([images[item[0]] for item in asked], [item[2] for item in asked])
    right: dict[str, list[bool]] = defaultdict(list)
    for (_, kind, _, gold), text in zip(asked, said, strict=True):
        right[kind].append(text == gold)
    return {kind: score(right[kind]) for kind in kinds if right[kind]}


def on_captions(answerer: Answerer, *, seed: int, scenes: int) -> dict[str, object]:
    """Return how many captions are exact, and the share of their groups ('two small red circles') that are right."""
    made = [make_scene(scene_rng(seed, "test", index)) for index in range(scenes)]
    images = [shrink(draw(scene)) for scene in made]
    said = answerer.answers(images, ["describe the image."] * scenes, most_tokens=56)
    gold = [set(describe(scene).rstrip(".").split(", ")) for scene in made]
    told = [set(text.replace(" ,", ",").rstrip(" .").split(", ")) for text in said]
    shared = sum(len(a & b) for a, b in zip(gold, told, strict=True))
    exact = score([a == b for a, b in zip(gold, told, strict=True)])
    return {
        "exact": exact,
        "group_precision": round(shared / max(1, sum(map(len, told))), 4),
        "group_recall": round(shared / max(1, sum(map(len, gold))), 4),
    }


def on_easy_vqa(answerer: Answerer, *, most: int | None = None) -> dict[str, object]:
    """Return the accuracy on easy-VQA's test split, or on its first `most` questions."""
    images, asked = easy_images("test")
    flat = [(image, *pair) for image, pairs in zip(images, asked, strict=True) for pair in pairs][:most]
    said = answerer.answers([item[0] for item in flat], [item[1] for item in flat])
    return score([text == item[2] for text, item in zip(said, flat, strict=True)])


def machine() -> str:
    """Return the processor, its cores and the version of torch, for the record of a measurement."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, torch {torch.__version__}"


def report(folder: Path, *, seed: int, scenes: int = 1000) -> dict[str, object]:
    """Return what accuracy.json says of the weights in a folder; easy-VQA's questions are at most ten a scene."""
    answerer = Answerer.load(folder)
    return {
        "scenes": on_scenes(answerer, seed=seed, scenes=scenes),
        "captions": on_captions(answerer, seed=seed, scenes=scenes),
        "easy_vqa_test": on_easy_vqa(answerer, most=10 * scenes),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
    }
