"""What the energy probe counts as idle power, and as a call's own joules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from suites import energy


class Device:
    """A GPU that draws 100 W and so many joules more a call; it is the clock, the counter and the timed call."""

    def __init__(self, joules: float) -> None:
        self.now, self.used, self.more = 0.0, 0.0, joules

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.used += 100 * seconds

    def joules(self) -> float:
        return self.used

    def state(self) -> Any:
        return {}

    def refill(self) -> None:
        self.passes(0.5)

    def __call__(self) -> tuple[torch.Tensor]:
        self.passes(0.001)
        self.used += self.more
        return (torch.zeros(1),)


@pytest.mark.parametrize("joules", [0.0, 2.0])
def test_a_slow_preparation_is_no_part_of_idle_power(joules: float, monkeypatch: pytest.MonkeyPatch) -> None:
    device: Any = Device(joules)

    def make() -> Any:
        device.passes(30.0)
        return device

    monkeypatch.setattr(energy, "time", SimpleNamespace(perf_counter=lambda: device.now, sleep=device.passes))
    (found,) = energy.measure(make, device, torch.device("cpu"), judge=lambda *_: (None, True))
    assert found.how["idle_w"] == 100
    assert found.samples is not None and found.samples.values == pytest.approx([joules] * 3, abs=1e-9)
