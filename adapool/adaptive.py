"""AdaPool and AdaUnPool as layers: who owns beta, how it starts and how it is kept in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.autograd import Function, forward_ad
from torch.compiler import is_compiling, is_exporting

from adapool import named
from adapool.arguments import check_choice, check_flag, deferred
from adapool.functional import run
from adapool.layer import Layer, check_options, ranks
from adapool.native_gradients import differentiates, is_transformed
from adapool.registry import get
from adapool.window import Ints, Sizes, is_traced, per_axis

Constraint = Literal["clamp", "sigmoid"]


def initial_beta(
    beta: Tensor | float | Sequence[int] | None,
    init: str,
    device: Any = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Starting values of beta, in [0, 1], from a number, a tensor or a shape.

    A shape is filled with 0.5, or with `init="released"` by clamp(randn, 0, 1) as the released package does.
    """
    check_choice("beta_init", init, ("half", "released"))
    dtype = dtype or (beta.dtype if isinstance(beta, Tensor) else torch.get_default_dtype())
    if isinstance(beta, Tensor):
        if not beta.is_floating_point():
            raise TypeError(f"beta: expected a floating point tensor, got {beta.dtype}")
        if not (beta.is_meta or isinstance(beta, FakeTensor)) and not ((beta >= 0) & (beta <= 1)).all():
            raise ValueError(f"beta: expected values in [0, 1], got {beta.min():g}..{beta.max():g}")
        return beta.detach().clone().to(device=device or beta.device, dtype=dtype)
    if isinstance(beta, float) and not 0 <= beta <= 1:
        raise ValueError(f"beta: expected a value in [0, 1], got {beta:g}")
    if isinstance(beta, float) or beta is None:
        return torch.full((1,), 0.5 if beta is None else beta, device=device, dtype=dtype)
    shape = (beta,) if isinstance(beta, int) and not isinstance(beta, bool) else beta
    whole = isinstance(shape, Sequence) and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)
    if not whole or isinstance(shape, str):
        raise TypeError(f"beta: expected a float, a shape of positive ints or a Tensor, got {beta!r}")
    if init == "released":
        return torch.randn(tuple(shape), device=device, dtype=dtype).clamp_(0, 1)
    return torch.full(tuple(shape), 0.5, device=device, dtype=dtype)


class _Clamp(Function):
    """`clamp(b, 0, 1)` whose gradient goes on where descent leads back: outside, clamp's own would be 0 for ever."""

    generate_vmap_rule = True

    @staticmethod
    def forward(beta: Tensor) -> Tensor:
        return beta.clamp(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (beta,) = ctx.saved_tensors
        leaves = ((beta > 1) & (grad < 0)) | ((beta < 0) & (grad > 0))
        return torch.where(leaves, 0.0, grad)


_clamp_eagerly = super(Function, _Clamp).apply  # less what `Function.apply` does for transforms: 7 us instead of 20


def clamp(beta: Tensor) -> Tensor:
    """`clamp(beta, 0, 1)` with a gradient at both ends and, from outside, back to them."""
    if not isinstance(beta, Tensor):
        return deferred(clamp, "beta", beta)
    share: Tensor
    # A tangent has no way back to look for, and an exported or traced program keeps no function written in Python.
    if torch.is_grad_enabled():  # asked first: without gradients nothing more is
        if is_compiling():
            if not is_exporting():
                share = _Clamp.apply(beta)  # type: ignore[no-untyped-call]
                return share
        elif differentiates(beta) and forward_ad._current_level < 0 and not is_traced():
            share = _Clamp.apply(beta) if is_transformed() else _clamp_eagerly(beta)  # type: ignore[no-untyped-call]
            return share
    return beta.clamp(0, 1)


class AdaPool(Layer):
    """Adaptive exponential pooling: `y = beta eDSCW(x) + (1 - beta) eM(x)`, see `adapool.adapool2d`.

    beta: a number, a shape or a tensor that broadcasts to `(C, *out)`, in [0, 1]; a scalar or `(C, 1, 1)` works at any
    input size. A shape is filled with 0.5 (`beta_init="released"`: clamp(randn, 0, 1)). It is kept in [0, 1] by
    `constraint="clamp"` (a beta that a step has left outside keeps the gradient that leads back; `project_` after the
    step moves it back at once) or `"sigmoid"` (the parameter is the logit).
    `kernel_size=None` pools the whole extent; `return_mask=True` returns `(y, (mask_edscw, mask_em, beta))`, the
    arguments of AdaUnpool. `native` belongs to the released signature and changes nothing. Further keywords are
    `adapool.pool`'s: gradient, similarity, implementation.

    Shape: `(N, C, *spatial)` or `(C, *spatial)` to `(N, C, *out)`. Raises ValueError or TypeError naming the argument.
    Source: Stergiou & Poppe 2021 (arXiv 2111.00772); state_dict key `beta` as in the released package.

    >>> layer = AdaPool2d(kernel_size=2, beta=(1, 1))
    >>> layer(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    operands = ("beta",)

    def __init__(
        self,
        kernel_size: Sizes = 2,
        beta: Tensor | float | Sequence[int] | None = None,
        stride: Ints | None = None,
        beta_trainable: bool = True,
        return_mask: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        native: bool = False,
        *,
        padding: Ints = 0,
        ceil_mode: bool = False,
        constraint: Constraint = "clamp",
        beta_init: Literal["half", "released"] = "half",
        **options: Any,
    ) -> None:
        super().__init__()
        check_choice("constraint", constraint, ("clamp", "sigmoid"))
        check_flag("beta_trainable", beta_trainable)
        check_flag("return_mask", return_mask)
        check_options(get("ada"), options)
        self.kernel_size = self.checked_kernel(kernel_size, stride, padding, ceil_mode, options.get("dilation", 1))
        self.stride, self.padding, self.ceil_mode = stride, padding, ceil_mode
        self.return_mask, self.constraint, self.options = return_mask, constraint, options
        start = self.start(beta, beta_init, device, dtype)
        if beta_trainable:
            self.beta = nn.Parameter(start)
        else:
            self.register_buffer("beta", start)

    def start(self, *given: Any) -> Tensor:
        """`initial_beta(...)` as the parameter that makes it under the constraint."""
        beta = initial_beta(*given)
        return torch.logit(beta, eps=1e-6) if self.constraint == "sigmoid" else beta

    def share(self) -> Tensor:
        """Beta under its constraint: in [0, 1]."""
        return self.beta.sigmoid() if self.constraint == "sigmoid" else clamp(self.beta)

    @torch.no_grad()
    def project_(self) -> None:
        """Move beta back into [0, 1] in place; call it after `optimizer.step()` under the clamp constraint."""
        if self.constraint == "clamp":
            self.beta.clamp_(0, 1)

    def forward(self, x: Tensor) -> Any:
        if not self.return_mask:
            return run(
                x, self.rank, "ada", False, {"beta": self.share()},
                self.kernel_size, self.stride, self.padding, self.ceil_mode, **self.options,
            )[0]  # fmt: skip
        function = getattr(named, f"adapool{self.rank}d")
        window = {"padding": self.padding, "ceil_mode": self.ceil_mode}
        return function(x, self.share(), self.kernel_size, self.stride, True, **window, **self.options)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}, beta={tuple(self.beta.shape)}, constraint={self.constraint!r}"
        )


class AdaUnpool(Layer):
    """Inverse of AdaPool from its masks: `out_i = N y w_i`, see `adapool.adaunpool2d`.

    >>> y, mask = AdaPool2d(2, return_mask=True)(torch.ones(1, 3, 8, 8))
    >>> AdaUnpool2d()(y, mask).shape
    torch.Size([1, 3, 8, 8])
    """

    def __init__(
        self,
        interpolate: bool = True,
        kernel_size: Sizes = None,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        check_flag("interpolate", interpolate)
        if kernel_size is not None:
            self.checked_kernel(kernel_size, stride, padding, ceil_mode)
        elif self.rank is not None:  # the kernel is read off the mask
            per_axis("padding", padding, self.rank, 0)
            per_axis("stride", 1 if stride is None else stride, self.rank, 1)
        self.options = {
            "interpolate": interpolate, "kernel_size": kernel_size, "stride": stride,
            "padding": padding, "ceil_mode": ceil_mode, "normalize": normalize,
        }  # fmt: skip

    def forward(self, x: Tensor, mask: named.Masks, output_size: Sequence[int] | None = None) -> Tensor:
        function = getattr(named, f"adaunpool{self.rank}d")
        out: Tensor = function(x, mask, output_size=output_size, **self.options)
        return out

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items() if v is not None)


AdaPool1d, AdaPool2d, AdaPool3d = ranks(AdaPool)
AdaUnpool1d, AdaUnpool2d, AdaUnpool3d = ranks(AdaUnpool)
