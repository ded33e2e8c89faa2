"""The models that a real vLLM runs in these tests: SmolLM2, and a LLaVA with random weights that is made here."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from iterreason.models import smollm

IMAGE_TOKENS = 144  # of every image: 12 x 12 patches
CONTEXT_TOKENS = 4096
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, a real language model."""
    return smollm.checkpoint()


def tiny_llava(folder: Path) -> Path:
    """Write a LLaVA of 0.4 million random weights, whose every image takes 144 tokens, into a folder; two seconds."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    tokenizer = _tokenizer()
    sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
    vision = CLIPVisionConfig(**sizes, image_size=168, patch_size=14, projection_dim=64)
    text = LlamaConfig(
        **sizes, vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=CONTEXT_TOKENS,
        initializer_range=0.2, bos_token_id=None, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=image, image_seq_length=IMAGE_TOKENS)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    weights = folder / "model.safetensors"  # vLLM reads CLIP under the names it has in released checkpoints
    renamed = {
        key.replace("vision_tower.", "vision_tower.vision_model.") if "vision_model" not in key else key: value
        for key, value in load_file(weights).items()
    }
    save_file(renamed, weights, metadata={"format": "pt"})
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 168}, crop_size={"height": 168, "width": 168})
    LlavaProcessor(
        image_processor=pixels, tokenizer=tokenizer, patch_size=14, vision_feature_select_strategy="default",
        chat_template=TEMPLATE, num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _tokenizer() -> Any:
    """Byte-level BPE, learned from the shipped policies so that their prompts do not become long."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [f.read_text(encoding="utf-8") for f in sorted(resources.files("iterreason.policies").iterdir(), key=str)
             if f.name.endswith(".toml")]  # fmt: skip
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return fast
