"""When to stop taking samples, and the loop that takes them. Knows nothing of clocks or subjects; torch-free.

docs/measuring.md has the rule. The budget ends nothing before there are as many samples as the plan counts on (`Rule`).
"""

from __future__ import annotations

import math
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from reports.interval import interval

ENOUGH = 30
NARROW = 0.005
MOST = 1000
FAIR = 0.02  # an interval as narrow as this needs no thirty samples
FEWEST = 10  # but these, so that it does not come about by chance
WIDE = 0.10  # an interval wider than this fraction of the median is called unstable


@dataclass(frozen=True)
class Rule:
    """How many samples there are to be, however long they take: at most `ceiling` seconds. Fewer are enough where the
    interval is as narrow a fraction of the median as `fair`.
    """

    least: int = 3
    ceiling: float = 0.0
    fair: float = 0.0


@dataclass
class Samples:
    """Seconds per call, each with its kept flag; why no more were taken; how they were taken."""

    values: list[float] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    stop: str = "budget"
    how: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def tell(self, calls: int, warm_up: int, seconds: float, flush_bytes: int, **more: Any) -> None:
        """How they were taken: calls of a sample, calls before the first, seconds allowed, bytes read before each."""
        self.how = {"calls_per_sample": calls, "warm_up": warm_up, "budget_s": round(seconds, 4)}
        self.how |= {"flush_bytes": flush_bytes, **more}

    @property
    def median(self) -> float:
        return median(v for v, keep in zip(self.values, self.kept, strict=True) if keep)


def spread(ordered: list[float]) -> float:
    """Width of the interval of the median, as a fraction of the median; infinite when there is none."""
    low, high = interval(ordered)
    middle = median(ordered)
    return (high - low) / middle if not math.isnan(low) and middle > 0 else float("inf")


def take(
    sample: Callable[[], float],
    seconds: float,
    rule: Rule = Rule(),
    *,
    most: int = MOST,
    now: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Call `sample` until the rule says stop; `seconds` is wall time, so that what a sample costs around it counts."""
    taken = Samples()
    ordered: list[float] = []
    start = now()
    end, latest = start + seconds, start + max(seconds, rule.ceiling)
    while True:
        value = sample()
        taken.values.append(value)
        insort(ordered, value)
        n = len(ordered)
        if n >= max(ENOUGH, rule.least) and n % 5 == 0 and spread(ordered) < NARROW:
            taken.stop = "precise"
            break
        if n >= most:
            taken.stop = "max samples"
            break
        if n >= 3 and (moment := now()) >= end and (moment >= latest or _enough(ordered, rule)):
            break
    taken.kept = [True] * len(taken.values)
    taken.warnings = describe(ordered)
    return taken


def _enough(ordered: list[float], rule: Rule) -> bool:
    n = len(ordered)
    return n >= rule.least or (n >= FEWEST and spread(ordered) <= rule.fair)


def describe(ordered: list[float]) -> list[str]:
    """What a reader must know of these samples."""
    few = len(ordered) < ENOUGH and not (len(ordered) >= FEWEST and spread(ordered) <= FAIR)
    said = ["few samples"] if few else []
    return said + (["unstable"] if len(ordered) >= 6 and spread(ordered) > WIDE else [])
