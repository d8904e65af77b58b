"""How alike a tap is to its region's mean, and how far from it: the measures that AdaPool's paper compares.

Values come scaled to at most 1 in magnitude. Over the channel vector (axis 1), or of each scalar for itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TINY = 2.0**-64  # magnitudes below this fraction of the region's largest count as zero
# Of scalars some measures are one: then the first's name stands for it. The first of all is the default.
LIKENESSES = {"dice": "dice", "cosine": "cosine", "pce": "pce"}
DISTANCES = {"l2": "l2", "l1": "l2", "chebyshev": "l2", "huber": "huber"}


def likeness(values: Tensor, mean: Tensor, measure: str, vector: bool) -> Tensor:
    """Similarity of each tap to the mean, in [-1, 1]; 0 where one of them is zero."""
    found: Tensor = _LIKENESS[measure](values, mean, vector)
    return found


def _dice(values: Tensor, mean: Tensor, vector: bool) -> Tensor:
    """Dice-Sorensen coefficient `2 |<a, m>| / (<a, a> + <m, m>)`."""
    if vector:
        dot = (values * mean).sum(1, keepdim=True).abs()
        squares = (values * values + mean * mean).sum(1, keepdim=True)
        known = ~(squares <= TINY * TINY)  # NaN is known
        return torch.where(known, 2 * dot / torch.where(known, squares, 1.0), 0.0)
    small, large = torch.minimum(values.abs(), mean.abs()), torch.maximum(values.abs(), mean.abs())
    known = ~(large <= TINY)
    ratio = torch.where(known, small / torch.where(known, large, 1.0), 0.0)
    return 2 * ratio / (1 + ratio * ratio)


def _rounding(mean: Tensor) -> float:
    """What rounding makes of a mean of zero, which has no direction."""
    return 2 * torch.finfo(mean.dtype).eps


def _unit(vectors: Tensor, least: float = TINY) -> Tensor:
    """Each vector over its length; what is no larger than `least` is zero, and zero stays zero."""
    top = vectors.detach().abs().amax(1, keepdim=True)
    known = ~(top <= least)
    # Over the largest, so that no square underflows; ones for zero, whose length has no second derivative.
    vectors = torch.where(known, vectors / torch.where(known, top, 1.0), 1.0)
    return torch.where(known, vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True), 0.0)


def _sign(values: Tensor, least: float = TINY) -> Tensor:
    return torch.where(values.abs() > least, values.sign(), 0.0)


def _cosine(values: Tensor, mean: Tensor, vector: bool) -> Tensor:
    """`<a, m> / (|a| |m|)`; of scalars whether their signs agree."""
    if not vector:
        return _sign(values) * _sign(mean, _rounding(mean))
    return (_unit(values) * _unit(mean, _rounding(mean))).sum(1, keepdim=True)


def _correlation_energy(values: Tensor, mean: Tensor, vector: bool) -> Tensor:
    """Peak-to-correlation energy `c_0^2 / sum_k c_k^2`, c the circular cross-correlation of a and m; of scalars 1."""
    if not vector:
        return _cosine(values, mean, vector).abs()
    if not values.numel():  # of which there is no Fourier transform
        return values.sum(1, keepdim=True)
    spectrum, other = (torch.fft.rfft(v, dim=1) for v in (_unit(values), _unit(mean, _rounding(mean))))
    correlation = torch.fft.irfft(spectrum.conj() * other, n=values.shape[1], dim=1)
    energy = (correlation * correlation).sum(1, keepdim=True)
    known = ~(energy <= values.shape[1] * (8 * torch.finfo(energy.dtype).eps) ** 2)  # what rounding makes of 0
    peak = correlation.narrow(1, 0, 1)
    return torch.where(known, peak * peak / torch.where(known, energy, 1.0), 0.0)


_LIKENESS: dict[str, Callable[..., Tensor]] = {"dice": _dice, "cosine": _cosine, "pce": _correlation_energy}


def distance(gap: Tensor, measure: str, vector: bool, scale: Tensor) -> Tensor:
    """Size of `gap = a - m`, both over `scale`, up to a factor of the region's.

    Huber's `r^2 / 2 where |r| <= 1, else |r| - 1 / 2`, summed over channels, is of the unscaled r.
    """
    size = gap.abs()
    if measure == "huber":
        knee = (1 / scale).clamp(max=2)  # no scaled gap is beyond 2
        unit, low = knee.clamp(max=1), torch.minimum(size, knee)
        size = low * (low / (2 * unit)) + (knee / unit) * (size - low)
    if not vector:
        return size
    if measure == "l2":
        still = (gap == 0).all(1, keepdim=True)  # whose length has no second derivative
        return torch.where(still, 0.0, torch.linalg.vector_norm(torch.where(still, 1.0, gap), dim=1, keepdim=True))
    return size.amax(1, keepdim=True) if measure == "chebyshev" else size.sum(1, keepdim=True)
