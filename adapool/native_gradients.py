"""Derivatives of the compiled operators: the Autograd kernel of each, which every caller meets.

`torch.ops.adapool.pool` in an exported program, under a torch.func transform or in a compiled graph comes here; so
an operator that is given a gradient to track or a tangent to carry either does it or raises. Reverse mode runs the
compiled backward, forward mode the plain row. A process without Python (AOTInductor) has no such kernel: there the
operators are for inference alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import Function, forward_ad

from adapool import plain
from adapool.native_library import LOADED, decode, given_as_tensors, operator
from adapool.registry import get
from adapool.window import Window, is_traced

POOL, POOL_BACKWARD = operator("pool"), operator("pool_backward")
UNPOOL, UNPOOL_BACKWARD = operator("unpool"), operator("unpool_backward")
_SECOND = (
    "adapool: the compiled operators have first derivatives only; for a second derivative use implementation='plain', "
    "or ADAPOOL_NATIVE=0 where a layer has no such keyword"
)
_BATCHED = (
    "adapool: the compiled operators take no batch of gradients from is_grads_batched=True or vectorize=True; use "
    "torch.func (vjp under vmap, jacrev), or implementation='plain'"
)

_AUTOGRAD = torch._C.DispatchKey.AutogradFunctionality
_is_excluded = torch._C._dispatch_tls_is_dispatch_key_excluded
_exclude = torch._C._dispatch_tls_set_dispatch_key_excluded
_is_grad_enabled = torch.is_grad_enabled
_in_functorch = torch._C._are_functorch_transforms_active
_any_requires_grad = torch._C._any_requires_grad
_is_batched = torch._C._functorch.is_legacy_batchedtensor  # by the vmap before torch.func, which knows no rules


def is_transformed() -> bool:
    """Whether a tracer or a transform looks on: it has to see the operator itself, with its Autograd kernel."""
    return is_traced() or _in_functorch() or forward_ad._current_level >= 0


def differentiates(*tensors: Tensor) -> bool:
    """Whether reverse mode follows the call."""
    return _is_grad_enabled() and _any_requires_grad(*tensors)


def below_autograd(operator: Any, *args: Any) -> Any:
    """The operator without its Autograd kernel, which costs a call in Python: for a call that needs no derivative."""
    call = operator._op  # what calling the operator comes to, 0.3 us later
    if _is_excluded(_AUTOGRAD):  # inference mode, or below such a kernel already
        return call(*args)
    _exclude(_AUTOGRAD, True)
    try:
        return call(*args)
    finally:
        _exclude(_AUTOGRAD, False)


def _backward(operator: Any, tensors: Sequence[Tensor], *args: Any) -> Any:
    """The operator with its Autograd kernel just where that has something to do."""
    if not is_traced() and _is_batched(tensors[0]):
        raise RuntimeError(_BATCHED)
    if is_transformed() or differentiates(*tensors):
        return operator(*args)
    return below_autograd(operator, *args)


def _wanted(grads: Sequence[Tensor], wants: Sequence[int]) -> list[Tensor | None]:
    return [grad if wanted else None for grad, wanted in zip(grads, wants, strict=True)]


def _next(operator: Any, *args: Any) -> Any:
    """What a function computes with: the operator below autograd, which under a transform is the next transform."""
    if not _in_functorch():
        return below_autograd(operator, *args)
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):  # off in a function, but not for the next one
        return below_autograd(operator, *args)


# Both functions are applied to one level of transforms, as `pool_of` and `unpool_of` below: the dispatcher has taken
# the levels apart, one call of a kernel for each.


class _Pool(Function):
    """Arguments: plan = (frame, want_extra, detached), x, *tensors."""

    @staticmethod
    def forward(ctx: Any, plan: Any, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        frame, want_extra, detached = plan
        y, extra = _next(POOL, x, tensors, *frame, want_extra, detached)
        ctx.frame, ctx.detached = frame, detached
        ctx.mark_non_differentiable(extra)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, *tensors)
        return y, extra

    @staticmethod
    def backward(ctx: Any, grad: Any, _: Any) -> Any:
        needs = ctx.needs_input_grad
        if grad is None:
            return (None,) * len(needs)
        frame, detached = ctx.frame, ctx.detached
        x, *tensors = ctx.saved_tensors
        wants = [int(need) for need in needs[1:]]
        if detached:  # weights that are constants carry no gradient to the operands they are made from
            mixes = [spec.mixes for spec in given_as_tensors(frame[0], frame[-1])]
            wants[1:] = [int(need and there) for need, there in zip(wants[1:], mixes, strict=True)]
        grads = _backward(POOL_BACKWARD, (grad, x, *tensors), grad, x, tensors, *frame, detached, wants)
        return (None, *_wanted(grads, wants))


class _Unpool(Function):
    """Arguments: plan = (method, size, frame), y, guide, *tensors."""

    @staticmethod
    def forward(ctx: Any, plan: Any, y: Tensor, guide: Tensor, *tensors: Tensor) -> Tensor:
        method, size, frame = plan
        ctx.method, ctx.frame = method, frame
        ctx.save_for_backward(y, guide, *tensors)
        out: Tensor = _next(UNPOOL, y, guide, tensors, method, size, *frame)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        wants = [int(need) for need in ctx.needs_input_grad[1:]]
        y, guide, *tensors = ctx.saved_tensors
        args = (grad, y, guide, tensors, ctx.method, *ctx.frame, wants)
        return (None, *_wanted(_backward(UNPOOL_BACKWARD, (grad, y, guide, *tensors), *args), wants))


class _Once(Function):
    """A first derivative, computed by `run(*tensors)`; its own derivative is refused."""

    @staticmethod
    def forward(ctx: Any, run: Any, *tensors: Tensor) -> Any:
        return tuple(run(*tensors))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(_SECOND)


# `Function.apply` would hand a call under a transform back to the transform, which is where it comes from.
pool_of, unpool_of, _once_of = (super(Function, f).apply for f in (_Pool, _Unpool, _Once))  # type: ignore[misc]


# The kernels. A tensor carries a tangent in forward mode; the row then computes with it.


def _has_tangent(tensors: Sequence[Tensor]) -> bool:
    if forward_ad._current_level < 0 and not _in_functorch():
        return False
    return any(torch._VF._unpack_dual(t, level=0).tangent is not None for t in tensors)


def _pool_kernel(
    x: Tensor, operands: list[Tensor], method: str, kernel: list[int], stride: list[int], padding: list[int],
    ceil_mode: bool, constants: list[float], want_extra: bool, detached: bool = False,
) -> Any:  # fmt: skip
    operands = operands or []  # an AOTInductor package gives None for an empty list
    tensors = (x, *operands)
    if _has_tangent(tensors):
        entry, window = get(method), Window(tuple(kernel), tuple(stride), tuple(padding), ceil_mode)
        given = decode((spec.name for spec in entry.operands), operands, constants)
        y, extra = plain.pool(entry, x, window, given, gradient="detached" if detached else "exact")
        if not want_extra or extra is None:
            extra = y.new_empty(0, dtype=torch.promote_types(x.dtype, torch.float32) if extra is None else extra.dtype)
        return y, extra
    frame = (method, kernel, stride, padding, ceil_mode, constants)
    if not differentiates(*tensors):
        return below_autograd(POOL, x, operands, *frame, want_extra, detached)
    with enable_single_level_autograd_function():
        return pool_of((frame, want_extra, detached), *tensors)


def _unpool_kernel(
    y: Tensor, guide: Tensor, operands: list[Tensor], method: str, size: list[int], kernel: list[int],
    stride: list[int], padding: list[int], ceil_mode: bool, constants: list[float], normalize: bool,
) -> Any:  # fmt: skip
    operands, size = operands or [], size or []
    tensors = (y, guide, *operands)
    if _has_tangent(tensors):
        window = Window(tuple(kernel), tuple(stride), tuple(padding), ceil_mode)
        if method == "weights":
            return plain.spread(y, guide, window, size or window.default_unpooled(y.shape[2:]), normalize)
        entry = get(method)
        given = decode((spec.name for spec in entry.operands), operands, constants)
        return plain.unpool(entry, y, guide, window, given, normalize)
    frame = (kernel, stride, padding, ceil_mode, constants, normalize)
    if not differentiates(*tensors):
        return below_autograd(UNPOOL, y, guide, operands, method, size, *frame)
    with enable_single_level_autograd_function():
        return unpool_of((method, size, frame), *tensors)


def _first_only(backward: Any, leading: int) -> Callable[..., Any]:
    """The kernel of an operator that is a derivative itself: `leading` tensors, their operands, and the rest."""

    def kernel(*args: Any) -> Any:
        given, operands, rest = args[:leading], args[leading] or [], args[leading + 1 :]
        tensors = (*given, *operands)
        if _has_tangent(tensors):
            raise RuntimeError(_SECOND)
        if not differentiates(*tensors):
            return below_autograd(backward, *given, operands, *rest)

        def run(*tensors: Tensor) -> Any:
            return _next(backward, *tensors[:leading], tensors[leading:], *rest)

        with enable_single_level_autograd_function():
            return list(_once_of(run, *tensors))

    return kernel


if LOADED:
    _KERNELS: Any = torch.library.Library("adapool", "IMPL")  # type: ignore[no-untyped-call]  # kept: the kernels go with it
    for _name, _kernel in (
        ("pool", _pool_kernel), ("pool_backward", _first_only(POOL_BACKWARD, 2)),
        ("unpool", _unpool_kernel), ("unpool_backward", _first_only(UNPOOL_BACKWARD, 3)),
    ):  # fmt: skip
        _KERNELS.impl(_name, _kernel, "Autograd")
