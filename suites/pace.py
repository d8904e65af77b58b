"""What cases take, and how the time that is left is shared out among the cases that are left. Torch-free."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from suites import machine
from suites.axes import Axes
from suites.case import Case
from suites.sampling import ENOUGH, FAIR, FEWEST

START_SECONDS = 4.0  # of a run: interpreter, torch, the first call of each probe
REPORT_SECONDS = {"smoke": 5.0, "default": 14.0, "full": 40.0}
KERNEL_SECONDS = 0.05  # of a case on CUDA: its kernels are compiled side by side, a second each, before anything else
SHORTEST = 0.03  # seconds of sampling that a clock of a case gets at least
BUDGET_MOST = 5.0  # and at most, when a budget is there to be spent
BELIEF = 3.0  # seconds for which the estimate counts beside what was measured: a run's first cases are no sample
NETWORK = (4.0, 40.0)  # seconds of sampling of a network's forward and of its step, and at most for samples enough
CEILING = 60.0  # seconds that a clock may take for as many samples as were asked for by number
# Seconds for each number of the input, and once more for each further time that a window reads it; measured with one
# thread of an AMD EPYC (Zen 4) and on an H200. A row is evaluated in whole tensors, a network has convolutions.
CALL = {"cpu": {"native": 2.0e-9, "torch": 4e-9, "copy": 2e-10}, "cuda": {}}
CALL_ELSE = {"cpu": 2.0e-8, "cuda": 4e-11}
VERIFY = {"cpu": 1.5e-7, "cuda": 9e-9}  # by whoever of a method is measured first; the others ask what it found
PHOTOGRAPH = {"lip_bottleneck": 1.4e-5}  # seconds for each number: its network works on every one; a pool's is 0.6e-6
FIXED = {"cpu": 0.05, "cuda": 0.07}  # of a latency case: inputs, warm-up, waiting for late writes
AROUND = {"cpu": 3.7e-3, "cuda": 4e-4}  # of a sample: flush (CPU: of 64 MiB), blocker, the output made NaN
SLOW = 0.01  # seconds around a sample; from there on, and in bounded time, many cases with an interval are worth more


def reads(case: Case) -> float:
    """Numbers of the input, each as often as windows read it."""
    return math.prod(case.shape) * max(1.0, math.prod(case.kernel) / math.prod(case.stride))


@functools.cache
def around(kind: str, clock: str) -> float:
    """Seconds around the call of a sample; before a cold one of a CPU twice its last cache is read, however large."""
    flushes = machine.flush_bytes(machine.caches()) / machine.FLUSHED if (kind, clock) == ("cpu", "cold") else 1.0
    return AROUND[kind] * flushes


def enough(case: Case, axes: Axes, kind: str) -> int:
    """Samples that each clock of the case is to have."""
    slow = any(around(kind, clock) > SLOW for clock in case.clocks)
    return axes.min_samples or (FEWEST if slow and bounded(axes) else ENOUGH)


def sampling(case: Case, axes: Axes, kind: str, clock: str) -> float:
    """Seconds that this clock of the case needs for the samples it is to have."""
    if case.probe != "latency":
        return 0.0
    call = CALL[kind].get(case.implementation, CALL_ELSE[kind]) * reads(case)
    call *= 1.0 if case.direction == "forward" else 1.5
    needed = enough(case, axes, kind) * (call + around(kind, clock))
    return min(ceiling(axes), needed) if not axes.until_precise else ceiling(axes)


def fixed(case: Case, kind: str) -> float:
    """Seconds of a case apart from sampling: inputs, verification in float64, the trace."""
    if case.probe == "retention":
        return 0.06 + PHOTOGRAPH.get(case.method, 0.6e-6) * math.prod(case.shape)
    if case.probe == "network":
        return 4 * NETWORK[0] + (17.5 if kind == "cuda" else 0.0)
    if case.probe == "energy":
        return 17.5 if kind == "cuda" else 0.001
    compiling = 15.0 if case.implementation == "compiled" else KERNEL_SECONDS if kind == "cuda" else 0.0
    if case.probe == "memory":
        return 0.02 + (0.6 if kind == "cpu" else 0.2) * VERIFY[kind] * reads(case) + compiling
    verify = VERIFY[kind] * reads(case) * (1.0 if case.direction == "forward" else 1.6)
    return FIXED[kind] + verify * (0.1 if case.implementation in ("torch", "copy") else 1.0) + compiling


def cost(case: Case, axes: Axes, kind: str) -> float:
    return fixed(case, kind) + sum(sampling(case, axes, kind, clock) for clock in case.clocks)


def ceiling(axes: Axes) -> float:
    """Seconds that a clock may take for its samples, however slow the call is."""
    return CEILING if axes.min_samples or axes.until_precise else axes.preset.ceiling


def limit(axes: Axes, kind: str) -> float:
    """Seconds there are for measuring: what a budget leaves beside start and report, else the profile's."""
    if axes.budget is None:
        return axes.preset.budget[kind]
    return max(1.0, axes.budget - START_SECONDS - REPORT_SECONDS[axes.profile])


def bounded(axes: Axes) -> bool:
    """Whether the limit cuts a run: it does for the profiles as they are and for budgets, not for axes of one's own."""
    if axes.budget is not None:
        return True
    return not (
        axes.network or axes.methods or axes.kernels or axes.shapes or axes.dtypes or axes.images or axes.cases
        or axes.min_samples or axes.until_precise
    )  # fmt: skip


def estimate(cases: Iterable[Case], axes: Axes, kind: str) -> float:
    """Seconds that the run will take, start and report included: rough, from sizes and sampling times."""
    cases = list(cases)
    most = axes.preset.most if axes.budget is None else BUDGET_MOST
    least = sum(cost(case, axes, kind) for case in cases)
    wanted = sum(fixed(c, kind) + sum(max(most, sampling(c, axes, kind, k)) for k in c.clocks) for c in cases)
    measured = min(wanted, max(least, limit(axes, kind)))
    if bounded(axes):
        measured = min(measured, limit(axes, kind))
    return START_SECONDS + measured + REPORT_SECONDS[axes.profile]


def duration(seconds: float) -> str:
    """Seconds in words."""
    digits, size, unit = (0, 1, "s") if seconds < 100 else (1, 60, "min") if seconds < 5400 else (1, 3600, "h")
    return f"{seconds / size:.{digits}f} {unit}"


class Pace:
    """One device's clock: sampling time for each case, and the moment when time is up.

    `even` is for the sides of a comparison: seconds that every case has, with no end.
    """

    def __init__(self, cases: Sequence[Case], kind: str, axes: Axes, even: float | None = None) -> None:
        self.most = axes.preset.most if axes.budget is None else BUDGET_MOST
        self.limit, self.bounded, self.even = limit(axes, kind), bounded(axes) and even is None, even
        self._axes, self._kind = axes, kind
        self._clocks = [0] * (len(cases) + 1)
        self._fixed = [0.0] * (len(cases) + 1)
        for index in range(len(cases) - 1, -1, -1):
            case = cases[index]
            self._clocks[index] = self._clocks[index + 1] + (len(case.clocks) if case.probe == "latency" else 0)
            self._fixed[index] = self._fixed[index + 1] + cost(case, axes, kind)
        self._start: float | None = None
        self._real, self._guess = 0.0, 0.0  # seconds apart from further sampling, measured and estimated, so far

    def begin(self) -> None:
        """The first worker is ready."""
        if self._start is None:
            self._start = time.monotonic()

    def _left(self) -> float:
        return self.limit - (0.0 if self._start is None else time.monotonic() - self._start)

    def over(self) -> bool:
        return self.bounded and self._left() <= 0

    def left(self, position: int) -> float:
        """Seconds that the cases from this position on will take, as those before it went."""
        least = self._fixed[position] * self._speed()
        wanted = least + self.most * self._clocks[position]
        return max(0.0, min(wanted, self._left() if self.bounded else max(least, self._left())))

    def _speed(self) -> float:
        return min(4.0, max(0.25, (self._real + BELIEF) / (self._guess + BELIEF)))

    def request(self, position: int, case: Case) -> dict[str, Any]:
        """Sampling time per clock of the case at this position, and how many samples there have to be."""
        axes = self._axes
        if self.even is not None:
            return {"seconds": self.even}
        if case.probe == "network":
            least = axes.min_samples or FEWEST
            return {"seconds": NETWORK[0], "rule": {"least": least, "ceiling": NETWORK[1], "fair": FAIR}}
        if case.probe != "latency":
            return {"seconds": 0.0}
        spare = (self._left() - self._fixed[position] * self._speed()) / max(1, self._clocks[position])
        seconds = min(self.most, max(SHORTEST, spare))
        if axes.until_precise:
            seconds = CEILING
        fair = 0.0 if axes.min_samples else FAIR
        behind = self.bounded and spare < 0  # on a busy machine: an interval for all rather than a good one for a few
        least = FEWEST if behind and not axes.min_samples else enough(case, axes, self._kind)
        rule = {"least": least, "ceiling": ceiling(axes), "fair": fair}
        return {"seconds": seconds, "rule": rule}

    def spent(self, case: Case, seconds: float, sampled: float) -> None:
        """What the case took in the worker, with `sampled` seconds per clock allowed."""
        guess = cost(case, self._axes, self._kind)
        extra = sum(max(0.0, sampled - sampling(case, self._axes, self._kind, clock)) for clock in case.clocks)
        self._real += max(0.0, seconds - extra)
        self._guess += guess
