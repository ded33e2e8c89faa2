"""Exemplars by similarity, with an embedding model: a real CLIP of random weights, read by sentence-transformers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import tiny_clip
import torch
from test_policies import problem

from iterreason.errors import BadPolicy, ModelFailed
from iterreason.exemplars import with_exemplars
from iterreason.policy import Policy, find_policy
from iterreason.records import Exemplar
from iterreason.similarity import similarities

QUESTIONS = ("is it large?", "what colour is the circle?", "are there two squares?", "how many squares are there?")
COLOURS = ("blue", "green", "darkred", "white")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return tiny_clip.save(tmp_path_factory.mktemp("embedder") / "clip")


def pool() -> list[Exemplar]:
    return [Exemplar((tiny.picture(c),), q, c) for q, c in zip(QUESTIONS, COLOURS, strict=True)]


def policy(by: str, embedder: Path) -> Policy:
    named = find_policy("exemplars").policy
    return replace(named, exemplars_by=by, exemplars=2, exemplars_embedder=str(embedder))


def asked():
    return replace(problem("what colour is the square?"), images=(tiny.picture("red"),))


@pytest.mark.parametrize("by", ["question", "image"])
def test_the_most_similar_by_the_models_vectors_stand_last(clip, by):
    """The order is that of the cosines of CLIP's own vectors, which are computed here without sentence-transformers."""
    from iterreason.calls import View
    from iterreason.images import decode

    if by == "question":
        vectors = tiny_clip.vectors(clip, texts=[asked().question, *QUESTIONS])
    else:
        images = [asked().images[0], *(exemplar.images[0] for exemplar in pool())]
        vectors = tiny_clip.vectors(clip, images=[decode(View(image)) for image in images])
    cosines = vectors[1:] @ vectors[0]
    assert similarities(asked(), pool(), by, str(clip)) == pytest.approx(cosines.tolist(), abs=1e-5)
    best = [COLOURS[place] for place in torch.argsort(cosines)[-2:]]
    assert [exemplar.answer for exemplar in with_exemplars(asked(), policy(by, clip), pool()).exemplars] == best


def test_an_exemplar_without_an_image_is_least_similar(clip):
    """Where images are compared, it is chosen after all others, with a model or without."""
    shown = [Exemplar((), "no image?", "none"), *pool()]
    for embedder in ("", str(clip)):
        near = similarities(asked(), shown, "image", embedder)
        assert min(near) == near[0] < min(near[1:])


def test_a_vector_is_made_once(clip, monkeypatch):
    """Many problems share a pool: its vectors are made for the first of them."""
    from iterreason.similarity import _embedder

    similarities(asked(), pool(), "question", str(clip))
    seen: list[str] = []
    model, encode = _embedder(str(clip))._model, _embedder(str(clip))._model.encode
    monkeypatch.setattr(model, "encode", lambda inputs, **more: seen.extend(inputs) or encode(inputs, **more))
    similarities(replace(asked(), question="is the circle red?"), pool(), "question", str(clip))
    assert seen == ["is the circle red?"]


def test_an_embedder_of_texts_alone_is_refused_for_images(tmp_path, clip):
    """A text model cannot compare images: the error says what can."""
    from transformers import BertConfig, BertModel

    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    BertModel(BertConfig(**sizes, vocab_size=len(tiny.vocabulary()))).save_pretrained(tmp_path)
    tiny.bert_tokenizer().save_pretrained(tmp_path)
    assert len(similarities(asked(), pool(), "question", str(tmp_path))) == 4
    with pytest.raises(BadPolicy, match=r"takes no images; name a checkpoint that does .* exemplars_by = 'question'"):
        similarities(asked(), pool(), "image", str(tmp_path))


def test_an_embedder_that_cannot_be_had_is_named(tmp_path, clip, monkeypatch):
    """A damaged folder, and a hub that is not to be asked: one line, no traceback of the libraries."""
    broken = shutil.copytree(clip, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelFailed, match=r"exemplars_embedder: .*broken cannot be loaded: "):
        similarities(asked(), pool(), "question", str(broken))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelFailed, match="nobody/nothing is not in the local cache, and HF_HUB_OFFLINE is set"):
        similarities(asked(), pool(), "question", "nobody/nothing")
    with pytest.raises(ModelFailed, match=r"exemplars_embedder = '\./clip' is no folder; name a checkpoint's folder"):
        similarities(asked(), pool(), "question", "./clip")
