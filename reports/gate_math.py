"""Student's t, digamma and trigamma from their formulas, so that the gate's arithmetic can be read and checked here.

Stdlib only; knows nothing of cases or verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache


def student_sf(t: float, df: float) -> float:
    """P(T > t) of Student's t with `df` degrees of freedom (any positive number; inf is the normal).

    P(|T| > t) = I(df / (df + t^2); df / 2, 1 / 2), the regularised incomplete beta function.
    """
    if math.isinf(df):
        return 0.5 * math.erfc(t / math.sqrt(2))
    if t == 0:
        return 0.5
    square = t * t
    tail = 0.5 * _beta(df / (df + square), square / (df + square), df / 2, 0.5)
    return tail if t > 0 else 1 - tail


@cache
def student_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p."""
    if not 0 < p < 1:
        raise ValueError(f"p: expected a number between 0 and 1, got {p!r}")
    if p == 0.5:
        return 0.0
    if p < 0.5:
        return -student_quantile(1 - p, df)
    high = 1.0
    while student_sf(high, df) > 1 - p:
        high *= 2
    return _root(lambda t: student_sf(t, df) - (1 - p), 0.0, high)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero, by halving."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if f(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(x: float, rest: float, a: float, b: float) -> float:
    """I(x; a, b), with rest = 1 - x given apart so that it keeps its digits."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(rest, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's way."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 500):
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + top * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + top / c
            c = c if abs(c) > tiny else tiny
            step = c * d
            value *= step
        if abs(step - 1) < 1e-15:
            break
    return value


def digamma(x: float) -> float:
    """The derivative of log gamma, for x > 0: recurrence up to 10, then its asymptotic series."""
    shift = 0.0
    while x < 10:
        shift -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240 - inverse / 132))))
    return shift + math.log(x) - 0.5 / x - series


def trigamma(x: float) -> float:
    """The second derivative of log gamma, for x > 0."""
    shift = 0.0
    while x < 10:
        shift += 1 / (x * x)
        x += 1
    inverse = 1 / (x * x)
    series = inverse * (1 / 6 - inverse * (1 / 30 - inverse * (1 / 42 - inverse * (1 / 30 - inverse * 5 / 66))))
    return shift + 1 / x + inverse / 2 + series / x


def trigamma_inverse(y: float) -> float:
    """The x > 0 with trigamma(x) = y."""
    if y <= 0:
        raise ValueError(f"y: expected a positive number, got {y!r}")
    low, high = 1e-8, 1.0
    while trigamma(high) > y:
        low, high = high, high * 2
    return _root(lambda x: trigamma(x) - y, low, high)
