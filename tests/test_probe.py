"""`iterreason probe`, and `eval --probe`: does the answer move when the image is blank, another one, or cropped?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench_case import write_models, write_task
from PIL import Image as Pixels

from iterreason.api import make_problem
from iterreason.calls import View
from iterreason.errors import Misuse
from iterreason.images import decode, load_image
from iterreason.probing import blank, cropped, varied

LOOK = [{"purpose": "look", "text": "yes", "probability": 0.9, "repeat": True}]


def run(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "iterreason", *arguments]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with an image of two halves and an answerer that always says yes."""
    picture = Pixels.new("RGB", (40, 20), "red")
    picture.paste("blue", (20, 0, 40, 20))
    picture.save(tmp_path / "a.png")
    (tmp_path / "looks.jsonl").write_text("\n".join(map(json.dumps, LOOK)))
    return tmp_path


def test_a_blank_image_has_the_size_and_one_colour(here):
    """Nothing but size and mean colour is left; the middle is half as wide and half as high."""
    image = load_image(here / "a.png")
    one = decode(View(blank(image)))
    assert (one.size, len(one.getcolors() or ())) == ((40, 20), 1)
    assert decode(View(cropped(image))).size == (20, 10)


def test_an_image_is_not_swapped_with_itself(here):
    """A swap that changes nothing would pass for an answer that does not move."""
    problem = make_problem(here / "a.png", "Is it red?")
    with pytest.raises(Misuse, match="the image itself"):
        varied(problem, problem.images)
    assert list(varied(problem)) == ["blank", "crop"]


def test_probe_tells_that_nothing_moves(here):
    """An answerer that always says yes is found out: a row for each variant, and the conclusion."""
    models = ("--policy", "direct", "--answerer", "scripted:looks.jsonl")
    ask = ("probe", "a.png", "Is it red?", "--choices", "yes,no", *models)
    done = run(here, *ask)
    assert done.returncode == 0, done.stderr
    for part in ("as it is", "blank", "swap", "crop", "the answer does not move"):
        assert part in done.stdout
    told = json.loads(run(here, *ask, "--json").stdout)
    assert [v["variant"] for v in told["variants"]] == ["blank", "swap", "crop"]
    assert told["moved_by_image"] is False
    assert told["original"]["answer"] == "yes"


def test_a_missing_image_is_misuse(here):
    """What cannot be probed is named, with exit code 2."""
    done = run(here, "probe", "none.png", "Is it red?", "--policy", "direct", "--answerer", "scripted:looks.jsonl")
    assert done.returncode == 2
    assert "none.png" in done.stderr


def test_a_benchmark_tells_how_often_the_image_moves_the_answer(tmp_path):
    """`eval --probe N` gives the rate with Wilson's interval for each policy, and keeps each probe on disk."""
    write_task(tmp_path / "task")
    write_models(tmp_path)
    models = ("--reasoner", "scripted:reasoner.jsonl", "--answerer", "scripted:answerer.jsonl")
    ask = ("eval", "task/squares.toml", *models, "--policy", "direct", "--no-baselines", "--out", "out", "--probe", "3")
    done = run(tmp_path, *ask)
    assert done.returncode == 0, done.stderr
    said = next(line for line in (done.stdout + done.stderr).splitlines() if "moved by the image" in line)
    assert " of 3, " in said
    lines = (tmp_path / "out/squares/direct/probes.jsonl").read_text().splitlines()
    assert len(lines) == 3
    run(tmp_path, *ask)  # goes on: what is probed is not probed again
    assert len((tmp_path / "out/squares/direct/probes.jsonl").read_text().splitlines()) == 3
    report = run(tmp_path, "report", "out", "--json")
    (told,) = json.loads(report.stdout)["runs"]
    assert (told["moved_by_image"]["n"], told["moved_by_image"]["failed"]) == (3, 0)
    assert said.removeprefix("direct: ") in run(tmp_path, "report", "out").stdout.replace("\n  ", " ")
    assert run(tmp_path, *ask[:-1], "-1").returncode == 2


def test_the_drawn_scene_itself_is_swapped_with_another(here):
    """The image that is swapped in by default is never the one that is asked about."""
    from iterreason.demo import scene_images

    (here / "scene.png").write_bytes(scene_images()[0].data)
    done = run(here, "probe", "scene.png", "Is it red?", "--policy", "direct", "--answerer", "scripted:looks.jsonl")
    assert (done.returncode, "swap" in done.stdout) == (0, True), done.stderr
