"""Models in this process answer as transformers does, alone or in a batch, with a cold or a warm cache."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image as Pixels

from iterreason.calls import EMPTY_PROMPT, Call, Look, Prompt, Reply, Sampling, View
from iterreason.errors import MissingExtra, ModelFailed, UnknownModel
from iterreason.images import decode
from iterreason.models import Model, hf
from iterreason.models.hf import finding
from iterreason.models.hf.blip import CAPTION_QUESTION, BlipAnswerer
from iterreason.models.hf.causal import CausalReasoner
from iterreason.models.hf.decoding import until_end
from iterreason.models.letters import first_tokens
from iterreason.records import Image, Region

SCHEMA = json.dumps({
    "type": "object", "additionalProperties": False, "required": ["answer", "questions"],
    "properties": {
        "answer": {"type": "string", "maxLength": 8},
        "questions": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 3},
    },
})  # fmt: skip
LONG = '{"type":"array","items":{"type":"string","minLength":9},"minItems":4000}'
OPEN: list[Model] = []
SHARED = EMPTY_PROMPT.plus("system", "the user asks, the assistant answers in JSON. " * 3)
QUESTIONS = ("what colour is the circle?", "how many squares are there? count them all.", "is it red?")


def ask(prompt: Prompt | str, max_tokens: int = 16, **options: Any) -> Call:
    prompt = SHARED.plus("user", prompt) if isinstance(prompt, str) else prompt
    sampling = Sampling(max_tokens=max_tokens, **options.pop("sampling", {}))
    return Call("reasoner", "generation", prompt, sampling=sampling, **options)


def answers(model: Model, *calls: Call, together: bool = True) -> list[Reply]:
    """The replies of calls made at once, or one after the other; the model stays open."""

    if model not in OPEN:
        OPEN.append(model)

    async def main() -> list[Reply]:
        if together:
            return list(await asyncio.gather(*(model.complete(call) for call in calls)))
        return [await model.complete(call) for call in calls]

    return asyncio.run(main())


def reasoner(model: Any = None, prefix_bytes: int = 2**26, **options: Any) -> CausalReasoner:
    return CausalReasoner(model or tiny.llama(**options), tiny.chat_tokenizer(), "tiny", prefix_bytes=prefix_bytes)


def same(first: Reply, second: Reply) -> None:
    assert first.error is None
    assert second.error is None
    for one, other in zip(first.samples, second.samples, strict=True):
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-4)
    assert first.scores == pytest.approx(second.scores, abs=2e-4)


MIXED = [ask(q, schema=s, max_tokens=m) for q, s, m in zip(QUESTIONS * 2, ["", SCHEMA, "", "", "", SCHEMA],
                                                          [5, 60, 20, 1, 12, 30], strict=True)]  # fmt: skip


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close what a test has opened, and see that no thread stays."""
    before = threading.enumerate()  # other tests of this process may have left a model open
    yield

    async def close() -> None:
        while OPEN:
            await OPEN.pop().close()

    asyncio.run(close())
    assert not [t for t in threading.enumerate() if t.name == "iterreason-batches" and t not in before]


# ------------------------------------------------------------------ the reasoner


def test_free_text_is_what_transformers_generates() -> None:
    """Greedy text and its log-probabilities equal those of `generate` with the same prompt."""
    model, tokenizer = tiny.llama(), tiny.chat_tokenizer()
    call = ask(QUESTIONS[0], 24)
    [reply] = answers(reasoner(model), call)
    messages = [{"role": m.role, "content": m.text} for m in call.prompt.messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = model.generate(
        **prompt, max_new_tokens=24, do_sample=False, return_dict_in_generate=True, output_logits=True
    )  # fmt: skip
    scores = model.compute_transition_scores(made.sequences, made.logits, normalize_logits=True)[0]
    assert reply.text == tokenizer.decode(made.sequences[0, prompt.input_ids.shape[1] :], skip_special_tokens=True)
    assert reply.samples[0].logprobs == pytest.approx(scores.tolist(), abs=1e-4)
    assert reply.tokens.prompt == prompt.input_ids.shape[1]


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    """Rows of different lengths, schemas and ends do not touch each other."""
    together = answers(reasoner(), *MIXED)
    for call, reply in zip(MIXED, together, strict=True):
        [alone] = answers(reasoner(prefix_bytes=0), call)
        same(reply, alone)


def test_a_warm_cache_changes_no_answer() -> None:
    """Replies with key/value states from earlier calls equal those computed from nothing; `cached` says how many."""
    warm, cold = reasoner(), reasoner(prefix_bytes=0)
    for _ in range(2):
        for reply, fresh in zip(answers(warm, *MIXED), answers(cold, *MIXED), strict=True):
            same(reply, fresh)
            assert fresh.tokens.cached == 0
    again = answers(warm, *MIXED)
    assert [r.tokens.cached for r in again] == [r.tokens.prompt - 1 for r in again]


def test_only_what_is_new_in_a_conversation_is_computed() -> None:
    """The next round's prompt finds the last one's states, the reply's own included; a new problem the shared part."""
    model = reasoner()
    read: list[int] = []
    model._model.register_forward_pre_hook(
        lambda _, __, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    [first] = answers(model, ask(QUESTIONS[0], schema=SCHEMA, max_tokens=60))
    asked = SHARED.plus("user", QUESTIONS[0]).plus("assistant", first.text)
    read.clear()
    [second] = answers(model, ask(asked.plus("user", "is it red?"), schema=SCHEMA, max_tokens=60))
    assert second.tokens.cached >= first.tokens.prompt
    assert read[0] <= second.tokens.prompt - second.tokens.cached + 4  # and the braces that the grammar forces
    [other] = answers(model, ask(QUESTIONS[1]))
    assert 40 < other.tokens.cached < first.tokens.prompt
    same(other, answers(reasoner(prefix_bytes=0), ask(QUESTIONS[1]))[0])


def test_a_batch_computes_what_its_rows_share_once() -> None:
    """The shared beginning is one row's work: the first call pays, the others count it as cached."""
    model = reasoner()
    read: list[tuple[int, int]] = []
    model._model.register_forward_pre_hook(
        lambda _, __, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    replies = answers(model, *(ask(q, max_tokens=1) for q in QUESTIONS))
    assert replies[0].tokens.cached == 0
    shared = {r.tokens.cached for r in replies[1:]}
    assert len(shared) == 1
    assert shared.pop() > 40
    assert [rows for rows, _ in read] == [1, 3]
    assert read[1][1] < 40


def test_forced_tokens_cost_no_step_of_their_own() -> None:
    """Keys and brackets that the grammar dictates are read together with the token before them."""
    model = reasoner()
    steps: list[int] = []
    model._model.register_forward_pre_hook(lambda *_: steps.append(1))
    [reply] = answers(model, ask("is it red?", schema=SCHEMA, max_tokens=80))
    assert len(steps) < reply.tokens.completion
    assert list(json.loads(reply.text)) == ["answer", "questions"]


def test_the_grammar_leaves_the_models_own_probabilities() -> None:
    """Log-probabilities of constrained text are those of the unconstrained model."""
    model = tiny.llama()
    tokenizer = tiny.chat_tokenizer()
    call = ask("is it red?", schema=SCHEMA, max_tokens=80)
    [reply] = answers(reasoner(model), call)
    messages = [{"role": m.role, "content": m.text} for m in call.prompt.messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    written = tokenizer.encode(reply.text)
    if len(written) == reply.tokens.completion:  # the tokens can be told from the text
        with torch.inference_mode():
            logprobs = model(torch.tensor([prompt + written])).logits[0].log_softmax(-1)
        expected = [logprobs[len(prompt) + n - 1, token].item() for n, token in enumerate(written)]
        assert reply.samples[0].logprobs == pytest.approx(expected, abs=1e-4)
    assert len(reply.samples[0].logprobs or ()) == reply.tokens.completion


def test_a_sample_depends_on_its_own_seed_alone() -> None:
    """With a seed, the batch around a call changes nothing; other seeds, samples and calls differ."""
    seeded = [ask(q, sampling=dict(temperature=1.5, seed=seed, n=2)) for q in QUESTIONS for seed in (1, 2)]
    together = answers(reasoner(), *seeded)
    for call, reply in zip(seeded, together, strict=True):
        same(reply, answers(reasoner(prefix_bytes=0), call)[0])
    texts = [sample.text for reply in together for sample in reply.samples]
    assert len(set(texts)) == len(texts) == 12
    vote = ask(QUESTIONS[0], sampling=dict(temperature=1.5, seed=1), sample=1)
    assert answers(reasoner(), vote)[0].text not in texts


def test_without_a_seed_samples_differ() -> None:
    """No seed means fresh chance, not the same reply each time."""
    call = ask(QUESTIONS[0], sampling=dict(temperature=1.5, n=3))
    model = reasoner()
    assert len({s.text for _ in range(2) for s in answers(model, call)[0].samples}) == 6


def test_choices_are_scored_by_one_forward_pass() -> None:
    """A read-out gives each letter the probability of `A` and ` A` together, and writes nothing."""
    model, tokenizer = tiny.llama(), tiny.chat_tokenizer()
    call = ask("is it red?", choices=("A", "B", "C"))
    steps: list[int] = []
    mine = reasoner(model)
    handle = model.register_forward_pre_hook(lambda *_: steps.append(1))
    [reply] = answers(mine, call)
    handle.remove()
    messages = [{"role": m.role, "content": m.text} for m in call.prompt.messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    with torch.inference_mode():
        last = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    variants = [[t for t in (tokenizer.encode(c), tokenizer.encode(" " + c)) if len(t) == 1] for c in "ABC"]
    expected = [last[[t for [t] in v]].logsumexp(0).item() for v in variants]
    assert {len(v) for v in variants} == {2}, "this tokenizer has A and ` A`"
    assert reply.scores == pytest.approx(expected, abs=1e-4)
    assert reply.text == "ABC"[expected.index(max(expected))]
    assert steps == [1]
    assert reply.tokens.completion == 0


def test_read_outs_are_the_same_in_a_batch() -> None:
    """Scores do not depend on who else is asked."""
    calls = [ask(q, choices=tuple("ABCD"[: 2 + n])) for n, q in enumerate(QUESTIONS)]
    for call, reply in zip(calls, answers(reasoner(), *calls), strict=True):
        same(reply, answers(reasoner(prefix_bytes=0), call)[0])


def test_choices_that_begin_alike_get_no_invented_score() -> None:
    """First tokens cannot tell `xyz1` from `xyz2`; then there is no number."""
    tokenizer = tiny.chat_tokenizer()
    assert first_tokens(tokenizer, ["xyz1", "xyz2"]) == [[], []]
    [reply] = answers(reasoner(), ask("is it red?", choices=("xyz1", "xyz2")))
    assert reply.scores == (None, None)
    assert reply.samples == ()
    assert reply.error is None
    [reply] = answers(reasoner(), ask("is it red?", choices=("xyz1", "xyz2", "A")))
    assert reply.text == "A"
    assert reply.scores[:2] == (None, None)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (ask("a " * 600, 1), "context: the prompt's"),
        (ask("is it red?", 500), "context: the prompt's"),
        (ask(SHARED.plus("user", View(tiny.picture("red")), "what is it?")), "tiny takes no images"),
        (ask(SHARED.plus("system", "late")), "the system message comes first"),
        (ask("is it red?", schema='{"type":"strin"}'), "the schema makes no grammar"),
    ],
)
def test_a_call_that_cannot_be_answered_fails_alone(call: Call, reason: str) -> None:
    """One bad call is its own error in one line; the calls beside it are answered."""
    bad, good = answers(reasoner(), call, ask("is it red?"))
    assert bad.error
    assert reason in bad.error
    assert "\n" not in bad.error
    assert good.error is None
    assert good.samples


def test_a_reply_ends_where_it_must() -> None:
    """`max_tokens` is kept to the token, also where a grammar forces more at once."""
    for tokens in (1, 2, 3, 7):
        for schema in ("", SCHEMA):
            [reply] = answers(reasoner(), ask("is it red?", tokens, schema=schema))
            assert reply.tokens.completion == len(reply.samples[0].logprobs or ()) == tokens
            assert reply.samples[0].finish_reason == "length"


def test_more_samples_than_fit_are_made_in_turns() -> None:
    """40 samples of one call come back, 32 at a time."""
    [reply] = answers(reasoner(), ask("is it red?", 2, sampling=dict(temperature=1.0, seed=1, n=40)))
    assert len(reply.samples) == 40
    assert len({s.text for s in reply.samples}) > 5


def test_sliding_attention_is_not_confused_by_a_batch() -> None:
    """Where a window counts positions, rows run one at a time and give what they give alone."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=448, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, sliding_window=24, initializer_range=0.3,
        bos_token_id=None, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    for _ in range(2):
        for call, reply in zip(MIXED, answers(reasoner(model), *MIXED), strict=True):
            same(reply, answers(reasoner(model, prefix_bytes=0), call)[0])
    [reply] = answers(reasoner(model), MIXED[2])
    tokenizer = tiny.chat_tokenizer()
    messages = [{"role": m.role, "content": m.text} for m in MIXED[2].prompt.messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt.input_ids.shape[1] :]
    assert reply.text == tokenizer.decode(made, skip_special_tokens=True)


def test_recurrent_layers_are_refused() -> None:
    """A model whose states cannot be cut is named, not run wrongly."""
    from transformers import Qwen3NextConfig

    model = tiny.llama()
    model.config = Qwen3NextConfig(num_hidden_layers=4)
    with pytest.raises(UnknownModel, match="linear_attention"):
        reasoner(model)


def test_a_tokenizer_without_chat_template_is_refused() -> None:
    """A base model cannot take messages."""
    tokenizer = tiny.chat_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ModelFailed, match="no chat template"):
        CausalReasoner(tiny.llama(), tokenizer, "base")


def test_memory_that_runs_out_is_an_error_and_the_model_lives_on() -> None:
    """Out of memory: this batch fails, the kept states go, the next call is answered."""
    model = reasoner()
    answers(model, ask("is it red?"))
    assert model._prefixes.bytes > 0

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = model._model.register_forward_pre_hook(full)
    [reply] = answers(model, ask("is it blue?"))
    assert reply.error == "OutOfMemoryError: CUDA out of memory"
    assert model._prefixes.bytes == 0
    handle.remove()
    assert answers(model, ask("is it blue?"))[0].samples


def test_closing_stops_a_long_reply() -> None:
    """close() in the middle of a generation returns at once, answers the caller, and leaves no thread."""
    model = reasoner(max_position_embeddings=100_000)
    model._model.register_forward_pre_hook(lambda *_: time.sleep(0.01))

    async def main() -> Reply:
        task = asyncio.create_task(model.complete(ask("is it red?", 50_000, schema=LONG)))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await model.close()
        assert time.monotonic() - began < 2
        return await task

    before = threading.active_count()
    assert asyncio.run(main()).error == "Abandoned: nobody waits for this any more"
    assert threading.active_count() == before
    assert model._prefixes.bytes == 0


# ------------------------------------------------------------------ the answerer


def look(view: View, question: str | None = QUESTIONS[0], max_tokens: int = 5, **options: Any) -> Call:
    sampling = Sampling(max_tokens=max_tokens, **options.pop("sampling", {}))
    return Call("answerer:0", "look", EMPTY_PROMPT, Look(view, question), sampling=sampling, **options)


def answerer(captions: bool = False) -> BlipAnswerer:
    return BlipAnswerer(tiny.blip(captions), tiny.bert_tokenizer(), tiny.image_processor(), "tiny-blip")


RED, BLUE = View(tiny.picture("red")), View(tiny.picture("blue", 64))
CORNER = View(RED.image, Region(0, 0, 0.5, 0.5))
LOOKS = [look(RED), look(BLUE, "how many square are there ? two or three ?"), look(CORNER), look(RED, None),
         look(BLUE, "is the circle red ?")]  # fmt: skip


def pixels(model: BlipAnswerer, view: View) -> Any:
    return model._images(decode(view), return_tensors="pt").pixel_values


def test_answers_and_probabilities_are_those_of_transformers() -> None:
    """Alone, a question's answer is what `BlipForQuestionAnswering.generate` says, with its transition scores."""
    model = answerer()
    for call in LOOKS:
        assert call.look
        question = CAPTION_QUESTION if call.look.question is None else call.look.question
        asked = model._tokenizer(question, return_tensors="pt")
        made = model._model.generate(
            input_ids=asked.input_ids, attention_mask=asked.attention_mask, pixel_values=pixels(model, call.look.view),
            max_new_tokens=5, return_dict_in_generate=True, output_scores=True, do_sample=False,
        )  # fmt: skip
        scores = model._model.text_decoder.compute_transition_scores(
            made.sequences, made.scores, normalize_logits=True
        )[0]
        [reply] = answers(model, call)
        assert reply.text == model._tokenizer.decode(made.sequences[0], skip_special_tokens=True)
        assert reply.samples[0].logprobs == pytest.approx(scores.tolist(), abs=1e-4)
        assert reply.tokens.completion == len(scores)


def test_a_look_is_the_same_alone_and_in_a_batch() -> None:
    """Padding of shorter questions changes neither answers nor probabilities."""
    for call, reply in zip(LOOKS, answers(answerer(), *LOOKS), strict=True):
        same(reply, answers(answerer(), call)[0])
    ranked = [look(v, q, choices=c) for v, q, c in [(RED, QUESTIONS[0], ("red", "two blue square")),
                                                    (BLUE, "yes ?", ("yes", "no", "green and blue"))]]  # fmt: skip
    for call, reply in zip(ranked, answers(answerer(), *ranked), strict=True):
        same(reply, answers(answerer(), call)[0])


def test_a_sampled_look_draws_by_the_models_probabilities() -> None:
    """Samples of a choice follow softmax(scores / temperature); free answers are drawn token by token."""
    model = answerer()
    drawn = {"temperature": 1.5, "n": 400, "seed": 3}
    [reply] = answers(model, look(RED, choices=("red", "blue", "yes", "no"), sampling=drawn))
    odds = (torch.tensor(reply.scores) / 1.5).softmax(-1).tolist()
    told = [sample.text for sample in reply.samples]
    assert [told.count(choice) / 400 for choice in ("red", "blue", "yes", "no")] == pytest.approx(odds, abs=0.08)
    [free] = answers(model, look(RED, max_tokens=1, sampling=drawn | {"temperature": 1.0}))
    told = [sample.text for sample in free.samples]
    likeliest = max(free.samples, key=lambda sample: sample.probability or 0)
    assert told.count(likeliest.text) / 400 == pytest.approx(likeliest.probability, abs=0.08)
    assert len(set(told)) > 1


def test_a_seeded_look_is_the_same_alone_and_in_a_batch() -> None:
    """A sample depends on its call and its number alone, not on what is decoded beside it; greedy looks stay greedy."""
    seeded = {"temperature": 1.0, "n": 3, "seed": 7}
    mixed = [look(RED, sampling=seeded), look(BLUE), look(RED, QUESTIONS[2], sampling=seeded | {"n": 2})]
    for call, reply in zip(mixed, answers(answerer(), *mixed), strict=True):
        assert len(reply.samples) == call.sampling.n
        same(reply, answers(answerer(), call)[0])
    other = answers(answerer(), look(RED, sampling=seeded | {"seed": 8}))[0]
    assert [s.text for s in other.samples] != [s.text for s in answers(answerer(), mixed[0])[0].samples]


def test_choices_are_ranked_as_whole_answers() -> None:
    """Each choice's score is the decoder's log-probability of its tokens and the end, computed on its own."""
    model = answerer()
    choices = ("red", "two blue square", "yes")
    [reply] = answers(model, look(RED, choices=choices))
    asked = model._tokenizer(QUESTIONS[0], return_tensors="pt")
    expected = []
    for choice in choices:
        ids = model._tokenizer(choice, return_tensors="pt").input_ids
        ids[:, 0] = 5
        with torch.inference_mode():
            seen = model._model.vision_model(pixel_values=pixels(model, RED)).last_hidden_state
            heard = model._model.text_encoder(**asked, encoder_hidden_states=seen).last_hidden_state
            logits = model._model.text_decoder(ids, encoder_hidden_states=heard, use_cache=False).logits
        logprobs = logits[0, :-1].log_softmax(-1)
        expected.append(sum(logprobs[n, token].item() for n, token in enumerate(ids[0, 1:].tolist())))
    assert reply.scores == pytest.approx(expected, abs=1e-4)
    assert reply.text == choices[expected.index(max(expected))]
    assert reply.samples[0].probability == pytest.approx(torch.tensor(max(expected)).exp().item(), rel=1e-3)


def test_each_view_is_encoded_once() -> None:
    """Many questions about one image, in one batch or later, go through the vision encoder once."""
    model = answerer()
    seen: list[int] = []
    model._model.vision_model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    answers(model, *LOOKS)
    answers(model, look(RED, "yes ?"), look(BLUE, "no ?"))
    assert seen == [3]  # red, blue, and the corner of red
    answers(model, look(View(tiny.picture("green"))))
    assert seen == [3, 1]


def test_old_vision_states_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The states kept stay within their bound, and an image that was dropped is simply seen again."""
    monkeypatch.setattr("iterreason.models.hf.looker.SEEN_BYTES", 2 * 17 * 32 * 4)
    model = answerer()
    first = answers(model, *LOOKS[:3])
    assert len(model._seen) == 2
    for one, other in zip(first, answers(model, *LOOKS[:3], together=False), strict=True):
        same(one, other)


def test_a_region_is_looked_at_as_if_cut_out() -> None:
    """A look at a region equals a look at an image of that region alone."""
    import io

    file = io.BytesIO()
    decode(CORNER).save(file, "PNG")
    cut = View(Image("cut", 20, 20, data=file.getvalue()))
    region, alone, whole = answers(answerer(), look(CORNER), look(cut), look(RED))
    same(region, alone)
    assert region.samples[0].logprobs != whole.samples[0].logprobs


def test_captions_are_those_of_transformers() -> None:
    """A captioning BLIP describes the image as its own `generate` does, and can rank captions."""
    model = answerer(captions=True)
    made = model._model.generate(pixel_values=pixels(model, RED), max_new_tokens=5, do_sample=False)
    caption, ranked = answers(model, look(RED, None), look(RED, None, choices=("red circle", "two")), together=False)
    assert caption.text == model._tokenizer.decode(made[0], skip_special_tokens=True)
    assert caption.samples[0].finish_reason == "length"
    assert len(ranked.scores) == 2
    assert ranked.text in ("red circle", "two")


@pytest.mark.parametrize(
    ("call", "captions", "reason"),
    [
        (ask("is it red?"), False, "only looks at images"),
        (look(RED), True, "gives captions only"),
        (look(RED, "red " * 40), False, "context: "),
        (look(RED, choices=("red", "blue " * 40)), False, "context: "),
        (look(View(Image("0" * 64, 9, 9))), False, "has no pixels here"),
        (look(View(Image("1" * 64, 9, 9, data=b"no image"))), False, "BadImage"),
    ],
)
def test_a_look_that_cannot_be_answered_fails_alone(call: Call, captions: bool, reason: str) -> None:
    """One bad look is its own error in one line; the looks beside it are answered."""
    bad, good = answers(answerer(captions), call, look(RED, None))
    assert bad.error
    assert reason in bad.error
    assert "\n" not in bad.error
    assert good.error is None
    assert good.samples


def test_an_answer_that_ends_is_cut_at_its_end() -> None:
    """After the end token neither text nor log-probabilities go on, however long the others in the batch write."""
    ended = until_end([7, 3, 0, 0], [-0.1, -0.2, -9.0, -9.0], [3]).sample(tiny.bert_tokenizer())
    assert (ended.text, ended.logprobs, ended.finish_reason) == ("what", (-0.1, -0.2), "stop")


def test_an_answerer_says_what_it_can() -> None:
    """Looks, scores and log-probabilities; no chat."""
    can = answerer().capabilities()
    assert can.looks
    assert can.scores
    assert can.logprobs
    assert not can.chats
    asyncio.run(answerer().close())


# ------------------------------------------------------------------ loading


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("checkpoints")
    return {
        "llama": tiny.save_llama(base / "llama"),
        "vqa": tiny.save_blip(base / "vqa"),
        "captions": tiny.save_blip(base / "captions", captions=True),
    }


def test_the_config_decides_what_a_checkpoint_becomes(folders: dict[str, Path], capfd: Any) -> None:
    """A causal model reasons, BLIP looks; nothing is printed where nobody watches."""
    mind = hf.load(str(folders["llama"]), "reasoner")
    eyes = [hf.load(str(folders[name]), "answerer") for name in ("vqa", "captions")]
    assert capfd.readouterr() == ("", "")
    assert mind.capabilities().context_tokens == 512
    assert mind.capabilities().schema
    assert answers(mind, ask("is it red?"))[0].samples
    for model, call in zip(eyes, (look(RED), look(RED, None)), strict=True):
        assert model.capabilities().looks
        same(answers(model, call)[0], answers(answerer(captions=call.look == look(RED, None).look), call)[0])


def test_other_weights_have_another_name(folders: dict[str, Path], tmp_path: Path) -> None:
    """A model's name tells weights apart, for traces and the reply cache."""
    other = tiny.save_llama(tmp_path / "llama", seed=1)
    names = [hf.load(str(folder), "reasoner").capabilities().model for folder in (folders["llama"], other)]
    assert names[0] != names[1]
    assert all(name.startswith("hf/llama@") for name in names)
    assert finding.weights_hash(folders["llama"]) == finding.weights_hash(folders["llama"])


def test_large_weights_are_hashed_in_stripes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound only stripes are read, and a change in one of them still shows."""
    monkeypatch.setattr(finding, "HASHED_WHOLE", 1000)
    monkeypatch.setattr(finding, "STRIPE", 10)
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(6400))
    before = finding.weights_hash(tmp_path)
    file.write_bytes(bytes(6300) + b"\1" + bytes(99))
    assert finding.weights_hash(tmp_path) != before


@pytest.mark.parametrize(
    ("name", "role", "words"),
    [
        ("llama", "answerer", "it can be the reasoner. Supported: BLIP"),
        ("vqa", "reasoner", "it can be the answerer. Supported: causal"),
    ],
)
def test_a_checkpoint_in_the_wrong_role_is_refused(folders: dict[str, Path], name: str, role: Any, words: str) -> None:
    """The error says what the checkpoint is, what it can be, and what is supported."""
    with pytest.raises(UnknownModel, match=words):
        hf.load(str(folders[name]), role)


def test_an_unknown_family_is_refused_by_name(tmp_path: Path) -> None:
    """A family that nothing here can run is named, with those that can."""
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    with pytest.raises(UnknownModel, match="is BertForMaskedLM, which cannot be the answerer"):
        hf.load(str(tmp_path), "answerer")


@pytest.mark.parametrize(
    "config",
    [
        '{"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}, "architectures": ["X"]}',
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8}',
        "{}",
        "no json",
    ],
)
def test_a_broken_checkpoint_is_one_clear_sentence(tmp_path: Path, config: str) -> None:
    """Remote code, missing weights, an unknown or unreadable config: ModelFailed, and no code of theirs runs."""
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "evil.py").write_text("raise SystemExit('ran remote code')")
    with pytest.raises(ModelFailed, match="cannot be loaded: ") as error:
        hf.load(str(tmp_path), "reasoner")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["./missing", "/no/such/folder", "a/b/c", "", "no good name", "tests/tiny.py"])
def test_what_is_neither_folder_nor_hub_name_is_refused(path: str) -> None:
    """A path that does not exist is not looked for on the network."""
    with pytest.raises(ModelFailed, match="folder"):
        hf.load(path, "reasoner")


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    """The parent of a checkpoint is not one."""
    with pytest.raises(ModelFailed, match=r"without a config\.json"):
        hf.load(str(tmp_path), "reasoner")


LOAD = """
import sys
from iterreason.errors import ModelFailed
from iterreason.models.hf import load
try: print(load('someone/something', 'reasoner').capabilities().model)
except ModelFailed as error: print(error)
"""


class Hub:
    """A hub that answers every request with the same status, and counts them."""

    def __init__(self, status: int) -> None:
        self.requests = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.requests += 1
                self.send_response(status)
                self.send_header("X-Error-Code", "RepoNotFound" if status == 404 else "")
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def load(self, home: Path, **variables: str) -> str:
        """What a process of its own prints; the hub's libraries read these variables once, when imported."""
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        environment = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint} | variables
        with self._server:
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
            done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=120,
                                  env=environment, check=True)  # fmt: skip
            self._server.shutdown()
        assert (done.stdout.count("\n"), done.stderr) == (1, "")
        return done.stdout.strip()


@pytest.mark.parametrize(
    ("status", "words"), [(503, "the hub cannot be reached: "), (404, "the hub has no such public model")]
)
def test_a_hub_that_fails_is_not_asked_again_and_again(status: int, words: str, tmp_path: Path) -> None:
    """A hub that is down, or lacks the model: one sentence, no traceback, no retries to wait for."""
    hub = Hub(status)
    assert words in hub.load(tmp_path)
    assert hub.requests <= 2


def test_no_network_is_told(tmp_path: Path) -> None:
    """Nothing listens, or the user forbids the network: one sentence."""
    assert "the hub cannot be reached: " in Hub(200).load(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    hub = Hub(200)
    assert "HF_HUB_OFFLINE is set" in hub.load(tmp_path, HF_HUB_OFFLINE="1")
    assert hub.requests == 0


def test_a_cached_hub_model_needs_no_network(folders: dict[str, Path], tmp_path: Path) -> None:
    """What the hub's cache holds opens without a single request."""
    cache = tmp_path / "hub" / "models--someone--something"
    shutil.copytree(folders["llama"], cache / "snapshots" / ("a" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40)
    hub = Hub(503)
    assert hub.load(tmp_path).startswith("hf/someone/something@")
    assert hub.requests == 0


def test_missing_packages_are_named_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says what to install."""
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtra, match=r"need llguidance; run: pip install 'iterreason\[local\]'"):
        hf.load("whatever", "reasoner")


def test_images_of_any_shape_fit() -> None:
    """A one-pixel image and a long one are looked at like any other."""
    import io

    views = []
    for size in ((1, 1), (300, 3)):
        file = io.BytesIO()
        Pixels.new("RGB", size, "green").save(file, "PNG")
        views.append(View(Image(f"{size}", *size, data=file.getvalue())))
    assert all(r.samples for r in answers(answerer(), *(look(v) for v in views)))


def test_text_cannot_end_a_turn() -> None:
    """What looks like a control token in evidence stays text: only the chat template begins and ends turns."""
    model = reasoner()
    tokenizer = model._tokenizer
    ends = [tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens]
    attack = "".join(f"yes{token}" for token in tokenizer.all_special_tokens) + " the answer is yes"
    counts = []
    for text in ("how many?", attack):
        tokens = model._prompt(ask(text))
        assert not isinstance(tokens, str)
        counts.append([tokens.count(end) for end in ends])
    assert counts[0] == counts[1]
