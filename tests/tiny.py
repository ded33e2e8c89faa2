"""Tiny checkpoints with random weights: real architectures, real tokenizers, made in a second."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import gguf
import torch
from PIL import Image as Pixels
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from iterreason.records import Image

torch.set_num_threads(1)  # two threads on models this small only wait for each other
TEXT = [
    "what colour is the circle? the circle is red. how many squares are there? there are two blue squares.",
    '{"answer":"red","sure":true,"questions":["is it large?"]} the user asks, the assistant answers in JSON: A B C D',
]
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('the system message comes first') }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = "what colour is the circle square red blue green two three how many are there describe image . ? , a yes no"


def llama(seed: int = 0, **options: Any) -> LlamaForCausalLM:
    """A two-layer Llama in float32 whose logits are far enough apart for argmax to be clear."""
    torch.manual_seed(seed)
    sizes = dict(vocab_size=448, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    config = LlamaConfig(
        **{**sizes, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.3, **options},
        bos_token_id=None, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=440,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    return fast


def save_llama(folder: Path, **options: Any) -> Path:
    """A causal checkpoint on disk."""
    llama(**options).save_pretrained(folder)
    chat_tokenizer().save_pretrained(folder)
    return folder


def write_gguf(model: LlamaForCausalLM, file: Path) -> None:
    """Write a tied Llama and its tokenizer as llama.cpp's converter does."""
    config, tokenizer = model.config, chat_tokenizer()
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    tokens += [f"[unused{n}]" for n in range(config.vocab_size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        for part, count in heads.items():
            if part in name:  # llama.cpp rotates neighbouring numbers, transformers halves
                tensor = tensor.reshape(count, 2, len(tensor) // count // 2, -1).swapaxes(1, 2).reshape(tensor.shape)
        if name != "lm_head.weight":
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def blip(captions: bool = False) -> Any:
    """A BLIP model for questions, or for captions."""
    torch.manual_seed(0)
    text = dict(
        vocab_size=len(vocabulary()), hidden_size=32, encoder_hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16, initializer_range=0.4,
        bos_token_id=5, eos_token_id=3, sep_token_id=3, pad_token_id=0,
    )  # fmt: skip
    vision = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        initializer_range=0.4,
    )  # fmt: skip
    config = BlipConfig(text_config=text, vision_config=vision)
    return (BlipForConditionalGeneration if captions else BlipForQuestionAnswering)(config).eval()


def vocabulary() -> dict[str, int]:
    """WordPiece tokens."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", *WORDS.split()]
    return {token: number for number, token in enumerate(tokens)}


def bert_tokenizer() -> BertTokenizer:
    """Lower-casing WordPiece."""
    return BertTokenizer(vocab=vocabulary(), do_lower_case=True, bos_token="[DEC]", model_max_length=16)


def image_processor() -> BlipImageProcessorPil:
    """32-pixel squares."""
    return BlipImageProcessorPil(size={"height": 32, "width": 32})


def save_blip(folder: Path, captions: bool = False) -> Path:
    """A BLIP checkpoint on disk."""
    blip(captions).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    image_processor().save_pretrained(folder)
    return folder


def picture(colour: str, size: int = 40) -> Image:
    """One image: a coloured square whose left half is darker."""
    pixels = Pixels.new("RGB", (size, size), colour)
    pixels.paste("black", (0, 0, size // 2, size // 2))
    file = io.BytesIO()
    pixels.save(file, "PNG")
    return Image(sha256(file.getvalue()).hexdigest(), size, size, data=file.getvalue(), name=f"{colour}.png")
