"""What to serve: a TOML file, a shipped preset or one's own, read and checked."""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from iterreason.errors import BadConfig, unknown

_STRICT = ConfigDict(extra="forbid", frozen=True)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.I)


@checked_dataclass(config=_STRICT, kw_only=True)
class Served:
    """One server with one model.

    model: a folder, or a name on the Hugging Face hub. name: what clients call it; by default the model's own name.
    gpus: numbers of those that it may use, [] for the CPU. tensor_parallel: GPUs that the model is spread over, by
    default all of `gpus`. gpu_memory: the share of each one's memory that it takes, in (0, 1].
    max_length: of prompt and reply, in tokens; by default the model's own. images: the most in one prompt.
    adapters: LoRA adapters, each a name that clients call it by and its folder.
    dtype, flags, environment: passed on to `vllm serve`; flags stand last and win.
    """

    model: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65_535)]
    name: str = ""
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    tensor_parallel: Annotated[int, Field(ge=1)] | None = None
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = 0.9
    max_length: Annotated[int, Field(ge=64)] | None = None
    images: Annotated[int, Field(ge=0, le=1_000)] = 4
    adapters: dict[str, str] = Field(default_factory=dict)
    dtype: str = "auto"
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)

    @property
    def served_name(self) -> str:
        """What clients call the model."""
        folder = Path(self.model).expanduser()
        return self.name or (folder.resolve().name if folder.is_dir() else self.model)


@checked_dataclass(config=_STRICT, kw_only=True)
class Setup:
    """The servers of the two roles: `both` for one vision-language model that plays both, else one for each role.

    host: to listen at; any but this machine's own (127.0.0.1, ::1, localhost) takes a key in ITERREASON_API_KEY.
    logs: the folder for the servers' logs; by default the user's log folder.
    """

    description: str = ""
    host: str = "127.0.0.1"
    logs: str = ""
    both: Served | None = None
    reasoner: Served | None = None
    answerer: Served | None = None

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise ValueError("\n  ".join(faults))

    @property
    def servers(self) -> dict[str, Served]:
        """The servers by role."""
        roles = {"both": self.both, "reasoner": self.reasoner, "answerer": self.answerer}
        return {role: served for role, served in roles.items() if served}

    @property
    def local(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def _faults(setup: Setup) -> Iterator[str]:
    servers = setup.servers
    if not servers:
        yield "nothing to serve: write a table [both], or [reasoner] and [answerer]"
    if setup.both and len(servers) > 1:
        yield "[both] plays the two roles; leave out [reasoner] and [answerer], or [both]"
    ports, shares = defaultdict[int, list[str]](list), defaultdict[int, float](float)
    for role, served in servers.items():
        ports[served.port].append(role)
        for gpu in served.gpus:
            shares[gpu] += served.gpu_memory
        if served.tensor_parallel and served.gpus and served.tensor_parallel > len(served.gpus):
            yield f"{role}.tensor_parallel = {served.tensor_parallel} is more than its {len(served.gpus)} gpus"
        if secret := next(filter(_SECRET.search, served.environment), None):
            yield f"{role}.environment.{secret}: secrets do not belong into a file; set it in your own environment"
        if any(flag.startswith("--api-key") for flag in served.flags):
            yield f"{role}.flags: the key comes from ITERREASON_API_KEY, never from a flag, which everybody can read"
    yield from (f"port {port} is given to {' and '.join(roles)}" for port, roles in ports.items() if len(roles) > 1)
    yield from (f"gpu {gpu} is given out to {share:.0%}" for gpu, share in shares.items() if share > 1 + 1e-9)


def presets() -> tuple[str, ...]:
    """The names of the setups that come with the package."""
    folder = resources.files("iterreason.serving").joinpath("presets")
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def find_setup(name: str) -> tuple[Setup, str]:
    """A preset by its name, or a file by its path (it ends in `.toml`), and its text. Raises BadConfig."""
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadConfig(f"cannot read {name}: {error}") from None
        return read_setup(text, name), text
    if name not in presets():
        raise BadConfig(f"{unknown('preset', name, presets())} A file of your own ends in '.toml'.")
    text = resources.files("iterreason.serving").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return read_setup(text, f"{name}.toml"), text


def read_setup(text: str, where: str) -> Setup:
    """Read a setup's TOML text; raises BadConfig with every fault, each with its key."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{where} is not TOML: {error}") from None
    try:
        # As JSON, for there strict reading takes lists and tables: "4" and true are no numbers here.
        return TypeAdapter(Setup).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        lines = [f"  {_explain(fault['loc'], fault['type'], fault['msg'])}" for fault in error.errors()]
        raise BadConfig("\n".join([f"{where} cannot be used:", *lines])) from None


def _explain(path: Sequence[int | str], kind: str, message: str) -> str:
    where = ".".join(map(str, path))
    if kind == "value_error":  # our own: it names its key
        return message.removeprefix("Value error, ")
    if kind not in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: {message}"
    known = [field.name for field in fields(Served if len(path) > 1 else Setup)]
    return f"{where}: {unknown('key', str(path[-1]), known)}"
