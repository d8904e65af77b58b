"""What is measured, as a call: its tensors, and the float64 definition it is checked against; none of it made here.

Knows torch; nothing of methods, of clocks, of verdicts, or of records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from suites.case import Case
from suites.numbers import Numbers


class Unavailable(Exception):
    """This subject does not exist here: a reason to skip, no failure."""


@dataclass
class Subject:
    """What is called, on which tensors. `call` and `oracle` take all of `inputs`; the oracle takes them in float64."""

    inputs: list[Tensor]
    call: Callable[..., Tensor]
    oracle: Callable[..., Tensor] | None
    wanted: tuple[int, ...]  # positions of the inputs whose gradient is taken
    against: str  # what the oracle is, in words
    draw: Callable[[Numbers], list[Tensor]]  # fresh contents for the inputs
    operands: dict[str, Any] = field(default_factory=dict)
    coarse: bool = False  # keeps intermediate results in the case's type, so 16 bits round many times
    definition: str | None = None  # the region method that this is, for its gradient's conditioning
    given: Callable[..., Tensor] | None = None  # `call`, where that reads its own parameters, on any
    notes: tuple[str, ...] = ()  # what a reader of its numbers must know

    def stage(self, seed: int, turn: int) -> list[Tensor]:
        """New numbers, already on the device, so that `put` need not wait for it."""
        drawn = self.draw(Numbers(seed, turn, self.inputs[0].device))
        return [v.to(t.device, t.dtype) for t, v in zip(self.inputs, drawn, strict=True)]

    def put(self, values: list[Tensor]) -> None:
        """New numbers in the same memory."""
        with torch.no_grad():
            for tensor, value in zip(self.inputs, values, strict=True):
                tensor.copy_(value)


def place(case: Case, values: Tensor, device: torch.device) -> Tensor:
    """`values` [N, C, *spatial] in the case's dtype and layout, on the device."""
    values = values.to(device=device, dtype=getattr(torch, case.dtype))
    return values.movedim(1, -1).contiguous().movedim(-1, 1) if case.layout == "channels_last" else values.contiguous()


def zeros(case: Case, device: torch.device) -> Tensor:
    """A tensor of the case, made where it is needed; its numbers come later."""
    return place(case, torch.zeros(case.shape, dtype=getattr(torch, case.dtype), device=device), device)


def needs_kernel(method: str, x: Tensor) -> None:
    """Unavailable where a method has no compiled kernel for a tensor."""
    from adapool import native

    if not native.supports(method, x):
        why = native.status().get(x.device.type, "no library for this device")
        name = str(x.dtype).removeprefix("torch.")
        raise Unavailable(f"no compiled kernel for {method} in {name} on {x.device.type} ({why})")
