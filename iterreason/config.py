"""Which models to use when the call names none: environment, then config file, then the embedded pair."""

from __future__ import annotations

import logging
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from iterreason.errors import BadConfig, unknown

log = logging.getLogger("iterreason")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model URIs of the two roles."""

    reasoner: str
    answerer: str


@dataclass(frozen=True, slots=True)
class _File:
    reasoner: str = ""
    answerer: str = ""


def config_path() -> Path:
    """Where the user's config file is looked for."""
    from platformdirs import user_config_path

    return user_config_path("iterreason") / "config.toml"


def choose_models(reasoner: str | None, answerer: str | None, *, reasons: bool = True, looks: bool = True) -> Chosen:
    """The models to use: arguments, `ITERREASON_REASONER` / `ITERREASON_ANSWERER`, the config file, else `embedded`.

    reasons, looks: whether a reasoner and an answerer are needed; about one that is not nothing is said.
    Raises BadConfig where the file cannot be used.
    """
    file = _read(config_path())
    named = Chosen(
        reasoner or os.environ.get("ITERREASON_REASONER") or file.reasoner,
        answerer or os.environ.get("ITERREASON_ANSWERER") or file.answerer,
    )
    needed = {"reasoner": reasons or named.answerer == "same", "answerer": looks}
    if absent := [role for role, need in needed.items() if need and not getattr(named, role)]:
        log.warning(
            "No %s named: using the small embedded one, which knows drawn scenes of coloured shapes only, not"
            " photographs. Name real models with --reasoner / --answerer (reasoner=, answerer=), ITERREASON_REASONER /"
            " ITERREASON_ANSWERER, or in %s.",
            " and no ".join(absent),
            config_path(),
        )
    return Chosen(named.reasoner or "embedded", named.answerer or "embedded")


def _read(path: Path) -> _File:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _File()
    except (OSError, ValueError) as error:
        raise BadConfig(f"cannot use the config file {path}: {error}") from None
    known = [f.name for f in fields(_File)]
    for key, value in values.items():
        if key not in known:
            raise BadConfig(f"{path}: {unknown('key', key, known)}")
        if not isinstance(value, str):
            raise BadConfig(f"{path}: '{key}' must be a model URI in quotes, not {value!r}")
    return _File(**values)
