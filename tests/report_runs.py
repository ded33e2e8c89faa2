"""Runs of a small task, for reports: real images, real rows and traces, the models' replies written."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image as Pixels
from PIL import ImageDraw
from written import Script, plan, said, scored, verdict

from iterreason.bench.manifest import Terms, make_manifest, write_manifest
from iterreason.bench.row import RESULTS, TRACES
from iterreason.bench.solving import Job, Setting, row_of
from iterreason.bench.tasks.item import Item
from iterreason.bench.tasks.task import NamedTask, read_task
from iterreason.calls import Looked, Reply
from iterreason.driver import drive
from iterreason.loop import episode
from iterreason.memory import EMPTY
from iterreason.records import Region
from iterreason.trace import EpisodeRecorder

COLOURS = {"red": "#c0392b", "green": "#2e8b57", "blue": "#2c6fbb", "yellow": "#e1b12c"}
TASK = """
description = "{name}: shapes on a table, drawn for a test"
version = "{version}"
licence = "CC0-1.0"
citation = "none"
homepage = "https://example.org"
choices = ["red", "green", "blue", "yellow"]

[source]
reader = "rows"
get = "the test writes it"

[fields]
kind = "kind"
context = "context"

[scoring]
scorer = "choice"

[splits.test]
files = ["rows.jsonl"]
images = "images"

[[published]]
system = "A model <of> 2020"
split = "test"
metric = "accuracy"
value = 0.71
source = "A paper (2020), table 2"
"""
SKILL = {"blind": 0.35, "direct": 0.62, "evidence": 0.78}


@dataclass(frozen=True)
class Texts:
    """What stands in the problems of a task where a test wants to choose it."""

    question: Callable[[int], str] = lambda n: f"What colour is the {('square', 'circle')[n % 2]} in picture {n}?"
    id: Callable[[int], str] = lambda n: f"p{n}"
    rationale: str = "Both looks agree on the colour."
    image: Callable[[int], str] = lambda n: f"{n}.png"
    look: str = ""


def write_task(folder: Path, count: int, texts: Texts, name: str = "table", version: str = "1") -> NamedTask:
    """A task of `count` problems, an image each, with its files."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        colour = list(COLOURS)[n % 4]
        picture = Pixels.new("RGB", (160, 120), "#f2efe8")
        shape = ImageDraw.Draw(picture)
        (shape.rectangle, shape.ellipse)[n % 2]((30 + n % 40, 30, 90 + n % 40, 90), fill=COLOURS[colour])
        if n >= 40:  # past 40 the shapes come again; the images do not
            picture.putpixel((0, 0), (n % 256, n // 256, 0))
        picture.save(folder / "images" / texts.image(n))
        kind = ("square", "circle")[n % 2]
        row = {
            "id": texts.id(n),
            "image": texts.image(n),
            "question": texts.question(n),
            "answer": colour,
            "kind": kind,
        }
        rows.append(row | {"context": "It stands on a table."})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = TASK.format(name=name, version=version)
    return NamedTask(name, text, read_task(text), folder)


def write_run(
    out: Path,
    task: NamedTask,
    policy: str,
    *,
    seeds: int = 1,
    limit: int | None = None,
    luck: int = 0,
    texts: Texts = Texts(),
    all_rounds: bool = False,
) -> Path:
    """A run of a task under a policy, in the folder OUT/TASK/POLICY; which problems it gets right, `luck` decides."""
    setting = Setting(task, "test", replace(plan(policy), all_rounds=all_rounds))
    items = list(task.items("test"))[:limit]
    folder = out / task.name / policy
    folder.mkdir(parents=True)
    jobs = [Job(item, seed) for seed in range(seeds) for item in items]
    manifest = make_manifest(setting, Terms("d" * 64, tuple(range(seeds)), limit), len(jobs))
    write_manifest(folder, {**manifest, "git": {}, "started": "2026-01-02T03:04:05+00:00"})
    asyncio.run(_solve_all(folder, jobs, setting, luck, texts))
    return folder


async def _solve_all(folder: Path, jobs: list[Job], setting: Setting, luck: int, texts: Texts) -> None:
    with (folder / RESULTS).open("w") as rows, (folder / TRACES).open("w") as traces:
        for job in jobs:
            row, line = await _solve(job, setting, luck, texts)
            rows.write(json.dumps(row) + "\n")
            traces.write(json.dumps(line) + "\n")


async def _solve(job: Job, setting: Setting, luck: int, texts: Texts) -> tuple[dict, dict]:
    problem = job.item.problem(job.seed)
    chance = random.Random(f"{job.item.id} {job.seed} {setting.plan.named.name} {luck}")
    script = _script(job.item, setting.plan.named.name, chance, problem.choices, texts)
    recorder = EpisodeRecorder(problem, setting.plan, EMPTY, job.seed)
    running = episode(problem, setting.plan, seed=job.seed)
    result = await drive(running, live=script.live, on_returned=recorder.turn)
    return row_of(job, setting, result).to_json(), recorder.line(result)


def _script(item: Item, policy: str, chance: random.Random, choices: tuple[str, ...], texts: Texts) -> Script:
    """An episode whose last answer is right with the policy's skill; one in 25 fails, some abstain."""
    right = chance.random() < SKILL[policy]
    wrong = chance.choice([choice for choice in choices if choice != item.gold[0]])
    final, sure = (item.gold[0], 0.6 + 0.39 * chance.random()) if right else (wrong, 0.3 + 0.6 * chance.random())
    if chance.random() < 0.04:
        return Script([Reply(error="connection refused")], look=lambda question: Reply(error="connection refused"))

    def belief(answer: str, probability: float) -> Reply:
        rest = (1 - probability) / len(choices)
        return scored(*(probability if choice == answer else rest for choice in choices))

    def look(question: str) -> Reply:
        if question == item.question:  # what the policy direct takes for its answer
            return Reply(said(final, sure).samples, belief(final, sure).scores, said(final).tokens, 0.2)
        return said(texts.look or (f"a {final} thing" if "colour" in question else "on the left"), sure)

    first = final if chance.random() < 0.6 else wrong
    asks = ["what colour is the thing on the left?", "where does it stand?"]
    generations = [verdict(first, *asks, cites=[1, 2], rationale=texts.rationale, missing="a second look")]
    later = [f"is it {choice}, colour of the thing?" for choice in choices[:2]]
    generations += [verdict(final, *later, cites=[1, 3], rationale=texts.rationale), verdict(final, cites=[1, 3])]
    readouts = [belief(first, 0.4 + sure / 3)] + [belief(final, sure)] * 4
    notes = {2: (Looked(Region(0.1, 0.2, 0.45, 0.8)),)} if policy == "evidence" else None
    return Script([*generations, verdict(final), verdict(final)], readouts, look, notes, elapsed=0.4)


def write_runs(
    folder: Path, count: int = 12, policies: tuple[str, ...] = ("blind", "direct", "evidence"), texts: Texts = Texts()
) -> Path:
    """Runs of a task under several policies; gives the directory of the runs."""
    task = write_task(folder / "data", count, texts)
    for policy in policies:
        write_run(folder / "runs", task, policy, texts=texts)
    return folder / "runs"
