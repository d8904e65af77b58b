"""Definitions a second time, slowly: loops over cells and taps in plain Python floats.

The tests compare the rows with this file; nothing here may import adapool. Hand-worked numbers are in suites/golden.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any


def _softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    parts = [math.exp(v - top) for v in logits]
    return [p / sum(parts) for p in parts]


def _blend(weights: Sequence[float], a: Sequence[float]) -> float:
    return math.fsum(w * v for w, v in zip(weights, a, strict=True)) / math.fsum(weights)


def softpool(a: Sequence[float]) -> float:
    return _blend(_softmax(a), a)


def edscw(a: Sequence[float]) -> float:
    m = math.fsum(a) / len(a)
    dice = [2 * abs(v * m) / (v * v + m * m) if v or m else 0.0 for v in a]
    return _blend(_softmax(dice), a)


def idw(a: Sequence[float]) -> float:
    m = math.fsum(a) / len(a)
    gaps = [abs(v - m) for v in a]
    if min(gaps) <= 1e-12 * max(gaps):
        return m
    return _blend([1 / g for g in gaps], a)


def stochastic_eval(a: Sequence[float]) -> float:
    mass = [max(v, 0.0) for v in a]
    return _blend(mass, a) if any(mass) else math.fsum(a) / len(a)


def dpp(a: Sequence[float], symmetric: bool = True) -> float:
    m = math.fsum(a) / len(a)
    power = [((v - m) if symmetric else max(0.0, v - m)) ** 2 + 1e-3 for v in a]
    return _blend([math.sqrt(v / (math.fsum(power) / len(a))) + 1 for v in power], a)


DEFINITIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "avg": lambda a: math.fsum(a) / len(a),
    "sum": math.fsum,
    "lp_abs": lambda a: math.sqrt(math.fsum(v * v for v in a)),
    "lp": lambda a: math.sqrt(math.fsum(v * v for v in a)),
    "softpool": softpool,
    "edscw": edscw,
    "idw": idw,
    "ada": lambda a: 0.5 * edscw(a) + 0.5 * softpool(a),
    "stochastic_eval": stochastic_eval,
    "dpp": dpp,
    "dpp_asym": lambda a: dpp(a, False),
    "lip": softpool,
    "power": lambda a: (math.fsum(max(v, 1e-6) ** 3 for v in a) / len(a)) ** (1 / 3),
    "power_sum": lambda a: math.fsum(max(v, 1e-6) ** 3 for v in a) ** (1 / 3),
    "mixed": lambda a: 0.5 * max(a) + 0.5 * math.fsum(a) / len(a),
}


_Vector = Sequence[Fraction]


def _dot(a: _Vector, m: _Vector) -> Fraction:
    return sum((x * y for x, y in zip(a, m, strict=True)), Fraction(0))


def _dice(a: _Vector, m: _Vector) -> float:
    squares = _dot(a, a) + _dot(m, m)
    return float(2 * abs(_dot(a, m)) / squares) if squares else 0.0


def _cosine(a: _Vector, m: _Vector) -> float:
    lengths = math.sqrt(_dot(a, a)) * math.sqrt(_dot(m, m))
    return float(_dot(a, m)) / lengths if lengths else 0.0


def _energy(a: _Vector, m: _Vector) -> float:
    """c_0^2 over the energy of all circular shifts."""
    shifts = [_dot(a, [*m[k:], *m[:k]]) for k in range(len(m))]
    return float(shifts[0] ** 2 / _dot(shifts, shifts)) if any(shifts) else 0.0


def _huber(r: Fraction) -> Fraction:
    return r * r / 2 if abs(r) <= 1 else abs(r) - Fraction(1, 2)


LIKENESSES: dict[str, Any] = {  # of a tap and its region's mean
    "dice": _dice,
    "cosine": _cosine,
    "pce": _energy,
    "l2": lambda a, m: math.sqrt(sum((x - y) ** 2 for x, y in zip(a, m, strict=True))),
    "l1": lambda a, m: sum(abs(x - y) for x, y in zip(a, m, strict=True)),
    "chebyshev": lambda a, m: max(abs(x - y) for x, y in zip(a, m, strict=True)),
    "huber": lambda a, m: sum(_huber(x - y) for x, y in zip(a, m, strict=True)),
}


def by_likeness(name: str, measure: str, taps: Sequence[Sequence[float]]) -> list[float]:
    """One region of channel vectors, weighted by softmax of a similarity or by an inverse distance.

    In fractions, so that a mean of zero, or one that is a tap, is just that.
    """
    exact = [[Fraction(value) for value in tap] for tap in taps]
    mean = [sum(line, Fraction(0)) / len(taps) for line in zip(*exact, strict=True)]
    sizes = [LIKENESSES[measure](tap, mean) for tap in exact]
    if name == "idw" and not all(sizes):
        return [float(value) for value in mean]
    weights = [math.exp(size) if name == "edscw" else 1 / float(size) for size in sizes]
    total = math.fsum(weights)
    return [math.fsum(w * v for w, v in zip(weights, line, strict=True)) / total for line in zip(*taps, strict=True)]


def cells(size: int, k: int, s: int, p: int, ceil_mode: bool) -> int:
    """Output size by counting windows: the definition in torch.nn's documentation."""
    count = 0
    while True:
        start = count * s - p
        whole = start + k <= size + p
        ragged = ceil_mode and start < size and start - s + k < size + p
        if not (whole or ragged):
            return count
        count += 1


def regions(
    spatial: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil_mode: bool
) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Every output cell with the coordinates of its real taps."""
    axes = list(zip(spatial, kernel, stride, padding, strict=True))
    for cell in itertools.product(*(range(cells(n, k, s, p, ceil_mode)) for n, k, s, p in axes)):
        lines = [
            [i for i in range(o * s - p, o * s - p + k) if 0 <= i < n]
            for o, (n, k, s, p) in zip(cell, axes, strict=True)
        ]
        yield cell, list(itertools.product(*lines))
