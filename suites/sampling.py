"""When to stop taking samples, and the loop that takes them. Knows nothing of clocks or subjects; torch-free.

Stop rule: at least 30 samples and the distribution-free 95 % interval of the median narrower than 0.5 % of it, or the
budget, or the largest number of samples; the reason goes into the record.
"""

from __future__ import annotations

import math
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reports.interval import interval, median

ENOUGH = 30
NARROW = 0.005
MOST = 1000
WIDE = 0.10  # an interval wider than this fraction of the median is called unstable


@dataclass
class Samples:
    """Seconds per call, each with its kept flag; why no more were taken; how they were taken."""

    values: list[float] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    stop: str = "budget"
    how: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(sorted(v for v, keep in zip(self.values, self.kept, strict=True) if keep))


def spread(ordered: list[float]) -> float:
    """Width of the interval of the median, as a fraction of the median; infinite when there is none."""
    low, high = interval(ordered)
    middle = median(ordered)
    return (high - low) / middle if not math.isnan(low) and middle > 0 else float("inf")


def take(
    sample: Callable[[], float],
    seconds: float,
    *,
    least: int = 3,
    most: int = MOST,
    now: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Call `sample` until the rule says stop; `seconds` is wall time, so that what a sample costs around it counts."""
    taken = Samples()
    ordered: list[float] = []
    end = now() + seconds
    while True:
        value = sample()
        taken.values.append(value)
        insort(ordered, value)
        n = len(ordered)
        if n >= ENOUGH and n % 5 == 0 and spread(ordered) < NARROW:
            taken.stop = "precise"
            break
        if n >= most:
            taken.stop = "max samples"
            break
        if n >= least and now() >= end:
            break
    taken.kept = [True] * len(taken.values)
    taken.warnings = describe(ordered)
    return taken


def describe(ordered: list[float]) -> list[str]:
    """What a reader must know of these samples."""
    said = ["few samples"] if len(ordered) < ENOUGH else []
    return said + (["unstable"] if len(ordered) >= 6 and spread(ordered) > WIDE else [])
