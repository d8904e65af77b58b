"""Random problems for a method: a window, a shape, a dtype, a layout, numbers. Knows no expected values."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapool import native
from adapool.registry import Operand, get, names
from adapool.window import Window

METHODS = [name for name in (*names(), "idw_huber") if name in native.METHODS or not native.LOADED]
IDW = ("idw", "idw_huber")
SIGNED = ("max", "avg", "sum", "softpool", "lip")  # well conditioned for numbers of both signs in every precision
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float64: 1e-8, torch.float32: 5e-5, torch.float16: 3e-3, torch.bfloat16: 2.5e-2}


def of_each_kind(methods: Sequence[str]) -> list[str]:
    """One method for each kind of operands and of what it gives beside y, which is all that a graph sees of it."""
    return [*{(*(spec.kind for spec in get(name).operands), get(name).extra): name for name in methods}.values()]


def values(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Problem:
    """One method's; the window and the shape are drawn where no `frame` gives them."""

    def __init__(
        self,
        seed: int,
        method: str,
        dtype: torch.dtype,
        channels_last: bool,
        frame: tuple[Window, tuple[int, ...]] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.method, self.dtype, self.channels_last, self.seed = method, dtype, channels_last, seed
        self.window, self.shape = frame or self._frame()
        self.cells = (*self.shape[:2], *self.window.output(self.shape[2:]))
        self.entry = get(method)
        # Gaps near zero make IDW ill-conditioned in every precision: take the kindest of some draws, and mind the rest.
        draws = [self.values(self.shape) for _ in range(30 if method in IDW else 1)]
        self.x = min(draws, key=self._condition)
        self.slack = 1 + 0.1 * self._condition(self.x) if method in IDW else 1.0
        self.operands = {spec.name: self._operand(spec) for spec in self.entry.operands}
        layout = "last" if channels_last else "nchw"
        w = self.window
        self.names = f"{method} {str(dtype)[6:]} {layout} {self.shape} {w.kernel}/{w.stride}+{w.padding} seed {seed}"

    def _frame(self) -> tuple[Window, tuple[int, ...]]:
        pick = self.random
        rank = pick.choice((1, 2, 2, 3))
        most = {1: 70, 2: 11, 3: 5}[rank]
        spatial = tuple(pick.randint(1, most) for _ in range(rank))
        kernel = tuple(pick.choice((1, 2, 2, 3, 3, 5, n)) for n in spatial)
        padding = tuple(pick.randint(0, k // 2) for k in kernel)
        kernel = tuple(min(k, n + 2 * p) for k, n, p in zip(kernel, spatial, padding, strict=True))
        padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
        kernel = tuple(min(k, n + 2 * p) for k, n, p in zip(kernel, spatial, padding, strict=True))
        stride = tuple(pick.choice((1, 2, k, k + 1)) for k in kernel)
        window = Window.make(rank, kernel, stride, padding, pick.random() < 0.4)
        batch = pick.randint(0 if pick.random() < 0.05 else 1, 2)
        return window, (batch, pick.choice((1, 2, 3, 5, 9, 17)), *spatial)

    def _condition(self, x: Tensor) -> float:
        """The largest max |a| / min |a - mean| of a region that is not constant."""
        if not x.numel():
            return 0.0
        taps, inside = self.window.unfold(x), self.window.inside(self.shape[2:], x.device)
        real = torch.ones_like(taps, dtype=torch.bool) if inside is None else inside.expand_as(taps)
        mean = (taps * real).sum(-1, keepdim=True) / real.sum(-1, keepdim=True)
        gaps = (taps - mean).abs()
        near = gaps.masked_fill(~real, torch.inf).amin(-1)
        mixed = (gaps * real).amax(-1) > 1e-9
        return float(torch.where(mixed, taps.abs().amax(-1) / near.clamp(min=1e-12), 0.0).max())

    def values(self, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        """Numbers exact in the dtype; away from cancelling means, where every precision is ill-conditioned."""
        raw = torch.rand(shape, generator=self.generator, dtype=torch.float64) * 2.5 + 0.25
        if self.method in SIGNED or (self.dtype == torch.float64 and self.method != "lp"):
            raw -= 1.2
        return raw.to(dtype or self.dtype).double()

    def _operand(self, spec: Operand) -> Tensor | float | None:
        pick, n, c, out = self.random, self.cells[0], self.cells[1], self.cells[2:]
        if spec.kind == "input":
            return self.values(self.shape, pick.choice(DTYPES))
        if spec.kind == "random":
            return torch.rand(self.cells, generator=self.generator, dtype=torch.float64)
        if pick.random() < 0.2:
            return None if spec.default is None else 0.25 if spec.mixes else 1.5 + (spec.least or 0)
        ones = (1,) * len(out)
        shapes: list[tuple[int, ...]] = [
            (), (1,), (c, *ones), out, (c, *out), self.cells, (n, 1, *ones), (n, c, *ones), (n, 1, *out),
            (*out[:-1], 1),
        ]  # fmt: skip
        raw = torch.rand(pick.choice(shapes), generator=self.generator, dtype=torch.float64)
        scale, least = (0.9 if spec.mixes else 2), max(spec.least or 0, 0.05)
        return raw.to(pick.choice((torch.float64, torch.float32))) * scale + least

    def options(self) -> tuple[Any, ...]:
        w = self.window
        return (w.kernel, w.stride, w.padding, w.ceil_mode)

    def tolerance(self, dtype: torch.dtype | None = None) -> float:
        """Relative to the largest number of a result that is rounded to `dtype`, or to the problem's."""
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        return max(self.slack * TOLERANCE[wide if dtype else self.dtype], TOLERANCE[dtype or self.dtype])

    def leaves(self) -> tuple[Tensor, dict[str, Any]]:
        """x and operands in float64."""
        x = self.x.clone().requires_grad_()
        operands = {
            n: v.double().clone().requires_grad_(n not in self.entry.takes("random")) if isinstance(v, Tensor) else v
            for n, v in self.operands.items()
        }
        return x, operands
