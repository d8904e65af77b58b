"""The pooling layers that the experiments compare, each with its own inverse. Windows are 2 with stride 2.

A subject is `method` or `method+decoder`: how an hourglass network undoes the pooling. Without a decoder it is by the
method's own inverse: AdaUnPool and its kind from the weights, max-unpool from the indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapool import AdaPool2d, AdaPool3d, DPPPool, LIPPool, Pool, max_unpool, pool, pool_with_extra, unpool

METHODS = ("max", "avg", "softpool", "edscw", "ada", "lip", "dpp")
DECODERS = ("own", "bilinear", "transposed")
START = 0.5  # of every beta
_ADA = {2: AdaPool2d, 3: AdaPool3d}
Undo = Callable[[Tensor], Tensor]


def parts(subject: str) -> tuple[str, str]:
    """Method and decoder of a subject. ValueError for one that is none.

    >>> parts("ada"), parts("ada+bilinear")
    (('ada', 'own'), ('ada', 'bilinear'))
    """
    method, _, decoder = subject.partition("+")
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if (decoder or "own") not in DECODERS:
        raise ValueError(f"decoder: expected one of {', '.join(DECODERS)}, got {decoder!r}")
    return method, decoder or "own"


class Pooling(nn.Module):
    """One pooling layer of a subject.

    `cells`, the pooled size, gives ada one beta for each place, as the paper has it; None one for each channel, for
    networks that see pictures of several sizes. lip is SimplifiedLIP, dpp the lite form. What a layer draws to start
    with is not taken from the network's random numbers, so that all subjects of a seed share the rest of them.
    """

    def __init__(self, subject: str, rank: int, channels: int, cells: Sequence[int] | None = None) -> None:
        super().__init__()
        self.method, self.decoder = parts(subject)
        self.layer: nn.Module
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed())
            if self.method == "ada":
                shape = (1, *cells) if cells is not None else (channels, *(1,) * rank)
                self.layer = _ADA[rank](2, torch.full(shape, START))
            elif self.method in ("lip", "dpp"):
                factory = {"lip": LIPPool, "dpp": DPPPool}[self.method]
                self.layer = factory(rank, channels, 2, 2, 0)
            else:
                self.layer = Pool(self.method, 2)
            self.enlarge = (
                nn.Identity() if self.decoder != "transposed" else nn.ConvTranspose2d(channels, channels, 2, 2)
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y

    def reversible(self, x: Tensor) -> tuple[Tensor, Undo]:
        """The pooled tensor, and the function that brings one of its shape back to x's size."""
        if self.decoder == "transposed":
            return self(x), self.enlarge.__call__
        if self.decoder == "bilinear":
            return self(x), bilinear
        if self.method == "max":
            y, indices = pool_with_extra(x, "max", 2)
            return y, lambda z: max_unpool(z, indices, 2)
        operands = self._operands(x)
        return pool(x, self.method, 2, **operands), lambda z: unpool(z, x, self.method, 2, **operands)

    def _operands(self, x: Tensor) -> dict[str, Any]:
        layer: Any = self.layer
        if self.method == "ada":
            return {"beta": layer.share()}
        if self.method == "lip":
            return {"logits": 12 * layer.logits(x)}
        if self.method == "dpp":
            return {"lam": layer.log_lam.exp(), "alpha": layer.log_alpha.clamp(max=10).exp()}
        return {}


def bilinear(z: Tensor) -> Tensor:
    """Twice as large, by bilinear interpolation."""
    return nn.functional.interpolate(z, scale_factor=2, mode="bilinear", align_corners=False)


def betas(network: nn.Module) -> dict[str, Tensor]:
    """Every beta of the network under its constraint, by the name of its layer, in the order of the network."""
    return {
        name.removesuffix(".layer"): cast(Any, layer).share().detach().clone()
        for name, layer in network.named_modules()
        if isinstance(layer, tuple(_ADA.values()))
    }


def project(network: nn.Module) -> None:
    """Moves every beta back into [0, 1]; call it after a step of the optimizer."""
    for layer in network.modules():
        if isinstance(layer, tuple(_ADA.values())):
            cast(Any, layer).project_()
