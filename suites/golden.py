"""Hand-worked answers that a row has to give before it may be anyone's oracle.

Numbers and one check; the row is never compared with itself. Sources: the formulas worked by hand, and float64 central
differences for the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from adapool import functional
from adapool.registry import get
from adapool.window import Window

RAMP = (0.0, 1.0, 2.0, 3.0)
MIXED = (1.0, -2.0, 0.5, 4.0)
NEGATIVE = (-1.0, -2.0, -3.0, -0.5)


@dataclass(frozen=True)
class Golden:
    """One window of four taps, what it pools to, and the gradient of that; None where it is not worked out."""

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


@cache
def fault(method: str) -> str | None:
    """What the plain row of `method` gets wrong, or None; a method without golden values is a fault of its own."""
    if method not in GOLDEN:
        return f"no hand-worked values for {method} in suites/golden.py: its row cannot be an oracle"
    return next((wrong for case in GOLDEN[method] if (wrong := _check(method, case))), None) or _windows(method)


def answer(method: str, case: Golden, dtype: torch.dtype = torch.float64) -> tuple[float, list[float]]:
    """What the row makes of a case's taps, as one 2 x 2 window, and the gradient of that."""
    x = torch.tensor(case.taps, dtype=dtype).reshape(1, 1, 2, 2).requires_grad_(True)
    given: Any = {}
    for name, value in (case.operands or {}).items():
        side = 2 if name in get(method).takes("input") else 1
        given[name] = torch.tensor(value, dtype=dtype).expand(side * side).reshape(1, 1, side, side)
    y = functional.pool(x, method, 2, implementation="plain", **given)
    (grad,) = torch.autograd.grad(y.sum(), x)
    return float(y.detach()), grad.flatten().tolist()


def _check(method: str, case: Golden) -> str | None:
    y, grad = answer(method, case)
    if abs(y - case.y) > 1e-10 * max(1.0, abs(case.y)):
        return f"the row of {method} gives {y!r} for {case.taps}, by hand {case.y!r}"
    if case.grad is not None and max(abs(a - b) for a, b in zip(grad, case.grad, strict=True)) > 1e-9:
        return f"the gradient of the row of {method} for {case.taps} is {grad}, by hand {case.grad}"
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
