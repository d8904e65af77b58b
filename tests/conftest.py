"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from suites import device_lock, machine, pace, provenance

# Files that take long and have few tests.
LONG = (
    "test_fast_memory.py", "test_faults.py", "test_cli.py", "test_slower_loops.py", "test_cause.py", "test_render.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first, so that no process is left alone with one at the end; the order is else as it was."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws the same numbers, whatever its process ran before."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def nothing_that_counts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests measure nothing that counts, so that they need not wait for a run that does, nor it for them."""
    os.environ[provenance.OTHER] = "1"  # whose csrc a library was built from is told where that is tested
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        del os.environ[name]  # in a process of a test pytest-benchmark would take it for a worker, and measure nothing
    os.environ[device_lock.FOLDER] = str(tmp_path_factory.mktemp("locks"))


@pytest.fixture
def usual_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The last cache is that of the machine that the plan's constants are of, whatever this one has."""
    monkeypatch.setattr(machine, "caches", lambda: {"l3_bytes": 32 * 1024**2})
    pace.around.cache_clear()
    yield
    pace.around.cache_clear()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For small networks: on cores that others use, waiting for a second thread takes ten times what it saves."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
