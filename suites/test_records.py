"""A run as pytest-benchmark suites: what has a time is in its table, sample by sample; the rest is there, no more."""

from __future__ import annotations

from typing import Any

import pytest

from suites.replay import TIMER, nothing

TOLD = ("case", "metric", "clock", "stop", "warnings", "command", "measurement")
RANGES = {"psnr": (-200.0, 100.0), "ssim": (-1.0, 1.0), "side_bytes": (0.0, float("inf"))}


def _tabulated(benchmark: Any, measured: Any, group: str) -> None:
    kept = [sample for sample, keep in zip(measured.samples, measured.kept, strict=True) if keep]
    benchmark.group = f"{group} {measured.case.split('/', 3)[3]}"
    benchmark.extra_info.update({name: getattr(measured, name) for name in TOLD})
    TIMER.load(kept)
    benchmark.pedantic(nothing, rounds=len(kept), iterations=1)
    assert benchmark.stats.stats.data == kept


@pytest.mark.benchmark(timer=TIMER, group="latency")
def test_latency(benchmark: Any, record: list[Any]) -> None:
    _tabulated(benchmark, record[0], record[0].direction)


@pytest.mark.benchmark(timer=TIMER, group="network")
def test_network(benchmark: Any, record: list[Any]) -> None:
    measured = record[0]
    if measured.unit == "s":
        _tabulated(benchmark, measured, measured.metric)
    else:
        benchmark.pedantic(nothing, rounds=1, iterations=1)
        assert measured.value >= 0


def test_memory(record: list[Any]) -> None:
    for one in record:
        assert one.value >= 0, one.case
        assert one.unit == "B"


def test_energy(record: list[Any]) -> None:
    for one in record:
        assert one.value == one.value, one.case
        assert one.unit == "J"


def test_retention(record: list[Any]) -> None:
    for one in record:
        low, high = RANGES[one.metric]
        assert low <= one.value <= high, (one.case, one.metric, one.value)
