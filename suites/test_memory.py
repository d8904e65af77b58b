"""The memory suite: peak and saved bytes are there. No time, so no table."""

from __future__ import annotations

from typing import Any


def test_memory(record: list[Any]) -> None:
    for one in record:
        assert one.value >= 0, one.case
        assert one.unit == "B"
