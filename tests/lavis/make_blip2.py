"""Run by LAVIS's Python: a tiny BLIP-2 with random weights, as LAVIS's own constructors make it.

make_blip2.py WORKER FOLDER blip2_opt|blip2_t5
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys

import torch

TEXT = "question : short answer a photo of what is it how many are there circle square red blue yes no ? one two"
WORDS = TEXT.split()
YAML = """\
model:
  arch: {arch}
  load_finetuned: false
  pretrained: weights.pth
  image_size: 28
  vit: {{patch_size: 14, embed_dim: 32, depth: 2, num_heads: 2, mlp_ratio: 2}}
  vit_precision: fp32
  num_query_token: 4
  {language}_model: {language}
  prompt: ""
preprocess:
  vis_processor:
    eval: {{name: blip_image_eval, image_size: 28}}
  text_processor:
    eval: {{name: blip_caption}}
"""


def qformer() -> None:
    from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel

    config = BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    config.encoder_width, config.add_cross_attention = 32, True
    config.cross_attention_freq, config.query_length = 2, 4
    BertLMHeadModel(config).save_pretrained("bert-base-uncased")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    with open("bert-base-uncased/vocab.txt", "w") as file:
        file.write("\n".join(words))


def opt() -> None:
    from lavis.models.blip2_models.modeling_opt import OPTConfig, OPTForCausalLM
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    os.makedirs("opt", exist_ok=True)
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *bytes_to_unicode().values()]
    OPTForCausalLM(OPTConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=48,
        word_embed_proj_dim=32, max_position_embeddings=256, init_std=0.4, pad_token_id=1, bos_token_id=2,
        eos_token_id=2, dropout=0.0,
    )).save_pretrained("opt")  # fmt: skip
    with open("opt/vocab.json", "w") as file:
        json.dump({token: number for number, token in enumerate(vocabulary)}, file)
    with open("opt/merges.txt", "w") as file:
        file.write("#version: 0.2\n")
    with open("opt/tokenizer_config.json", "w") as file:
        names = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
        json.dump({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, **names}, file)


def t5() -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained("t5")
    T5ForConditionalGeneration(T5Config(
        vocab_size=len(words), d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, decoder_start_token_id=0,
        dropout_rate=0.0, initializer_factor=2.0,
    )).save_pretrained("t5")  # fmt: skip


def main(worker_file: str, folder: str, arch: str) -> None:
    spec = importlib.util.spec_from_file_location("worker", worker_file)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    import lavis.models  # noqa: F401
    from lavis.common.registry import registry
    from omegaconf import OmegaConf

    os.chdir(folder)
    torch.manual_seed(0)
    qformer()
    language = arch[-3:].lstrip("_")
    {"opt": opt, "t5": t5}[language]()
    with open("model.yaml", "w") as file:
        file.write(YAML.format(arch=arch, language=language))
    config = OmegaConf.load("model.yaml").model
    worker.own_vision(config)
    made_of = registry.get_model_class(arch)
    made_of.load_checkpoint_from_config = lambda *_, **__: None  # there is none yet
    model = made_of.from_config(config)
    for value in model.parameters():
        if value.requires_grad and value.dim() > 1:
            torch.nn.init.normal_(value, std=0.3)
    kept = {k: v for k, v in model.named_parameters() if v.requires_grad or k.startswith("visual_encoder")}
    torch.save({"model": kept}, "weights.pth")


if __name__ == "__main__":
    main(*sys.argv[1:])
