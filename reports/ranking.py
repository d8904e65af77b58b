"""Ranks with ties: what an interval cannot tell apart is equal. Numbers only; knows nothing of records.

Within a tie nobody wins; the caller's order (the cheaper first) stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

FAR = 15.0  # dB below the best: a picture of another scale, such as a sum, not one that is less like
ALIKE = 0.005  # dB; below this two means are the same in any digit shown


class Span(NamedTuple):
    """A value and its interval; NaN ends where it has none, equal ends where it is exact."""

    value: float
    lo: float
    hi: float


class Rank(NamedTuple):
    """The place, whether others share it, and whether every interval that it rests on was there."""

    place: int
    tied: bool
    sure: bool

    @property
    def mark(self) -> str:
        """2, 2= for a place that is shared, (2) without an interval to stand on."""
        text = f"{self.place}{'=' if self.tied else ''}"
        return text if self.sure else f"({text})"


def ranked(spans: Sequence[Span]) -> list[Rank]:
    """Ranks of the values, smallest first: equal to the leader of a group is whatever its interval overlaps."""
    order = sorted(range(len(spans)), key=lambda i: spans[i].value)

    def same(leader: int, other: int) -> bool:
        return spans[other].value == spans[leader].value or spans[other].lo <= spans[leader].hi

    return _grouped(order, same, [not math.isnan(span.lo) for span in spans])


def ranked_pairs(samples: Sequence[Sequence[float]]) -> list[Rank]:
    """Ranks of means over the same images, largest first: equal when the interval of the paired difference holds 0."""
    order = sorted(range(len(samples)), key=lambda i: -fmean(samples[i]))

    def same(leader: int, other: int) -> bool:
        found = difference(samples[leader], samples[other])
        return abs(found.value) < ALIKE or found.lo <= 0 <= found.hi

    return _grouped(order, same, [len(own) > 1 for own in samples])


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Span:
    """The mean of paired differences and its 95 % interval (Student's t over the pairs); no interval of one pair."""
    from scipy import special

    each = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, n = fmean(each), len(each)
    if n < 2:
        return Span(mean, math.nan, math.nan)
    half = float(special.stdtrit(n - 1, 0.975)) * stdev(each, mean) / math.sqrt(n)
    return Span(mean, mean - half, mean + half)


def _grouped(order: list[int], same: Callable[[int, int], bool], known: list[bool]) -> list[Rank]:
    groups: list[list[int]] = []
    for i in order:
        if groups and same(groups[-1][0], i):
            groups[-1].append(i)
        else:
            groups.append([i])
    found, place = [Rank(0, False, False)] * len(order), 1
    for group in groups:
        for i in group:
            found[i] = Rank(place, len(group) > 1, all(known[j] for j in group))
        place += len(group)
    return found
