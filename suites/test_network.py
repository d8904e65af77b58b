"""The network suite: the engine's samples of forwards and training steps in pytest-benchmark's table."""

from __future__ import annotations

from typing import Any

import pytest

from suites.replay import TIMER, nothing


@pytest.mark.benchmark(timer=TIMER, group="network")
def test_network(benchmark: Any, record: list[Any]) -> None:
    measured = record[0]
    if measured.unit != "s":
        benchmark.pedantic(nothing, rounds=1, iterations=1)
        assert measured.value >= 0
        return
    benchmark.group = f"{measured.metric} {measured.case.split('/', 3)[3]}"
    benchmark.extra_info.update({name: getattr(measured, name) for name in ("case", "metric", "clock", "measurement")})
    TIMER.load(measured.samples)
    benchmark.pedantic(nothing, rounds=len(measured.samples), iterations=1)
    assert benchmark.stats.stats.data == measured.samples
