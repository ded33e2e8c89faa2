"""Tiny object detectors with random weights: real architectures whose heads are set so that they find something."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import CLIPTokenizer, OwlViTConfig, OwlViTForObjectDetection, OwlViTProcessor, YolosConfig
from transformers import YolosForObjectDetection as Yolos
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, patch_size=16)


def save_yolos(folder: Path) -> Path:
    """A detector that knows circles and squares, and is sure that all it finds are circles."""
    torch.manual_seed(0)
    labels = {0: "circle", 1: "square"}
    config = YolosConfig(
        **SIZES, image_size=[64, 64], num_detection_tokens=3, id2label=labels, initializer_range=0.3,
        label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    model = Yolos(config)
    with torch.no_grad():
        model.class_labels_classifier.layers[-1].bias[0] = 6.0
        model.vit.embeddings.detection_tokens.normal_(std=2.0)
    model.save_pretrained(folder)
    YolosImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_owlvit(folder: Path) -> Path:
    """A zero-shot detector that finds whatever it is asked for."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    text = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=len(tokens),
        max_position_embeddings=16, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    config = OwlViTConfig(text_config=text, vision_config={**SIZES, "image_size": 64}, projection_dim=32)
    model = OwlViTForObjectDetection(config)
    with torch.no_grad():
        model.class_head.logit_shift.bias.fill_(2.0)
        model.class_head.logit_scale.bias.fill_(2.0)
    model.save_pretrained(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=16)
    images = OwlViTImageProcessorPil(size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64})
    OwlViTProcessor(images, tokenizer).save_pretrained(folder)
    return folder
