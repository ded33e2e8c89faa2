"""Vision-language models in this process answer as transformers does, in both roles, alone or in a batch."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_video_vlm
import tiny_vlm
import torch

from iterreason.api import Reasoner
from iterreason.calls import EMPTY_PROMPT, Call, Look, Prompt, Reply, Sampling, View
from iterreason.errors import ModelFailed
from iterreason.images import decode
from iterreason.models import hf
from iterreason.models.hf import vlm as vlm_module
from iterreason.models.hf.continuing import spellings
from iterreason.models.hf.vlm import VisionChat
from iterreason.records import Image

SCHEMA = json.dumps({
    "type": "object", "additionalProperties": False, "required": ["answer", "questions"],
    "properties": {
        "answer": {"type": "string", "maxLength": 8},
        "questions": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2},
    },
})  # fmt: skip
MAKERS: dict[str, Any] = {
    "llava": tiny_vlm.save_llava,
    "idefics3": tiny_vlm.save_idefics3,
    "smolvlm": tiny_video_vlm.save_smolvlm,
    "qwen2_vl": tiny_video_vlm.save_qwen,
    "qwen2_5_vl": lambda folder: tiny_video_vlm.save_qwen(folder, "2.5"),
}
RED, BLUE = View(tiny.picture("red")), View(tiny.picture("blue", 64))
SYSTEM = EMPTY_PROMPT.plus("system", "the user asks, the assistant answers.")
SHOWN = (
    SYSTEM.plus("user", RED, "what colour is the circle?"),
    SYSTEM.plus("user", BLUE, "how many squares are there? there are two blue squares."),
    SYSTEM.plus("user", RED, BLUE, "is it red?"),
)


@pytest.fixture(scope="module", params=MAKERS)
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisionChat]:
    """One model of each family, opened as a user does."""
    folder = MAKERS[request.param](tmp_path_factory.mktemp("vlm") / request.param)
    opened = hf.load(f"{folder}?dtype=float32&device=cpu", "answerer")
    assert isinstance(opened, VisionChat)
    yield opened
    asyncio.run(opened.close())


def answers(model: VisionChat, *calls: Call, together: bool = True) -> list[Reply]:
    async def main() -> list[Reply]:
        if together:
            return list(await asyncio.gather(*(model.complete(call) for call in calls)))
        return [await model.complete(call) for call in calls]

    return asyncio.run(main())


def chat(prompt: Prompt, max_tokens: int = 6, **options: Any) -> Call:
    sampling = Sampling(max_tokens=max_tokens, **options.pop("sampling", {}))
    return Call("reasoner", options.pop("purpose", "generation"), prompt, sampling=sampling, **options)


def look(prompt: Prompt, max_tokens: int = 6, **options: Any) -> Call:
    return Call("answerer:0", "look", prompt, Look(RED, "?"), sampling=Sampling(max_tokens=max_tokens), **options)


def same(first: Reply, second: Reply) -> None:
    assert (first.error, second.error) == (None, None)
    for one, other in zip(first.samples, second.samples, strict=True):
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
        assert one.logprobs == pytest.approx(other.logprobs, abs=3e-4)
    assert first.scores == pytest.approx(second.scores, abs=3e-4)
    assert first.tokens == second.tokens


def inputs(model: VisionChat, prompt: Prompt) -> Any:
    """What a user of transformers would give the model, made without our code."""
    parts = [
        {"role": m.role, "content": [{"type": "image"} if isinstance(p, View) else {"type": "text", "text": p}
                                     for p in m.parts]} for m in prompt.messages
    ]  # fmt: skip
    text = model._processor.apply_chat_template(parts, add_generation_prompt=True)
    images = [decode(view) for message in prompt.messages for view in message.views]
    return model._processor(text=text, images=images or None, return_tensors="pt")


def test_answers_and_probabilities_are_those_of_transformers(model: VisionChat) -> None:
    """Greedy text and log-probabilities equal `generate` and its transition scores, for one image, two, and none."""
    for prompt in (*SHOWN, SYSTEM.plus("user", "is it red?")):
        [reply] = answers(model, chat(prompt))
        for part in model._positions:
            part.rope_deltas = None
        given = inputs(model, prompt)
        made = model._model.generate(
            **given, max_new_tokens=6, do_sample=False, return_dict_in_generate=True, output_scores=True
        )
        scores = model._model.compute_transition_scores(made.sequences, made.scores, normalize_logits=True)[0]
        written = made.sequences[0, given["input_ids"].shape[1] :]
        assert reply.text == model._processor.tokenizer.decode(written, skip_special_tokens=True).strip()
        assert reply.samples[0].logprobs == pytest.approx(scores.tolist(), abs=3e-4)
        assert reply.tokens.prompt == given["input_ids"].shape[1]


def test_a_reply_is_the_same_alone_and_in_a_batch(model: VisionChat) -> None:
    """Padding of shorter prompts and fewer images changes no text and no probability."""
    plain = [SYSTEM.plus("user", text) for text in ("is it red?", "how many squares are there? count them all.")]
    calls = [
        *(chat(prompt) for prompt in (*SHOWN, *plain)),
        *(chat(prompt, 24, schema=SCHEMA) for prompt in SHOWN),
        *(chat(prompt, purpose="readout", choices=tuple("ABC")) for prompt in SHOWN),
        *(look(prompt, choices=("red", "two blue squares")) for prompt in SHOWN),
    ]
    for together, alone in zip(answers(model, *calls), answers(model, *calls, together=False), strict=True):
        same(together, alone)


def test_choices_are_ranked_as_whole_answers(model: VisionChat) -> None:
    """A choice's score is the probability of all its spellings and ends together, each computed on its own."""
    choices = ("red", "Two blue squares")
    [reply] = answers(model, look(SHOWN[0], choices=choices))
    expected = []
    for choice in choices:
        each = [_forced(model, SHOWN[0], ids) for ids in spellings(model._processor.tokenizer, choice)]
        expected.append(torch.tensor(each).logsumexp(0).item())
    assert reply.scores == pytest.approx(expected, abs=1e-3)
    assert reply.text == choices[expected.index(max(expected))]
    assert reply.samples[0].probability == pytest.approx(torch.tensor(max(expected)).exp().item(), rel=1e-2)


def _forced(model: VisionChat, prompt: Prompt, ids: list[int]) -> float:
    """The log-probability of these tokens and an end after the prompt, in one pass over all."""
    given = dict(inputs(model, prompt))
    width = given["input_ids"].shape[1]
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if name in given:
            more = {"input_ids": ids, "attention_mask": [1] * len(ids)}.get(name, [0] * len(ids))
            given[name] = torch.cat([given[name], torch.tensor([more])], dim=1)
    for part in model._positions:
        part.rope_deltas = None
    with torch.inference_mode():
        logprobs = model._model(**given).logits[0, width - 1 :].float().log_softmax(-1)
    own = sum(logprobs[place, token].item() for place, token in enumerate(ids))
    return own + float(logprobs[len(ids), model._ends].logsumexp(0))


def test_letters_are_scored_by_one_step(model: VisionChat) -> None:
    """A read-out gives each letter the probability of `A` and ` A` together as the next token."""
    [reply] = answers(model, chat(SHOWN[1], purpose="readout", choices=("A", "B", "C")))
    for part in model._positions:
        part.rope_deltas = None
    with torch.inference_mode():
        last = model._model(**inputs(model, SHOWN[1])).logits[0, -1].float().log_softmax(-1)
    tokenizer = model._processor.tokenizer
    variants = [[ids[0] for text in (c, f" {c}") if len(ids := tokenizer.encode(text)) == 1] for c in "ABC"]
    assert reply.scores == pytest.approx([last[ids].logsumexp(0).item() for ids in variants], abs=3e-4)
    assert reply.tokens.completion == 0


def test_a_schema_is_kept(model: VisionChat) -> None:
    """As reasoner it writes JSON of the schema, and the log-probabilities stay the model's own."""
    [reply] = answers(model, chat(SHOWN[0], 80, schema=SCHEMA))
    assert list(json.loads(reply.text)) == ["answer", "questions"]
    assert len(reply.samples[0].logprobs or ()) == reply.tokens.completion
    assert min(reply.samples[0].logprobs or ()) < -1  # a forced bracket was no favourite


def test_samples_depend_on_their_seed_alone(model: VisionChat) -> None:
    """With a seed the batch around a call changes nothing; samples differ from each other."""
    drawn = dict(temperature=1.0, seed=3, n=3)
    calls = [chat(prompt, sampling=drawn) for prompt in SHOWN[:2]]
    for together, alone in zip(answers(model, *calls), answers(model, *calls, together=False), strict=True):
        assert len(together.samples) == 3
        assert len({sample.text for sample in together.samples}) == 3
        same(together, alone)


def test_a_call_that_cannot_be_answered_fails_alone(model: VisionChat) -> None:
    """A long prompt, a bad image, a bad schema: each its own error in one line; the others are answered."""
    bad = [
        (chat(SYSTEM.plus("user", RED, "red " * 600)), "context: the prompt's"),
        (chat(SYSTEM.plus("user", View(Image("0" * 64, 9, 9)), "?")), "has no pixels here"),
        (chat(SYSTEM.plus("user", RED, "?"), schema='{"type":"strin"}'), "the schema makes no grammar"),
        (chat(EMPTY_PROMPT), "this call has none"),
        (chat(SYSTEM.plus("user", RED, "red " * 600), purpose="readout", choices=("A", "B")), "context: the prompt's"),
        (look(SYSTEM.plus("user", RED, "red " * 600), choices=("A", "B")), "context: the prompt's"),
    ]
    *failed, good = answers(model, *(call for call, _ in bad), chat(SHOWN[0]))
    for reply, (_, reason) in zip(failed, bad, strict=True):
        assert reply.error
        assert reason in reply.error
        assert "\n" not in reply.error
    assert good.samples


def test_text_is_no_image_and_ends_no_turn(model: VisionChat) -> None:
    """What looks like an image's place or a control token in a text stays text."""
    marks = "".join(model._processor.tokenizer.get_added_vocab())
    [reply] = answers(model, chat(SYSTEM.plus("user", RED, f"what is {marks} here?")))
    assert reply.error is None
    ids = model._inputs([vlm_module._Row(chat(SHOWN[0]), model._conversation(chat(SHOWN[0])))])["input_ids"][0]  # type: ignore[arg-type]
    attack = chat(SYSTEM.plus("user", RED, f"what colour is the circle?{marks}"))
    attacked = model._inputs([vlm_module._Row(attack, model._conversation(attack))])["input_ids"][0]  # type: ignore[arg-type]
    for token in model._processor.tokenizer.all_special_ids:
        assert (attacked == token).sum() == (ids == token).sum()


def test_it_can_play_both_roles(model: VisionChat) -> None:
    """Messages with images, schemas, scores and log-probabilities."""
    can = model.capabilities()
    assert (can.chats, can.images, can.schema, can.scores, can.logprobs) == (True,) * 5
    assert can.context_tokens == 512


POLICY = """
description = "A look and a verdict, the image before the reasoner's eyes too."
source = "ours"
confidence = ["choice-logprob"]
[rounds]
max = 2
questions = 1
[look]
first = ["question"]
[reasoner]
sees_image = true
max_tokens = 120
rationale_chars = 20
question_chars = 20
[prompts]
system = "Answer in JSON."
problem = "$question $choices $evidence"
evidence = "$evidence"
readout = "Which? $candidates"
"""


def test_one_model_plays_both_roles_in_an_episode(tmp_path: Path) -> None:
    """`answerer="same"`: it looks, reads the image in the conversation, concludes and is read out, in one episode."""
    (tmp_path / "both.toml").write_text(POLICY)
    image = tmp_path / "red.png"
    image.write_bytes(RED.image.data)
    for name in ("llava", "qwen2_vl"):
        uri = f"hf:{MAKERS[name](tmp_path / name)}?dtype=float32&device=cpu"
        with Reasoner(uri, "same", policy=tmp_path / "both.toml") as reasoner:
            result = reasoner.reason(image, "is it red?", ["yes", "no"])
        assert result.error is None
        assert result.reasoner_sees_image
        assert result.confidence_source == "choice-logprob"
        assert result.confidence is not None
        assert result.models[0] == result.models[1]
        [direct] = [e for e in result.memory.evidence if e.question == "is it red?"]
        assert direct.answer in ("yes", "no")
        assert direct.probability is not None


def test_rows_that_do_not_fit_the_memory_are_made_in_parts(model: VisionChat) -> None:
    """Out of memory with several rows: half of them at a time, to the same replies."""
    calls = [chat(prompt) for prompt in SHOWN]
    before = answers(model, *calls)

    def full(_: Any, inputs: Any, options: dict[str, Any]) -> None:
        if len(options["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = model._model.register_forward_pre_hook(full, with_kwargs=True)
    try:
        for one, other in zip(before, answers(model, *calls), strict=True):
            same(one, other)
    finally:
        handle.remove()


def test_habits_of_a_checkpoint_do_not_change_its_choice(tmp_path: Path) -> None:
    """Sampling and penalties in `generation_config.json` are left out: the most probable token is taken."""
    folder = tiny_vlm.save_llava(tmp_path / "llava")
    config = json.loads((folder / "generation_config.json").read_text())
    [plain] = answers(opened := hf.load(f"{folder}?dtype=float32", "reasoner"), chat(SHOWN[0], 12))  # type: ignore[arg-type]
    asyncio.run(opened.close())
    habits = {"do_sample": True, "temperature": 2.0, "top_k": 3, "repetition_penalty": 5.0}
    (folder / "generation_config.json").write_text(json.dumps(config | habits))
    [reply] = answers(opened := hf.load(f"{folder}?dtype=float32", "reasoner"), chat(SHOWN[0], 12))  # type: ignore[arg-type]
    asyncio.run(opened.close())
    same(plain, reply)


def test_a_family_unknown_to_these_tests_runs_call_by_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has shown that padding is harmless there is none."""
    assert set(MAKERS) == vlm_module.BATCHED
    monkeypatch.setattr(vlm_module, "BATCHED", frozenset())
    opened: Any = hf.load(f"{tiny_vlm.save_llava(tmp_path / 'llava')}?dtype=float32", "answerer")
    rows: list[int] = []
    opened._model.register_forward_pre_hook(
        lambda _, __, options: rows.append(len(options["input_ids"])), with_kwargs=True
    )
    answers(opened, *(chat(prompt) for prompt in SHOWN))
    asyncio.run(opened.close())
    assert set(rows) == {1}


def test_without_a_chat_template_it_is_refused(tmp_path: Path) -> None:
    """A base model cannot take messages."""
    folder = tiny_vlm.save_llava(tmp_path / "llava")
    for file in folder.glob("chat_template*"):
        file.unlink()
    for name in ("processor_config.json", "tokenizer_config.json"):
        values = json.loads((folder / name).read_text())
        values.pop("chat_template", None)
        (folder / name).write_text(json.dumps(values))
    with pytest.raises(ModelFailed, match="no chat template"):
        hf.load(str(folder), "answerer")
