"""The energy suite: joules of one call are there where the device counts them. No time, so no table."""

from __future__ import annotations

from typing import Any


def test_energy(record: list[Any]) -> None:
    for one in record:
        assert one.value == one.value, one.case
        assert one.unit == "J"
