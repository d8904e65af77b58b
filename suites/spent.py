"""Where a worker's time goes: seconds of this process by part, while a case is measured. Knows no part by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_seconds: dict[str, float] = {}


@contextmanager
def on(part: str) -> Iterator[None]:
    begin = time.perf_counter()
    try:
        yield
    finally:
        _seconds[part] = _seconds.get(part, 0.0) + time.perf_counter() - begin


def collect() -> dict[str, float]:
    """The seconds of each part since the last call."""
    found = dict(_seconds)
    _seconds.clear()
    return found
