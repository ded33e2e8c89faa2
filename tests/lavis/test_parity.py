"""The same weights under transformers here and under LAVIS in its worker give the same answers and probabilities."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from opened import Opened, look

from iterreason.calls import Call, Reply
from iterreason.images import load_image
from iterreason.models import lavis
from iterreason.tuning.scenes import draw, make_scene, scene_rng

ROUNDING = 1e-3
IMAGES = [load_image(draw(make_scene(scene_rng(7, "test", number)))) for number in range(50)]
QUESTIONS = (
    ("how many circles are there?", ("0", "1", "2", "3", "none of the small red circles")),
    ("is there a red square?", ("yes", "no")),
    ("what color is the large shape that is above the small blue triangle?", ("red", "blue", "green", "yellow")),
    ("are there more circles than squares?", ("no", "yes", "as many small circles as large squares")),
)
DIRECT = Path(__file__).with_name("direct.py")


def compared(real: Opened, reference: Opened, calls: list[Call]) -> list[tuple[Reply, Reply]]:
    """The two replies to each call, checked for what must be the same."""
    pairs = list(zip(real.answers(calls), reference.answers(calls), strict=True))
    for one, other in pairs:
        assert one.error is None
        assert other.error is None
        assert [s.text for s in one.samples] == [s.text for s in other.samples]
        assert [s.finish_reason for s in one.samples] == [s.finish_reason for s in other.samples]
        for sample, wanted in zip(one.samples, other.samples, strict=True):
            assert sample.probability == pytest.approx(wanted.probability, abs=ROUNDING)
            assert sample.logprobs == pytest.approx(wanted.logprobs, abs=ROUNDING)
        assert one.scores == pytest.approx(other.scores, abs=ROUNDING)
        assert one.tokens == other.tokens
    return pairs


def test_generated_answers_and_their_probabilities(real, reference):
    """50 images by 4 questions of different lengths, in batches: the same texts, probabilities within 1e-3."""
    pairs = compared(real, reference, [look(image, question) for image in IMAGES for question, _ in QUESTIONS])
    assert len(pairs) == 200
    assert len({one.text for one, _ in pairs}) > 5  # not the same answer to everything


def test_ranked_choices_and_their_probabilities(real, reference):
    """50 images by 4 questions with choices of different lengths: the same pick, scores within 1e-3."""
    calls = [look(image, question, choices=choices) for image in IMAGES for question, choices in QUESTIONS]
    pairs = compared(real, reference, calls)
    assert len({one.text for one, _ in pairs}) > 5
    for call, (one, _) in zip(calls, pairs, strict=True):
        assert len(one.scores) == len(call.choices)
        assert one.text == call.choices[one.scores.index(max(one.scores))]


def test_captions(real, reference):
    """A caption is asked for in the same words, and is the same to the last token."""
    compared(real, reference, [look(image, None, 60) for image in IMAGES[:12]])


def test_seeded_samples(real, reference):
    """A seeded sample is drawn alike on both sides, token by token and among choices."""
    drawn = {"temperature": 1.3, "n": 4, "seed": 11}
    calls = [look(image, QUESTIONS[0][0], sampling=drawn) for image in IMAGES[:6]]
    pairs = compared(real, reference, calls)
    assert any(len({sample.text for sample in one.samples}) > 1 for one, _ in pairs)
    compared(real, reference, [look(image, *QUESTIONS[3][:1], choices=QUESTIONS[3][1], sampling=drawn)
                               for image in IMAGES[:6]])  # fmt: skip


def test_a_look_is_the_same_alone_and_in_a_batch(real):
    """Padding of shorter questions and longer answers beside it change nothing."""
    calls = [look(image, question) for image in IMAGES[:3] for question, _ in QUESTIONS]
    for call, beside in zip(calls, real.answers(calls), strict=True):
        [alone] = real.answers([call])
        assert alone.text == beside.text
        assert alone.samples[0].logprobs == pytest.approx(beside.samples[0].logprobs, abs=1e-4)


def test_answers_are_those_of_lavis_itself(real, python, weights, tmp_path):
    """Alone and greedy, LAVIS's own `predict_answers` says the same."""
    asked = []
    for number, image in enumerate(IMAGES[:6]):
        (tmp_path / f"{number}.png").write_bytes(image.data)
        asked += [{"image": f"{tmp_path}/{number}.png", "question": q} for q, _ in QUESTIONS]
    environment = {**os.environ, "TRANSFORMERS_OFFLINE": "1"}
    command = [str(python), "-E", str(DIRECT), str(lavis.WORKER), str(weights)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    free = [look(image, question) for image in IMAGES[:6] for question, _ in QUESTIONS]
    assert [reply.text for reply in real.answers(free)] == told["generated"]


def test_a_killed_worker_comes_back_with_the_same_answers(real):
    """SIGKILL between two batches costs no answer: the real worker is started again and says the same."""
    calls = [look(image, QUESTIONS[0][0]) for image in IMAGES[:4]]
    before = real.answers(calls)
    worker = real.model._worker
    worker.kill()
    assert [reply.samples for reply in real.answers(calls)] == [reply.samples for reply in before]
    assert real.model._worker is not worker
