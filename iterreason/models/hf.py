"""`hf:PATH-OR-ID`: a transformers checkpoint in this process; its own config decides what it becomes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from hashlib import sha256
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from iterreason.errors import IterReasonError, MissingExtra, ModelFailed, UnknownModel
from iterreason.models import Model

Role = Literal["reasoner", "answerer"]
ANSWERERS = ("BlipForQuestionAnswering", "BlipForConditionalGeneration")
SUPPORTED = {
    "reasoner": "causal language models with a chat template",
    "answerer": "BLIP for questions (BlipForQuestionAnswering) and for captions (BlipForConditionalGeneration)",
}
HUB_SECONDS = 10.0
STRIPE = 2**20  # bytes hashed at a time of weights too large to hash whole
HASHED_WHOLE = 2**30


def load(path_or_id: str, role: Role, *, name: str = "") -> Model:
    """Open the checkpoint in a folder, or the one that the Hugging Face hub has under this name.

    A hub model that the local cache has is taken from there; the hub is not asked for a newer one.
    name: what results call it, followed by a hash of the weights; from the folder's or the hub's name where empty.
    Raises UnknownModel for a family that cannot play this role, MissingExtra where packages are missing,
    ModelFailed where it cannot be read or reached.
    """
    require_local()
    folder = _folder(path_or_id)
    with quiet():
        try:
            if folder:
                return _opened(str(folder), role, name or f"hf/{folder.resolve().name}", path_or_id)
            if snapshot := _snapshot(path_or_id):
                with suppress(OSError):  # incomplete, then
                    return _opened(snapshot, role, name or f"hf/{path_or_id}", path_or_id)
            ask_hub(path_or_id)
            return _opened(path_or_id, role, name or f"hf/{path_or_id}", path_or_id)
        except IterReasonError:
            raise
        except Exception as error:  # a folder may hold anything, and fail the libraries in any way
            raise ModelFailed(f"hf:{path_or_id} cannot be loaded: {_sentence(error)}") from error


def _opened(where: str, role: Role, name: str, shown: str) -> Model:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    safe: dict[str, Any] = {"trust_remote_code": False}
    config: Any = AutoConfig.from_pretrained(where, **safe)
    family = check_family((config.architectures or [type(config).__name__])[0], role, shown)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    commit = getattr(config, "_commit_hash", None)
    name = f"{name}@{commit[:12] if commit else weights_hash(Path(where))}"
    if role == "reasoner":
        from iterreason.models.hf_reasoner import CausalReasoner

        model = AutoModelForCausalLM.from_pretrained(where, dtype=fast_dtype(), **safe).to(device).eval()
        return CausalReasoner(model, AutoTokenizer.from_pretrained(where, **safe), name)
    from iterreason.models.hf_answerer import open_blip

    return open_blip(where, family, device, name)


def check_family(architecture: str, role: Role, shown: str) -> str:
    """The architecture, if it can play this role; raises UnknownModel."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    causal = set(CAUSAL.values())
    fits = architecture in (causal if role == "reasoner" else ANSWERERS)
    if not fits:
        known = architecture in causal or architecture in ANSWERERS
        other = f"; it can be the {'answerer' if role == 'reasoner' else 'reasoner'}" if known else ""
        raise UnknownModel(f"hf:{shown} is {architecture}, which cannot be the {role}{other}. Supported: "
                           f"{SUPPORTED[role]}")  # fmt: skip
    return architecture


def fast_dtype() -> Any:
    """bfloat16 on a GPU and on processors with instructions for it, else float32."""
    import torch

    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if torch.cuda.is_available() or native else torch.float32


def weights_hash(folder: Path) -> str:
    """Twelve hexadecimal digits that tell weights apart; of files beyond 1 GiB 64 evenly spaced stripes count."""
    digest = sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        size = file.stat().st_size
        step = STRIPE if size <= HASHED_WHOLE else size // 64
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as opened:
            for start in range(0, size, step):
                opened.seek(start)
                digest.update(opened.read(STRIPE))
    return digest.hexdigest()[:12]


def require_local(*more: str) -> None:
    """Raise MissingExtra where packages for models in this process are missing."""
    missing = [name for name in ("torch", "transformers", "llguidance", *more) if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"models in this process need {', '.join(missing)}; run: pip install 'iterreason[local]'")


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


def _folder(path_or_id: str) -> Path | None:
    """The checkpoint's folder, or None for what may be a name on the hub."""
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelFailed(f"hf:{path_or_id} is a folder without a config.json; name a checkpoint's own folder")
        return folder
    if folder.exists() or path_or_id.startswith((".", "/", "~")) or path_or_id.count("/") > 1 or not path_or_id:
        raise ModelFailed(f"hf:{path_or_id} is no folder; name a checkpoint's folder, or a hub model (OWNER/NAME)")
    return None


def _snapshot(name: str) -> str | None:
    """Where the hub's cache has this model; with no network, transformers would retry for half a minute a file."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError as error:
        raise ModelFailed(f"hf:{name} is neither a folder nor a hub name (OWNER/NAME)") from error
    return str(Path(config).parent) if isinstance(config, str) else None


def ask_hub(name: str) -> None:
    """Raise ModelFailed where the hub cannot be reached soon, or has no such model."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=HUB_SECONDS)
    except RepositoryNotFoundError as error:
        raise ModelFailed(f"hf:{name} is no folder here, and the hub has no such public model") from error
    except OfflineModeIsEnabled as error:
        raise ModelFailed(f"hf:{name} is not in the local cache, and HF_HUB_OFFLINE is set") from error
    except Exception as error:  # whatever the network has to say
        raise ModelFailed(f"hf:{name} is no folder here, and the hub cannot be reached: {_sentence(error)}") from error


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
