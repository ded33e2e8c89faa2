"""Run by LAVIS's Python: what its own methods say, without our decoding; `direct.py WORKER FILE.yaml < questions`."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import torch
from PIL import Image


def main(worker_file: str, file: str) -> None:
    spec = importlib.util.spec_from_file_location("worker", worker_file)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    asked = json.load(sys.stdin)
    model, preprocess, name = worker.load("", "", file, True)
    model = model.float().eval()
    images, _ = worker.processors(preprocess)
    generated = []
    for one in asked:
        samples = {"image": images(Image.open(one["image"]).convert("RGB"))[None]}
        with torch.no_grad():
            if name == "blip_caption":
                generated += model.generate(samples, num_beams=1, max_length=one["length"], min_length=1)
            elif name == "blip2_opt":
                samples["prompt"] = f"Question: {one['question']} Answer:"
                generated += model.generate(samples, num_beams=1, max_length=6)
            elif name == "blip2_t5":
                samples["text_input"] = [f"Question: {one['question']} Short answer:"]
                generated += model.predict_answers(samples, num_beams=1, max_len=6)
            else:
                samples["text_input"] = [one["question"]]
                generated += model.predict_answers(
                    samples, num_beams=1, inference_method="generate", max_len=60, min_len=1
                )
    sys.stdout.write("\n" + json.dumps({"generated": generated}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], str(Path(sys.argv[2]).resolve()))
