"""Which regions a pooling window visits: sizes, output shape, and the taps of every cell.

Knows nothing of methods, operands or native code.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_compiling

Ints = int | Sequence[int]
Sizes = int | Sequence[int | None] | None  # of a kernel; None takes an axis whole
WHOLE = -1  # a kernel that takes its axis whole, in one cell: nothing of a window then depends on the input's size
LIMIT = 2**63
LONGEST = 2**40  # no axis is longer, so that a longer stride is the same as this one, and sums of sizes stay integers
Found = TypeVar("Found")
_is_tracing = torch._C._is_tracing


def is_traced() -> bool:
    """Whether the call is traced rather than run, so that sizes may be symbols or tensors."""
    return is_compiling() or _is_tracing()


def remembered(sizes: slice) -> Callable[[Callable[..., Found]], Callable[..., Found]]:
    """A check with a memory of its last 1024 answers, for a layer asks the same at every call. Tracing leaves none.

    `sizes` are the arguments that may be tuples of ints: the memory tells 1 from 1.0 and True, but not inside a tuple.
    """

    def remember(check: Callable[..., Found]) -> Callable[..., Found]:
        answer = lru_cache(maxsize=1024, typed=True)(check)

        @wraps(check)
        def ask(*question: Any) -> Found:
            if is_traced():
                return check(*question)
            for part in question[sizes]:
                if part.__class__ is tuple:
                    for size in part:
                        if size.__class__ is not int and size is not None:
                            return check(*question)
            try:
                return answer(*question)
            except TypeError:  # a list cannot be looked up, and what is no number is told so
                pass
            return check(*question)

        return ask

    return remember


def _size(value: object) -> int | None:
    """`value` as an int where it is a whole number of any kind (NumPy's, a tensor's, a symbol), else None."""
    if isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool):
        return value  # type: ignore[return-value]
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def per_axis(name: str, value: object, rank: int, least: int) -> tuple[int, ...]:
    """`value` as one int for each of `rank` axes, each at least `least`. A kernel's None becomes WHOLE."""
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * rank
    if len(given) == 1:
        given *= rank
    whole = name == "kernel_size"
    axes = [WHOLE if whole and v is None else _size(v) for v in given]
    if None in axes:
        raise TypeError(f"{name}: expected an int or {rank} ints, got {value!r}")
    if len(axes) != rank:
        raise ValueError(f"{name}: expected an int or {rank} ints for {rank}-D pooling, got {value!r}")
    sizes = [v for v, g in zip(axes, given, strict=True) if g is not None]
    if any(v < least for v in sizes):  # type: ignore[operator]
        raise ValueError(f"{name}: expected {'positive' if least else 'non-negative'} sizes, got {value!r}")
    if any(v >= LIMIT for v in sizes):  # type: ignore[operator]
        raise ValueError(f"{name}: expected sizes below 2**63, got {value!r}")
    return tuple(axes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Window:
    """A pooling window: one int per spatial axis, outermost axis first.

    Cell `o` of an axis reads taps `o * stride - padding + (0 .. kernel - 1)`; taps outside the input
    are excluded from every method. Output size per axis: `floor((size + 2 padding - kernel) / stride) + 1`;
    with `ceil_mode` the quotient is rounded up and a last window that would start in the right padding is dropped.
    A kernel of WHOLE (`kernel_size=None` or a None in it) takes its axis whole, in one cell.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool = False

    @classmethod
    def make(
        cls, rank: int, kernel_size: Sizes, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False
    ) -> Window:
        """Check torch.nn's arguments and return the window. `stride=None` means `kernel_size`."""
        return _make(rank, kernel_size, stride, padding, ceil_mode)

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    def at(self, spatial: Sequence[int]) -> Window:
        """This window on an input of spatial size `spatial`: WHOLE is a number then."""
        if WHOLE not in self.kernel:
            return self
        kernel = tuple(n if k == WHOLE else k for n, k in zip(spatial, self.kernel, strict=True))
        return Window(kernel, self.stride, self.padding, self.ceil_mode)

    def output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output size for an input of spatial size `spatial`; ValueError if a kernel does not fit."""
        sizes = []
        for axis, (n, k, s, p) in enumerate(zip(spatial, self.kernel, self.stride, self.padding, strict=True)):
            if k == WHOLE:
                sizes.append(1)
                continue
            span = n + 2 * p - k
            if span < 0 and not (self.ceil_mode and span > -s):
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
            margins += [0, 0] if k == WHOLE else [p, max(0, (o - 1) * s + k - p - n)]
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
            if k == WHOLE:
                x = x.movedim(lead + axis, -1).unsqueeze(lead + axis)
            else:
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


@remembered(sizes=slice(1, 4))
def _make(rank: int, kernel_size: Sizes, stride: Ints | None, padding: Ints, ceil_mode: bool) -> Window:
    kernel = per_axis("kernel_size", kernel_size, rank, 1)
    # torch.nn reads an empty stride as "not given", and so do we.
    missing = stride is None or (isinstance(stride, Sequence) and len(stride) == 0)
    steps = kernel if missing else per_axis("stride", stride, rank, 1)
    pads = per_axis("padding", padding, rank, 0)
    if type(ceil_mode) is not bool:
        raise TypeError(f"ceil_mode: expected a bool, got {ceil_mode!r}")
    whole = [k == WHOLE for k in kernel]
    if any(p and w for p, w in zip(pads, whole, strict=True)):
        raise ValueError(f"padding: expected 0 where kernel_size=None takes an axis whole, got {padding!r}")
    if any(2 * p > k for p, k, w in zip(pads, kernel, whole, strict=True) if not w):
        raise ValueError(f"padding: expected at most half of kernel_size {kernel}, got {pads}")
    # One cell has no next one: where an axis is taken whole any stride is the same.
    steps = tuple(1 if w else s if s < LONGEST else LONGEST for s, w in zip(steps, whole, strict=True))
    return Window(kernel, steps, pads, ceil_mode)
