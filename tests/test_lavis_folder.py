"""A BLIP checkpoint is written for LAVIS with every weight under its name there; tests/lavis loads one for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from iterreason.errors import UnknownModel

torch = pytest.importorskip("torch", reason="needs the extra `local`: pip install 'iterreason[local]'")

import tiny  # noqa: E402

from iterreason.models.lavis_folder import write_folder  # noqa: E402


def test_every_weight_has_its_name_there(tmp_path):
    """Nothing is lost or left under transformers' name; a question starts with what transformers starts it with."""
    tiny.save_blip(tmp_path / "from")
    file = write_folder(tmp_path / "from", tmp_path / "to")
    given, held = tiny.blip().state_dict(), torch.load(tmp_path / "to/weights.pth")["model"]
    left = [key for key in held if key.startswith("vision_model")]
    assert not left
    assert {key.split(".")[0] for key in held} == {"visual_encoder", "text_encoder", "text_decoder"}
    assert len(held) >= len(given)
    block = "vision_model.encoder.layers.1.self_attn.projection.weight"
    assert torch.equal(held["visual_encoder.blocks.1.attn.proj.weight"], given[block])
    words = held["text_encoder.embeddings.word_embeddings.weight"]
    order = (tmp_path / "to/bert-base-uncased/vocab.txt").read_text().split()
    assert torch.equal(words[order.index("[ENC]")], words[order.index("[CLS]")])
    assert order == list(tiny.vocabulary())
    text = file.read_text()
    assert "arch: blip_vqa" in text
    assert '"embed_dim": 32, "depth": 2' in text
    assert '"layer_norm_eps": 1.0e-05' in text
    assert json.loads((tmp_path / "to/text.json").read_text())["encoder_width"] == 32


def test_a_captioner_becomes_lavis_captioner(tmp_path):
    """A model without a text encoder is LAVIS's blip_caption, started from no prompt."""
    tiny.save_blip(tmp_path / "from", captions=True)
    text = write_folder(tmp_path / "from", tmp_path / "to").read_text()
    assert "arch: blip_caption" in text
    assert 'prompt: ""' in text


def test_another_family_is_refused(tmp_path):
    """What is no BLIP is not written, and the error says what would be."""
    tiny.save_llama(tmp_path / "from")
    with pytest.raises(UnknownModel, match="LlamaForCausalLM; LAVIS can be given BlipForQuestionAnswering"):
        write_folder(tmp_path / "from", tmp_path / "to")


def test_the_command_says_what_to_open(tmp_path: Path):
    """`python -m iterreason.models.lavis_folder embedded FOLDER` prints the URI of what it wrote."""
    command = [sys.executable, "-m", "iterreason.models.lavis_folder", "embedded", str(tmp_path / "to")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"lavis:{tmp_path}/to/model.yaml\n"
    assert (tmp_path / "to/model.yaml").is_file()
