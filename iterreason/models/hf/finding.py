"""Where a checkpoint lies: in a folder, in the hub's cache, or on the hub; and what tells its weights from others."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from iterreason.errors import ModelFailed

HUB_SECONDS = 10.0
STRIPE = 2**20  # bytes hashed at a time of weights too large to hash whole
HASHED_WHOLE = 2**30


def folder_of(path_or_id: str) -> Path | None:
    """The checkpoint's folder, or None for what may be a name on the hub. Raises ModelFailed where it is neither."""
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelFailed(f"hf:{path_or_id} is a folder without a config.json; name a checkpoint's own folder")
        return folder
    if folder.exists() or not on_hub(path_or_id):
        raise ModelFailed(f"hf:{path_or_id} is no folder; name a checkpoint's folder, or a hub model (OWNER/NAME)")
    return None


def on_hub(path_or_id: str) -> bool:
    """Whether this may be a name on the hub; else it can only be a path."""
    return bool(path_or_id) and not path_or_id.startswith((".", "/", "~")) and path_or_id.count("/") <= 1


def snapshot(name: str) -> str | None:
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
        raise ModelFailed(f"hf:{name} is no folder here, and the hub cannot be reached: {sentence(error)}") from error


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


def sentence(error: BaseException) -> str:
    """The first line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
