"""The latency suite: the engine's samples in pytest-benchmark's table."""

from __future__ import annotations

from typing import Any

import pytest

from suites.replay import TIMER, nothing


@pytest.mark.benchmark(timer=TIMER, group="latency")
def test_latency(benchmark: Any, record: list[Any]) -> None:
    measured = record[0]
    kept = [sample for sample, keep in zip(measured.samples, measured.kept, strict=True) if keep]
    benchmark.group = f"{measured.direction} {measured.case.split('/', 3)[3]}"
    benchmark.extra_info.update(
        {name: getattr(measured, name) for name in ("case", "clock", "stop", "warnings", "command", "measurement")}
    )
    TIMER.load(kept)
    benchmark.pedantic(nothing, rounds=len(kept), iterations=1)
    assert benchmark.stats.stats.data == kept
