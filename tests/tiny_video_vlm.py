"""Tiny vision-language checkpoints whose processors also take video, and therefore need torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_vlm
import torch
from tiny import chat_tokenizer
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

QWEN_TEMPLATE = tiny_vlm.TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
_QWEN_TEXT = {
    **tiny_vlm._TEXT,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
}
_QWEN_EYES: dict[str, dict[str, Any]] = {
    "2": dict(depth=2, embed_dim=32, hidden_size=32, num_heads=2, patch_size=8, initializer_range=0.3),
    "2.5": dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=2, patch_size=8, out_hidden_size=32,
                window_size=32, fullatt_block_indexes=[1], initializer_range=0.3),
}  # fmt: skip


def save_qwen(folder: Path, version: str = "2") -> Path:
    """A Qwen2-VL or Qwen2.5-VL checkpoint on disk: images of 16 to 64 pixels a side, a token for 16 × 16."""
    torch.manual_seed(0)
    tokenizer: Any = chat_tokenizer()
    marks = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    start, end, image, video = tokenizer.convert_tokens_to_ids(marks)
    kinds = {
        "2": (Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor),
        "2.5": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor),
    }
    config, model, processor = kinds[version]
    made = model(
        config(
            text_config=_QWEN_TEXT, vision_config=_QWEN_EYES[version], image_token_id=image, video_token_id=video,
            vision_start_token_id=start, vision_end_token_id=end,
        )
    )  # fmt: skip
    made.save_pretrained(folder)
    sizes: dict[str, Any] = dict(patch_size=8, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64})
    processor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**sizes),
        chat_template=QWEN_TEMPLATE,
    ).save_pretrained(folder)
    return folder


def save_smolvlm(folder: Path) -> Path:
    """A SmolVLM checkpoint on disk: 32-pixel squares, 4 tokens an image between marks."""
    torch.manual_seed(0)
    tokenizer: Any = chat_tokenizer()
    marks = ["<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    eyes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                patch_size=8, initializer_range=0.3)  # fmt: skip
    config = SmolVLMConfig(
        text_config=tiny_vlm.LlamaConfig(**tiny_vlm._TEXT),
        vision_config=eyes,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    SmolVLMForConditionalGeneration(config).save_pretrained(folder)
    sizes: dict[str, Any] = dict(size={"longest_edge": 32}, max_image_size={"longest_edge": 32})
    SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(**sizes, do_image_splitting=False),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(**sizes),
        image_seq_len=4,
        chat_template=tiny_vlm.TEMPLATE,
    ).save_pretrained(folder)
    return folder
