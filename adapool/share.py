"""Numbers that a layer owns and trains: how they start, and how a share is kept in [0, 1]. Knows no method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch._subclasses import FakeTensor
from torch.autograd import Function, forward_ad
from torch.compiler import is_compiling, is_exporting
from torch.nn.utils.parametrize import is_parametrized

from adapool.arguments import check_choice, check_flag, deferred
from adapool.layer import Layer
from adapool.native_gradients import differentiates, is_transformed
from adapool.window import is_traced

Constraint = Literal["clamp", "sigmoid"]
Start = Tensor | float | Sequence[int] | None


def starting(
    name: str,
    value: Start,
    usual: float,
    least: float,
    most: float,
    device: Any = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Starting numbers in [least, most]: a tensor, one number (None: the usual one), or a shape filled with that."""
    dtype = dtype or (value.dtype if isinstance(value, Tensor) else torch.get_default_dtype())
    device = "cpu" if device == -1 else device  # what get_device() says of a tensor that is on no GPU
    within = f"[{least:g}, {most:g}]"
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            raise TypeError(f"{name}: expected a floating point tensor, got {value.dtype}")
        known = not (value.is_meta or isinstance(value, FakeTensor))
        if known and not ((value >= least) & (value <= most) & value.isfinite()).all():
            raise ValueError(f"{name}: expected values in {within}, got {value.min():g}..{value.max():g}")
        return value.detach().clone().to(device=device or value.device, dtype=dtype)
    if isinstance(value, float) and not (least <= value <= most and math.isfinite(value)):
        raise ValueError(f"{name}: expected a value in {within}, got {value:g}")
    if isinstance(value, float) or value is None:
        return torch.full((1,), usual if value is None else value, device=device, dtype=dtype)
    shape = (value,) if isinstance(value, int) and not isinstance(value, bool) else value
    whole = isinstance(shape, Sequence) and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)
    if not whole or isinstance(shape, str):
        raise TypeError(f"{name}: expected a float, a shape of positive ints or a Tensor, got {value!r}")
    return torch.full(tuple(shape), usual, device=device, dtype=dtype)


class _Clamp(Function):
    """`clamp(b, 0, 1)` whose gradient goes on where descent leads back: outside, clamp's own would be 0 for ever."""

    generate_vmap_rule = True

    @staticmethod
    def forward(share: Tensor) -> Tensor:
        return share.clamp(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (share,) = ctx.saved_tensors
        leaves = ((share > 1) & (grad < 0)) | ((share < 0) & (grad > 0))
        return torch.where(leaves, 0.0, grad)


_clamp_eagerly = super(Function, _Clamp).apply  # less what `Function.apply` does for transforms: 7 us instead of 20


def clamp(share: Tensor) -> Tensor:
    """`clamp(share, 0, 1)` with a gradient at both ends and, from outside, back to them."""
    if not isinstance(share, Tensor):
        return deferred(clamp, "share", share)
    found: Tensor
    # A tangent has no way back to look for, and an exported or traced program keeps no function written in Python.
    if torch.is_grad_enabled():  # asked first: without gradients nothing more is
        if is_compiling():
            if not is_exporting():
                found = _Clamp.apply(share)  # type: ignore[no-untyped-call]
                return found
        elif (
            (differentiates(share) or is_batchedtensor(share))  # mapped, it does not say whether reverse mode follows
            and forward_ad._current_level < 0
            and not is_traced()
        ):
            found = _Clamp.apply(share) if is_transformed() else _clamp_eagerly(share)  # type: ignore[no-untyped-call]
            return found
    return share.clamp(0, 1)


class Sharing(Layer):
    """A layer that owns a share in [0, 1]: its one operand, a parameter or, untrained, a buffer.

    It is kept in [0, 1] by the `constraint` "clamp" or "sigmoid", with which the parameter is the logit.
    """

    constraint: str

    def constrained(self, start: Tensor) -> Tensor:
        """What has to be owned for the share to be `start`."""
        check_choice("constraint", self.constraint, ("clamp", "sigmoid"))
        if self.constraint != "sigmoid":
            return start
        wide = torch.promote_types(start.dtype, torch.float32)  # in which 1 - 1e-6 is not 1
        return torch.logit(start.to(wide), eps=1e-6).to(start.dtype)

    def own(self, start: Tensor, trainable: bool) -> None:
        """Own a constrained start."""
        (name,) = self.operands
        check_flag(f"{name}_trainable", trainable)
        if trainable:
            self.register_parameter(name, nn.Parameter(start))
        else:
            self.register_buffer(name, start)

    def share(self) -> Tensor:
        """The share under its constraint: in [0, 1]."""
        held: Tensor = getattr(self, self.operands[0])
        return held.sigmoid() if self.constraint == "sigmoid" else clamp(held)

    @torch.no_grad()
    def project_(self) -> None:
        """Move the share back into [0, 1] in place; call it after `optimizer.step()` under the clamp constraint."""
        (name,) = self.operands
        if is_parametrized(self, name):
            raise ValueError(f"{name}: expected a parameter or a buffer to move, got what a parametrization computes")
        if self.constraint == "clamp":
            getattr(self, name).clamp_(0, 1)
