"""Which regions a pooling window visits: sizes, output shape, and the taps of every cell.

Knows nothing of methods, operands or native code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_compiling

Ints = int | Sequence[int]
Found = TypeVar("Found")


def is_traced() -> bool:
    """Whether the call is traced rather than run, so that sizes may be symbols or tensors."""
    return is_compiling() or torch._C._is_tracing()


def remembered(check: Callable[..., Found]) -> Callable[..., Found]:
    """`check` with a memory of its last 1024 answers, for a layer asks the same at every call. Tracing leaves none."""
    answer = lru_cache(maxsize=1024, typed=True)(check)

    @wraps(check)
    def ask(*question: Any) -> Found:
        if is_traced():
            return check(*question)
        try:
            return answer(*question)
        except TypeError:  # a list cannot be looked up, and what is no number is told so
            pass
        return check(*question)

    return ask


def _per_axis(name: str, value: Ints, rank: int, least: int) -> tuple[int, ...]:
    """`value` as one int for each of `rank` axes, each at least `least`."""
    axes = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in axes):
        raise TypeError(f"{name}: expected an int or {rank} ints, got {value!r}")
    if len(axes) == 1:
        axes *= rank
    if len(axes) != rank:
        raise ValueError(f"{name}: expected an int or {rank} ints for {rank}-D pooling, got {value!r}")
    if min(axes) < least:
        raise ValueError(f"{name}: expected {'positive' if least else 'non-negative'} sizes, got {value!r}")
    return axes


@dataclass(frozen=True)
class Window:
    """A pooling window: one int per spatial axis, outermost axis first.

    Cell `o` of an axis reads taps `o * stride - padding + (0 .. kernel - 1)`; taps outside the input
    are excluded from every method. Output size per axis: `floor((size + 2 padding - kernel) / stride) + 1`;
    with `ceil_mode` the quotient is rounded up and a last window that would start in the right padding is dropped.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool = False

    @classmethod
    def make(
        cls, rank: int, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False
    ) -> Window:
        """Check torch.nn's arguments and return the window. `stride=None` means `kernel_size`."""
        return _make(rank, kernel_size, stride, padding, ceil_mode)

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    def output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output size for an input of spatial size `spatial`; ValueError if a kernel does not fit."""
        sizes = []
        for axis, (n, k, s, p) in enumerate(zip(spatial, self.kernel, self.stride, self.padding, strict=True)):
            span = n + 2 * p - k
            if span < 0:
                raise ValueError(
                    f"kernel_size: expected at most the padded input, {n} + 2 * {p} on spatial axis {axis}, got {k}"
                )
            cells = span // s + 1
            if self.ceil_mode:
                cells = -(-span // s) + 1
                if (cells - 1) * s >= n + p:
                    cells -= 1
            sizes.append(cells)
        return tuple(sizes)

    def default_unpooled(self, pooled: Sequence[int]) -> tuple[int, ...]:
        """The smallest input size that pools to `pooled`."""
        axes = zip(pooled, self.kernel, self.stride, self.padding, strict=True)
        return tuple((o - 1) * s + k - 2 * p for o, k, s, p in axes)

    def check_unpooled(self, spatial: Sequence[int], pooled: Sequence[int]) -> None:
        """ValueError unless an input of size `spatial` pools to `pooled`."""
        if len(spatial) != self.rank or self.output(spatial) != tuple(pooled):
            raise ValueError(
                f"output_size: expected {self.rank} sizes that pool to {tuple(pooled)} "
                f"(for example {self.default_unpooled(pooled)}), got {tuple(spatial)}"
            )

    def _margins(self, spatial: Sequence[int]) -> tuple[list[int], bool]:
        """Padding for `F.pad` (last axis first) that gives every tap a place, and whether any is needed."""
        margins: list[int] = []
        sizes = zip(spatial, self.output(spatial), self.kernel, self.stride, self.padding, strict=True)
        for n, o, k, s, p in reversed(list(sizes)):
            margins += [p, max(0, (o - 1) * s + k - p - n)]
        return margins, any(margins)

    def unfold(self, x: Tensor) -> Tensor:
        """The taps of every cell: `[..., *spatial]` -> `[..., *out, taps]`; padded taps read 0."""
        spatial = x.shape[-self.rank :]
        out = self.output(spatial)
        margins, padded = self._margins(spatial)
        if padded:
            x = torch.nn.functional.pad(x, margins)
        lead = x.dim() - self.rank
        for axis, (o, k, s) in enumerate(zip(out, self.kernel, self.stride, strict=True)):
            x = x.unfold(lead + axis, k, s).narrow(lead + axis, 0, o)
        return x.flatten(-self.rank)

    def inside(self, spatial: Sequence[int], device: torch.device) -> Tensor | None:
        """Which taps are real, `[*out, taps]`; None when all are."""
        if not self._margins(spatial)[1]:
            return None
        return self.unfold(torch.ones(tuple(spatial), device=device)) > 0

    def places(self, spatial: Sequence[int], device: torch.device) -> Tensor:
        """Flat index in the input plane of every tap, `[*out, taps]`; -1 for padded taps."""
        numbered = torch.arange(1, math.prod(spatial) + 1, device=device).reshape(tuple(spatial))
        return self.unfold(numbered) - 1

    def fold(self, taps: Tensor, spatial: Sequence[int]) -> Tensor:
        """Adjoint of `unfold`: add every tap `[..., *out, taps]` to its place in `[..., *spatial]`."""
        lead = taps.shape[: taps.dim() - self.rank - 1]
        slots = self.places(spatial, taps.device).flatten() + 1  # padded taps collect in slot 0
        planes = taps.new_zeros((*lead, math.prod(spatial) + 1))
        planes = planes.scatter_add(-1, slots.expand(*lead, -1), taps.flatten(len(lead)))
        return planes[..., 1:].reshape(*lead, *spatial)


@remembered
def _make(rank: int, kernel_size: Ints, stride: Ints | None, padding: Ints, ceil_mode: bool) -> Window:
    kernel = _per_axis("kernel_size", kernel_size, rank, 1)
    # torch.nn reads an empty stride as "not given", and so do we.
    missing = stride is None or (isinstance(stride, Sequence) and len(stride) == 0)
    steps = kernel if missing else _per_axis("stride", stride, rank, 1)  # type: ignore[arg-type]
    pads = _per_axis("padding", padding, rank, 0)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise ValueError(f"padding: expected at most half of kernel_size {kernel}, got {pads}")
    return Window(kernel, steps, pads, bool(ceil_mode))
