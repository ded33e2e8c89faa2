"""What a `vllm:` URI says, read and checked without vLLM: `vllm:MODEL+lora=FOLDER+memory=0.4`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from iterreason.errors import ModelFailed, UnknownModel, unknown
from iterreason.models.hf.finding import weights_hash

FORM = "vllm:MODEL, and after it any of +lora=FOLDER, +memory=SHARE, +length=TOKENS, +gpus=N"
MOST_RANK = 512


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run in this process.

    model: a folder, or a name on the Hugging Face hub. lora: a folder with an adapter for it, as peft writes it.
    memory: the share of each GPU's memory to take, in (0, 1]. length: of prompt and reply, in tokens; by default the
    model's own. gpus: that the model is spread over.
    """

    model: str
    lora: Path | None = None
    memory: float = 0.9
    length: int | None = None
    gpus: int = 1

    @property
    def name(self) -> str:
        """What results call it: with a hash of the weights, where they lie in a folder, and of the adapter's."""
        return f"vllm/{_named(self.model)}" + (f"+{_named(str(self.lora))}" if self.lora else "")


def read_settings(uri: str) -> Settings:
    """Read what follows `vllm:`; raises UnknownModel for a malformed URI, ModelFailed for a folder that is none."""
    model, *options = re.split(r"\+(?=\w+=)", uri)
    found: dict[str, Any] = {}
    known = [field.name for field in fields(Settings)][1:]
    if not model or model != model.strip():
        raise UnknownModel(f"'vllm:{uri}' names no model; the form is: {FORM}")
    for option in options:
        key, _, value = option.partition("=")
        if key not in known:
            raise UnknownModel(f"'vllm:{uri}': {unknown('option', key, known)}")
        if key in found:
            raise UnknownModel(f"'vllm:{uri}' gives {key} twice")
        found[key] = _value(uri, key, value)
    _check_folder(model, uri)
    return Settings(model, **found)


def adapter_room(folder: Path) -> int:
    """The adapter's rank, rounded up to one that vLLM makes room for. Raises ModelFailed for what is no adapter."""
    rank = _adapter(folder).get("r")
    if not isinstance(rank, int) or not 1 <= rank <= MOST_RANK:
        raise ModelFailed(
            f"{folder / 'adapter_config.json'}: the rank r is {rank!r}, not a number from 1 to {MOST_RANK}"
        )
    return next(room for room in (8, 16, 32, 64, 128, 256, 320, MOST_RANK) if rank <= room)


def _value(uri: str, key: str, value: str) -> Any:
    if key == "lora":
        folder = Path(value).expanduser()
        _adapter(folder)
        return folder
    wanted = "a share above 0, 1 at most" if key == "memory" else "a whole number, 1 or more"
    try:
        number = float(value) if key == "memory" else int(value)
    except ValueError:
        number = 0
    if not (0 < number <= 1 if key == "memory" else number >= 1):
        raise UnknownModel(f"'vllm:{uri}': {key} is {value!r}; it must be {wanted}")
    return number


def _check_folder(model: str, uri: str) -> None:
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelFailed(f"vllm:{uri} is a folder without a config.json; name a checkpoint's own folder")
    elif folder.exists() or model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ModelFailed(f"vllm:{uri} is no folder; name a checkpoint's folder, or a hub model (OWNER/NAME)")


def _adapter(folder: Path) -> dict[str, Any]:
    file = folder / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFailed(f"{folder} is no adapter: {file.name} cannot be read ({error})") from None
    if not isinstance(config, dict):
        raise ModelFailed(f"{folder} is no adapter: {file.name} holds no object")
    return config


def _named(model: str) -> str:
    folder = Path(model).expanduser()
    return f"{folder.resolve().name}@{weights_hash(folder)}" if folder.is_dir() else model
