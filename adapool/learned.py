"""Pooling that needs more than one region: small networks around a row. A table of layer factories.

Each row of `LEARNED` is `factory(rank, channels, kernel_size, stride, padding, ceil_mode=False) -> nn.Module`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from adapool.arguments import deferred
from adapool.functional import pool
from adapool.layer import Layer
from adapool.lift import LiftPool
from adapool.registry import LAYERS
from adapool.sampled import S3Pool1d, S3Pool2d, S3Pool3d, Sampled, as_blocks, check_abutting
from adapool.window import WHOLE, Ints, Sizes, Window

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_CONVOLVE = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}
_NORM = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class LIPPool(Layer):
    """Local importance pooling: `y = sum_i w_i x_i`, `w = softmax_i(12 sigmoid(G(x)_i))`.

    `bottleneck=None` is SimplifiedLIP, G = conv3 -> instance norm; a width (128 in the paper) is the bottleneck,
    G = conv1 -> norm -> ReLU -> conv3 -> norm -> ReLU -> conv1 -> norm. The last norm's scale starts at 0, so the
    layer starts as average pooling over the real taps. Weights are shifted by the region's maximum: no overflow in
    half. Shape: `(N, C, *spatial)`; the norms need more than one place. Source: Gao et al. 2019 (arXiv 1908.04156);
    1-D and 3-D are the direct generalisation.

    >>> LIPPool(2, channels=3)(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(
        self,
        rank: int,
        channels: int,
        kernel_size: Ints = 3,
        stride: Ints | None = 2,
        padding: Ints = 1,
        bottleneck: int | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.window = _window(rank, channels, kernel_size, stride, padding, ceil_mode)
        conv, norm = _CONV[rank], _NORM[rank]
        if bottleneck is None:
            layers: list[nn.Module] = [conv(channels, channels, 3, padding=1, bias=False)]
        else:
            layers = [
                conv(channels, bottleneck, 1, bias=False),
                norm(bottleneck, affine=True),
                nn.ReLU(),
                conv(bottleneck, bottleneck, 3, padding=1, bias=False),
                norm(bottleneck, affine=True),
                nn.ReLU(),
                conv(bottleneck, channels, 1, bias=False),
            ]
        last = norm(channels, affine=True)
        assert last.weight is not None
        nn.init.zeros_(last.weight)
        self.logits = nn.Sequential(*layers, last, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return _pooled(x, "lip", self.window, logits=12 * self.logits(x))


class SimplifiedLIP(LIPPool):
    """`LIPPool(2, channels)` under its released name; `adapool.convert_state_dict` reads its released weights.

    >>> SimplifiedLIP(3)(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(self, channels: int) -> None:
        super().__init__(2, channels)


def local_mean(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """`weight * x + bias` at every cell: the three taps around the window's centre (towards its start when even)."""
    if not isinstance(x, Tensor):
        return deferred(local_mean, "x", x, weight, bias, window)
    cells = window.output(x.shape[-window.rank :])
    margins: list[int] = []
    axes = zip(x.shape[-window.rank :], cells, window.kernel, window.stride, window.padding, strict=True)
    for n, o, k, s, p in reversed(list(axes)):
        before = p + 1 - (k - 1) // 2  # the first cell's three taps start at (k - 1) // 2 - p - 1
        margins += [before, (o - 1) * s + 3 - before - n]
    padded = nn.functional.pad(x, margins)
    guide: Tensor = _CONVOLVE[window.rank](padded, weight, bias, window.stride, groups=x.shape[-window.rank - 1])
    return guide


class DPPPool(Layer):
    """Detail-preserving pooling with trained lambda and alpha per channel, see the row `dpp`.

    lite: the guide is the region's mean. `full=True`: the guide is a trained depthwise convolution of size 3 over
    the neighbourhood, strided like the window and centred on it, `I~ = F * I + b`, F starting as the 3-tap mean.
    `lam = exp(log_lam)` and `alpha = exp(min(log_alpha, 10))` start at 1, as in the authors' black-box code.
    Shape: `(N, C, *spatial)`. Source: Saeedan et al. 2018 (arXiv 1804.04438), mean-normalised form; windows other
    than 2 x 2 with stride 2 are the direct generalisation.

    >>> DPPPool(2, channels=3, full=True)(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    operands = ("log_lam", "log_alpha")

    def __init__(
        self,
        rank: int,
        channels: int,
        kernel_size: Ints = 2,
        stride: Ints | None = None,
        padding: Ints = 0,
        *,
        full: bool = False,
        symmetric: bool = True,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.window = _window(rank, channels, kernel_size, stride, padding, ceil_mode)
        self.method = "dpp" if symmetric else "dpp_asym"
        shape = (channels, *(1,) * rank)
        self.log_lam = nn.Parameter(torch.zeros(shape))
        self.log_alpha = nn.Parameter(torch.zeros(shape))
        self.filter: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if full and WHOLE in self.window.kernel:
            raise TypeError(f"kernel_size: expected an int or {rank} ints with full=True, got {kernel_size!r}")
        if full:
            self.filter = nn.Parameter(torch.full((channels, 1, *(3,) * rank), 3.0**-rank))
            self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        guide = None if self.filter is None else local_mean(x, self.filter, self.bias, self.window)
        lam, alpha = self.log_lam.exp(), self.log_alpha.clamp(max=10).exp()
        return _pooled(x, self.method, self.window, guide=guide, lam=lam, alpha=alpha)


class StochasticDPPPool(Sampled):
    """Stochastic detail-preserving pooling (S-DPP): DPP at every place, then S3Pool's draw of places.

    `dpp` is a DPPPool of size k and stride 1; the input is continued by its last line, so that there is one of its
    cells for every place. Then as S3Pool: in training places are drawn, in evaluation blocks of k are averaged, which
    for grid = k is the expectation of training. Shape: `(N, C, *spatial)` to `size // k` for each axis.
    Source: Saeedan et al. 2018 (arXiv 1804.04438).

    >>> StochasticDPPPool(2, channels=3, full=True)(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(
        self,
        rank: int,
        channels: int,
        kernel_size: Ints = 2,
        *,
        full: bool = False,
        symmetric: bool = True,
        grid: Ints | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.grid = as_blocks(rank, kernel_size, grid)
        self.generator = generator
        self.dpp = DPPPool(rank, channels, self.kernel, 1, full=full, symmetric=symmetric)

    def everywhere(self, x: Tensor) -> Tensor:
        margins = [margin for k in reversed(self.kernel) for margin in (0, k - 1)]
        found: Tensor = self.dpp(nn.functional.pad(x, margins, "replicate"))
        return found


class GatedPool(Layer):
    """Gated max-average pooling: `y = s max_i x_i + (1 - s) mean_i x_i`, `s = sigmoid(sum_i w_i x_i)`.

    One mask w of the window's shape, without bias, for all channels; `per_channel=True` has one for each. It starts
    normal with deviation 0.1, as in the authors' networks. Padded taps are in neither maximum, mean nor sum.
    Shape: `(N, C, *spatial)`. Source: Lee et al. 2016 (arXiv 1509.08985).

    >>> GatedPool(2, channels=3)(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(
        self,
        rank: int,
        channels: int,
        kernel_size: Ints = 2,
        stride: Ints | None = None,
        padding: Ints = 0,
        *,
        per_channel: bool = False,
    ) -> None:
        super().__init__()
        self.window = _window(rank, channels, kernel_size, stride, padding)
        if WHOLE in self.window.kernel:
            raise TypeError(f"kernel_size: expected an int or {rank} ints, got {kernel_size!r}")
        self.mask = nn.Parameter(torch.empty(channels if per_channel else 1, 1, *self.window.kernel))
        nn.init.normal_(self.mask, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        window = self.window
        convolve = _CONVOLVE[window.rank]
        channels = x.shape[-window.rank - 1]
        mask = self.mask.expand(channels, *(-1,) * (window.rank + 1))
        gate: Tensor = convolve(x, mask, None, window.stride, window.padding, groups=channels)
        return _pooled(x, "mixed", window, alpha=gate.sigmoid())


def _pooled(x: Tensor, method: str, window: Window, **operands: Any) -> Tensor:
    return pool(x, method, window.kernel, window.stride, window.padding, window.ceil_mode, **operands)


def _window(rank: int, channels: int, *window: Any) -> Window:
    if rank not in _CONV:
        raise ValueError(f"rank: expected 1, 2 or 3, got {rank!r}")
    if not isinstance(channels, int) or channels < 1:
        raise ValueError(f"channels: expected a positive int, got {channels!r}")
    return Window.make(rank, *window)


def _abutting(make: Callable[..., Layer]) -> Callable[..., Layer]:
    """A factory of the table for what takes no stride of its own and no padding."""

    def made(rank: int, channels: int, kernel_size: Sizes, stride: Ints | None = None, padding: Ints = 0) -> Layer:
        check_abutting(rank, kernel_size, stride, padding)
        return make(rank, channels, kernel_size)

    return made


def _s3(rank: int, channels: int, kernel_size: Ints) -> Layer:
    return (S3Pool1d, S3Pool2d, S3Pool3d)[rank - 1](kernel_size)


def _lift(rank: int, channels: int, kernel_size: Ints) -> Layer:
    if set(Window.make(rank, kernel_size).kernel) != {2}:
        raise ValueError(f"kernel_size: expected 2, got {kernel_size!r}")
    return LiftPool(rank, channels)


LEARNED: dict[str, Callable[..., Any]] = {
    "lip_simplified": LIPPool,
    "lip_bottleneck": partial(LIPPool, bottleneck=128),
    "dpp_full": partial(DPPPool, full=True),
    "dpp_full_asym": partial(DPPPool, full=True, symmetric=False),
    "sdpp": _abutting(StochasticDPPPool),
    "sdpp_asym": _abutting(partial(StochasticDPPPool, symmetric=False)),
    "sdpp_full": _abutting(partial(StochasticDPPPool, full=True)),
    "sdpp_full_asym": _abutting(partial(StochasticDPPPool, full=True, symmetric=False)),
    "gated": GatedPool,
    "s3": _abutting(_s3),
    "s3_eval": _abutting(lambda *given: _s3(*given).eval()),
    "lift": _abutting(_lift),
}
LAYERS.update(LEARNED)
