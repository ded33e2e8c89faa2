"""What several test files stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_server import FakeServer

from iterreason.models.hf.processing import tolerate_torchvision

tolerate_torchvision()  # pip's torchvision beside CPU torch


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no base URL of whoever runs the tests."""
    for name in ("ITERREASON_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A running server with one model, `m`, that can do everything."""
    with FakeServer() as server:
        yield server
