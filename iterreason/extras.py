"""Packages that only some parts need, imported where these begin."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from iterreason.errors import MissingExtra


def needed(module: str, extra: str, what: str) -> Any:
    """The module, imported; raises MissingExtra with the pip line where its package is not installed.

    what: the subject of the error, as in "Inspect logs".
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = error.name or module.partition(".")[0]
        raise MissingExtra(f"{what}: the package {name} is missing; run: pip install 'iterreason[{extra}]'") from None
