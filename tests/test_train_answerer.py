"""Training the embedded answerer, and the weights that ship."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

# ruff: noqa: E402  (the imports below need the packages that are checked first)
torch = pytest.importorskip("torch", reason="needs the extra 'local': pip install 'iterreason[local]'")
pytest.importorskip("transformers", reason="needs the extra 'local': pip install 'iterreason[local]'")
pytest.importorskip("easy_vqa", reason="needs the extra 'tuning': pip install 'iterreason[tuning]'")

from safetensors import safe_open
from transformers import BlipForQuestionAnswering

from iterreason.tuning import train_answerer as training
from iterreason.tuning.answerer_data import Pool, grounding, item_of, make_pool, normalised, shrink
from iterreason.tuning.answerer_model import make_processor
from iterreason.tuning.answerer_use import Answerer
from iterreason.tuning.descriptions import Spec
from iterreason.tuning.evaluate_answerer import ask_scenes, on_captions, on_easy_vqa, on_scenes
from iterreason.tuning.layouts import make_distinct, make_varied
from iterreason.tuning.mix import ALL_KINDS, ask_kind
from iterreason.tuning.programs import PROGRAMS
from iterreason.tuning.proportions import calibration_error, wilson
from iterreason.tuning.questions import KINDS, SIMPLE_KINDS
from iterreason.tuning.scenes import Scene, Shape, draw, make_scene, scene_rng
from iterreason.tuning.temperature import fold_temperature

TINY = training.Recipe(
    steps=6,
    dense_steps=2,
    gap_step=4,
    tally_step=5,
    scenes=40,
    images=16,
    questions=2,
    width=48,
    vision_layers=1,
    text_layers=1,
)
RED_CIRCLE = Scene((Shape("circle", "red", "large", 0.42, 0.58, 0.14, (230, 20, 20)),), 128, 128, (255, 255, 255))


@pytest.fixture(scope="module")
def shipped() -> Answerer:
    return Answerer.load(training.EMBEDDED)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return make_pool(TINY.seed, TINY.scenes)


def train(
    recipe: training.Recipe, pool: Pool, checkpoint: Path, *, resume: bool = False, minutes: float = 5
) -> training.Run:
    run = training.begin(recipe, pool)
    if resume:
        training.load(run, checkpoint)
    training.train(run, checkpoint, minutes=minutes, log_steps=1)
    return run


def losses(run: training.Run) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if "seconds" not in name} for line in run.log]


def test_an_interrupted_training_resumes_to_the_same_loss(tmp_path, pool):
    """Stopping after each step and going on gives the log, data hash and weights of a run in one piece."""
    whole = train(TINY, pool, tmp_path / "whole.pt")
    parts = train(TINY, pool, tmp_path / "parts.pt", minutes=0)
    while parts.step < TINY.steps:
        parts = train(TINY, pool, tmp_path / "parts.pt", resume=True, minutes=0)
    assert losses(parts) == losses(whole)
    assert len(whole.log) == TINY.steps
    assert parts.data_hash == whole.data_hash
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, parts.model.state_dict()[name]), name


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path, pool):
    """Resuming with another recipe is an error that names both, not a silent mixture."""
    train(replace(TINY, steps=1), pool, tmp_path / "one.pt")
    with pytest.raises(ValueError, match=r"one\.pt was made with .*drop --resume"):
        train(TINY, pool, tmp_path / "one.pt", resume=True)


def test_the_command_writes_weights_log_and_accuracy(tmp_path, capsys):
    """The command leaves a loadable float16 folder, its loss log and its accuracy; out of time it says how to go on."""
    command = ["--out", f"{tmp_path}/out", "--checkpoint", f"{tmp_path}/c.pt", "--scenes", "40", "--steps", "2"]
    assert training.main([*command, "--minutes", "0", "--test-scenes", "3"]) == 3
    assert "--resume" in capsys.readouterr().out
    assert training.main([*command, "--resume", "--test-scenes", "3"]) == 0
    report = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert report["training"]["recipe"]["steps"] == 2
    assert report["easy_vqa_test"]["n"] == 30
    assert len((tmp_path / "out" / "training-log.jsonl").read_text().splitlines()) == 1
    assert Answerer.load(tmp_path / "out").model.dtype == torch.float32


def test_the_shipped_weights_are_small_float16_safetensors():
    """The weights that ship are float16, at most ten megabytes, and nothing but safetensors."""
    path = training.EMBEDDED / "model.safetensors"
    assert path.stat().st_size <= 10_000_000
    with safe_open(path, "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118
    assert not [p.name for p in training.EMBEDDED.iterdir() if p.suffix in (".bin", ".pt", ".pkl")]


def test_the_shipped_weights_answer_the_simple_kinds(shipped, capsys):
    """On unseen drawn scenes each simple question kind is right in at least four of five cases."""
    measured = on_scenes(shipped, seed=99, scenes=150, kinds=SIMPLE_KINDS)
    with capsys.disabled():
        print("\n" + "\n".join(f"  {kind}: {value}" for kind, value in measured.items()))
    for kind, value in measured.items():
        assert value["n"] >= 90
        assert value["accuracy"] >= 0.80, (kind, value)


def test_the_shipped_weights_answer_easy_vqa(shipped, capsys):
    """On the test split of easy-VQA at least nine in ten answers are right."""
    measured = on_easy_vqa(shipped, most=500)
    with capsys.disabled():
        print(f"\n  easy-VQA test: {measured}")
    assert measured["n"] == 500
    assert measured["accuracy"] >= 0.90


def test_the_accuracy_file_says_what_was_measured_and_how():
    """accuracy.json names every question kind with n and interval, and how the weights were made."""
    report = json.loads((training.EMBEDDED / "accuracy.json").read_text())
    assert set(report["scenes"]) == set(KINDS)
    assert set(report["all_layouts"]) == set(report["second_renderer"]) == set(ALL_KINDS)
    # Tests of a number were given held-out phrasings after the shipped weights were measured.
    assert set(report["held_out_phrasings"]) | {"number"} == set(PROGRAMS)
    for value in (*report["scenes"].values(), report["easy_vqa_test"]):
        low, high = value["interval_95"]
        assert low <= value["accuracy"] <= high
        assert value["n"] >= 100
    assert report["split"] == "test"
    assert min(report["scenes"][kind]["accuracy"] for kind in SIMPLE_KINDS) >= 0.80
    assert report["training"]["processor_seconds"] <= 2 * 150 * 60
    assert len(report["training"]["data_sha256"]) == 64


def test_questions_of_place_are_far_above_chance(shipped, capsys):
    """Relations and positions, once at chance (0.51 and 0.10), are right in most cases on unseen scenes."""
    measured = ask_scenes(shipped, seed=99, scenes=150, kinds=("relation", "position"), make=make_distinct).by_kind()
    with capsys.disabled():
        print(f"\n  {measured}")
    assert measured["relation"]["interval_95"][0] > 0.75
    assert measured["position"]["interval_95"][0] > 0.75


def test_the_calibration_error_is_the_gap_between_said_and_true():
    """Answers said at 0.9 of which half are right are off by 0.4; bins are weighed by their answers."""
    assert calibration_error([0.9] * 10, [True, False] * 5) == pytest.approx(0.4)
    assert calibration_error([0.9] * 10 + [0.5] * 30, [True, False] * 20) == pytest.approx(0.1)
    assert calibration_error([1.0], [True]) == 0


def test_a_relation_says_how_far_it_holds():
    """The distance on the asked side is above zero where the answer is yes and below where it is no; else NaN."""
    rng = np.random.default_rng(0)
    asked = 0
    for index in range(60):
        scene = make_distinct(scene_rng(5, "dev", index))
        if question := ask_kind(scene, "relation", rng):
            asked += 1
            assert (item_of(0, scene, question).gap > 0) == (question.answer == "yes"), question
        assert np.isnan(item_of(0, scene, ask_kind(scene, "count", rng)).gap)
    assert asked > 30


def test_a_caption_is_asked_for_in_words(shipped):
    """Asked to describe the image, the same weights name what is drawn."""
    said = shipped.answers([shrink(draw(RED_CIRCLE))], ["describe the image."], most_tokens=56)
    assert said == ["one large red circle center."]
    assert on_captions(shipped, seed=99, scenes=20)["exact"]["n"] == 20


def test_case_question_mark_and_padding_do_not_matter(shipped):
    """Upper case, a missing question mark and a longer neighbour in the batch leave the answer as it is."""
    asked = [
        "what color is the circle?",
        "What COLOR is the circle",
        "are there more red circles than blue squares here?",
    ]
    said = shipped.answers([shrink(draw(RED_CIRCLE))] * 3, asked)
    assert said[:2] == ["red", "red"]
    assert shipped.answers([shrink(draw(RED_CIRCLE))], asked[:1]) == ["red"]


def test_a_right_answer_is_likelier_than_a_wrong_one(shipped):
    """The teacher-forced probability of an answer ranks the right colour above every other."""
    processor = shipped.processor
    inputs = processor(images=draw(RED_CIRCLE), text="what color is the circle?", return_tensors="pt")
    scores = {}
    for answer in ("red", "blue", "green", "yellow", "black"):
        ids = processor.tokenizer(answer, return_tensors="pt").input_ids
        ids[:, 0] = processor.tokenizer.bos_token_id
        with torch.no_grad():
            scores[answer] = -shipped.model(**inputs, decoder_input_ids=ids, labels=ids).loss.item()
    assert max(scores, key=scores.get) == "red"


def test_training_and_processor_see_the_same_pixels():
    """What the trainer feeds the model is what the shipped processor makes of the drawn image."""
    image = draw(make_scene(scene_rng(4, "test", 1)))
    seen = make_processor()(images=image, text="x", return_tensors="pt").pixel_values
    assert torch.allclose(seen, normalised(shrink(image)[None]), atol=1e-5)


def test_grounding_says_where_the_shapes_are_and_how_many():
    """Attention is told to share itself between the class token and the patches of the shapes; with none, no patch."""
    pair = replace(RED_CIRCLE, shapes=(*RED_CIRCLE.shapes, replace(RED_CIRCLE.shapes[0], x=0.9, y=0.1)))
    grounds = grounding(pair, (Spec(colour="red"), Spec(colour="blue")))
    assert grounds[0].nonzero()[0].tolist() == [0, 1 + 0 * 9 + 8, 1 + 5 * 9 + 3]
    assert grounds[0].max() == pytest.approx(1 / 3)
    assert grounds[1].nonzero()[0].tolist() == [0]


def test_a_folded_temperature_divides_the_logits(shipped):
    """After folding 2 into the weights, the same question's logits are half as large, so the answer stays."""
    model = BlipForQuestionAnswering(shipped.model.config)
    model.load_state_dict(shipped.model.state_dict())
    model.eval()
    ids, heard = torch.tensor([[5, 20, 21]]), torch.randn(1, 4, model.config.text_config.hidden_size)
    with torch.no_grad():
        before = model.text_decoder(input_ids=ids, encoder_hidden_states=heard).logits
        fold_temperature(model, 2.0)
        after = model.text_decoder(input_ids=ids, encoder_hidden_states=heard).logits
    assert torch.allclose(after, before / 2, atol=1e-4)


def test_packed_questions_are_encoded_as_they_are_alone(pool):
    """Sharing an image's keys among its questions gives what transformers' own encoder gives."""
    run = training.begin(TINY, pool)
    texts = run.batches(TINY.dense_steps).questions
    with torch.no_grad():
        states = run.model.look(run.batches(TINY.dense_steps).pixels)
        packed, _ = run.model.encode(states, texts)
        alone = run.model.blip.text_encoder(
            input_ids=texts.questions, attention_mask=texts.question_mask, encoder_hidden_states=states[texts.rows]
        ).last_hidden_state
    told = texts.question_mask.bool()
    assert torch.allclose(packed[told], alone[told], atol=1e-4)


def test_every_generated_word_is_one_token_and_any_text_tokenises():
    """Questions and answers of the generator use whole words; foreign text falls apart but never fails."""
    tokenizer = make_processor().tokenizer
    rng = np.random.default_rng(0)
    for index in range(100):
        scene = make_varied(scene_rng(0, "test", index))
        for kind in ALL_KINDS:
            if question := ask_kind(scene, kind, rng):
                tokens = tokenizer.tokenize(f"{question.text} {question.answer}")
                assert not [t for t in tokens if t == "[UNK]" or (t.startswith("##") and t != "##s")], question
    assert "[UNK]" not in tokenizer.tokenize("Quixotic zebras: 42% of them?")


def test_wilson_intervals_match_the_textbook():
    """The interval for 8 of 10 is the published one, and no data leave everything open."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
