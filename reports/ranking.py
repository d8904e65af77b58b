"""Ranks with ties: what an interval cannot tell apart is equal. Numbers only; knows nothing of records.

Within a tie nobody wins; the caller's order (the cheaper first) stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

_T = (  # Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; 1.96 beyond
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
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
    return _grouped(order, lambda leader, other: _overlap(spans[leader], spans[other]), [_known(s) for s in spans])


def ranked_pairs(samples: Sequence[Sequence[float]]) -> list[Rank]:
    """Ranks of means over the same images, largest first: equal when the interval of the paired difference holds 0."""
    order = sorted(range(len(samples)), key=lambda i: -_mean(samples[i]))

    def same(leader: int, other: int) -> bool:
        found = difference(samples[leader], samples[other])
        return abs(found.value) < ALIKE or found.lo <= 0 <= found.hi

    return _grouped(order, same, [len(own) > 1 for own in samples])


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Span:
    """The mean of paired differences and its 95 % interval (Student's t over the pairs); no interval of one pair."""
    each = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, n = _mean(each), len(each)
    if n < 2:
        return Span(mean, math.nan, math.nan)
    error = math.sqrt(sum((d - mean) ** 2 for d in each) / (n - 1) / n)
    half = error * (_T[n - 2] if n - 2 < len(_T) else 1.96)
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


def _overlap(leader: Span, other: Span) -> bool:
    return other.value == leader.value or other.lo <= leader.hi


def _known(span: Span) -> bool:
    return not math.isnan(span.lo)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
