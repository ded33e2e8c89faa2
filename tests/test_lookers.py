"""ViLT, BLIP-2 and InstructBLIP answer as transformers does, alone or in a batch, and are found by their config."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_lookers
import tiny_vlm
import torch
from PIL import Image as Pixels

from iterreason.calls import EMPTY_PROMPT, Call, Look, Prompt, Reply, Sampling, View
from iterreason.errors import MissingExtra, UnknownModel
from iterreason.images import decode
from iterreason.models import Model, hf
from iterreason.models.hf import families, placing
from iterreason.models.hf.blip2 import Blip2Answerer
from iterreason.models.hf.continuing import spellings
from iterreason.models.hf.looker import Looker
from iterreason.models.hf.vilt import ViltAnswerer
from iterreason.records import Image

RED, BLUE = View(tiny.picture("red")), View(tiny.picture("blue", 64))
LANGUAGES = [(kind, instructed) for kind in ("opt", "llama", "t5") for instructed in (False, True)]


def wide() -> View:
    """An image of another shape."""
    file = io.BytesIO()
    Pixels.linear_gradient("L").resize((90, 40)).convert("RGB").save(file, "PNG")
    return View(Image("wide", 90, 40, data=file.getvalue()))


def look(view: View, question: str | None = "what colour is the circle?", max_tokens: int = 5, **options: Any) -> Call:
    sampling = Sampling(max_tokens=max_tokens, **options.pop("sampling", {}))
    return Call("answerer:0", "look", EMPTY_PROMPT, Look(view, question), sampling=sampling, **options)


def answers(model: Model, *calls: Call, together: bool = True) -> list[Reply]:
    async def main() -> list[Reply]:
        if together:
            replies = list(await asyncio.gather(*(model.complete(call) for call in calls)))
        else:
            replies = [await model.complete(call) for call in calls]
        await model.close()
        return replies

    return asyncio.run(main())


def vilt() -> ViltAnswerer:
    return ViltAnswerer(tiny_lookers.vilt(), tiny.bert_tokenizer(), tiny_lookers.vilt_images(), "tiny-vilt")


def blip2(kind: str = "opt", instructed: bool = False) -> Blip2Answerer:
    guide = tiny.bert_tokenizer() if instructed else None
    model = tiny_lookers.blip2(kind, instructed)
    return Blip2Answerer(model, (tiny.chat_tokenizer(), guide), tiny.image_processor(), "tiny-blip2")


MAKERS: dict[str, Callable[[], Looker]] = {
    "vilt": vilt,
    **{f"{'instruct' if i else ''}blip2-{k}": lambda k=k, i=i: blip2(k, i) for k, i in LANGUAGES},  # type: ignore[misc]
}


def same(first: Reply, second: Reply) -> None:
    assert (first.error, second.error) == (None, None)
    for one, other in zip(first.samples, second.samples, strict=True):
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
        assert one.logprobs == pytest.approx(other.logprobs, abs=3e-4)
    assert first.scores == pytest.approx(second.scores, abs=3e-4)
    assert first.tokens == second.tokens


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", MAKERS)
def test_a_look_is_the_same_alone_and_in_a_batch(name: str) -> None:
    """Padding of questions and of images changes no answer and no probability."""
    questions = ("is it red ?", "how many squares are there ? two or three ?", "what is it ?")
    calls = [look(view, q) for view, q in zip((RED, BLUE, wide()), questions, strict=True)]
    calls += [look(view, "yes ?", choices=c) for view, c in ((RED, ("red", "two", "blue")), (wide(), ("yes", "no")))]
    drawn = {"temperature": 1.0, "n": 2, "seed": 7}
    calls += [look(BLUE, q, sampling=drawn) for q in questions]
    for together, alone in zip(answers(MAKERS[name](), *calls), answers(MAKERS[name](), *calls, together=False),
                               strict=True):  # fmt: skip
        same(together, alone)


@pytest.mark.parametrize("name", MAKERS)
def test_a_look_that_cannot_be_answered_fails_alone(name: str) -> None:
    """A prompt, a long question, a bad image: each its own error in one line; the look beside it is answered."""
    bad = [
        (Call("reasoner", "generation", EMPTY_PROMPT.plus("user", "is it red?")), "only looks at images"),
        (look(RED, "red " * 600), "context: "),
        (look(View(Image("0" * 64, 9, 9))), "has no pixels here"),
        (look(View(Image("1" * 64, 9, 9, data=b"no image"))), "BadImage"),
    ]
    *failed, good = answers(MAKERS[name](), *(call for call, _ in bad), look(RED))
    for reply, (_, reason) in zip(failed, bad, strict=True):
        assert reply.error
        assert reason in reply.error
        assert "\n" not in reply.error
    assert good.samples


# ------------------------------------------------------------------ ViLT


def test_vilt_gives_each_label_its_own_probability() -> None:
    """The answer is the label with the highest sigmoid, that of transformers' own forward pass."""
    model = vilt()
    model._model.config.max_image_length = -1
    for view, question in ((RED, "is it red ?"), (wide(), "what colour is the circle ?")):
        asked = model._tokenizer(question, return_tensors="pt")
        seen = model._images(decode(view), return_tensors="pt")
        with torch.inference_mode():
            odds = model._model(**asked, **seen).logits[0].sigmoid()
        [reply, ranked] = answers(vilt(), look(view, question), look(view, question, choices=("two", "RED", "purple")))
        assert reply.text == tiny_lookers.LABELS[int(odds.argmax())]
        assert reply.samples[0].probability == pytest.approx(float(odds.max()), abs=1e-4)
        assert ranked.scores[2] is None, "purple is no label"
        assert ranked.scores[:2] == pytest.approx([odds[4].log().item(), odds[2].log().item()], abs=1e-4)
        assert ranked.text == ("two" if odds[4] > odds[2] else "RED")


def test_vilt_drops_no_patch_at_random() -> None:
    """A checkpoint that bounds the patches of an image would give another probability each time."""
    assert tiny_lookers.vilt().config.max_image_length == 20
    replies = [answers(vilt(), look(wide(), "is it red ?"))[0] for _ in range(3)]
    same(replies[0], replies[1])
    same(replies[0], replies[2])


def test_vilt_says_what_it_can_where_no_choice_is_a_label() -> None:
    """No score is made up: its own answer comes back, with no score for the choices."""
    [reply] = answers(vilt(), look(RED, choices=("purple", "pink")))
    assert reply.scores == (None, None)
    assert reply.text in tiny_lookers.LABELS
    [caption] = answers(vilt(), look(RED, None))
    assert caption.error == "tiny-vilt answers questions only; name a model that writes captions"


# ------------------------------------------------------------------ BLIP-2 and InstructBLIP


def given(model: Blip2Answerer, call: Call) -> dict[str, Any]:
    """What a user of transformers would give the model: the image's places, then the words."""
    text = model._text(call)
    words = model._tokenizer(text, return_tensors="pt").input_ids
    places = torch.full((1, 4), 447)
    assert call.look
    made = {
        "pixel_values": model._images(decode(call.look.view), return_tensors="pt").pixel_values,
        "input_ids": torch.cat([places, words], dim=1),
    }
    made["attention_mask"] = torch.ones_like(made["input_ids"])
    if model._guide:
        made["qformer_input_ids"] = model._guide(text, return_tensors="pt").input_ids
    return made


@pytest.mark.parametrize(("kind", "instructed"), LANGUAGES)
def test_blip2_answers_as_transformers_does(kind: str, instructed: bool) -> None:
    """Text and log-probabilities equal `generate` and the language model's transition scores."""
    model = blip2(kind, instructed)
    for call in (look(RED, "is it red ?"), look(BLUE), look(BLUE, None)):
        inputs = given(model, call)
        made = model._model.generate(
            **inputs, max_new_tokens=5, do_sample=False, return_dict_in_generate=True, output_scores=True
        )
        scores = model._language.compute_transition_scores(made.sequences, made.scores, normalize_logits=True)[0]
        written = made.sequences[0, 1 if kind == "t5" else inputs["input_ids"].shape[1] :]
        [reply] = answers(blip2(kind, instructed), call)
        assert reply.text == model._tokenizer.decode(written, skip_special_tokens=True).strip()
        assert reply.samples[0].logprobs == pytest.approx(scores.tolist(), abs=1e-4)
        assert reply.tokens.prompt == inputs["input_ids"].shape[1]


@pytest.mark.parametrize(("kind", "instructed"), LANGUAGES)
def test_blip2_ranks_choices_as_whole_answers(kind: str, instructed: bool) -> None:
    """A choice's score is the probability of all its spellings with an end, each from a forward pass of its own."""
    model = blip2(kind, instructed)
    call = look(RED, "is it red ?", choices=("red", "two squares"))
    inputs = given(model, call)
    expected = []
    for choice in call.choices:
        each = []
        for ids in spellings(model._tokenizer, choice):
            more = torch.tensor([ids])
            if kind == "t5":
                options = inputs | {"decoder_input_ids": torch.cat([torch.tensor([[1]]), more], dim=1)}
            else:
                tokens = torch.cat([inputs["input_ids"], more], dim=1)
                options = inputs | {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
            with torch.inference_mode():
                logprobs = model._model(**options).logits[0, -len(ids) - 1 :].log_softmax(-1)
            each.append(sum(logprobs[n, token].item() for n, token in enumerate(ids)) + logprobs[-1, 1].item())
        expected.append(torch.tensor(each).logsumexp(0).item())
    [reply] = answers(blip2(kind, instructed), call)
    assert reply.scores == pytest.approx(expected, abs=1e-3)
    assert reply.text == call.choices[expected.index(max(expected))]


def test_a_view_goes_through_the_eyes_once() -> None:
    """Many questions about one image, in one batch or later, are one pass of BLIP-2's vision encoder."""
    model = blip2()
    seen: list[int] = []
    model._model.vision_model.register_forward_pre_hook(
        lambda _, __, options: seen.append(len(options["pixel_values"])), with_kwargs=True
    )
    answers(model, look(RED, "is it red ?"), look(RED, "two ?"), look(BLUE))
    assert seen == [2]


# ------------------------------------------------------------------ found by their config


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("checkpoints")
    return {
        "vilt": tiny_lookers.save_vilt(base / "vilt"),
        "blip-2": tiny_lookers.save_blip2(base / "blip-2"),
        "instructblip": tiny_lookers.save_blip2(base / "instructblip", "t5", instructed=True),
        "llava": tiny_vlm.save_llava(base / "llava"),
    }


@pytest.mark.parametrize("name", ["vilt", "blip-2", "instructblip"])
def test_a_checkpoint_on_disk_answers_as_the_model_it_was_made_from(folders: dict[str, Path], name: str) -> None:
    """Nothing is lost or made anew on the way: the answer is that of the model in memory."""
    made = {"vilt": vilt, "blip-2": blip2, "instructblip": lambda: blip2("t5", instructed=True)}[name]()
    opened = hf.load(f"{folders[name]}?dtype=float32&device=cpu", "answerer")
    assert type(opened) is type(made)
    same(answers(opened, look(RED, "is it red ?"))[0], answers(made, look(RED, "is it red ?"))[0])


def test_a_config_without_architectures_goes_by_its_model_type(folders: dict[str, Path], tmp_path: Path) -> None:
    """`model_type` finds the family where nobody wrote the architecture down."""
    from transformers import AutoConfig

    for name, architecture in (("vilt", "ViltForQuestionAnswering"), ("llava", "LlavaForConditionalGeneration")):
        config = json.loads((folders[name] / "config.json").read_text())
        config.pop("architectures")
        (tmp_path / "config.json").write_text(json.dumps(config))
        found = AutoConfig.from_pretrained(tmp_path)
        assert families.family_of(found, "answerer", name)[0] == architecture


@pytest.mark.parametrize("name", ["vilt", "blip-2", "instructblip"])
def test_what_only_looks_is_no_reasoner(folders: dict[str, Path], name: str) -> None:
    """The error says what it can be, and which families can reason."""
    with pytest.raises(UnknownModel, match=r"it can be the answerer\. Supported: causal .*SmolVLM, Qwen-VL, LLaVA"):
        hf.load(str(folders[name]), "reasoner")


def test_the_uri_says_where_a_model_runs(folders: dict[str, Path]) -> None:
    """Device and dtype stand after a '?'; the dtype is in the name, since answers differ a little."""
    opened = hf.load(f"{folders['blip-2']}?dtype=bfloat16&device=cpu", "answerer")
    assert opened.capabilities().model.endswith("/bfloat16")
    assert isinstance(opened, Blip2Answerer)
    assert opened._language.dtype == torch.bfloat16
    assert answers(opened, look(RED), look(RED, choices=("red", "two")))[0].samples
    spread = hf.load(f"{folders['blip-2']}?device=auto&dtype=float32", "answerer")
    same(answers(spread, look(RED))[0], answers(blip2(), look(RED))[0])


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("x?dytpe=float16", "unknown key 'dytpe'; did you mean 'dtype'"),
        ("x?dtype=bfloat61", "unknown dtype 'bfloat61'; did you mean 'bfloat16'"),
        ("x?device=gpu", "unknown device 'gpu'"),
        ("x?", "unknown key ''"),
    ],
)
def test_a_wrong_word_after_the_question_mark_is_named(rest: str, words: str) -> None:
    """A typing error is no silent default."""
    with pytest.raises(UnknownModel, match=words.replace("?", r"\?")):
        placing.parse(rest)


def test_a_folder_may_have_a_question_mark_in_its_name(tmp_path: Path) -> None:
    """What exists under the whole name is meant."""
    folder = tmp_path / "what?"
    folder.mkdir()
    assert placing.parse(str(folder)) == (str(folder), placing.Placing())


def test_a_processor_that_needs_more_packages_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is named, with the line that installs it."""
    import tiny_video_vlm
    from transformers.models.smolvlm import processing_smolvlm

    folder = tiny_video_vlm.save_smolvlm(tmp_path / "smolvlm")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)  # as transformers has it where it is not installed
    with pytest.raises(MissingExtra, match=r"num2words.* Run: pip install 'iterreason\[vlm\]'"):
        hf.load(str(folder), "answerer")


def test_the_prompt_may_be_shown_to_all() -> None:
    """A look carries its prompt too; models made for looking do not need it."""
    prompt: Prompt = EMPTY_PROMPT.plus("user", RED, "is it red ?")
    call = look(RED, "is it red ?")
    other = Call(call.slot, "look", prompt, call.look, sampling=call.sampling)
    same(*answers(vilt(), call, other))
