"""What holds for every test."""

from __future__ import annotations

import os

import pytest

from suites import device_lock


@pytest.fixture(scope="session", autouse=True)
def locks_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests measure nothing that counts, so that they need not wait for a run that does, nor it for them."""
    os.environ[device_lock.FOLDER] = str(tmp_path_factory.mktemp("locks"))
