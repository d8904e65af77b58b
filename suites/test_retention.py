"""The retention suite: scores are there and within their range. No time, so no table."""

from __future__ import annotations

from typing import Any


def test_retention(record: list[Any]) -> None:
    for one in record:
        low, high = {"psnr": (-200.0, 100.0), "ssim": (-1.0, 1.0), "side_bytes": (0.0, float("inf"))}[one.metric]
        assert low <= one.value <= high, (one.case, one.metric, one.value)
