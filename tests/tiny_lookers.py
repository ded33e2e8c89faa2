"""Tiny checkpoints of the models made for looking, with random weights: ViLT, BLIP-2 and InstructBLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlamaConfig,
    OPTConfig,
    T5Config,
    ViltConfig,
    ViltForQuestionAnswering,
)
from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

_SIZES: dict[str, Any] = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
LABELS = ("yes", "no", "red", "blue", "Two", "green")


def vilt() -> ViltForQuestionAnswering:
    """ViLT with six labels over patches of 8 pixels; images of 64 pixels and more."""
    torch.manual_seed(0)
    config = ViltConfig(
        **_SIZES, vocab_size=len(tiny.vocabulary()), max_position_embeddings=16, image_size=64, patch_size=8,
        initializer_range=0.4, id2label=dict(enumerate(LABELS)), label2id={label: n for n, label in enumerate(LABELS)},
        hidden_dropout_prob=0.0, max_image_length=20,
    )  # fmt: skip
    return ViltForQuestionAnswering(config).eval()


def vilt_images() -> ViltImageProcessorPil:
    """The shorter side 32 pixels, sides multiples of 8."""
    return ViltImageProcessorPil(size={"shortest_edge": 32}, size_divisor=8)


def save_vilt(folder: Path) -> Path:
    """A ViLT checkpoint on disk."""
    vilt().save_pretrained(folder)
    tiny.bert_tokenizer().save_pretrained(folder)
    vilt_images().save_pretrained(folder)
    return folder


def language(kind: str) -> Any:
    """The config of a two-layer OPT, Llama (as Vicuna) or T5."""
    common: dict[str, Any] = dict(vocab_size=448, bos_token_id=0, eos_token_id=1, pad_token_id=1)
    if kind == "opt":
        return OPTConfig(**common, hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=96, init_std=0.3)  # fmt: skip
    if kind == "llama":
        return LlamaConfig(**common, **_SIZES, num_key_value_heads=2, max_position_embeddings=96, initializer_range=0.3)
    return T5Config(**common, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=1,
                    initializer_factor=2.0)  # fmt: skip


def blip2(kind: str = "opt", instructed: bool = False) -> Any:
    """BLIP-2, or InstructBLIP, with 4 vectors for an image, over one of the language models."""
    torch.manual_seed(0)
    vision = dict(**_SIZES, image_size=32, patch_size=8, initializer_range=0.4)
    guide = dict(**_SIZES, initializer_range=0.4, max_position_embeddings=32, vocab_size=len(tiny.vocabulary()))
    made = InstructBlipConfig if instructed else Blip2Config
    config = made(vision_config=vision, qformer_config=guide, text_config=language(kind), num_query_tokens=4,
                  image_token_index=447)  # fmt: skip
    model = (InstructBlipForConditionalGeneration if instructed else Blip2ForConditionalGeneration)(config).eval()
    torch.nn.init.normal_(model.query_tokens)
    return model


def save_blip2(folder: Path, kind: str = "opt", instructed: bool = False) -> Path:
    """A BLIP-2 or InstructBLIP checkpoint on disk."""
    blip2(kind, instructed).save_pretrained(folder)
    tiny.chat_tokenizer().save_pretrained(folder)
    tiny.image_processor().save_pretrained(folder)
    if instructed:
        tiny.bert_tokenizer().save_pretrained(folder / "qformer_tokenizer")
    return folder
