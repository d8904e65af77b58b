"""Pooling by the size of the output: adaptive and fractional, for every method, as torch has them for avg and max.

Where an adaptive output size divides the input's, its regions are a window's, and the compiled kernel runs. All else is
the plain row's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_exporting

from adapool import grid
from adapool.arguments import check_choices, deferred, draw, make_batched, rank_of
from adapool.functional import Gradient, Implementation, Measure, Plan, Similarity, run, run_plan, uses_native
from adapool.registry import get
from adapool.window import Ints, Sizes, is_traced, per_axis

Ratio = float | Sequence[float]


def adaptive_pool(
    x: Tensor,
    method: str,
    output_size: Sizes,
    *,
    return_extra: bool = False,
    implementation: Implementation = "auto",
    gradient: Gradient = "exact",
    similarity: Similarity = "channel",
    measure: Measure | None = None,
    generator: torch.Generator | None = None,
    **operands: Any,
) -> Any:
    """Pool `x` by any method to `output_size`, with the regions of torch.nn.AdaptiveAvgPool2d.

    Cell o of an axis of size n holds the taps from `floor(o n / out)` to `ceil((o + 1) n / out) - 1`: regions may
    overlap, and differ in size by one. `None` in output_size keeps an axis. Where every n is a multiple of its out they
    are the windows of `kernel_size = stride = n / out`, which have compiled kernels; others are the plain row's alone.

    Shape: x `(N, C, *spatial)`, or `(C, *spatial)` when `output_size` is a tuple; result `(N, C, *out)`. With
    `return_extra` also the weights `(N, C, *out, taps)`, 0 where a region has fewer taps than the largest (a program
    may count one more along an axis, to serve other sizes), or flat indices `(N, C, *out)`. Further keywords are
    `pool`'s. Raises ValueError or TypeError naming the argument.

    >>> adaptive_pool(torch.arange(5.0).reshape(1, 1, 5), "avg", 3)
    tensor([[[0.5000, 2.0000, 3.5000]]])
    """
    options: dict[str, Any] = {
        "implementation": implementation, "gradient": gradient, "similarity": similarity, "measure": measure,
        "generator": generator,
    }  # fmt: skip
    if not isinstance(x, Tensor):
        return deferred(adaptive_pool, "x", x, method, output_size, return_extra=return_extra, **options, **operands)
    rank = rank_of("output_size", output_size, x.shape)
    asked = output_sizes(output_size, rank)
    spatial = make_batched(x, rank)[0].shape[2:]
    kernel = _whole_kernel(spatial, asked)
    if kernel is not None:
        y, extra = run(x, rank, method, return_extra, operands, kernel, None, **options)
    else:
        out = [n if size is None else size for n, size in zip(spatial, asked, strict=True)]
        regions = grid.adaptive(spatial, out, x.device)
        y, extra = _run(x, rank, method, return_extra, operands, regions, out, "regions of unequal sizes", options)
    return _returned(method, y, extra, return_extra)


def output_sizes(output_size: object, rank: int) -> tuple[int | None, ...]:
    """One size for each axis; None keeps it."""
    given = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * rank
    sizes = per_axis("output_size", tuple(1 if v is None else v for v in given), rank, 1)
    return tuple(None if v is None else n for v, n in zip(given * (rank // len(given)), sizes, strict=True))


def _whole_kernel(spatial: Sequence[int], out: Sequence[int | None]) -> tuple[int | None, ...] | None:
    """The kernel that is also the stride of such regions; None where they are no window's.

    A program that is to serve any size does not ask whether the size at hand can be divided.
    """
    is_open = is_exporting() or (is_traced() and not is_compiling())
    kernel: list[int | None] = []
    for n, size in zip(spatial, out, strict=True):
        if size is None or size == 1:
            kernel.append(1 if size is None else None)
        elif (is_open and type(n) is not int) or n % size:
            return None
        else:
            kernel.append(n // size)
    return tuple(kernel)


def fractional_pool(
    x: Tensor,
    method: str,
    kernel_size: Ints,
    output_size: Ints | None = None,
    output_ratio: Ratio | None = None,
    *,
    samples: Tensor | None = None,
    return_extra: bool = False,
    implementation: Implementation = "auto",
    gradient: Gradient = "exact",
    similarity: Similarity = "channel",
    measure: Measure | None = None,
    generator: torch.Generator | None = None,
    **operands: Any,
) -> Any:
    """Pool `x` by any method with windows at pseudo-random steps, those of torch.nn.FractionalMaxPool2d.

    Cell i of an axis of size n starts at `floor((i + u) a) - floor(u a)` with `a = (n - kernel) / (out - 1)`, the last
    at `n - kernel`; u is drawn for each plane and axis, or given as `samples (N, C, rank)` in [0, 1), whose last axis
    has the order of the spatial ones (torch's 2-D function takes them the other way round). Either `output_size`, or
    `output_ratio` in (0, 1): `out = floor(n ratio)`. The plain row alone has it.

    Shape: x `(N, C, *spatial)`, or `(C, *spatial)` when `kernel_size` is a tuple; result `(N, C, *out)`. With
    `return_extra` also weights or flat indices, as in `pool_with_extra`. Further keywords are `pool`'s. Raises
    ValueError or TypeError naming the argument. Source: Graham 2014 (arXiv 1412.6071), as torch has it.

    >>> fractional_pool(torch.arange(5.0).reshape(1, 1, 5), "max", 2, output_size=3, samples=torch.zeros(1, 1, 1))
    tensor([[[1., 2., 4.]]])
    """
    options: dict[str, Any] = {
        "implementation": implementation, "gradient": gradient, "similarity": similarity, "measure": measure,
        "generator": generator,
    }  # fmt: skip
    if not isinstance(x, Tensor):
        return deferred(
            fractional_pool, "x", x, method, kernel_size, output_size, output_ratio,
            samples=samples, return_extra=return_extra, **options, **operands,
        )  # fmt: skip
    rank = rank_of("kernel_size", kernel_size, x.shape)
    kernel = fractional_kernel(rank, kernel_size, output_size, output_ratio)
    batched = make_batched(x, rank)[0]
    out = _fractional_sizes(batched.shape[2:], kernel, output_size, output_ratio)
    shape = (*batched.shape[:2], rank)
    if samples is None:
        samples = draw(shape, generator, x.device)
    elif not isinstance(samples, Tensor) or not samples.is_floating_point() or samples.device != x.device:
        raise TypeError(f"samples: expected a floating point Tensor on {x.device}, got {samples!r:.60}")
    elif samples.shape != shape and samples.shape != shape[rank + 2 - x.dim() :]:  # of an x without N without it
        raise ValueError(f"samples: expected shape {shape}, got {tuple(samples.shape)}")
    regions = grid.fractional(batched.shape[2:], kernel, out, samples.detach().reshape(shape))
    y, extra = _run(x, rank, method, return_extra, operands, regions, out, "fractional regions", options)
    return _returned(method, y, extra, return_extra)


def fractional_kernel(
    rank: int, kernel_size: Ints, output_size: Ints | None, output_ratio: Ratio | None
) -> tuple[int, ...]:
    """The kernel, one int for each axis; ValueError or TypeError for sizes or ratios that no input fits."""
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"output_size: expected it or output_ratio, got {output_size!r} and {output_ratio!r}")
    if output_size is not None:
        per_axis("output_size", output_size, rank, 1)
    else:
        _ratios(output_ratio, rank)
    kernel = per_axis("kernel_size", kernel_size, rank, 1)
    if min(kernel) < 1:
        raise TypeError(f"kernel_size: expected an int or {rank} ints, got {kernel_size!r}")
    return kernel


def _ratios(output_ratio: object, rank: int) -> tuple[float, ...]:
    given: tuple[Any, ...] = tuple(output_ratio) if isinstance(output_ratio, Sequence) else (output_ratio,) * rank
    if len(given) != rank or not all(isinstance(v, float) and 0 < v < 1 for v in given):
        raise ValueError(f"output_ratio: expected a number between 0 and 1 or {rank} of them, got {output_ratio!r}")
    return given


def _fractional_sizes(
    spatial: Sequence[int], kernel: Sequence[int], output_size: Ints | None, output_ratio: Ratio | None
) -> tuple[int, ...]:
    rank = len(kernel)
    if output_size is not None:
        out = per_axis("output_size", output_size, rank, 1)
    else:
        ratios = zip(spatial, _ratios(output_ratio, rank), strict=True)
        # In a trace of torch.jit the size is a tensor, whose product with a float would be in float32.
        out = tuple((n.double() * r).long() if isinstance(n, Tensor) else int(n * r) for n, r in ratios)
    for axis, (n, k, cells) in enumerate(zip(spatial, kernel, out, strict=True)):
        if not 1 <= cells <= n - k + 1:
            name = "output_ratio" if output_size is None else "output_size"
            raise ValueError(
                f"{name}: expected 1 to {n - k + 1} cells on spatial axis {axis}, for kernel_size {k} and {n} places, "
                f"got {cells}"
            )
    return out


def _run(
    x: Tensor,
    rank: int,
    method: str,
    want_extra: bool,
    operands: dict[str, Any],
    regions: grid.Grid,
    out: Sequence[int],
    kind: str,
    options: dict[str, Any],
) -> tuple[Tensor, Tensor | None]:
    """The row on such regions."""
    entry = get(method)
    check_choices(entry, options["gradient"], options["similarity"], options["measure"])
    entry = entry.comparing(options["similarity"], options["measure"])
    uses_native(options["implementation"], entry, x.dtype, x.device, kind)
    batched, added = make_batched(x, rank)
    plan = Plan(entry, regions, added, (*batched.shape[:2], *out), False, False)
    return run_plan(plan, x, want_extra, operands, options["gradient"], options["generator"])


def _returned(method: str, y: Tensor, extra: Tensor | None, return_extra: bool) -> Any:
    if return_extra and get(method).extra is None:
        raise ValueError(f"method: expected one with weights or indices for return_extra=True, got {method!r}")
    return (y, extra) if return_extra else y
