"""A tiny CLIP checkpoint with random weights, and its vectors by transformers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch
from tokenizers.processors import TemplateProcessing
from transformers import CLIPConfig, CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

_SIZES: dict[str, Any] = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)


def _processor() -> CLIPProcessor:
    tokenizer = tiny.chat_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", tokenizer.eos_token_id)]
    )
    tokenizer.chat_template = None
    tokenizer.model_max_length = 64
    return CLIPProcessor(CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32), tokenizer)


def save(folder: Path) -> Path:
    """The checkpoint on disk, as the hub has them: no files of sentence-transformers' own."""
    torch.manual_seed(0)
    processor = _processor()
    end = processor.tokenizer.eos_token_id
    text = {**_SIZES, "vocab_size": 448, "max_position_embeddings": 64, "bos_token_id": end, "eos_token_id": end}
    vision = {**_SIZES, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16, initializer_factor=20.0)
    CLIPModel(config).eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def vectors(folder: Path, texts: list[str] | None = None, images: list[Any] | None = None) -> torch.Tensor:
    """Unit vectors of texts, or of images, by CLIPModel itself."""
    model, processor = CLIPModel.from_pretrained(folder).eval(), _processor()
    with torch.no_grad():
        if texts:
            given = model.get_text_features(**processor(text=texts, return_tensors="pt", padding=True))
        else:
            given = model.get_image_features(**processor(images=images, return_tensors="pt"))
    found = getattr(given, "pooler_output", given)
    return torch.nn.functional.normalize(found, dim=-1)
