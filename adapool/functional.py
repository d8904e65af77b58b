"""Pooling as functions: check the arguments, choose the compiled kernel or the plain row, run it.

Knows no method by name; those names live in `named.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from adapool import methods as _rows  # noqa: F401  (declares the methods)
from adapool import native, plain
from adapool.registry import Method, Operand, get
from adapool.window import Ints, Window, is_traced, remembered

Implementation = Literal["auto", "native", "plain"]
Gradient = Literal["exact", "detached"]
Similarity = Literal["channel", "vector"]


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")


def _is_unbatched(shape: Sequence[int], dtype: torch.dtype, rank: int, name: str) -> bool:
    """Whether an input of this shape lacks the batch axis; an error unless it can be pooled at all."""
    if not dtype.is_floating_point:
        raise TypeError(f"{name}: expected a floating point dtype, got {dtype}")
    if len(shape) not in (rank + 1, rank + 2):
        raise ValueError(
            f"{name}: expected {rank + 2} axes (N, C, {rank} spatial) or {rank + 1} without N, got {tuple(shape)}"
        )
    if 0 in shape[-rank:]:
        raise ValueError(f"{name}: expected spatial sizes of at least 1, got {tuple(shape)}")
    return len(shape) == rank + 1


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(value).__name__}")


def make_batched(x: Tensor, rank: int, name: str = "x") -> tuple[Tensor, bool]:
    """`x` as [N, C, *spatial], and whether the batch axis had to be added."""
    _check_tensor(name, x)
    added = _is_unbatched(x.shape, x.dtype, rank, name)
    return (x.unsqueeze(0) if added else x), added


def _cell_operand(spec: Operand, value: object, x: Tensor, cells: tuple[int, ...]) -> Tensor | float:
    """A number or a tensor that broadcasts to `cells`, (N, C, *out)."""
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            raise TypeError(f"{spec.name}: expected a floating point dtype, got {value.dtype}")
        if value.device != x.device:
            if value.dim() > 0:
                raise ValueError(f"{spec.name}: expected a tensor on {x.device} like x, got one on {value.device}")
            value = value.to(x.device)
        lead = len(cells) - value.dim()
        if lead < 0 or (
            value.numel() != 1 and any(n not in (1, m) for n, m in zip(value.shape, cells[lead:], strict=True))
        ):
            per_channel = (cells[1], *(1,) * (len(cells) - 2))
            raise ValueError(
                f"{spec.name}: expected a number or a shape that broadcasts to (C, *out) = {cells[1:]}, "
                f"such as (1,) or {per_channel}, got {tuple(value.shape)}"
            )
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{spec.name}: expected a number or a Tensor, got {type(value).__name__}")
    if not math.isfinite(value) or (spec.least is not None and value < spec.least):
        bound = "" if spec.least is None else f" of at least {spec.least}"
        raise ValueError(f"{spec.name}: expected a finite number{bound}, got {value}")
    return float(value)


def check_operands(
    entry: Method, given: dict[str, Any], x: Tensor, cells: tuple[int, ...], generator: torch.Generator | None
) -> dict[str, Any]:
    """Every operand the method takes, checked, with defaults filled in."""
    found: dict[str, Any] = {}
    for spec in entry.operands:
        value = given.get(spec.name)
        if spec.kind == "input":
            # A view, because the tracer of torch.compile refuses one tensor as two arguments.
            value = x.view_as(x) if value is None or value is x else value
            if not isinstance(value, Tensor) or value.shape != x.shape or value.device != x.device:
                came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"{spec.name}: expected a tensor of x's shape {tuple(x.shape)} on {x.device}, got {came}"
                )
        elif spec.kind == "random" and value is None:
            value = torch.rand(cells, generator=generator, device=x.device)
        else:
            value = spec.default if value is None else value
            value = value if value is None else _cell_operand(spec, value, x, cells)
        found[spec.name] = value
    unknown = set(given).difference(found)
    if unknown:
        raise TypeError(f"{min(unknown)}: method {entry.name!r} takes {', '.join(found) or 'no operands'}")
    return found


def uses_native(
    implementation: str, entry: Method, dtype: torch.dtype, device: torch.device, similarity: str = "channel"
) -> bool:
    """Whether the compiled kernel runs; ValueError if it was asked for and there is none."""
    check_choice("implementation", implementation, ("auto", "native", "plain"))
    # ONNX has no adapool operators, so that an exported model is made of the plain row.
    if implementation == "plain" or (implementation == "auto" and is_traced() and torch.onnx.is_in_onnx_export()):
        return False
    able = similarity == "channel" and native.has_kernel(entry.name, dtype, device.type)
    if implementation == "native" and not able:
        raise ValueError(
            f"implementation: no compiled kernel for method {entry.name!r}, similarity {similarity!r}, {dtype} on "
            f"{device.type} ({native.status().get(device.type, 'no library for this device')})"
        )
    return able


class Plan(NamedTuple):
    """What a call comes to: all of it but its numbers."""

    entry: Method
    window: Window
    added: bool  # x lacks the batch axis
    cells: tuple[int, ...]  # (N, C, *out)
    native: bool


@remembered
def make_plan(
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    rank: int | None,
    method: str,
    kernel_size: Ints | None,
    stride: Ints | None,
    padding: Ints,
    ceil_mode: bool,
    implementation: str,
    gradient: str,
    similarity: str,
) -> Plan:
    """Check all but the operands. Without `rank` a kernel of several sizes tells it, or x is [N, C, *spatial]."""
    if rank is None:
        rank = len(kernel_size) if isinstance(kernel_size, Sequence) else len(shape) - 2
    if rank not in (1, 2, 3):
        raise ValueError(f"x: expected 1, 2 or 3 spatial axes behind N and C, got shape {tuple(shape)}")
    added = _is_unbatched(shape, dtype, rank, "x")
    kernel_size = tuple(shape[-rank:]) if kernel_size is None else kernel_size
    window = Window.make(rank, kernel_size, stride, padding, ceil_mode)
    entry = get(method)
    check_choice("gradient", gradient, ("exact", "detached"))
    check_choice("similarity", similarity, ("channel", "vector") if entry.vector else ("channel",))
    if gradient == "detached" and entry.extra != "weights":
        raise ValueError(f"gradient: expected 'exact', method {method!r} has no weights to detach, got 'detached'")
    batch = (1, shape[0]) if added else shape[:2]
    cells = (*batch, *window.output(shape[-rank:]))
    return Plan(entry, window, added, cells, uses_native(implementation, entry, dtype, device, similarity))


def run(
    x: Tensor,
    rank: int | None,
    method: str,
    want_extra: bool,
    given: dict[str, Any],
    /,
    kernel_size: Ints | None,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    implementation: str = "auto",
    gradient: str = "exact",
    similarity: str = "channel",
    generator: torch.Generator | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """`pool` over `rank` axes (None: as in `make_plan`); and, of use if wanted, what `pool_with_extra` returns besides.

    Operands come in `given`, further ones by keyword.
    """
    _check_tensor("x", x)
    plan = make_plan(
        x.shape, x.dtype, x.device, rank, method, kernel_size, stride, padding, ceil_mode,
        implementation, gradient, similarity,
    )  # fmt: skip
    entry, window = plan.entry, plan.window
    if more:
        given = given | more
    if plan.added:
        given = {k: v.unsqueeze(0) if isinstance(v, Tensor) and v.dim() == x.dim() else v for k, v in given.items()}
        x = x.unsqueeze(0)
    operands = check_operands(entry, given, x, plan.cells, generator)
    y: Tensor
    extra: Tensor | None
    if plan.native:
        y, extra = native.pool(x, method, window, operands.values(), want_extra, gradient == "detached")
    else:
        y, extra = plain.pool(entry, x, window, operands, similarity, gradient)
    if plan.added:
        y, extra = y.squeeze(0), None if extra is None else extra.squeeze(0)
    return y, extra


def pool(
    x: Tensor,
    method: str,
    kernel_size: Ints | None,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    *,
    implementation: Implementation = "auto",
    gradient: Gradient = "exact",
    similarity: Similarity = "channel",
    generator: torch.Generator | None = None,
    **operands: Any,
) -> Tensor:
    """Pool `x` by any method of `adapool.names()`.

    Shape: x `(N, C, *spatial)`, or `(C, *spatial)` when `kernel_size` is a tuple; result `(N, C, *out)` with
    `out = floor((size + 2 padding - kernel) / stride) + 1` (`ceil_mode`: rounded up). `kernel_size=None` pools the
    whole extent. Padded taps are excluded from weights and means.

    `gradient="detached"` treats the weights as constants, as the released AdaPool does; the default is the exact
    gradient. `similarity="vector"` compares channel vectors instead of scalars (edscw, idw, ada). `implementation`
    chooses the compiled kernel or the plain row; "auto" takes the kernel where there is one. The other keywords are
    the method's operands, for example `beta` for ada.

    Raises ValueError or TypeError naming the argument, what was expected and what came.

    >>> pool(torch.arange(4.0).reshape(1, 1, 2, 2), "softpool", 2)
    tensor([[[[2.4927]]]])
    """
    options = (implementation, gradient, similarity, generator)
    return run(x, None, method, False, operands, kernel_size, stride, padding, ceil_mode, *options)[0]


def pool_with_extra(
    x: Tensor,
    method: str,
    kernel_size: Ints | None,
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
