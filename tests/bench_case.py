"""A small benchmark of drawn squares and scripted models for it, as files that any process can open."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

TASK = """
description = "squares: what colour is it?"
version = "1"
licence = "CC0-1.0"
citation = "none"
homepage = ""
choices = ["red", "green", "blue"]

[source]
reader = "rows"
get = "the test writes it"

[scoring]
scorer = "choice"

[splits.test]
files = ["rows.jsonl"]
images = "images"
"""
COLOURS = ("red", "green", "blue")
VERDICT = {"rationale": "seen", "cites": [1], "answer": "red", "missing": "", "questions": ["is it red?"]}


def write_task(folder: Path, count: int = 6, *, missing: int = 0) -> Path:
    """A task of `count` problems, two an image; the last `missing` have no image. Gives its TOML file."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        name = f"{n // 2}.png"
        if n < count - missing:
            Image.new("RGB", (8 + n // 2, 8), COLOURS[n // 2 % 3]).save(images / name)
        else:
            name = f"gone-{n}.png"
        rows.append({"id": f"p{n}", "image": name, "question": f"What colour is square {n}?", "answer": COLOURS[n % 3]})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "squares.toml"
    path.write_text(TASK)
    return path


def write_pool(task: Path) -> Path:
    """The task's own problems as worked exemplars. Gives the JSONL file."""
    rows = map(json.loads, (task.parent / "rows.jsonl").read_text().splitlines())
    kept = [{"image": f"images/{row['image']}", "question": row["question"], "answer": row["answer"]} for row in rows]
    path = task.parent / "pool.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    return path


def write_models(folder: Path, *, fails: str = "", seconds: float = 0.0) -> tuple[str, str]:
    """A scripted reasoner that always says red, and an answerer that always says green; looks at `fails` fail."""
    reasoner, answerer = folder / "reasoner.jsonl", folder / "answerer.jsonl"
    tokens = {"prompt_tokens": 100, "cached_tokens": 60, "completion_tokens": 20, "repeat": True, "seconds": seconds}
    reply = {"purpose": "generation", "text": json.dumps(VERDICT), **tokens}
    readout = {"purpose": "readout", "probabilities": [0.7, 0.2, 0.1], **tokens}
    reasoner.write_text("".join(json.dumps(line) + "\n" for line in (reply, readout)))
    look = {"purpose": "look", "text": "green", "probability": 0.6, "probabilities": [], **tokens}
    lines = [{**look, "question": fails, "error": "the model is gone"}] if fails else []
    answerer.write_text("".join(json.dumps(line) + "\n" for line in [*lines, look]))
    return f"scripted:{reasoner}", f"scripted:{answerer}"


def without_clock(row: dict) -> dict:
    """A row's JSON without what the clock says."""
    usage = {name: value for name, value in row["usage"].items() if not name.endswith("seconds")}
    return {**row, "usage": usage}


def rows_of(path: Path) -> list[dict]:
    """The rows of a results.jsonl, by key, without what the clock says."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(map(without_clock, rows), key=lambda row: (row["id"], row["seed"]))
