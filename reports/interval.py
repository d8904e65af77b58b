"""The distribution-free interval of the median of samples. Knows nothing of records; stdlib only.

With x(1) <= ... <= x(n) and B ~ Binomial(n, 1/2):  P(x(r) <= median <= x(n+1-r)) >= 1 - 2 P(B <= r - 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache


@cache
def rank(n: int, confidence: float = 0.95) -> int:
    """The largest r for which [x(r), x(n+1-r)] covers the median with the confidence asked; 0 when there is none.

    >>> rank(5), rank(6), rank(30)
    (0, 1, 10)
    """
    one_side = (1 - Fraction(str(confidence))) / 2
    allowed = one_side.numerator * 2**n // one_side.denominator  # in counts of 2**-n, so that nothing is rounded
    r, ways, below = 0, 1, 0
    while below + ways <= allowed:
        below += ways
        ways = ways * (n - r) // (r + 1)
        r += 1
    return r


def interval(ordered: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the median of sorted samples; NaN twice when the samples are too few to support one."""
    r = rank(len(ordered), confidence)
    return (ordered[r - 1], ordered[-r]) if r else (math.nan, math.nan)
