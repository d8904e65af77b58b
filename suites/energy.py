"""The energy probe: joules of one call, over windows of steady calls, the idle power subtracted.

NVML's counter of the GPU is read; where there is none the case is skipped with the reason. Knows subjects and NVML.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from suites import verify
from suites.finding import Finding
from suites.nvml import Watch, warnings
from suites.sampling import Samples
from suites.span import synchronize
from suites.timed import Outputs, Timed

WINDOW_SECONDS = 5.0  # the counter is a filtered 1 s average on some GPUs
REPEATS = 3
IDLE_SECONDS = 2.0


def _judged(timed: Timed, state: list[Tensor], snapshot: Outputs) -> tuple[str | None, bool]:
    return verify.after(timed, state, snapshot)[0], timed.subject.oracle is not None


def measure(
    make: Callable[[], Any],
    watch: Watch | None,
    device: torch.device,
    window: float = WINDOW_SECONDS,
    idle: float = IDLE_SECONDS,
    judge: Callable[[Any, list[Tensor], Outputs], tuple[str | None, bool]] = _judged,
) -> list[Finding]:
    """One finding: joules per call above idle, a sample per window; `judge` gives a fault, and whether it verifies."""
    if watch is None:
        reason = "no NVML device: energy is read from an NVIDIA GPU's counter"
        return [Finding("energy", status="skipped", reason=reason)]
    if watch.joules() is None:
        reason = "this GPU does not support nvmlDeviceGetTotalEnergyConsumption"
        return [Finding("energy", status="skipped", reason=reason)]
    timed = make()
    timed()
    timed.refill()  # whoever remembers the answer has the wrong one now
    state = timed.state()
    synchronize(device)
    before = watch.state()
    joules, start = watch.joules() or 0.0, time.perf_counter()
    time.sleep(idle)
    idle_watts = ((watch.joules() or joules) - joules) / (time.perf_counter() - start)
    values, seconds, calls = [], [], []
    for _ in range(REPEATS):
        outputs, used, elapsed, count = _steady(timed, watch, device, window)
        values.append((used - idle_watts * elapsed) / count)
        seconds.append(round(elapsed, 3))
        calls.append(count)
    said = warnings(before, after := watch.state())
    how = {
        "window_s": seconds, "calls_per_sample": calls, "idle_w": round(idle_watts, 3), "state_before": before,
        "state_after": after, "source": "nvmlDeviceGetTotalEnergyConsumption",
    }  # fmt: skip
    fault, verified = judge(timed, state, tuple(out.detach().clone() for out in outputs))
    if fault is not None:
        return [Finding("energy", status="incorrect", reason=fault, how=how)]
    how["verified"] = verified
    if "shared device" in said:
        reason = "another process used the GPU during the window, so its joules are not this call's"
        return [Finding("energy", status="failed", reason=reason, how=how, warnings=said)]
    samples = Samples(values, [True] * len(values), "max samples", warnings=[*said, "few samples"])
    return [Finding("energy", samples=samples, how=how, warnings=samples.warnings)]


def _steady(timed: Any, watch: Watch, device: torch.device, window: float) -> tuple[Outputs, float, float, int]:
    """What the last of the calls of a window gave; joules, seconds and calls of the window."""
    joules, start, count = watch.joules() or 0.0, time.perf_counter(), 0
    while time.perf_counter() - start < window:
        for _ in range(16):
            outputs = timed()
        count += 16
        synchronize(device)
    elapsed = time.perf_counter() - start
    return outputs, (watch.joules() or 0.0) - joules, elapsed, count
