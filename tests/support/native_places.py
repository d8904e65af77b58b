"""Where the native tests run, and how a random problem is laid out there. Knows no expected values."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from adapool import native
from tests.support.problems import Problem

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def need(device: str) -> None:
    """Skip unless the compiled operators run on `device`."""
    state = native.status()[device]
    if state != "ok":
        pytest.skip(f"{device}: {state}")


def laid_out(t: Tensor, channels_last: bool) -> Tensor:
    return t.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else t.contiguous()


def tensors_of(problem: Problem, device: str) -> tuple[Tensor, dict[str, Any]]:
    """x and operands in the problem's dtype and layout, as leaves on `device`."""
    x = laid_out(problem.x.to(device, problem.dtype), problem.channels_last).requires_grad_()
    operands: dict[str, Any] = {}
    for name, value in problem.operands.items():
        if isinstance(value, Tensor):
            operands[name] = value.to(device).detach().clone().requires_grad_(name not in problem.entry.takes("random"))
        else:
            operands[name] = value
    return x, operands
