"""Resampling between pixels and pooled cells, aligned by the window's centre; numpy matrices, deterministic.

Cell o of a window (k, s, p) is centred at pixel coordinate  o s - p + (k - 1) / 2.  Knows nothing of methods.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CUBIC = -0.75  # of Keys' family, as torch's bicubic
LOBES = 3  # Lanczos3


def centres(cells: int, k: int, s: int, p: int) -> Array:
    return np.asarray(np.arange(cells) * s - p + (k - 1) / 2, dtype=np.float64)


@cache
def bicubic(size: int, cells: int, k: int, s: int, p: int) -> Array:
    """[size, cells]: pixels from cells, cubic, edges repeated. Equals torch's bicubic for k = s, p = 0."""
    at = (np.arange(size) + p - (k - 1) / 2) / s
    low = np.floor(at).astype(int)
    matrix = np.zeros((size, cells))
    for step in range(-1, 3):
        distance = np.abs(at - (low + step))
        inner = (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
        outer = CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        weight = np.where(distance <= 1, inner, np.where(distance < 2, outer, 0.0))
        np.add.at(matrix, (np.arange(size), np.clip(low + step, 0, cells - 1)), weight)
    return matrix


@cache
def lanczos(size: int, cells: int, k: int, s: int, p: int) -> Array:
    """[cells, size]: cells from pixels by Lanczos3 widened by the stride (antialiased), renormalised at the edges."""
    distance = (np.arange(size)[None, :] - centres(cells, k, s, p)[:, None]) / s
    weight = np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    return np.asarray(weight / weight.sum(1, keepdims=True))


def apply(rows: Array, columns: Array, planes: Array) -> Array:
    """Both axes of `planes [..., h, w]`."""
    return np.asarray(rows @ planes @ columns.T)
