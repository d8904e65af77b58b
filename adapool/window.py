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


def _least(size: int, other: int) -> int:
    """The smaller size; in a trace of torch.jit they are tensors, and their smaller one is for every input's."""
    if isinstance(size, Tensor) or isinstance(other, Tensor):
        return torch.minimum(torch.as_tensor(size), torch.as_tensor(other))
    return min(size, other)


def per_axis(name: str, value: object, rank: int, least: int) -> tuple[int, ...]:
    """`value` as one int for each of `rank` axes, each at least `least`. A kernel's None becomes WHOLE."""
    if rank not in (1, 2, 3):
        raise ValueError(f"{name}: expected an int or 1 to 3 ints, got {value!r}")
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
    A kernel of WHOLE (`kernel_size=None` or a None in it) takes its axis whole, in one cell. With a dilation the taps
    of a cell lie that far apart, and `dilation (kernel - 1) + 1` takes the kernel's place in the sizes.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool = False
    dilation: tuple[int, ...] = ()  # empty where all taps are neighbours

    @classmethod
    def make(
        cls,
        rank: int,
        kernel_size: Sizes,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        dilation: Ints = 1,
    ) -> Window:
        """Check torch.nn's arguments and return the window. `stride=None` means `kernel_size`."""
        return _make(rank, kernel_size, stride, padding, ceil_mode, dilation)

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """From the first to the last tap of a cell; WHOLE as in the kernel."""
        if not self.dilation:
            return self.kernel
        return tuple(k if k == WHOLE else d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def at(self, spatial: Sequence[int]) -> Window:
        """This window on an input of spatial size `spatial`: WHOLE is a number then."""
        if WHOLE not in self.kernel:
            return self
        kernel = tuple(n if k == WHOLE else k for n, k in zip(spatial, self.kernel, strict=True))
        return Window(kernel, self.stride, self.padding, self.ceil_mode, self.dilation)

    def output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output size for an input of spatial size `spatial`; ValueError if a kernel does not fit."""
        sizes = []
        for axis, (n, k, s, p) in enumerate(zip(spatial, self.reach, self.stride, self.padding, strict=True)):
            if k == WHOLE:
                sizes.append(1)
                continue
            span = n + 2 * p - k
            if span < 0 and not (self.ceil_mode and span > -s):
                dilated = f", with dilation {self.dilation[axis]}" if self.dilation else ""
                raise ValueError(
                    f"kernel_size: expected at most the padded input, {n} + 2 * {p} on spatial axis {axis}, "
                    f"got {k}{dilated}"
                )
            # Rounded up, less a last window that would start in the right padding.
            sizes.append(_least(-(-span // s), (n + p - 1) // s) + 1 if self.ceil_mode else span // s + 1)
        if self.dilation:
            self._check_taps(spatial, sizes)
        return tuple(sizes)

    def _check_taps(self, spatial: Sequence[int], sizes: Sequence[int]) -> None:
        """ValueError where a dilation beyond the input lets every tap of a cell fall into the padding."""
        axes = zip(spatial, sizes, self.stride, self.padding, self.dilation, strict=True)
        for axis, (n, cells, s, p, d) in enumerate(axes):
            if p > 0 and d > n and any((o * s - p) % d >= n for o in range(min(cells, -(-p // s)))):
                raise ValueError(
                    f"dilation: expected a tap of every cell inside the input, of size {n} on spatial axis {axis}, "
                    f"got {d} with padding {p}"
                )

    def default_unpooled(self, pooled: Sequence[int]) -> tuple[int, ...]:
        """The smallest input size that pools to `pooled`."""
        axes = zip(pooled, self.reach, self.stride, self.padding, strict=True)
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
        sizes = zip(spatial, self.output(spatial), self.reach, self.stride, self.padding, strict=True)
        for n, o, k, s, p in reversed(list(sizes)):
            # Without ceil_mode nothing is asked of n, so that a program exported with open sizes depends on none.
            right = -_least(0, n + p - (o - 1) * s - k) if self.ceil_mode else p
            margins += [0, 0] if k == WHOLE else [p, right]
        return margins, any(isinstance(m, Tensor) or m for m in margins)

    def unfold(self, x: Tensor) -> Tensor:
        """The taps of every cell: `[..., *spatial]` -> `[..., *out, taps]`; padded taps read 0."""
        spatial = x.shape[-self.rank :]
        out = self.output(spatial)
        margins, padded = self._margins(spatial)
        if padded:
            x = torch.nn.functional.pad(x, margins)
        lead = x.dim() - self.rank
        for axis, (o, k, s) in enumerate(zip(out, self.reach, self.stride, strict=True)):
            if k == WHOLE:
                x = x.movedim(lead + axis, -1).unsqueeze(lead + axis)
                continue
            x = x.unfold(lead + axis, k, s)
            if self.ceil_mode:  # which may have dropped a cell
                x = x.narrow(lead + axis, 0, o)
            if self.dilation:
                x = x[..., :: self.dilation[axis]]
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


@remembered(sizes=slice(1, 6))
def _make(rank: int, kernel_size: Sizes, stride: Ints | None, padding: Ints, ceil_mode: bool, dilation: Ints) -> Window:
    kernel = per_axis("kernel_size", kernel_size, rank, 1)
    if abs(math.prod(kernel)) >= LIMIT:  # WHOLE is -1
        raise ValueError(f"kernel_size: expected fewer than 2**63 taps, got {kernel_size!r}")
    # torch.nn reads an empty stride as "not given", and so do we.
    missing = stride is None or (isinstance(stride, Sequence) and len(stride) == 0)
    steps = kernel if missing else per_axis("stride", stride, rank, 1)
    pads = per_axis("padding", padding, rank, 0)
    gaps = per_axis("dilation", dilation, rank, 1)
    if type(ceil_mode) is not bool:
        raise TypeError(f"ceil_mode: expected a bool, got {ceil_mode!r}")
    whole = [k == WHOLE for k in kernel]
    if any(p and w for p, w in zip(pads, whole, strict=True)):
        raise ValueError(f"padding: expected 0 where kernel_size=None takes an axis whole, got {padding!r}")
    gaps = tuple(1 if k in (1, WHOLE) else d for k, d in zip(kernel, gaps, strict=True))
    apart = gaps if max(gaps) > 1 else ()
    reach = Window(kernel, steps, pads, ceil_mode, apart).reach
    if any(2 * p > r for p, r, w in zip(pads, reach, whole, strict=True) if not w):
        spread = f", {reach} with dilation {gaps}" if apart else ""
        raise ValueError(f"padding: expected at most half of kernel_size {kernel}{spread}, got {pads}")
    # One cell has no next one: where an axis is taken whole any stride is the same.
    steps = tuple(1 if w else s if s < LONGEST else LONGEST for s, w in zip(steps, whole, strict=True))
    return Window(kernel, steps, pads, ceil_mode, apart)
