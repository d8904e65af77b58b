"""What a plan will take, and how the time that is left is shared out among the cases that are left. Torch-free."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

from suites.case import Case
from suites.plan import Axes

START_SECONDS = 8.0  # of a run: interpreter, torch, the first call of each probe
REPORT_SECONDS = {"smoke": 6.0, "default": 12.0, "full": 40.0}
SHORTEST = 0.03  # seconds of sampling that a clock of a case gets at least
BUDGET_MOST = 5.0  # and at most, when a budget is there to be spent


def fixed(case: Case, kind: str) -> float:
    """Seconds of one case apart from sampling: inputs, verification in float64, the trace."""
    numbers = math.prod(case.shape)
    if case.probe == "retention":
        return 0.10 + 0.4e-6 * numbers
    if case.probe == "energy":
        return 20.0 if kind == "cuda" else 0.001
    speed = 1e-7 if kind == "cpu" else 1e-8
    plain = 1 if case.implementation in ("native", "torch", "copy") else 3
    overlap = math.prod(case.kernel) / math.prod(case.stride)
    work = speed * numbers * max(1.0, overlap) * plain
    return 0.02 + work * (2 if case.probe == "latency" else 0.5) + (15 if case.implementation == "compiled" else 0)


def limit(axes: Axes, kind: str) -> float:
    """Seconds there are for measuring: what a budget leaves beside start and report, else the profile's."""
    if axes.budget is None:
        return axes.preset.budget[kind]
    return max(1.0, axes.budget - START_SECONDS - REPORT_SECONDS[axes.profile])


def bounded(axes: Axes) -> bool:
    """Whether the limit cuts a run: it does for the profiles as they are and for budgets, not for axes of one's own."""
    return axes.budget is not None or not (axes.methods or axes.kernels or axes.shapes or axes.dtypes or axes.images)


def estimate(cases: Iterable[Case], axes: Axes, kind: str) -> float:
    """Seconds that the run will take, start and report included: rough, from sizes and sampling times."""
    cases = list(cases)
    clocks = sum(len(case.clocks) for case in cases)
    settled = sum(fixed(case, kind) for case in cases)
    wanted = settled + clocks * (axes.preset.most if axes.budget is None else BUDGET_MOST)
    least = settled + clocks * SHORTEST
    measured = min(wanted, limit(axes, kind)) if bounded(axes) else min(wanted, max(least, limit(axes, kind)))
    return START_SECONDS + measured + REPORT_SECONDS[axes.profile]


class Pace:
    """One device's clock: sampling time for each case, and the moment when time is up."""

    def __init__(self, cases: Sequence[Case], kind: str, axes: Axes) -> None:
        self.most = axes.preset.most if axes.budget is None else BUDGET_MOST
        self.limit, self.bounded = limit(axes, kind), bounded(axes)
        self._clocks = [0] * (len(cases) + 1)
        self._fixed = [0.0] * (len(cases) + 1)
        for index in range(len(cases) - 1, -1, -1):
            case = cases[index]
            self._clocks[index] = self._clocks[index + 1] + (len(case.clocks) if case.probe == "latency" else 0)
            self._fixed[index] = self._fixed[index + 1] + fixed(case, kind)
        self._kind = kind
        self._start: float | None = None
        self._real, self._guess = 1.0, 1.0  # seconds apart from sampling, measured and estimated, so far

    def begin(self) -> None:
        """The first worker is ready."""
        if self._start is None:
            self._start = time.monotonic()

    def _left(self) -> float:
        return self.limit - (0.0 if self._start is None else time.monotonic() - self._start)

    def over(self) -> bool:
        return self.bounded and self._left() <= 0

    def seconds(self, position: int, case: Case) -> float:
        """Sampling time per clock of the case at this position."""
        if case.probe != "latency":
            return 0.0
        ahead = self._fixed[position] * min(4.0, max(0.25, self._real / self._guess))
        share = (self._left() - ahead) / max(1, self._clocks[position])
        return min(self.most, max(SHORTEST, share))

    def spent(self, case: Case, seconds: float, sampling: float) -> None:
        """What the case took in the worker, `sampling` of it per clock."""
        self._real += max(0.0, seconds - sampling * len(case.clocks))
        self._guess += fixed(case, self._kind)
