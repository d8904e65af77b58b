"""Regions that no window describes, listed tap by tap: those of adaptive and of fractional pooling.

Knows sizes and indices; nothing of methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adapool.window import Window, is_traced


@dataclass(frozen=True)
class Grid:
    """`at`: flat index in the input plane of every tap, `[*out, taps]`, or `[N, C, *out, taps]` where planes differ.

    Where `ragged`, cells have unequal numbers of taps, and -1 fills up.
    """

    at: Tensor
    rank: int
    ragged: bool

    def unfold(self, x: Tensor) -> Tensor:
        """The taps of every cell: `[N, C, *spatial]` -> `[N, C, *out, taps]`; what fills up reads 0."""
        flat, at = x.flatten(-self.rank), self.at.clamp(min=0) if self.ragged else self.at
        alike = at.dim() == self.rank + 1
        taps = flat[..., at] if alike else flat.gather(-1, at.flatten(2)).reshape(at.shape)
        return torch.where(self.at >= 0, taps, 0.0) if self.ragged else taps

    def inside(self, spatial: Sequence[int], device: torch.device) -> Tensor | None:
        """Which taps are real; None when all are."""
        return self.at >= 0 if self.ragged else None

    def places(self, spatial: Sequence[int], device: torch.device) -> Tensor:
        """Flat index in the input plane of every tap; -1 for what fills up."""
        return self.at


Regions = Window | Grid


def adaptive(spatial: Sequence[int], out: Sequence[int], device: torch.device) -> Grid:
    """Cell `o` of an axis of size n takes its taps from `floor(o n / out)` to `ceil((o + 1) n / out) - 1`: torch's."""
    axes = []
    for n, cells in zip(spatial, out, strict=True):
        common = 1 if is_traced() else math.gcd(n, cells)
        most = (n // common + 2 * (cells // common) - 2) // (cells // common)
        cell = torch.arange(cells, device=device).unsqueeze(-1)
        tap = cell * n // cells + torch.arange(most, device=device)
        axes.append(torch.where(tap * cells < (cell + 1) * n, tap, -1))
    return _grid(axes, spatial, True)


def fractional(spatial: Sequence[int], kernel: Sequence[int], out: Sequence[int], samples: Tensor) -> Grid:
    """Cell `i` of an axis starts at `floor((i + u) a) - floor(u a)`, `a = (n - k) / (out - 1)`, and the last at n - k.

    u is the plane's of `samples [N, C, rank]`, whose last axis is in the order of the spatial ones; as torch's.
    """
    axes, samples = [], samples.to(torch.promote_types(samples.dtype, torch.float32))
    for axis, (n, k, cells) in enumerate(zip(spatial, kernel, out, strict=True)):
        u, cell = samples[..., axis, None], torch.arange(cells, device=samples.device)
        step = (n - k) / (cells - 1) if cells > 1 else 0.0
        start = (((cell + u) * step).long() - (u * step).long()).clamp(0, n - k)  # no sample reads beyond the plane
        start = torch.where(cell == cells - 1, n - k, start)
        axes.append(start.unsqueeze(-1) + torch.arange(k, device=samples.device))
    return _grid(axes, spatial, False)


def _grid(axes: Sequence[Tensor], spatial: Sequence[int], ragged: bool) -> Grid:
    """The taps `[..., cells, k]` of every axis together, by their flat index."""
    rank, lead = len(axes), axes[0].shape[:-2]
    at = torch.zeros((), dtype=torch.int64, device=axes[0].device)
    for axis, (taps, n) in enumerate(zip(axes, spatial, strict=True)):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = taps.shape[-2:]
        along = taps.reshape(*lead, *shape)
        at = torch.where((at < 0) | (along < 0), -1, at * n + along) if ragged else at * n + along
    return Grid(at.flatten(-rank), rank, ragged)
