"""Layers that own the operand of a row and train it: the exponent of power pooling, the share of mixed pooling."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from adapool.arguments import check_choice, check_flag, check_tensor, draw
from adapool.functional import run
from adapool.layer import Layer, check_options, ranks
from adapool.registry import get
from adapool.share import Constraint, Sharing, Start, starting
from adapool.window import Ints, Sizes, Window


class PowerPool(Layer):
    """Power mean of the positive parts: `y = ((1/N) sum_i max(x_i, 1e-6)^p)^(1/p)`, see the row `power`.

    p: a number, a shape or a tensor that broadcasts to `(C, *out)`, above 1; `(C, 1, 1)` is one for each channel of an
    image. A shape is filled with 3 (GeM's start). It is trained as `p = 1 + softplus(rho)` (Gulcehre et al. 2014), so
    that no step leaves the means from the average (p -> 1) to the maximum (p -> infinity). `mean=False` is the sum
    form, without 1/N. Further keywords are `adapool.pool`'s.

    Shape: `(N, C, *spatial)` or `(C, *spatial)` to `(N, C, *out)`. Raises ValueError or TypeError naming the argument.
    Source: Gulcehre et al. 2014 (arXiv 1311.1780); GeM, Radenovic et al. 2018 (arXiv 1711.02512).

    >>> PowerPool2d(None, p=3.0)(torch.tensor([[[[1.0, 2.0], [3.0, 0.0]]]])).item()
    2.080...
    """

    operands = ("rho",)

    def __init__(
        self,
        kernel_size: Sizes = 2,
        p: Start = None,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        *,
        mean: bool = True,
        p_trainable: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_flag("mean", mean)
        check_flag("p_trainable", p_trainable)
        self.method = "power" if mean else "power_sum"
        check_options(get(self.method), options)
        self.kernel_size = self.checked_kernel(kernel_size, stride, padding, ceil_mode, options.get("dilation", 1))
        self.stride, self.padding, self.ceil_mode, self.options = stride, padding, ceil_mode, options
        above = starting("p", p, 3.0, 1.0, torch.inf, device, dtype).sub_(1).clamp_(min=1e-6)
        self.rho = nn.Parameter(above + torch.log(-torch.expm1(-above)), requires_grad=p_trainable)

    def exponent(self) -> Tensor:
        """p, above 1."""
        return 1 + nn.functional.softplus(self.rho)

    def forward(self, x: Tensor) -> Tensor:
        return run(
            x, self.rank, self.method, False, {"p": self.exponent()},
            self.kernel_size, self.stride, self.padding, self.ceil_mode, **self.options,
        )[0]  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"{self.method!r}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}, p={tuple(self.rho.shape)}"
        )


class MixedPool(Sharing):
    """Mixed max-average pooling: `y = alpha max_i x_i + (1 - alpha) mean_i x_i`, see the row `mixed`.

    alpha: a number, a shape or a tensor that broadcasts to `(C, *out)`, in [0, 1]: `(1,)` for the layer (one layer used
    everywhere is one for the network), `(C, 1, 1)` for each channel, `(*out)` or `(C, *out)` for each region. It is
    trained and kept in [0, 1] by `constraint`, as AdaPool's beta. With `draw` it is not trained but the probability of
    the maximum: in training one of the two is drawn for the "network" (a call), for each "channel" of each image, or
    for each "region", by `generator`; in evaluation alpha is the share, which is the expectation of that. Further
    keywords are `adapool.pool`'s.

    Shape: `(N, C, *spatial)` or `(C, *spatial)` to `(N, C, *out)`. Raises ValueError or TypeError naming the argument.
    Source: Lee et al. 2016 (arXiv 1509.08985); drawn: Yu et al. 2014.

    >>> MixedPool2d(2, alpha=0.25)(torch.arange(4.0).reshape(1, 1, 2, 2)).item()
    1.875
    """

    operands = ("alpha",)
    alpha: Tensor

    def __init__(
        self,
        kernel_size: Sizes = 2,
        alpha: Start = None,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        *,
        draw: Literal["network", "channel", "region"] | None = None,
        generator: torch.Generator | None = None,
        alpha_trainable: bool = True,
        constraint: Constraint = "clamp",
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_options(get("mixed"), options)
        if draw is not None:
            check_choice("draw", draw, ("network", "channel", "region"))
        self.kernel_size = self.checked_kernel(kernel_size, stride, padding, ceil_mode, options.get("dilation", 1))
        self.stride, self.padding, self.ceil_mode, self.options = stride, padding, ceil_mode, options
        self.draw, self.generator = draw, generator
        self.constraint = constraint
        start = self.constrained(starting("alpha", alpha, 0.5, 0.0, 1.0, device, dtype))
        self.own(start, alpha_trainable and draw is None)

    def forward(self, x: Tensor) -> Tensor:
        share = self.share()
        if self.draw is not None and self.training:
            check_tensor("x", x)  # a stand-in of torch.fx has no shape to draw for
            share = (self._uniform(x) < share).to(share.dtype)
        return run(
            x, self.rank, "mixed", False, {"alpha": share},
            self.kernel_size, self.stride, self.padding, self.ceil_mode, **self.options,
        )[0]  # fmt: skip

    def _uniform(self, x: Tensor) -> Tensor:
        """A number in [0, 1) for each place that is drawn apart."""
        rank = self.rank or x.dim() - 2
        dilation = self.options.get("dilation", 1)
        window = Window.make(rank, self.kernel_size, self.stride, self.padding, self.ceil_mode, dilation)
        lead, out = x.shape[:-rank], window.output(x.shape[-rank:])
        shape = {"network": (1,), "channel": (*lead, *(1,) * rank), "region": (*lead, *out)}[self.draw or "network"]
        return draw(shape, self.generator, x.device)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}, alpha={tuple(self.alpha.shape)}, draw={self.draw!r}"
        )


PowerPool1d, PowerPool2d, PowerPool3d = ranks(PowerPool)
MixedPool1d, MixedPool2d, MixedPool3d = ranks(MixedPool)
