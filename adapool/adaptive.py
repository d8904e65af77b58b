"""AdaPool and AdaUnPool as layers: who owns beta, how it starts and how it is kept in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from adapool import named
from adapool.arguments import check_choice, check_flag
from adapool.forms import adaptive_pool, output_sizes
from adapool.functional import run
from adapool.layer import WINDOWLESS, Layer, check_options, ranks
from adapool.registry import get
from adapool.share import Constraint, Sharing, Start, starting
from adapool.window import Ints, Sizes, per_axis


def initial_beta(beta: Start, init: str, device: Any = None, dtype: torch.dtype | None = None) -> Tensor:
    """Starting values of beta, in [0, 1], from a number, a tensor or a shape.

    A shape is filled with 0.5, or with `init="released"` by clamp(randn, 0, 1) as the released package does.
    """
    check_choice("beta_init", init, ("half", "released"))
    start = starting("beta", beta, 0.5, 0.0, 1.0, device, dtype)
    drawn = init == "released" and not isinstance(beta, (Tensor, float)) and beta is not None
    return start.normal_().clamp_(0, 1) if drawn else start


class AdaPool(Sharing):
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
    beta: Tensor

    def __init__(
        self,
        kernel_size: Sizes = 2,
        beta: Start = None,
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
        check_flag("return_mask", return_mask)
        check_options(get("ada"), options)
        self.kernel_size = self.checked_kernel(kernel_size, stride, padding, ceil_mode, options.get("dilation", 1))
        self.stride, self.padding, self.ceil_mode = stride, padding, ceil_mode
        self.return_mask, self.options = return_mask, options
        self.constraint = constraint
        self.own(self.start(beta, beta_init, device, dtype), beta_trainable)

    def start(self, *given: Any) -> Tensor:
        """`initial_beta(...)` as the parameter that makes it under the constraint."""
        return self.constrained(initial_beta(*given))

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


class AdaptiveAdaPool(AdaPool):
    """AdaPool to a given output size, so that one beta for each place serves every input size: `adapool.adaptive_pool`.

    output_size: sizes, or one for all axes; None keeps an axis. beta and the keywords are AdaPool's, less the window.
    Shape: `(N, C, *spatial)` or `(C, *spatial)` to `(N, C, *output_size)`.

    >>> layer = AdaptiveAdaPool2d((3, 2), beta=(3, 2))
    >>> [tuple(layer(torch.ones(1, 4, *size)).shape) for size in ((7, 5), (9, 8))]
    [(1, 4, 3, 2), (1, 4, 3, 2)]
    """

    rank: ClassVar[int]

    def __init__(
        self,
        output_size: Sizes,
        beta: Start = None,
        beta_trainable: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        kept = {name: options.pop(name) for name in ("constraint", "beta_init") if name in options}
        check_options(get("ada"), options, WINDOWLESS)
        super().__init__(1, beta, None, beta_trainable, device=device, dtype=dtype, **kept, **options)
        self.output_size = output_sizes(output_size, self.rank)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = adaptive_pool(x, "ada", self.output_size, beta=self.share(), **self.options)
        return y

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, beta={tuple(self.beta.shape)}, constraint={self.constraint!r}"


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
AdaptiveAdaPool1d, AdaptiveAdaPool2d, AdaptiveAdaPool3d = ranks(AdaptiveAdaPool)
AdaUnpool1d, AdaUnpool2d, AdaUnpool3d = ranks(AdaUnpool)
