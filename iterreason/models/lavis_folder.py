"""A BLIP checkpoint of transformers as LAVIS reads it: the same weights under LAVIS's names.

    python -m iterreason.models.lavis_folder CHECKPOINT FOLDER

CHECKPOINT is a folder with BlipForQuestionAnswering or BlipForConditionalGeneration, or `embedded`. FOLDER gets
`model.yaml` (open it as `lavis:FOLDER/model.yaml`), `weights.pth`, `text.json` and a vocabulary.
"""

from __future__ import annotations

import argparse
import json
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch

from iterreason.errors import UnknownModel
from iterreason.models.hf import require_local

VISION = (
    (r"^vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding", "visual_encoder.patch_embed.proj"),
    (r"^vision_model\.post_layernorm", "visual_encoder.norm"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm([12])", r"visual_encoder.blocks.\1.norm\2"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection", r"visual_encoder.blocks.\1.attn.proj"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn", r"visual_encoder.blocks.\1.attn"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp", r"visual_encoder.blocks.\1.mlp"),
)
TEXT = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "max_position_embeddings", "layer_norm_eps", "pad_token_id",
)  # fmt: skip
YAML = """\
# {source}, as LAVIS reads it; the format is that of LAVIS's own configs/models/*.yaml, and `vit:` is ours.
model:
  arch: {arch}
  load_finetuned: true
  finetuned: weights.pth
  med_config_path: text.json
  image_size: {image_size}
  max_txt_len: {longest}
  prompt: ""
  vit: {vit}
preprocess:
  vis_processor:
    eval: {processor}
"""


def write_folder(checkpoint: str | Path, folder: Path) -> Path:
    """Write a BLIP checkpoint for LAVIS; returns the path of its model.yaml.

    Questions go to the model as they are, without LAVIS's own clean-up, and captions start from no prompt, both as in
    transformers. Raises UnknownModel where the checkpoint is of another family.
    """
    checkpoint = Path(checkpoint)
    family = json.loads((checkpoint / "config.json").read_text())["architectures"][0]
    archs = {"BlipForQuestionAnswering": "blip_vqa", "BlipForConditionalGeneration": "blip_caption"}
    if family not in archs:
        raise UnknownModel(f"{checkpoint} is {family}; LAVIS can be given {' or '.join(archs)}")
    require_local()
    import transformers
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil  # needs no torchvision

    model = getattr(transformers, family).from_pretrained(checkpoint, dtype=torch.float32, trust_remote_code=False)
    words = transformers.AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False).get_vocab()
    images = BlipImageProcessorPil.from_pretrained(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": _renamed(model.state_dict(), words)}, folder / "weights.pth")
    vocabulary = folder / "bert-base-uncased"  # the name by which LAVIS asks for it
    vocabulary.mkdir(exist_ok=True)
    (vocabulary / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(words, key=words.__getitem__)))
    text = model.config.text_config
    med = {key: getattr(text, key) for key in TEXT}
    med |= {"encoder_width": text.encoder_hidden_size, "add_cross_attention": True, "add_type_embeddings": False}
    (folder / "text.json").write_text(json.dumps(med, indent=2))
    vision, longest = _vision(model.config.vision_config), int(text.max_position_embeddings)
    (folder / "model.yaml").write_text(
        YAML.format(
            source=checkpoint.resolve().name, arch=archs[family], image_size=model.config.vision_config.image_size,
            longest=longest, vit=_inline(vision), processor=_inline(_processor(images)),
        )
    )  # fmt: skip
    return folder / "model.yaml"


def _renamed(given: dict[str, torch.Tensor], words: dict[str, int]) -> dict[str, torch.Tensor]:
    """The weights under LAVIS's names."""
    weights = {}
    for key, value in given.items():
        name = next((re.sub(old, new, key) for old, new in VISION if re.match(old, key)), key)
        weights[name] = value.float().clone()
    decoder = "text_decoder.cls.predictions."
    weights[decoder + "decoder.weight"] = weights["text_decoder.bert.embeddings.word_embeddings.weight"].clone()
    weights[decoder + "decoder.bias"] = weights[decoder + "bias"].clone()
    if (asked := weights.get("text_encoder.embeddings.word_embeddings.weight")) is not None:
        # LAVIS starts a question with [ENC], transformers with [CLS].
        asked[words["[ENC]"]] = asked[words["[CLS]"]]
    return weights


def _vision(config: Any) -> dict[str, Any]:
    """The sizes of the vision encoder, as LAVIS's constructor calls them."""
    return {
        "patch_size": config.patch_size,
        "embed_dim": config.hidden_size,
        "depth": config.num_hidden_layers,
        "num_heads": config.num_attention_heads,
        "mlp_ratio": (config.intermediate_size + 0.5) / config.hidden_size,  # LAVIS rounds the product down
        "layer_norm_eps": config.layer_norm_eps,
    }


def _processor(images: Any) -> dict[str, Any]:
    """LAVIS's processor of images: a square, by bicubic interpolation."""
    return {
        "name": "blip_image_eval",
        "image_size": images.size["height"],
        "mean": list(images.image_mean),
        "std": list(images.image_std),
    }


def _inline(table: dict[str, Any]) -> str:
    """A table in one line; YAML takes a number such as 1e-05 for text, and 1.0e-05 for a number."""
    return re.sub(r"(?<![\d.])(\d+)e-", r"\1.0e-", json.dumps(table))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m iterreason.models.lavis_folder", description=__doc__.split("\n")[0]
    )
    parser.add_argument("checkpoint", help="folder of a BLIP checkpoint, or `embedded`")
    parser.add_argument("folder", type=Path, help="what to write")
    options = parser.parse_args()
    if options.checkpoint != "embedded":
        print(f"lavis:{write_folder(options.checkpoint, options.folder)}")
        return
    with as_file(files("iterreason.models.embedded") / "answerer") as folder:
        print(f"lavis:{write_folder(folder, options.folder)}")


if __name__ == "__main__":
    main()
