"""Pooling in two steps: a method at every place, then one place of each block, drawn in training, later their mean.

The second step is S3Pool's (Zhai et al. 2017, arXiv 1611.05138). Knows no method by name but S3Pool's first step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adapool.arguments import check_tensor, draw, make_batched
from adapool.functional import pool
from adapool.layer import Layer, ranks
from adapool.window import Ints, Sizes, Window, per_axis


def draw_places(u: Tensor, length: int, keep: int) -> Tensor:
    """Places along an axis of `length`: of each block, as long as a row of `u [blocks, grid]`, `keep` in their order.

    The last block ends with the axis, and its places beyond are never drawn. No wait for the device.
    """
    blocks, grid = u.shape
    place = torch.arange(blocks * grid, device=u.device).reshape(blocks, grid)
    order = torch.where(place < length, u, 2.0).argsort(-1)[:, :keep].sort(-1).values
    return (place[:, :1] + order).flatten()


class Sampled(Layer):
    """What the layers with that second step share. A subclass says what its first step is: `everywhere`."""

    kernel: tuple[int, ...]
    grid: tuple[int, ...]
    generator: torch.Generator | None

    def everywhere(self, x: Tensor) -> Tensor:
        """The first step: `x [N, C, *spatial]` pooled at every place, with stride 1."""
        raise NotImplementedError

    def uniforms(self, spatial: Sequence[int]) -> int:
        """How many uniform numbers a call in training takes: one for each place of each axis that may be drawn."""
        self._check(spatial)
        return sum(n // g * g for n, g in zip(spatial, self.grid, strict=True))

    def forward(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        check_tensor("x", x)
        rank = len(self.kernel)
        x, added = make_batched(x, rank)
        spatial = x.shape[2:]
        count, z = self.uniforms(spatial), self.everywhere(x)
        if self.training:
            if u is None:
                u = draw((count,), self.generator, x.device)
            check_tensor("u", u)
            if u.shape != (count,):
                raise ValueError(f"u: expected {count} numbers in [0, 1), got shape {tuple(u.shape)}")
            parts = torch.split(u, [n // g * g for n, g in zip(spatial, self.grid, strict=True)])
            for axis, (part, k, g) in enumerate(zip(parts, self.kernel, self.grid, strict=True), start=2):
                z = z.index_select(axis, draw_places(part.reshape(-1, g), z.shape[axis], g // k))
        else:
            for axis, (n, k) in enumerate(zip(spatial, self.kernel, strict=True), start=2):
                z = z.narrow(axis, 0, min(z.shape[axis], n // k * k))
            z = pool(z, "avg", self.kernel, ceil_mode=True)
        return z.squeeze(0) if added else z

    def _check(self, spatial: Sequence[int]) -> None:
        for n, k, g in zip(spatial, self.kernel, self.grid, strict=True):
            if n < g or (g != k and n % g):
                raise ValueError(f"x: expected spatial sizes of whole grids of {self.grid}, got {tuple(spatial)}")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel}, grid={self.grid}"


def as_blocks(rank: int, kernel_size: Ints, grid: Ints | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The kernel and the grid of each axis; ValueError for a grid that is no multiple of the kernel."""
    kernel = per_axis("kernel_size", kernel_size, rank, 1)
    if min(kernel) < 1:
        raise TypeError(f"kernel_size: expected an int or {rank} ints, got {kernel_size!r}")
    cells = kernel if grid is None else per_axis("grid", grid, rank, 1)
    if any(g % k for g, k in zip(cells, kernel, strict=True)):
        raise ValueError(f"grid: expected multiples of the kernel {kernel}, got {grid!r}")
    return kernel, cells


def check_abutting(rank: int, kernel_size: Sizes, stride: Ints | None, padding: Ints) -> None:
    """ValueError unless the window is one that abuts: the stride is the kernel, without padding."""
    window = Window.make(rank, kernel_size, stride, padding)
    if window.stride != window.kernel or any(window.padding):
        raise ValueError(f"stride: expected the kernel {window.kernel} and padding 0, got {stride!r} and {padding!r}")


class S3Pool(Sampled):
    """Stochastic spatial sampling (S3Pool): the maximum at every place, then places drawn along each axis.

    z = max pooling of size k with stride 1. In training each axis is cut into blocks of `grid` places (default: k), of
    which grid / k are drawn without replacement, one draw for all images and channels; with uniform numbers `u` from
    `generator`, or given (`uniforms(x.shape[2:])` of them). In evaluation z is averaged over blocks of k, which for
    grid = k is the expectation of training. (The released code's blocks lie k // 2 places before these.)

    Shape: `(N, C, *spatial)` or `(C, *spatial)` to `size // k` for each axis; grids other than k ask for whole grids.
    Raises ValueError or TypeError naming the argument. Source: Zhai et al. 2017 (arXiv 1611.05138); 1-D and 3-D are the
    direct generalisation.

    >>> S3Pool2d(2).eval()(torch.arange(16.0).reshape(1, 1, 4, 4)).flatten().tolist()
    [7.5, 9.0, 13.5, 15.0]
    """

    def __init__(
        self, kernel_size: Ints = 2, grid: Ints | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.kernel, self.grid = as_blocks(self.rank or 2, kernel_size, grid)
        self.generator = generator

    def everywhere(self, x: Tensor) -> Tensor:
        return pool(x, "max", self.kernel, 1)


S3Pool1d, S3Pool2d, S3Pool3d = ranks(S3Pool)
