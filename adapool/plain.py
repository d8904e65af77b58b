"""The rows on whole tensors: pooling and spreading in plain torch, what the compiled operators are compared with.

Trusts its arguments. Knows nothing of the compiled operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapool.grid import Regions
from adapool.region import Region
from adapool.registry import Method
from adapool.window import Window


def run_row(
    entry: Method,
    x: Tensor,
    window: Regions,
    operands: dict[str, Any],
    gradient: str = "exact",
) -> tuple[Tensor, Tensor | None]:
    """The row on `x [N, C, *spatial]`, in float32 at least: the cells, and weights or chosen taps."""
    wide = torch.promote_types(x.dtype, torch.float32)
    region = Region(window.unfold(x).to(wide), window.inside(x.shape[2:], x.device), gradient == "detached")
    given = {}
    for spec in entry.operands:
        value = operands[spec.name]
        value = window.unfold(value) if spec.kind == "input" else value
        given[spec.name] = value.to(wide) if isinstance(value, Tensor) else value
    return entry(region, **given)


def _places(taps: Tensor, x: Tensor, window: Regions) -> Tensor:
    """Flat index in the plane of `x` of the chosen tap of every cell."""
    places = window.places(x.shape[2:], x.device).expand(*taps.shape, -1)
    return places.gather(-1, taps.unsqueeze(-1)).squeeze(-1)


def pool(
    entry: Method,
    x: Tensor,
    window: Regions,
    operands: dict[str, Any],
    gradient: str = "exact",
) -> tuple[Tensor, Tensor | None]:
    """The cells in the dtype of `x`; and weights `[N, C, *out, taps]` or flat indices `[N, C, *out]`, constants."""
    y, extra = run_row(entry, x, window, operands, gradient)
    if extra is not None:
        extra = _places(extra, x, window) if entry.extra == "indices" else extra.detach()
    return y.to(x.dtype), extra


def unpool(
    entry: Method,
    y: Tensor,
    guide: Tensor,
    window: Window,
    operands: dict[str, Any],
    normalize: bool,
) -> Tensor:
    """`y` spread by the weights that the method has on the guide."""
    weights = run_row(entry, guide, window, operands)[1]
    assert weights is not None
    return spread(y, weights.expand(*y.shape, -1), window, guide.shape[2:], normalize)


def spread(y: Tensor, weights: Tensor, window: Window, spatial: Sequence[int], normalize: bool) -> Tensor:
    """`sum_R w_Ri y_R` at every place; normalised: times the region's taps, over the number of regions there."""
    inside = window.inside(spatial, y.device)
    region = Region(weights, inside)
    taps = region.keep(weights * y.unsqueeze(-1))
    if not normalize:
        return window.fold(taps, spatial).to(y.dtype)
    ones = region.keep(torch.ones((*y.shape[2:], weights.shape[-1]), device=y.device, dtype=taps.dtype))
    return (window.fold(taps * region.count, spatial) / window.fold(ones, spatial).clamp(min=1)).to(y.dtype)
