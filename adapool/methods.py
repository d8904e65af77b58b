"""One row per region method: formula, source, and a few lines of plain torch.

A row is the definition, the portable fallback and the test oracle at once. Values come in float32 or
float64; every row is exact under autograd, and NaN and inf go through.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adapool.region import Region, per_tap
from adapool.registry import Operand, method
from adapool.similarity import DISTANCES, LIKENESSES, distance, likeness

LEAST = 1e-6  # of the power means: smaller activations count as this one
FAR = -1e4  # exponents below this weigh nothing in any dtype

Weighted = tuple[Tensor, Tensor]


@method(
    "y = max_i a_i; the gradient goes to the first maximum",
    "torch.nn.MaxPool2d",
    extra="indices",
    holds="bounded homogeneous",
)
def max(region: Region) -> Weighted:
    """Maximum."""
    tap = region.keep(region.values.detach(), -torch.inf).max(-1).indices
    if region.inside is not None:  # -inf everywhere: a tie that a padded tap must not win
        inside = region.inside.expand_as(region.values)
        real = inside.gather(-1, tap.unsqueeze(-1)).squeeze(-1)
        tap = torch.where(real, tap, inside.int().argmax(-1))
    return region.pick(tap), tap


@method(
    "y = (1/N) sum_i a_i over the N real taps",
    "torch.nn.AvgPool2d(count_include_pad=False)",
    extra="weights",
    holds="bounded homogeneous odd linear",
)
def avg(region: Region) -> Weighted:
    """Average."""
    scale = region.scale(region.values)
    weights = region.keep(torch.ones_like(region.values)) / region.count
    return (region.mean(region.values / scale) * scale).squeeze(-1), weights


@method("y = sum_i a_i", "torch.nn.AvgPool2d times N", holds="homogeneous odd linear")
def sum(region: Region) -> Tensor:
    """Sum."""
    return region.sum(region.values).squeeze(-1)


def _norm(region: Region, values: Tensor, p: Tensor | float) -> Tensor:
    """`(sum_i values_i^p)^(1/p)`, scaled against overflow; 0 with gradient 0 where the sum is 0."""
    scale = region.scale(values)
    power = per_tap(p)
    dead = region.max(values.detach().abs()) == 0
    values = torch.where(dead, 1.0, values / scale)
    if isinstance(power, Tensor):  # 0^p has no logarithm, so that p is a constant there
        zero = values == 0
        powers = torch.where(zero, values ** power.detach(), torch.where(zero, 1.0, values) ** power)
    else:
        powers = values**power
    total = region.sum(powers)
    zero = dead | (total == 0)
    root = torch.where(zero, 1.0, total) ** (1 / power)
    return torch.where(zero, 0.0, root * scale).squeeze(-1)


_P = Operand("p", default=2.0, least=1.0)


@method("y = (sum_i a_i^p)^(1/p); NaN where the sum is negative", "torch.nn.LPPool2d", operands=(_P,))
def lp(region: Region, p: Tensor | float) -> Tensor:
    """Power sum as torch defines it, without absolute values."""
    return _norm(region, region.values, p)


@method("y = (sum_i |a_i|^p)^(1/p)", "Sermanet et al. 2012 (arXiv 1204.3968)", operands=(_P,), holds="homogeneous")
def lp_abs(region: Region, p: Tensor | float) -> Tensor:
    """Lp norm, the power sum of magnitudes."""
    values = region.values
    # A zero's magnitude has no slope, and its power one that has: 2 at p = 2.
    smooth = (values == 0) & (per_tap(p) > 1)
    return _norm(region, torch.where(smooth, values, values.abs()), p)


@method(
    "y = ((1/N) sum_i max(a_i, 1e-6)^p)^(1/p) (power_sum: without 1/N)",
    "Gulcehre et al. 2014 (arXiv 1311.1780); GeM, Radenovic et al. 2018 (arXiv 1711.02512)",
    operands=(Operand("p", default=3.0, least=1.0, learned=True),),
    power_sum={"mean": False},
)
def power(region: Region, p: Tensor | float, mean: bool = True) -> Tensor:
    """Power mean of the positive parts (GeM): the average at p = 1, the maximum as p grows."""
    values = region.values.clamp(min=LEAST)
    scale = region.scale(values)
    exponent = per_tap(p)
    powers = (values / scale) ** exponent
    total = region.mean(powers) if mean else region.sum(powers)
    return (scale * total ** (1 / exponent)).squeeze(-1)


@method(
    "y = alpha max_i a_i + (1 - alpha) (1/N) sum_i a_i",
    "Lee et al. 2016 (arXiv 1509.08985); alpha drawn: Yu et al. 2014",
    operands=(Operand("alpha", default=0.5, learned=True, mixes=True),),
    holds="bounded homogeneous",
)
def mixed(region: Region, alpha: Tensor | float) -> Tensor:
    """Mixed max-average pooling."""
    (top, _), (mean, _) = max(region), avg(region)
    y: Tensor = alpha * top + (1 - alpha) * mean
    return y


def _mass(region: Region) -> Tensor:
    """Positive parts, scaled to at most 1; the same for every tap where none is positive."""
    mass = region.keep(region.values.relu())  # and not clamp, whose gradient at 0 is 1
    mass = mass / region.scale(mass)
    dead = mass.amax(-1, keepdim=True) == 0
    return torch.where(dead, region.keep(torch.ones_like(mass)), mass)


@method(
    "y = a_l with l drawn by p_i = max(a_i, 0) / sum_j max(a_j, 0); uniform where the sum is 0",
    "Zeiler & Fergus 2013 (arXiv 1301.3557), training",
    operands=(Operand("u", kind="random"),),
    extra="indices",
    expectation="stochastic_eval",
    holds="bounded",
)
def stochastic(region: Region, u: Tensor) -> Weighted:
    """Stochastic pooling, training: one tap drawn in proportion to its activation."""
    edge = _mass(region).detach().cumsum(-1)
    total = edge[..., -1:]
    # Strict "edge > threshold", so that a tap without mass is never drawn; rounding may lift u * total to the total.
    tap = torch.minimum((~(edge > per_tap(u) * total)).sum(-1), (edge == total).int().argmax(-1))
    return torch.where(total.isnan().squeeze(-1), torch.nan, region.pick(tap)), tap


@method(
    "y = sum_i r_i a_i / sum_i r_i, r_i = max(a_i, 0); the mean where no tap is positive",
    "Zeiler & Fergus 2013 (arXiv 1301.3557), inference",
    extra="weights",
    holds="bounded homogeneous",
)
def stochastic_eval(region: Region) -> Weighted:
    """Stochastic pooling, inference: the expectation of training."""
    mass = _mass(region)
    weights = mass / mass.sum(-1, keepdim=True)
    return region.weigh(weights), weights


@method(
    "y = sum_i w_i a_i, w_i = exp(a_i) / sum_j exp(a_j)",
    "Stergiou et al. 2021, SoftPool (arXiv 2101.00440); eM of AdaPool",
    extra="weights",
    holds="bounded",
)
def softpool(region: Region) -> Weighted:
    """Exponential maximum (eM, SoftPool)."""
    top = region.max(region.values.detach())
    # The shift keeps exp finite; a - a carries inf and NaN past the clamp.
    below = (region.values - top).clamp(min=FAR) + (region.values - region.values)
    weights = region.softmax(below)
    return top.squeeze(-1) + region.weigh(weights, below), weights


@method(
    "y = sum_i w_i a_i, w = softmax_i(2 |a_i m| / (a_i^2 + m^2)), m the region's mean",
    "Stergiou & Poppe 2021, AdaPool (arXiv 2111.00772)",
    extra="weights",
    measures=LIKENESSES,
    holds="bounded homogeneous odd",
)
def edscw(region: Region, similarity: str = "channel", measure: str = "dice") -> Weighted:
    """Exponential Dice-Sorensen coefficient weighting (eDSCW)."""
    scale = region.scale(region.values)
    if similarity == "vector":
        scale = scale.amax(1, keepdim=True)
    values = region.values / scale
    weights = region.softmax(likeness(values, region.mean(values), measure, similarity == "vector"))
    return region.weigh(weights), weights


@method(
    "y = sum_i w_i a_i, w_i = |a_i - m|^-1 / sum_j |a_j - m|^-1, m the region's mean; m where a tap equals m",
    "Stergiou & Poppe 2021, AdaPool (arXiv 2111.00772)",
    extra="weights",
    measures=DISTANCES,
    holds="bounded homogeneous odd",
)
def idw(region: Region, similarity: str = "channel", measure: str = "l2") -> Weighted:
    """Inverse distance weighting (IDW)."""
    scale = region.scale(region.values)
    if similarity == "vector":
        scale = scale.amax(1, keepdim=True)
    values = region.values / scale
    gap, vector = values - region.mean(values), similarity == "vector"
    straight, far = (distance(gap, kind, vector, scale) for kind in ("l2", measure))
    flat = -region.max(-straight.detach()) <= 2 * torch.finfo(gap.dtype).eps  # what rounding makes of the mean
    near = -region.max(-far.detach())
    inverse = region.keep(near / region.keep(torch.where(flat, 1.0, far), 1.0))  # no 1 / 0 at a padded tap either
    weights = torch.where(flat, region.keep(torch.ones_like(far)), inverse)
    weights = weights / weights.sum(-1, keepdim=True)
    return region.weigh(weights), weights


@method(
    "idw with 1 / D_i for |a_i - m|^-1, D = r^2 / 2 where |r| <= 1, else |r| - 1 / 2, r = a_i - m",
    "Stergiou & Poppe 2021, AdaPool (arXiv 2111.00772)",
    extra="weights",
    measure_of="idw",
)
def idw_huber(region: Region) -> Weighted:
    """Inverse distance weighting by Huber's distance."""
    found: Weighted = idw(region, measure="huber")
    return found


@method(
    "y = beta eDSCW(a) + (1 - beta) eM(a)",
    "Stergiou & Poppe 2021, AdaPool (arXiv 2111.00772)",
    operands=(Operand("beta", default=0.5, learned=True, mixes=True),),
    extra="weights",
    measures=LIKENESSES,
    holds="bounded",
)
def ada(region: Region, beta: Tensor | float, similarity: str = "channel", measure: str = "dice") -> Weighted:
    """Adaptive exponential pooling (AdaPool)."""
    dice, dice_weights = edscw(region, similarity, measure)
    soft, soft_weights = softpool(region)
    share = per_tap(beta)
    return beta * dice + (1 - beta) * soft, share * dice_weights + (1 - share) * soft_weights


@method(
    "y = sum_i w_i a_i / sum_i w_i, w_i = (v_i / mean_j v_j)^(lam/2) + alpha, "
    "v_i = (a_i - guide)^2 + 1e-3 (asymmetric: max(0, a_i - guide)^2 + 1e-3)",
    "Saeedan et al. 2018, DPP (arXiv 1804.04438)",
    operands=(
        Operand("guide"),
        Operand("lam", default=1.0, least=0.0),
        Operand("alpha", default=1.0, least=0.0),
    ),
    extra="weights",
    holds="bounded",
    dpp_asym={"symmetric": False},
)
def dpp(
    region: Region,
    guide: Tensor | float | None,
    lam: Tensor | float,
    alpha: Tensor | float,
    symmetric: bool = True,
) -> Weighted:
    """Detail-preserving pooling; the guide is the region's mean unless given."""
    scale = region.scale(region.values).clamp(min=1)
    values = region.values / scale
    centre = region.mean(values) if guide is None else per_tap(guide) / scale
    detail = values - centre
    if not symmetric:
        detail = detail.clamp(min=0)
    # 1e-3 in units of the scale; the floor, the dtype's resolution, keeps a huge flat region from 0 / 0.
    power = detail * detail + (1e-3 / scale / scale).clamp(min=torch.finfo(detail.dtype).eps ** 2)
    # Both terms over the largest, whose power would overflow for a large lam; their ratio stays.
    top, half = region.max(power.detach()), per_tap(lam) / 2
    weights = region.keep((power / top) ** half + per_tap(alpha) * (region.mean(power) / top) ** half)
    weights = weights / weights.sum(-1, keepdim=True)
    return region.weigh(weights), weights


@method(
    "y = sum_i w_i a_i, w = softmax_i(logits_i)",
    "Gao et al. 2019, LIP (arXiv 1908.04156)",
    operands=(Operand("logits", kind="input"),),
    extra="weights",
    holds="bounded",
)
def lip(region: Region, logits: Tensor) -> Weighted:
    """Local importance pooling with given logits."""
    weights = region.softmax(logits)
    return region.weigh(weights), weights
