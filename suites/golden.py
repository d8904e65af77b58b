"""Hand-worked answers that a row, or a layer of `LEARNED`, has to give before it may be anyone's oracle.

Numbers and one check; nothing is ever compared with itself. Sources: the formulas worked by hand, and float64 central
differences for the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isqrt, log, sqrt, tanh
from typing import Any

import torch
from torch import Tensor

from adapool import functional
from adapool.learned import LEARNED
from adapool.registry import get
from adapool.window import Window

RAMP = (0.0, 1.0, 2.0, 3.0)
MIXED = (1.0, -2.0, 0.5, 4.0)
NEGATIVE = (-1.0, -2.0, -3.0, -0.5)


@dataclass(frozen=True)
class Golden:
    """One window of four taps, what it pools to, and the gradient of that; None where it is not worked out.

    `operands` by name: of a row numbers and tensors, of a layer its parameters and, where it draws, `u`. A layer that
    pools at every place first may have nine taps.
    """

    taps: tuple[float, ...]
    y: float
    grad: tuple[float, ...] | None = None
    operands: Any = None


_EM = 2.4926527345857696
_DSC = 1.7257109441779277
_EM_GRAD = (-0.047852361853, -0.042931886932, 0.120181849982, 0.970602398803)
_DSC_GRAD = (0.16363581084, 0.267596541411, 0.345030406801, 0.256017863055)
_PAIRS = tuple(zip(_DSC_GRAD, _EM_GRAD, strict=True))
GOLDEN: dict[str, tuple[Golden, ...]] = {
    "max": (Golden(RAMP, 3.0, (0, 0, 0, 1)), Golden(MIXED, 4.0, (0, 0, 0, 1)), Golden(NEGATIVE, -0.5, (0, 0, 0, 1))),
    "avg": (Golden(RAMP, 1.5, (0.25,) * 4), Golden(MIXED, 0.875, (0.25,) * 4), Golden(NEGATIVE, -1.625, (0.25,) * 4)),
    "sum": (Golden(RAMP, 6.0, (1,) * 4), Golden(MIXED, 3.5, (1,) * 4)),
    "lp": (
        Golden(RAMP, 14**0.5),
        Golden((0, 0, 3, 4), 5.0, (0, 0, 0.6, 0.8)), Golden((1, -1, 1, -1), 2.0, (0.5, -0.5, 0.5, -0.5)),
    ),
    "lp_abs": (
        Golden(MIXED, 21.25**0.5),
        Golden((0, 0, -3, 4), 5.0, (0, 0, -0.6, 0.8)), Golden((1, -1, 1, -1), 2.0, (0.5, -0.5, 0.5, -0.5)),
    ),
    "power": (
        Golden(RAMP, 9 ** (1 / 3), (0, 0.25 / 9 ** (2 / 3), 1 / 9 ** (2 / 3), 2.25 / 9 ** (2 / 3))),
        Golden(MIXED, ((17.25 + 1e-12) / 4) ** 0.5, None, {"p": 2.0}),
        Golden((1, 2, 3, 4), 2.5, (0.25,) * 4, {"p": 1.0}),
    ),
    "power_sum": (
        Golden(RAMP, 36 ** (1 / 3), (0, 1 / 36 ** (2 / 3), 4 / 36 ** (2 / 3), 9 / 36 ** (2 / 3))),
        Golden((0, 0, 3, 4), (25 + 2e-12) ** 0.5, (0, 0, 0.6, 0.8), {"p": 2.0}),
    ),
    "mixed": (
        Golden(RAMP, 2.25, (0.125, 0.125, 0.125, 0.625)), Golden(MIXED, 2.4375, (0.125, 0.125, 0.125, 0.625)),
        Golden((3, -1, 3, 1), 1.875, (0.4375, 0.1875, 0.1875, 0.1875), {"alpha": 0.25}),
    ),
    "stochastic": (
        Golden(RAMP, 3.0, (0, 0, 0, 1), {"u": 0.9}), Golden(RAMP, 1.0, (0, 1, 0, 0), {"u": 0.1}),
        Golden(RAMP, 2.0, (0, 0, 1, 0), {"u": 0.4}), Golden(MIXED, 1.0, (1, 0, 0, 0), {"u": 0.1}),
    ),
    "stochastic_eval": (
        Golden(RAMP, 7 / 3), Golden((1, 2, 3, 4), 3.0, (-0.1, 0.1, 0.3, 0.5)), Golden(MIXED, 3.1363636363636362),
        Golden(NEGATIVE, -1.625, (0.25,) * 4),
    ),
    "softpool": (
        Golden(RAMP, _EM, _EM_GRAD),
        Golden(MIXED, 3.7506385813831584, (-0.080519284553, -0.010878573684, -0.062785872017, 1.154183730254)),
        Golden(NEGATIVE, -0.9410487306868619),
    ),
    "edscw": (
        Golden(RAMP, _DSC, _DSC_GRAD),
        Golden(MIXED, 0.6673815037597175, (0.278902015488, 0.06216614761, 0.214704764292, 0.101364850336)),
        Golden(NEGATIVE, -1.6986744675852141, (0.245175779897, 0.335220567527, 0.255722239956, 0.031781665531)),
    ),
    "idw": (Golden(RAMP, 1.5), Golden(MIXED, 0.875), Golden(NEGATIVE, -1.625), Golden((0, 0, 0, 4), 0.4)),
    "ada": (
        Golden(RAMP, 0.25 * _DSC + 0.75 * _EM, tuple(0.25 * d + 0.75 * e for d, e in _PAIRS),
               {"beta": 0.25}),
        Golden(MIXED, (0.6673815037597175 + 3.7506385813831584) / 2),
    ),
    "dpp": (Golden(RAMP, 1.5), Golden(MIXED, 0.9664473341199782)),
    "dpp_asym": (Golden(RAMP, 1.9661646078829276), Golden(MIXED, 1.8860561980320543)),
    "lip": (Golden(RAMP, 1.5, (0.25,) * 4, {"logits": 0.0}), Golden(RAMP, _EM, None, {"logits": RAMP})),
}  # fmt: skip

# The layers. LIP: of taps -1 and 1 a norm makes -n and n, n = (1 + 1e-5 / variance)^-1/2; with a scale of log(3) / n
# their logits are 12 / 4 and 12 * 3 / 4, and y is tanh(3). DPP: lam = 2, so that w = v / mean(v) + alpha; the guide is
# the last tap or a number. Gated: the first tap alone is in the gate, 3 / 4.
_NINE = tuple(float(v) for v in range(9))
_CENTRE, _LAST = ((0.0, 0, 0), (0, 1, 0), (0, 0, 0)), ((0.0, 0, 0), (0, 0, 0), (0, 0, 1))
_FIRST, _SECOND = (0.1, 0.9), (0.9, 0.1)  # numbers that draw the first and the second place of a block


def _normed(deviation: float) -> float:
    """What an instance norm makes of half the values above and half below their mean by `deviation`."""
    return 1 / sqrt(1 + 1e-5 / deviation**2)


_BOTTLENECK = _normed(64 * _normed(64 * _normed(1.0)))  # 128 sums of 0 and n lie 64 n above and below their mean
_BY_LAST = {"log_lam": log(2), "filter": _LAST}  # (v + mean v) a / sum: v = 9.001, 4.001, 1.001, 0.001, mean 3.501
_BY_ONE = {"log_lam": log(2), "log_alpha": log(3), "filter": 0.0, "bias": 1.0}  # v = .001, .001, 1.001, 4.001 if asym


def _inner(params: dict[str, Any], *u: tuple[float, float]) -> dict[str, Any]:
    return {**{f"dpp.{name}": value for name, value in params.items()}, "u": tuple(v for axis in u for v in axis)}


GOLDEN |= {
    "lip_simplified": (
        Golden((-1, 1, -1, 1), tanh(3), None, {"logits.0.weight": _CENTRE, "logits.1.weight": log(3) / _normed(1.0)}),
    ),
    "lip_bottleneck": (
        Golden((-1, 1, -1, 1), tanh(3), None,
               {"logits.0.weight": 1.0, "logits.3.weight": _CENTRE, "logits.6.weight": 1.0,
                "logits.7.weight": log(3) / _BOTTLENECK}),
    ),
    "dpp_full": (Golden(RAMP, 27.012 / 28.008, None, _BY_LAST),),
    "dpp_full_asym": (Golden(RAMP, 36.524 / 20.016, None, _BY_ONE),),
    "sdpp": (
        Golden(MIXED, 0.9664473341199782, None, _inner({}, _FIRST, _FIRST)),
        Golden(MIXED, 4.0, (0, 0, 0, 1), _inner({}, _SECOND, _SECOND)),
    ),
    "sdpp_asym": (Golden(MIXED, 1.8860561980320543, None, _inner({}, _FIRST, _FIRST)),),
    "sdpp_full": (Golden(RAMP, 27.012 / 28.008, None, _inner(_BY_LAST, _FIRST, _FIRST)),),
    "sdpp_full_asym": (Golden(RAMP, 36.524 / 20.016, None, _inner(_BY_ONE, _FIRST, _FIRST)),),
    "gated": (
        Golden(MIXED, 3.21875, (0.5859375 * log(3) + 0.0625, 0.0625, 0.0625, 0.8125),
               {"mask": ((log(3), 0), (0, 0))}),
    ),
    "s3": (
        Golden(_NINE, 7.0, (0, 0, 0, 0, 0, 0, 0, 1, 0), {"u": (*_SECOND, *_FIRST)}),
        Golden(_NINE, 5.0, (0, 0, 0, 0, 0, 1, 0, 0, 0), {"u": (*_FIRST, *_SECOND)}),
    ),
    "s3_eval": (Golden(_NINE, 6.0, (0, 0, 0, 0, 0.25, 0.25, 0, 0.25, 0.25)),),
    "lift": (
        Golden(RAMP, 6.0, (1,) * 4),
        # Along the first axis P(e) = tanh(max(e, 0)) and U alike: of 0 and 2, then of 1 and 3.
        Golden(RAMP, 2 + tanh(2) + 4 - tanh(1) + tanh(3 - tanh(1)), None,
               {f"steps.0.{net}.{part}": value for net in ("predict", "update")
                for part, value in (("0.weight", ((0.0,), (1,), (0,))), ("0.bias", 0.0), ("2.weight", 1.0))}),
    ),
}  # fmt: skip


@cache
def fault(method: str) -> str | None:
    """What the plain row of `method`, or its layer, gets wrong, or None; without golden values that is the fault."""
    if method not in GOLDEN:
        return f"no hand-worked values for {method} in suites/golden.py: its row cannot be an oracle"
    found = next((wrong for case in GOLDEN[method] if (wrong := _check(method, case))), None)
    return found if found or method in LEARNED else _windows(method)


def answer(method: str, case: Golden, dtype: torch.dtype = torch.float64) -> tuple[float, list[float]]:
    """What the row or the layer makes of a case's taps, as one 2 x 2 window, and the gradient of that."""
    side = isqrt(len(case.taps))
    x = torch.tensor(case.taps, dtype=dtype).reshape(1, 1, side, side).requires_grad_(True)
    y = _layer(method, case, x) if method in LEARNED else _row(method, case, x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    return float(y.detach()), grad.flatten().tolist()


def _layer(method: str, case: Golden, x: Tensor) -> Tensor:
    layer = LEARNED[method](2, 1, 2, 2, 0).to(x.dtype)
    parameters, given = dict(layer.named_parameters()), dict(case.operands or {})
    drawn = [torch.tensor(given.pop("u"), dtype=x.dtype)] if "u" in given else []
    with torch.no_grad():
        for name, value in given.items():
            parameters[name].copy_(torch.tensor(value, dtype=x.dtype))
    y: Tensor = layer(x, *drawn)
    return y


def _row(method: str, case: Golden, x: Tensor) -> Tensor:
    given: Any = {}
    for name, value in (case.operands or {}).items():
        side = 2 if name in get(method).takes("input") else 1
        given[name] = torch.tensor(value, dtype=x.dtype).expand(side * side).reshape(1, 1, side, side)
    return functional.pool(x, method, 2, implementation="plain", **given)


def _check(method: str, case: Golden) -> str | None:
    y, grad = answer(method, case)
    if abs(y - case.y) > 1e-10 * max(1.0, abs(case.y)):
        return f"{method} gives {y!r} for {case.taps}, by hand {case.y!r}"
    if case.grad is not None and max(abs(a - b) for a, b in zip(grad, case.grad, strict=True)) > 1e-9:
        return f"the gradient of {method} for {case.taps} is {grad}, by hand {case.grad}"
    return None


def _windows(method: str) -> str | None:
    """Overlap and padding: 1-D [1, 2, 4], kernel 2, stride 1, padding 1 visits {1}, {1, 2}, {2, 4}, {4}."""
    x = torch.tensor([[[1.0, 2.0, 4.0]]], dtype=torch.float64)
    y = _pool(method, x, 2, 1, 1)
    single = [_pool(method, x[..., a:b].contiguous(), b - a)[0] for a, b in ((0, 1), (0, 2), (1, 3), (2, 3))]
    alone = "bounded" not in get(method).holds or max(abs(y[0] - 1), abs(y[3] - 4)) <= 1e-12  # one tap is the answer
    if not alone or any(abs(a - b) > 1e-12 for a, b in zip(y, single, strict=True)):
        return f"the row of {method} visits other regions than {{1}}, {{1, 2}}, {{2, 4}}, {{4}} of [1, 2, 4]: {y}"
    return None


def _pool(method: str, x: Tensor, kernel: int, stride: int = 1, padding: int = 0) -> list[float]:
    """The row on a line of taps, all its draws and further inputs 0."""
    entry = get(method)
    given: Any = {name: torch.zeros_like(x) for name in entry.takes("input")}
    cells = Window.make(1, kernel, stride, padding).output(x.shape[2:])
    given |= {name: torch.zeros(1, 1, *cells, dtype=x.dtype) for name in entry.takes("random")}
    y = functional.pool(x, method, kernel, stride, padding, implementation="plain", **given)
    found: list[float] = y.flatten().tolist()
    return found
