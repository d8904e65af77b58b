"""The values under a window, and the few reductions that methods are written with.

Padded taps are excluded here, once, so that no method has to know of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Region:
    """Taps of every cell: `values [N, C, *out, taps]`, of which `inside [*out, taps]` are real (None: all).

    Reductions run over the taps and keep that axis. `detached` makes `weigh` treat weights as constants.
    """

    values: Tensor
    inside: Tensor | None = None
    detached: bool = False

    def keep(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """`x` at the real taps, `fill` at the padded ones."""
        return x if self.inside is None else torch.where(self.inside, x, fill)

    @property
    def count(self) -> int | Tensor:
        """Number of real taps."""
        return self.values.shape[-1] if self.inside is None else self.inside.sum(-1, keepdim=True)

    def sum(self, x: Tensor) -> Tensor:
        return self.keep(x).sum(-1, keepdim=True)

    def mean(self, x: Tensor) -> Tensor:
        return self.sum(x) / self.count

    def max(self, x: Tensor) -> Tensor:
        return self.keep(x, -torch.inf).amax(-1, keepdim=True)

    def softmax(self, logits: Tensor) -> Tensor:
        return self.keep(logits, -torch.inf).softmax(-1)

    def scale(self, x: Tensor) -> Tensor:
        """Largest magnitude of `x`, a constant to divide by: 1 where it is zero or not finite.

        A method with f(c a) = c f(a) computed on `a / scale` can neither overflow nor underflow.
        """
        top = self.max(x.detach().abs())
        return torch.where((top > 0) & top.isfinite(), top, 1.0)

    def weigh(self, weights: Tensor, x: Tensor | None = None) -> Tensor:
        """`sum_i weights_i x_i` for weights that sum to 1, `[N, C, *out]`; constant regions come back exactly."""
        if self.detached:
            weights = weights.detach()
        if x is not None:
            return self.sum(weights * x).squeeze(-1)
        scale = self.scale(self.values).clamp(max=2.0**64)  # more would make zeros of what lies beside a huge tap
        x = self.values / scale
        # From the tap that weighs most, so that a huge one that weighs nothing leaves the others their digits.
        most = weights.detach().expand_as(x).argmax(-1, keepdim=True)
        centre = x.detach().gather(-1, most)
        return ((centre + self.sum(weights * (x - centre))) * scale).squeeze(-1)

    def pick(self, tap: Tensor) -> Tensor:
        """The value at index `tap [N, C, *out]` of each region."""
        return self.values.gather(-1, tap.unsqueeze(-1)).squeeze(-1)


def per_tap(operand: Tensor | float) -> Tensor | float:
    """A per-cell operand made to broadcast over the taps."""
    return operand.unsqueeze(-1) if isinstance(operand, Tensor) else operand
