"""LiftPool: pooling by a trained wavelet, whose bands restore the input exactly. Knows no row.

Nothing of a step is compiled: on a CPU nine tenths of its time and more are the convolutions of P and U, which d and s
wait for, so that a kernel would have the same passes over memory as the two sums that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapool.arguments import check_tensor
from adapool.layer import Layer

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Lifting(nn.Module):
    """One lifting step along an axis, `(x) -> (s, d)`: d = odd - P(even), s = even + U(d); and back.

    P and U are conv3 for each channel -> ReLU -> conv1 over channels -> tanh, and start at 0: s = even, d = odd.
    """

    def __init__(self, rank: int, channels: int, axis: int) -> None:
        super().__init__()
        self.axis = axis - rank  # counted from the end, so that a batch does not matter

        conv: Any = _CONV[rank]

        def small() -> nn.Sequential:
            size, padding = (tuple(n if i == axis else m for i in range(rank)) for n, m in ((3, 1), (1, 0)))
            last = conv(channels, channels, 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            first = conv(channels, channels, size, padding=padding, groups=channels)
            return nn.Sequential(first, nn.ReLU(), last, nn.Tanh())

        self.predict, self.update = small(), small()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        even, odd = torch.unflatten(x, self.axis, (-1, 2)).unbind(self.axis)
        detail = odd - self.predict(even)
        return even + self.update(detail), detail

    def back(self, smooth: Tensor, detail: Tensor) -> Tensor:
        """The x that `forward` made the two of."""
        even = smooth - self.update(detail)
        odd = detail + self.predict(even)
        return torch.stack((even, odd), self.axis).flatten(self.axis - 1, self.axis)


class LiftPool(Layer):
    """LiftPool: the sum of the bands of one trained lifting step along each axis; `restore` takes the bands back to x.

    `bands(x)` are 2^rank tensors of half the size, smooth along every axis first; `restore(bands)` is their exact
    inverse whatever the networks are (LiftUpPool), also of processed bands. Untrained, the bands are the input's even
    and odd places, and the layer is sum pooling of size 2. The paper's regularisers are `||s - odd||` and `||d||`.

    Shape: `(N, C, *spatial)`, even sizes, to half of each. Raises ValueError naming the argument. Source: Zhao & Snoek
    2021 (ICLR); P and U as in Temporal Lift Pooling (Hu et al. 2022), one pair for each axis, which all bands share.

    >>> lift, x = LiftPool(2, channels=3), torch.randn(1, 3, 8, 8)
    >>> torch.allclose(lift.restore(lift.bands(x)), x)
    True
    """

    def __init__(self, rank: int, channels: int) -> None:
        super().__init__()
        if rank not in _CONV:
            raise ValueError(f"rank: expected 1, 2 or 3, got {rank!r}")
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels: expected a positive int, got {channels!r}")
        self.steps = nn.ModuleList(Lifting(rank, channels, axis) for axis in range(rank))

    def bands(self, x: Tensor) -> list[Tensor]:
        """The 2^rank bands of x; of the axes in order, smooth before detail."""
        check_tensor("x", x)
        spatial = x.shape[-len(self.steps) :]
        if any(n % 2 for n in spatial):
            raise ValueError(f"x: expected even spatial sizes, got {tuple(x.shape)}")
        found = [x]
        for step in self.steps:
            found = [part for band in found for part in step(band)]
        return found

    def restore(self, bands: Sequence[Tensor]) -> Tensor:
        """The input whose bands these are; ValueError for another number of them."""
        if len(bands) != 2 ** len(self.steps):
            raise ValueError(f"bands: expected {2 ** len(self.steps)} tensors, got {len(bands)}")
        found = list(bands)
        for step in reversed(self.steps):
            found = [cast(Lifting, step).back(s, d) for s, d in list(pairwise(found))[::2]]
        return found[0]

    def forward(self, x: Tensor) -> Tensor:
        return reduce(add, self.bands(x))
