"""AdaPool whose beta takes its shape from the first input, as torch.nn's lazy modules do."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from adapool.adaptive import AdaPool, AdaPool1d, AdaPool2d, AdaPool3d
from adapool.arguments import check_choice, make_batched
from adapool.layer import ranks
from adapool.window import Ints, Sizes, Window

Per = Literal["channel", "place"]


class LazyAdaPool(LazyModuleMixin, AdaPool):
    """AdaPool with one beta for each channel, or for each place of the output, known from the first input on.

    `per="channel"` is a beta of `(C, 1, ...)`, `"place"` of `(*out)`. The first forward, or a state_dict with a beta,
    makes the layer an AdaPool; until then DistributedDataParallel, torch.export and Adagrad, which makes its state at
    once, refuse it. Another optimizer that already has beta goes on with it. The other arguments are AdaPool's.

    >>> layer = LazyAdaPool2d(2)
    >>> layer(torch.ones(1, 3, 8, 8)).shape, layer.beta.shape
    (torch.Size([1, 3, 4, 4]), torch.Size([3, 1, 1]))
    """

    def __init__(
        self,
        kernel_size: Sizes = 2,
        per: Per = "channel",
        stride: Ints | None = None,
        beta_trainable: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        check_choice("per", per, ("channel", "place"))
        super().__init__(kernel_size, None, stride, beta_trainable, device=device, dtype=dtype, **options)
        self.per, self.init = per, options.get("beta_init", "half")
        kind: Any = UninitializedParameter if beta_trainable else UninitializedBuffer
        self.beta = kind(device=device, dtype=dtype)

    @torch.no_grad()
    def initialize_parameters(self, x: Tensor) -> None:
        """Give beta its shape and its start, unless a state_dict has."""
        if not self.has_uninitialized_params():
            return
        assert self.rank is not None
        x, _ = make_batched(x, self.rank)
        shape: tuple[int, ...] = (x.shape[1], *(1,) * self.rank)
        if self.per == "place":
            apart = self.options.get("dilation", 1)
            window = Window.make(self.rank, self.kernel_size, self.stride, self.padding, self.ceil_mode, apart)
            shape = window.output(x.shape[-self.rank :])
        beta: Any = self.beta
        beta.materialize(shape)
        beta.copy_(self.start(shape, self.init, beta.device, beta.dtype))

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}, beta=one per {self.per}, constraint={self.constraint!r}"
        )


LazyAdaPool1d, LazyAdaPool2d, LazyAdaPool3d = ranks(LazyAdaPool)
LazyAdaPool1d.cls_to_become, LazyAdaPool2d.cls_to_become, LazyAdaPool3d.cls_to_become = AdaPool1d, AdaPool2d, AdaPool3d
