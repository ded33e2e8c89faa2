"""`hf:PATH-OR-ID`: a transformers checkpoint in this process; its own config decides what it becomes.

`hf:PATH-OR-ID?device=cuda:1&dtype=float16` says where it runs and in which numbers.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from iterreason.errors import IterReasonError, MissingExtra, ModelFailed
from iterreason.models import Model
from iterreason.models.hf.families import Family, Role, family_of
from iterreason.models.hf.finding import ask_hub, folder_of, sentence, snapshot, weights_hash
from iterreason.models.hf.placing import Placing, fast_dtype, parse, placed
from iterreason.models.hf.processing import open_processor, tolerate_torchvision

__all__ = ["fast_dtype", "load", "quiet", "require_local"]


def load(path_or_id: str, role: Role, *, name: str = "") -> Model:
    """Open the checkpoint in a folder, or the one that the Hugging Face hub has under this name.

    A hub model that the local cache has is taken from there; the hub is not asked for a newer one.
    path_or_id: may end in `?device=…&dtype=…`, see `Placing`.
    name: what results call it, followed by a hash of the weights; from the folder's or the hub's name where empty.
    Raises UnknownModel for a family that cannot play this role, MissingExtra where packages are missing,
    ModelFailed where it cannot be read or reached.
    """
    require_local()
    path_or_id, placing = parse(path_or_id)
    folder = folder_of(path_or_id)
    with quiet():
        try:
            if folder:
                return _opened(str(folder), role, name or f"hf/{folder.resolve().name}", path_or_id, placing)
            if cached := snapshot(path_or_id):
                with suppress(OSError):  # incomplete, then
                    return _opened(cached, role, name or f"hf/{path_or_id}", path_or_id, placing)
            ask_hub(path_or_id)
            return _opened(path_or_id, role, name or f"hf/{path_or_id}", path_or_id, placing)
        except IterReasonError:
            raise
        except Exception as error:  # a folder may hold anything, and fail the libraries in any way
            raise ModelFailed(f"hf:{path_or_id} cannot be loaded: {sentence(error)}") from error


def _opened(where: str, role: Role, name: str, shown: str, placing: Placing) -> Model:
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(where, trust_remote_code=False)
    architecture, family = family_of(config, role, shown)
    commit = getattr(config, "_commit_hash", None)
    name = f"{name}@{commit[:12] if commit else weights_hash(Path(where))}"
    if placing.dtype:
        name += f"/{placing.dtype}"  # its answers differ a little
    return _of_family(family, architecture, where, name, placing)


def _of_family(family: Family, architecture: str, where: str, name: str, placing: Placing) -> Model:
    import torch
    import transformers

    small = family in ("blip", "vilt")  # cheap enough for full precision anywhere
    model = placed(getattr(transformers, architecture), where, placing, torch.float32 if small else fast_dtype())
    if family == "causal":
        from iterreason.models.hf.causal import CausalReasoner

        tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        return CausalReasoner(model, tokenizer, name)
    if family == "blip":
        from iterreason.models.hf.blip import open_blip

        return open_blip(model, where, name)
    if family == "vilt":
        from iterreason.models.hf.vilt import open_vilt

        return open_vilt(model, where, name)
    if family == "blip-2":
        from iterreason.models.hf.blip2 import open_blip2

        return open_blip2(model, where, name)
    from iterreason.models.hf.vlm import VisionChat

    return VisionChat(model, open_processor(where, name), name)


def require_local(*more: str) -> None:
    """Have transformers ready to be imported; raises MissingExtra where packages are missing."""
    missing = [name for name in ("torch", "transformers", "llguidance", *more) if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"models in this process need {', '.join(missing)}; run: pip install 'iterreason[local]'")
    tolerate_torchvision()


@contextmanager
def quiet() -> Iterator[None]:
    """Loading shows transformers' bars where somebody watches, and no warnings."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        # Not all bars obey the switch.
        with warnings.catch_warnings(), nullcontext() if sys.stderr.isatty() else redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
