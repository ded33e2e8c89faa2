"""Opening a model to be tuned, and keeping what was tuned: low-rank adapters beside frozen weights."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from iterreason.errors import Misuse, ModelFailed

Precision = Literal["auto", "float32", "bfloat16"]
MOST_RANK = 16  # of SmolLM2-135M 4.9 million parameters, 9.8 MB in 16 bit: small enough for a package


@dataclass(frozen=True, slots=True)
class Opened:
    """A model with a fresh adapter, and what makes its inputs; `processor` is None for a text-only model."""

    model: Any
    tokenizer: Any
    processor: Any


def open_model(path_or_id: str, rank: int, precision: Precision) -> Opened:
    """Open a causal or a vision-language model, with an adapter on all linear layers of its language part.

    Its own weights stay as they are; the adapter's are float32 whatever theirs are. Raises ModelFailed.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    from iterreason.models.hf import quiet

    safe: dict[str, Any] = {"trust_remote_code": False}
    try:
        with quiet():
            config: Any = AutoConfig.from_pretrained(path_or_id, **safe)
            sees = hasattr(config, "vision_config")
            kind: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
            model = kind.from_pretrained(path_or_id, dtype=_dtype(precision), **safe)
            processor: Any = AutoProcessor.from_pretrained(path_or_id, **safe) if sees else None
            tokenizer = processor.tokenizer if sees else AutoTokenizer.from_pretrained(path_or_id, **safe)
    except Exception as error:  # a folder may hold anything, and fail the libraries in any way
        sentence = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFailed(f"{path_or_id} cannot be opened for tuning: {sentence[:300]}") from error
    settings = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,  # so that a beginning shared by examples is the same for all
        target_modules="all-linear",
        exclude_modules=r".*(vision|visual|connector|projector).*" if sees else None,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers under a name that will go
        return Opened(get_peft_model(model, settings), tokenizer, processor)


def _dtype(precision: Precision) -> Any:
    import torch

    from iterreason.models.hf import fast_dtype

    return fast_dtype() if precision == "auto" else getattr(torch, precision)


def check_rank(rank: int, any_rank: bool) -> None:
    """Raise Misuse for a rank out of bounds."""
    if rank < 1:
        raise Misuse(f"the rank must be at least 1, not {rank}")
    if rank > MOST_RANK and not any_rank:
        raise Misuse(f"rank {rank} makes an adapter too large to ship (at most {MOST_RANK}); --any-rank allows it")


def save_adapter(model: Any, folder: Path) -> int:
    """Write the adapter in float16 safetensors, as peft loads it; gives its bytes.

    float16, not bfloat16: an adapter's numbers are small and far from its bounds, and it keeps three bits more of each.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to("cpu", torch.float16).contiguous()
               for name, value in get_peft_model_state_dict(model).items()}  # fmt: skip
    if broken := [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]:
        raise ModelFailed(f"the training diverged: {broken[0]} is not finite; take a lower --rate")
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(folder)
    config.inference_mode = False
    _sort_config(folder / "adapter_config.json")
    file = folder / "adapter_model.safetensors"
    save_file(dict(sorted(weights.items())), file, metadata={"format": "pt"})
    return file.stat().st_size


def save_merged(opened: Opened, folder: Path) -> None:
    """Write the model with its adapter worked in, as a checkpoint of its own; the opened model is used up."""
    from iterreason.models.hf import quiet

    with quiet():
        opened.model.merge_and_unload().save_pretrained(folder)
        (opened.processor or opened.tokenizer).save_pretrained(folder)


def _sort_config(file: Path) -> None:
    """Sets come in any order, and a folder's path is its machine's; the same training gives the same file."""
    values = json.loads(file.read_text(encoding="utf-8"))
    base = values["base_model_name_or_path"]
    if base and Path(base).is_dir():
        values["base_model_name_or_path"] = Path(base).name
    values = {key: sorted(value) if isinstance(value, list) else value for key, value in sorted(values.items())}
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
