"""The real LAVIS, in the environment that `make lavis` makes; the tests themselves run under our own Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from opened import Opened

from iterreason.models import embedded, lavis
from iterreason.models.lavis_folder import write_folder

torch.set_num_threads(1)  # two threads on models this small only wait for each other, and for the worker's
os.environ["OMP_NUM_THREADS"] = "1"
WEIGHTS = Path(embedded.__file__).with_name("answerer")


@pytest.fixture(scope="session")
def python() -> Path:
    """LAVIS's Python; without one nothing here can run, which under continuous integration is a failure."""
    found = lavis.find_python()
    if found is None or not found.is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no Python with LAVIS; run: {lavis.TO_MEND}")
    return found


@pytest.fixture(scope="session")
def weights(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded answerer's weights, renamed."""
    return write_folder(WEIGHTS, tmp_path_factory.mktemp("renamed"))


@pytest.fixture(scope="session")
def real(weights: Path) -> Iterator[Opened]:
    """LAVIS with the embedded answerer's weights."""
    with Opened(lavis.load(str(weights), "answerer")) as model:
        yield model


@pytest.fixture(scope="session")
def reference() -> Iterator[Opened]:
    """The same weights in transformers, in this process."""
    from iterreason.models import hf

    with Opened(hf.load(str(WEIGHTS), "answerer")) as model:
        yield model
