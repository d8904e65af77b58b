"""What holds for every test."""

from __future__ import annotations

import os

import pytest

from suites import device_lock, provenance


@pytest.fixture(scope="session", autouse=True)
def nothing_that_counts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests measure nothing that counts, so that they need not wait for a run that does, nor it for them."""
    os.environ[provenance.OTHER] = "1"  # whose csrc a library was built from is told where that is tested
    os.environ[device_lock.FOLDER] = str(tmp_path_factory.mktemp("locks"))
