"""Tuning a model: what is trained on, what is shared, what resumes, what is kept; on tiny random models."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model_state_dict
from PIL import Image as Pixels
from safetensors.torch import load_file
from tiny import chat_tokenizer, llama, save_llama
from tiny_vlm import save_idefics3, save_llava
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, MistralConfig, MistralForCausalLM

from iterreason.calls import EMPTY_PROMPT, Call, Sampling
from iterreason.errors import BadData, IterReasonError, Misuse, ModelFailed
from iterreason.models.hf import load
from iterreason.models.hf.causal import CausalReasoner
from iterreason.tuning import reasoner_loss
from iterreason.tuning.instruct_check import Placed, read_triples
from iterreason.tuning.lora import Precision, open_model
from iterreason.tuning.reasoner_examples import Reader, conversations, steps_of
from iterreason.tuning.reasoner_loss import Losses
from iterreason.tuning.reasoner_training import Recipe, train
from iterreason.tuning.token_trees import Example, lay_out
from iterreason.tuning.train_reasoner import main
from iterreason.tuning.triples import Said, Triple

OPENING = "You answer a question about an image that you cannot see. " * 2


def said(*texts: str) -> tuple[Said, ...]:
    """A conversation: system, then user and assistant in turns."""
    roles = ("system", *("user", "assistant") * len(texts))
    return tuple(Said(role, (text,)) for role, text in zip(roles, texts, strict=False))  # type: ignore[arg-type]


def episode(number: int) -> list[tuple[Said, ...]]:
    """The conversations of an episode: two replies, the second after the first, and a read-out as a branch."""
    asked = (OPENING, f"how many circles are there in scene {number}?", '{"answer":"two"}')
    return [said(*asked), said(*asked, "which letter?", "A"), said(*asked, "new: there are three", f"three {number}")]


def placed(triples: Sequence[tuple[Said, ...]]) -> list[Placed]:
    return [Placed(Triple(str(n), t), f"data.jsonl, line {n + 1}", Path()) for n, t in enumerate(triples)]


def write(file: Path, triples: Sequence[tuple[Said, ...]], **more: Any) -> Path:
    """A file of chat messages."""
    lines = []
    for number, triple in enumerate(triples):
        messages = [{"role": message.role, "content": message.text} for message in triple]
        lines.append(json.dumps({"id": f"{file.stem}{number}", "messages": messages, **more}) + "\n")
    file.write_text("".join(lines))
    return file


def write_shown(file: Path, count: int = 4) -> Path:
    """A file of questions about images of one colour each."""
    lines = []
    for number in range(count):
        Pixels.new("RGB", (40, 30), (60 * number % 256, 0, 200)).save(file.parent / f"{file.stem}{number}.png")
        content = [{"type": "image", "path": f"{file.stem}{number}.png"}, {"type": "text", "text": "what colour?"}]
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": ["red", "blue"][number % 2]}]
        lines.append(json.dumps({"id": f"{file.stem}{number}", "messages": messages}) + "\n")
    file.write_text("".join(lines))
    return file


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal checkpoint."""
    return save_llama(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(scope="module", params=[save_llava, save_idefics3])
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny vision-language checkpoint."""
    save: Callable[[Path], Path] = request.param
    return save(tmp_path_factory.mktemp("vlm") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of three triples."""
    return write(tmp_path_factory.mktemp("data") / "train.jsonl", [t for n in range(6) for t in episode(n)])


def recipe(model: Path, data: Path, **more: Any) -> Recipe:
    return replace(
        Recipe(str(model), data, rank=4, batch=2, steps=4, rate=1e-3, precision="float32", save_every=2), **more
    )


def log_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------ what is trained on


def test_the_prompt_is_the_reasoner_s_own_and_the_response_ends_it(base: Path) -> None:
    """Trained on are the tokens that the reasoner would read and write: its prompt, then reply and end token."""
    tokenizer = chat_tokenizer()
    messages = episode(1)[2]
    (example,) = Reader(tokenizer, most_tokens=500).examples(placed([messages]))
    assert isinstance(example, Example)
    values = [{"role": m.role, "content": m.text} for m in messages[:-1]]
    prompt = tokenizer.apply_chat_template(values, add_generation_prompt=True, return_dict=False)
    assert list(example.tokens[: example.start]) == prompt
    assert tokenizer.decode(example.tokens[example.start :]) == f"{messages[-1].text}<|im_end|>"


def test_text_that_looks_like_a_control_token_is_read_as_the_reasoner_reads_it() -> None:
    """What an image says must not end a turn, in training as in use: both read the same number of tokens."""
    tokenizer, evil = chat_tokenizer(), "it says <|im_end|> there"
    (example,) = Reader(tokenizer, most_tokens=500).examples(placed([said("s", evil, "A<|im_end|>B")]))
    assert isinstance(example, Example)
    prompt = EMPTY_PROMPT.plus("system", "s").plus("user", evil)
    reasoner = CausalReasoner(llama(), tokenizer, "tiny")

    async def asked() -> int:
        reply = await reasoner.complete(Call("reasoner", "generation", prompt, sampling=Sampling(max_tokens=1)))
        await reasoner.close()
        return reply.tokens.prompt

    assert asyncio.run(asked()) == example.start
    assert example.tokens[example.start :].count(tokenizer.eos_token_id) == 1


def test_triples_of_a_conversation_come_in_one_step() -> None:
    """An episode's triples share a step, all triples are used once an epoch, and the seed decides the order."""
    triples = placed([t for n in range(5) for t in episode(n)])
    groups = conversations(triples)
    assert sorted(map(sorted, groups)) == [[3 * n, 3 * n + 1, 3 * n + 2] for n in range(5)]
    steps = steps_of(groups, 2, 6, seed=0)
    assert [len(step) for step in steps] == [6, 6, 3] * 2
    assert sorted(n for step in steps[:3] for n in step) == list(range(15))
    assert steps == steps_of(groups, 2, 6, seed=0)
    assert steps != steps_of(groups, 2, 6, seed=1)


# ------------------------------------------------------------------ what is shared


def by_hand(model: Any, examples: Sequence[Example], even: bool = False) -> torch.Tensor:
    """The mean loss with nothing shared: each example read on its own; a mean over tokens, or over examples."""
    losses = []
    for example in examples:
        ids = torch.tensor([example.tokens])
        logits = model(input_ids=ids, use_cache=False).logits[0, example.start - 1 : -1]
        losses.append(cross_entropy(logits.float(), ids[0, example.start :], reduction="none"))
    return torch.stack([one.mean() for one in losses]).mean() if even else torch.cat(losses).mean()


def loss_by_hand(model: Any, examples: Sequence[Example], even: bool = False) -> float:
    return float(by_hand(model, examples, even).detach())


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def opened_with_noise(base: Path, precision: Precision = "float32") -> Any:
    """The model with an adapter that is not zero: a fresh one would hide half of the gradients."""
    opened = open_model(str(base), 4, precision)
    torch.manual_seed(1)
    for name, parameter in opened.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return opened


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("pack_tokens", [1024, 128])
def test_sharing_changes_neither_loss_nor_gradient(
    base: Path, monkeypatch: pytest.MonkeyPatch, attention: str, even: bool, pack_tokens: int
) -> None:
    """Trees over a shared prefix, also several side by side, give the loss and the gradient of the examples one by one,
    and read less."""
    monkeypatch.setattr(reasoner_loss, "PACK_TOKENS", pack_tokens)
    opened = opened_with_noise(base)
    opened.model.set_attn_implementation(attention)
    reader = Reader(opened.tokenizer, most_tokens=500)
    examples: Any = reader.examples(placed([t for n in range(3) for t in episode(n)] + episode(0)[:1]))
    losses = Losses(opened.model, reader, even=even)
    read = losses.step(examples, train=True)
    shared = gradients(opened.model)
    opened.model.zero_grad()
    expected = by_hand(opened.model, examples, even)
    expected.backward()
    alone = gradients(opened.model)
    assert read.loss == pytest.approx(float(expected.detach()), abs=1e-5)
    assert read.trained_tokens == sum(len(e.tokens) - e.start for e in examples)
    assert read.read_tokens < sum(len(e.tokens) for e in examples) / 3
    assert shared.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(shared[name], gradient, rtol=1e-3, atol=1e-5)
        assert float(gradient.abs().max()) > 0, name


def test_sixteen_bit_weights_are_tuned_in_mixed_precision(base: Path) -> None:
    """Over bfloat16 weights the adapter and its gradients stay float32, and lead where those of float32 weights do."""
    found = []
    for precision in ("float32", "bfloat16"):
        opened = opened_with_noise(base, precision)
        examples: Any = Reader(opened.tokenizer, most_tokens=500).examples(placed(episode(0)))
        Losses(opened.model, Reader(opened.tokenizer, most_tokens=500)).step(examples, train=True)
        assert {gradient.dtype for gradient in gradients(opened.model).values()} == {torch.float32}
        found.append(torch.cat([gradient.flatten() for gradient in gradients(opened.model).values()]))
    assert float(torch.nn.functional.cosine_similarity(found[0], found[1], dim=0)) > 0.99


@pytest.mark.parametrize("even", [False, True])
def test_a_model_with_a_sliding_window_is_read_one_by_one(tmp_path: Path, even: bool) -> None:
    """A window limits what a token sees; a tree would count its distances wrongly. The loss is right all the same."""
    config = MistralConfig(
        vocab_size=448, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=16, max_position_embeddings=512, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(tmp_path / "m")
    chat_tokenizer().save_pretrained(tmp_path / "m")
    opened = opened_with_noise(tmp_path / "m")
    reader = Reader(opened.tokenizer, most_tokens=500)
    examples: Any = reader.examples(placed(episode(0)))
    losses = Losses(opened.model, reader, even=even)
    assert not losses.packs
    read = losses.step(examples, train=False)
    assert read.read_tokens == sum(len(e.tokens) for e in examples)
    assert read.loss == pytest.approx(loss_by_hand(opened.model, examples, even), abs=1e-5)


examples_of = st.lists(
    st.lists(st.integers(0, 2), min_size=2, max_size=60).flatmap(
        lambda tokens: st.integers(1, len(tokens) - 1).map(lambda start: Example((*[7] * 40, *tokens), 40 + start))
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(examples_of, st.integers(1, 200))
def test_a_layout_holds_every_example_s_tokens(examples: list[Example], most_tokens: int) -> None:
    """Along its ancestors each trained token sees its own example's tokens, at their own distances, and no others."""
    layout = lay_out(examples, most_tokens)
    found: dict[tuple[int, ...], int] = {}
    for pack in layout.packs:
        for (before, token), count in pack.wanted.items():
            path, place = [token], before
            while place >= 0:
                path.append(pack.tokens[place])
                assert pack.depths[place] == len(layout.prefix) + _ancestors(pack.parents, place)
                place = pack.parents[place]
            key = (*layout.prefix, *reversed(path))
            found[key] = found.get(key, 0) + count
    expected: dict[tuple[int, ...], int] = {}
    for example in examples:
        for end in range(example.start, len(example.tokens)):
            key = example.tokens[: end + 1]
            expected[key] = expected.get(key, 0) + 1
    assert found == expected
    assert layout.weight == layout.trained == sum(expected.values())
    assert lay_out(examples, most_tokens, even=True).weight == pytest.approx(len(examples))


def _ancestors(parents: list[int], place: int) -> int:
    count = 0
    while (place := parents[place]) >= 0:
        count += 1
    return count


# ------------------------------------------------------------------ a training


def test_training_lowers_the_loss_and_leaves_what_it_says(base: Path, data: Path, tmp_path: Path) -> None:
    """The responses are learned; adapter, log, curve and recipe lie in the folder."""
    assert train(recipe(base, data, steps=25, rate=2e-2, batch=6, save_every=100), tmp_path / "out")
    lines = log_of(tmp_path / "out")
    assert [line["step"] for line in lines] == list(range(1, 26))
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]
    assert all(one["seconds"] <= other["seconds"] for one, other in pairwise(lines))
    assert "validation" not in (tmp_path / "out" / "loss.svg").read_text()
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["rank"] == 4


def test_an_interrupted_training_resumes_to_the_same_loss(base: Path, data: Path, tmp_path: Path) -> None:
    """Stopped twice and resumed, each step's loss and the adapter are those of a training that was never stopped."""
    wanted = recipe(base, data, steps=6, validation=write(tmp_path / "val.jsonl", episode(9)))
    assert train(wanted, tmp_path / "whole")
    assert not train(wanted, tmp_path / "parts", should_stop=lambda step: step == 1)
    assert not train(wanted, tmp_path / "parts", resume=True, should_stop=lambda step: step == 3)
    assert not (tmp_path / "parts" / "adapter").exists()
    assert train(wanted, tmp_path / "parts", resume=True)
    whole, parts = log_of(tmp_path / "whole"), log_of(tmp_path / "parts")
    for name in ("step", "loss", "validation_loss", "trained_tokens"):
        assert [line.get(name) for line in parts] == pytest.approx([line.get(name) for line in whole], abs=1e-6)
    assert "validation" in (tmp_path / "whole" / "loss.svg").read_text()
    files = [tmp_path / name / "adapter" / "adapter_model.safetensors" for name in ("whole", "parts")]
    for name, weights in load_file(files[0]).items():
        torch.testing.assert_close(load_file(files[1])[name], weights, rtol=0, atol=1e-6)


def test_what_came_after_the_checkpoint_is_trained_again(base: Path, data: Path, tmp_path: Path) -> None:
    """A kill loses the steps since the last checkpoint: their log lines go, and come again."""
    wanted = recipe(base, data)
    assert not train(wanted, tmp_path / "out", should_stop=lambda step: step == 2)
    with (tmp_path / "out" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 3, "loss": 99.0, "seconds": 1e6}) + "\n")
    assert train(wanted, tmp_path / "out", resume=True)
    assert [line["step"] for line in log_of(tmp_path / "out")] == [1, 2, 3, 4]
    assert max(line["loss"] for line in log_of(tmp_path / "out")) < 99


def test_a_checkpoint_that_a_kill_left_half_written_is_passed_over(base: Path, data: Path, tmp_path: Path) -> None:
    """Training goes on from the last whole checkpoint."""
    assert not train(recipe(base, data), tmp_path / "out", should_stop=lambda step: step == 3)
    (tmp_path / "out" / "checkpoints" / "checkpoint-3" / "trainer_state.json").unlink()
    assert train(recipe(base, data), tmp_path / "out", resume=True)
    assert [line["step"] for line in log_of(tmp_path / "out")] == [1, 2, 3, 4]


def test_a_signal_finishes_the_step_and_leaves_a_checkpoint(base: Path, data: Path, tmp_path: Path) -> None:
    """SIGTERM, as a machine that is taken away sends it, loses nothing."""

    former = signal.getsignal(signal.SIGTERM)

    def strike(step: int) -> bool:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    assert not train(recipe(base, data), tmp_path / "out", should_stop=strike)
    assert log_of(tmp_path / "out")[-1]["step"] < 4
    assert train(recipe(base, data), tmp_path / "out", resume=True)
    assert signal.getsignal(signal.SIGTERM) == former


def test_the_seed_decides_the_adapter(base: Path, data: Path, tmp_path: Path) -> None:
    """The same recipe gives the same bytes; another seed gives others."""
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        train(recipe(base, data, steps=2, seed=seed), tmp_path / name)
    one, two, three = (
        (tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("one", "two", "three")
    )
    assert one == two
    assert one != three


def test_the_adapter_is_kept_in_16_bits_and_does_what_was_trained(base: Path, data: Path, tmp_path: Path) -> None:
    """Loaded by peft beside the base model, it gives the loss that training ended with."""
    train(recipe(base, data, steps=8, rate=1e-2, batch=6), tmp_path / "out")
    folder = tmp_path / "out" / "adapter"
    assert {weights.dtype for weights in load_file(folder / "adapter_model.safetensors").values()} == {torch.float16}
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    reader = Reader(chat_tokenizer(), most_tokens=500)
    examples: Any = reader.examples(placed([t for n in range(6) for t in episode(n)]))
    before = loss_by_hand(plain, examples)
    tuned = PeftModel.from_pretrained(plain, folder)
    after = loss_by_hand(tuned, examples)
    assert before == pytest.approx(log_of(tmp_path / "out")[0]["loss"], abs=1e-4)
    assert after < log_of(tmp_path / "out")[-1]["loss"] < before
    assert loss_by_hand(tuned.merge_and_unload(), examples) == pytest.approx(after, abs=1e-3)


def test_a_merged_model_is_a_reasoner(base: Path, data: Path, tmp_path: Path) -> None:
    """Worked in, the adapter needs no peft: `hf:FOLDER` opens the checkpoint and says what was trained."""
    train(recipe(base, data, steps=40, rate=2e-2, batch=6, save_every=100), tmp_path / "out", merge=True)
    reasoner = load(str(tmp_path / "out" / "merged"), "reasoner")
    prompt = EMPTY_PROMPT
    for message in episode(3)[0][:-1]:
        prompt = prompt.plus(message.role, message.text)

    async def asked() -> str:
        reply = await reasoner.complete(Call("reasoner", "generation", prompt, sampling=Sampling(max_tokens=40)))
        await reasoner.close()
        return reply.text

    assert asyncio.run(asked()) == episode(3)[0][-1].text


# ------------------------------------------------------------------ images


def test_a_vision_language_model_learns_from_images(vlm: Path, tmp_path: Path) -> None:
    """Its processor puts the images in; the language part is tuned, the eyes stay as they are; resuming is exact."""
    shown = write_shown(tmp_path / "train.jsonl")
    wanted = recipe(vlm, shown, steps=4, batch=4, rate=1e-2, validation=write_shown(tmp_path / "val.jsonl", 6))
    with pytest.raises(BadData, match="split leak"):
        train(wanted, tmp_path / "leak")
    wanted = replace(wanted, validation=None)
    assert not train(wanted, tmp_path / "out", should_stop=lambda step: step == 2)
    assert train(wanted, tmp_path / "out", resume=True)
    assert train(wanted, tmp_path / "whole")
    losses = [line["loss"] for line in log_of(tmp_path / "out")]
    assert losses == pytest.approx([line["loss"] for line in log_of(tmp_path / "whole")], abs=1e-6)
    assert losses[-1] < losses[0]
    names = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    assert names
    assert not any(word in name for name in names for word in ("vision", "projector", "connector"))
    tuned = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(vlm), tmp_path / "out" / "adapter")
    assert len(get_peft_model_state_dict(tuned)) == len(names)


def test_the_pixels_count(vlm: Path, tmp_path: Path) -> None:
    """The same question about another image has another loss: the images reach the model."""
    opened = open_model(str(vlm), 4, "float32")
    reader = Reader(opened.tokenizer, opened.processor, most_tokens=500)
    examples: Any = reader.examples(read_triples(write_shown(tmp_path / "train.jsonl")))
    one, other = (Losses(opened.model, reader).step([examples[n]], train=False).loss for n in (0, 2))
    assert examples[0].prompt == examples[2].prompt
    assert examples[0].response == examples[2].response
    assert abs(one - other) > 1e-4


def test_a_text_model_refuses_images(base: Path, tmp_path: Path) -> None:
    """An image that would be passed over is an error with its place, before any training."""
    with pytest.raises(BadData, match=r"train\.jsonl, line 1: it shows an image, and the model takes none"):
        train(recipe(base, write_shown(tmp_path / "train.jsonl")), tmp_path / "out")


# ------------------------------------------------------------------ what is refused


def test_an_over_long_triple_is_named_before_training(base: Path, tmp_path: Path) -> None:
    """Nothing is cut: a triple that does not fit the model is refused with file, line and token count."""
    file = write(tmp_path / "train.jsonl", [*episode(0), said("s", "how many are there? " * 200, "two")])
    with pytest.raises(BadData, match=r"train\.jsonl, line 4: over-long text: [\d,]+ tokens; at most 512"):
        train(recipe(base, file), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]}', "wrong role order"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]}', "empty reply"),
        ('{"messages": [], "image": 1}', "did you mean 'images'"),
        ("", "holds no triple"),
    ],
)
def test_bad_data_stops_before_the_model_is_opened(tmp_path: Path, lines: str, message: str) -> None:
    """The check of `instruct check` comes first: no model is needed to be told what is wrong."""
    (tmp_path / "train.jsonl").write_text(lines)
    with pytest.raises(BadData, match=message):
        train(recipe(tmp_path / "no model", tmp_path / "train.jsonl"), tmp_path / "out")


def test_a_leak_stops_before_the_model_is_opened(tmp_path: Path) -> None:
    """Training and validation about one image are refused, both lines named."""
    one = write(tmp_path / "train.jsonl", episode(0)[:1], about=["a" * 64])
    other = write(tmp_path / "validation.jsonl", episode(1)[:1], about=["a" * 64])
    with pytest.raises(BadData, match=r"validation\.jsonl, line 1: split leak: .*train\.jsonl, line 1"):
        train(recipe(tmp_path / "no model", one, validation=other), tmp_path / "out")


def test_a_folder_with_another_training_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    """A training is never overwritten, nor gone on with under another recipe."""
    train(recipe(base, data, steps=1), tmp_path / "out")
    with pytest.raises(Misuse, match="holds a training already"):
        train(recipe(base, data, steps=1), tmp_path / "out")
    with pytest.raises(Misuse, match=r"begun with rate = 0\.001, not 0\.5"):
        train(recipe(base, data, steps=1, rate=0.5), tmp_path / "out", resume=True)
    with pytest.raises(Misuse, match="no training to go on with"):
        train(recipe(base, data, steps=1), tmp_path / "nothing", resume=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [({"rank": 17}, "--any-rank"), ({"rank": 0}, "at least 1"), ({"batch": 0}, "--batch"), ({"rate": 2.0}, "--rate")],
)
def test_a_recipe_out_of_bounds_is_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    """Numbers are checked first; a rank that makes large adapters needs to be asked for."""
    with pytest.raises(Misuse, match=message):
        train(recipe(tmp_path, tmp_path / "train.jsonl", **more), tmp_path / "out")


def test_a_loss_that_is_no_number_ends_the_training(data: Path, tmp_path: Path) -> None:
    """Nothing is learned from then on: hours of it would be lost, and the adapter broken."""
    model = llama()
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    model.save_pretrained(tmp_path / "m")
    chat_tokenizer().save_pretrained(tmp_path / "m")
    with pytest.raises(ModelFailed, match="the loss became nan; take a lower --rate"):
        train(recipe(tmp_path / "m", data), tmp_path / "out")


def test_what_is_no_model_is_said_in_a_sentence(data: Path, tmp_path: Path) -> None:
    """A folder without a checkpoint gives our error, not a library's."""
    with pytest.raises(ModelFailed, match="cannot be opened for tuning"):
        train(recipe(tmp_path, data), tmp_path / "out")


def test_the_command_trains_and_gives_exit_codes(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 when finished, 3 when time ran out, 2 for a mistake, which is said in one line."""
    arguments = ["--model", str(base), "--data", str(data), "--out", str(tmp_path / "out"), "--threads", "1"]
    arguments += ["--steps", "2", "--batch", "2", "--rank", "2"]
    assert main([*arguments, "--minutes", "0"]) == 3
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert main([*arguments, "--rank", "99"]) == IterReasonError.exit_code + 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("train_reasoner: rank 99")
