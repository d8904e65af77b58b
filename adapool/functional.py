"""Pooling as functions: check the arguments, choose the compiled kernel or the plain row, run it.

Knows no method by name; those names live in `named.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_exporting

from adapool import methods as _rows  # noqa: F401  (declares the methods)
from adapool import native, plain
from adapool.arguments import (
    as_tensors,
    check_choice,
    check_choices,
    check_operands,
    check_tensor,
    deferred,
    is_unbatched,
    rank_of,
    with_batch,
)
from adapool.grid import Regions
from adapool.registry import Method, get
from adapool.window import Ints, Sizes, Window, is_traced, remembered

_STRIDED = torch.strided
Implementation = Literal["auto", "native", "plain"]
Gradient = Literal["exact", "detached"]
Similarity = Literal["channel", "vector"]
Measure = Literal["dice", "cosine", "pce", "l2", "l1", "huber", "chebyshev"]


def uses_native(
    implementation: str,
    entry: Method,
    dtype: torch.dtype,
    device: torch.device,
    rows_alone: str = "",
) -> bool:
    """Whether the compiled kernel runs; ValueError if it was asked for and there is none.

    `rows_alone` says what of the call no kernel has.
    """
    check_choice("implementation", implementation, ("auto", "native", "plain"))
    # ONNX has no adapool operators, so that an exported model is made of the plain row.
    if implementation == "plain" or (implementation == "auto" and is_traced() and torch.onnx.is_in_onnx_export()):
        return False
    rows_alone = rows_alone or entry.rows_alone
    if implementation == "native" and rows_alone:
        raise ValueError(f"implementation: no compiled kernel for {rows_alone}; 'auto' and 'plain' take the plain row")
    able = not rows_alone and native.has_kernel(entry.name, dtype, device.type)
    if able and entry.kernel is not None and is_traced() and (is_exporting() or not is_compiling()):
        raise ValueError(
            f"implementation: method {entry.name!r} is compiled from a source of one's own, which a program loaded "
            "elsewhere would not have; export it with implementation='plain'"
        )
    if implementation == "native" and not able:
        raise ValueError(
            f"implementation: no compiled kernel for method {entry.name!r}, {dtype} on "
            f"{device.type} ({native.status().get(device.type, 'no library for this device')})"
        )
    return able


class Plan(NamedTuple):
    """What a call comes to: all of it but its numbers."""

    entry: Method
    window: Regions
    added: bool  # x lacks the batch axis
    cells: tuple[int, ...]  # (N, C, *out)
    native: bool
    compiled: bool  # torch.compile or torch.export looks on; never in a plan that is remembered


@remembered(sizes=slice(5, 10))
def make_plan(
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    rank: int | None,
    method: str,
    kernel_size: Sizes,
    stride: Ints | None,
    padding: Ints,
    ceil_mode: bool,
    dilation: Ints,
    implementation: str,
    gradient: str,
    similarity: str,
    measure: str | None,
) -> Plan:
    """Check all but the operands. Without `rank` a kernel of several sizes tells it, or x is [N, C, *spatial]."""
    if rank is None:
        rank = rank_of("kernel_size", kernel_size, shape)
    added = is_unbatched(shape, dtype, rank, "x")
    window = Window.make(rank, kernel_size, stride, padding, ceil_mode, dilation)
    entry = get(method)
    check_choices(entry, gradient, similarity, measure)
    entry = entry.comparing(similarity, measure)
    batch = (1, shape[0]) if added else shape[:2]
    cells = (*batch, *window.output(shape[-rank:]))
    apart = f"dilation {window.dilation}" if window.dilation else ""
    able = uses_native(implementation, entry, dtype, device, apart)
    return Plan(entry, window, added, cells, able, is_compiling())


def run(
    x: Tensor,
    rank: int | None,
    method: str,
    want_extra: bool,
    given: dict[str, Any],
    /,
    kernel_size: Sizes,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    implementation: str = "auto",
    gradient: str = "exact",
    similarity: str = "channel",
    generator: torch.Generator | None = None,
    dilation: Ints = 1,
    measure: str | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """`pool` over `rank` axes (None: as in `make_plan`); and, of use if wanted, what `pool_with_extra` returns besides.

    Operands come in `given`, further ones by keyword.
    """
    if not isinstance(x, Tensor):
        more |= {"ceil_mode": ceil_mode, "implementation": implementation, "gradient": gradient}
        more |= {"similarity": similarity, "generator": generator, "dilation": dilation, "measure": measure}
        found: tuple[Tensor, Tensor | None] = deferred(
            run, "x", x, rank, method, want_extra, given, kernel_size, stride, padding, **more
        )
        return found
    if x.layout is not _STRIDED or x.is_nested:
        check_tensor("x", x)
    plan = make_plan(
        x.shape, x.dtype, x.device, rank, method, kernel_size, stride, padding, ceil_mode, dilation,
        implementation, gradient, similarity, measure,
    )  # fmt: skip
    return run_plan(plan, x, want_extra, given | more if more else given, gradient, generator)


def run_plan(
    plan: Plan,
    x: Tensor,
    want_extra: bool,
    given: dict[str, Any],
    gradient: str,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor | None]:
    """Check the operands and run what `make_plan`, or a form's own checks, made of the call."""
    entry, window = plan.entry, plan.window
    if plan.added:
        given, x = with_batch(given, x.dim()), x.unsqueeze(0)
    operands = check_operands(entry, given, x, plan.cells, generator)
    y: Tensor
    extra: Tensor | None
    if plan.native:
        if plan.compiled and given:
            operands = as_tensors(given, operands, x)
        assert isinstance(window, Window)
        y, extra = native.pool(x, entry.name, window, operands.values(), want_extra, gradient == "detached")
    else:
        y, extra = plain.pool(entry, x, window, operands, gradient)
    if plan.added:
        y, extra = y.squeeze(0), None if extra is None else extra.squeeze(0)
    return y, extra


def pool(
    x: Tensor,
    method: str,
    kernel_size: Sizes,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    *,
    implementation: Implementation = "auto",
    gradient: Gradient = "exact",
    similarity: Similarity = "channel",
    generator: torch.Generator | None = None,
    dilation: Ints = 1,
    measure: Measure | None = None,
    **operands: Any,
) -> Tensor:
    """Pool `x` by any method of `adapool.names()`.

    Shape: x `(N, C, *spatial)`, or `(C, *spatial)` when `kernel_size` is a tuple; result `(N, C, *out)` with
    `out = floor((size + 2 padding - kernel) / stride) + 1` (`ceil_mode`: rounded up). `kernel_size=None` pools the
    whole extent, `(1, None)` an axis whole. Padded taps are excluded from weights and means. `dilation` is the
    distance of a window's taps, as in torch.nn.MaxPool2d; the plain row alone has it.

    `gradient="detached"` treats the weights as constants, as the released AdaPool does; the default is the exact
    gradient. `implementation` chooses the compiled kernel or the plain row; "auto" takes the kernel where there is one.
    `similarity="vector"` compares channel vectors instead of scalars (edscw, idw, ada), and `measure` says how: "dice",
    "cosine" or "pce", the peak-to-correlation energy (edscw, ada); "l2", "l1", "huber" or "chebyshev" (idw). Of scalars
    three of the distances are one; what has no kernel is the row's. `generator` draws where the method does, else
    torch's own, which alone torch.utils.checkpoint sets back: another is refused there. The other keywords are the
    method's operands, for example `beta` for ada; a number, or a tensor whose values are the caller's (one value on the
    CPU is checked as a number is where the operand has a bound, as p and lam have).

    Raises ValueError or TypeError naming the argument, what was expected and what came.

    >>> pool(torch.arange(4.0).reshape(1, 1, 2, 2), "softpool", 2)
    tensor([[[[2.4927]]]])
    """
    return run(
        x, None, method, False, operands, kernel_size, stride, padding, ceil_mode,
        implementation, gradient, similarity, generator, dilation, measure,
    )[0]  # fmt: skip


def pool_with_extra(
    x: Tensor,
    method: str,
    kernel_size: Sizes,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """`pool`, and what the method chose by: weights `(N, C, *out, taps)` or flat indices `(N, C, *out)`.

    Both are constants for autograd; `unpool` with a guide differentiates through the weights. Indices count
    within the input plane, as torch.nn.MaxPool2d(return_indices=True) does.
    Raises ValueError for a method that has neither.

    >>> pool_with_extra(torch.tensor([[[1.0, 3.0, 2.0]]]), "max", 3)[1]
    tensor([[[1]]])
    """
    if get(method).extra is None:
        raise ValueError(f"method: expected one with weights or indices, got {method!r}")
    y, extra = run(x, None, method, True, {}, kernel_size, stride, padding, ceil_mode, **options)
    assert extra is not None
    return y, extra
