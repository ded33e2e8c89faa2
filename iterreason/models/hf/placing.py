"""Where a model of this process runs, and in which numbers: read off its URI, else chosen by the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from iterreason.errors import UnknownModel, unknown

DTYPES = ("float32", "bfloat16", "float16")
_DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?|mps|xpu(:\d+)?")
_FORM = "hf:PATH-OR-ID?device=cuda:0&dtype=bfloat16"


@dataclass(frozen=True, slots=True)
class Placing:
    """What a URI says after its '?'; empty leaves it to the machine.

    device: `cpu`, `cuda`, `cuda:N`, `mps`, `xpu`, or `auto`: spread over all GPUs, and memory where they do not suffice
    (accelerate's device map). dtype: of the weights.
    """

    device: str = ""
    dtype: str = ""


def parse(rest: str) -> tuple[str, Placing]:
    """Part `PATH-OR-ID?device=…&dtype=…`; raises UnknownModel for an unknown key or value."""
    path, mark, query = rest.partition("?")
    if not mark or Path(rest).expanduser().exists():
        return rest, Placing()
    values: dict[str, str] = {}
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        known = [field.name for field in fields(Placing)]
        if key not in known:
            raise UnknownModel(f"hf:{rest}: {unknown('key', key, known)} The form is: {_FORM}")
        values[key] = value
    if "dtype" in values and values["dtype"] not in DTYPES:
        raise UnknownModel(f"hf:{rest}: {unknown('dtype', values['dtype'], DTYPES)}")
    if "device" in values and not _DEVICE.fullmatch(values["device"]):
        raise UnknownModel(
            f"hf:{rest}: {unknown('device', values['device'], ('cpu', 'cuda', 'cuda:0', 'mps', 'auto'))}"
        )
    return path, Placing(**values)


def fast_dtype() -> Any:
    """bfloat16 on a GPU and on processors with instructions for it, else float32."""
    import torch

    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if torch.cuda.is_available() or native else torch.float32


def placed(kind: Any, where: str, placing: Placing, usual_dtype: Any) -> Any:
    """Load a model of a transformers class to where it is to run, ready to answer.

    usual_dtype: where the URI names none. Raises whatever transformers does.
    """
    import torch

    dtype = getattr(torch, placing.dtype) if placing.dtype else usual_dtype
    safe: dict[str, Any] = {"dtype": dtype, "trust_remote_code": False}
    if placing.device == "auto":
        return kind.from_pretrained(where, device_map="auto", **safe).eval()
    device = placing.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return kind.from_pretrained(where, **safe).to(device).eval()
