"""A subject in one direction: the call that the clock surrounds, and what it must give.

Knows torch and subjects; nothing of clocks or of tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adapool.region import Region
from adapool.window import Window
from suites.case import Case
from suites.numbers import Numbers
from suites.subject import Subject

Outputs = tuple[Tensor, ...]
STEP = {"float64": 2.0**-41, "float32": 2.0**-16, "float16": 2.0**-16, "bfloat16": 2.0**-16}  # 128 roundings


@dataclass(frozen=True)
class Expected:
    """Float64 results, and how far they move when the inputs move by about a rounding error."""

    values: Outputs
    moves: Outputs  # for one rounding error of the inputs
    scale: float  # largest magnitude that went in
    coarse: bool = False  # as the subject's
    strain: Tensor | float = 0.0  # what rounding does to an element beyond that: `_strain`, and `_slack` of an inverse


class Timed:
    """Calls the subject as its direction says; `refill` gives it new numbers in the same memory."""

    def __init__(self, subject: Subject, case: Case, seed: int) -> None:
        self.subject, self.case, self.seed, self.turn = subject, case, seed, 0
        self.inputs = subject.inputs
        self.y: Tensor | None = None
        self.grad: Tensor | None = None
        self.leaves = [self.inputs[i] for i in subject.wanted]
        if case.direction in ("backward", "both"):
            for leaf in self.leaves:
                leaf.requires_grad_(True)
        self._prepare()

    def _prepare(self) -> None:
        """The graph that backward walks, and a fixed gradient in the output's own memory format."""
        if self.case.direction not in ("backward", "both"):
            return
        y = self.subject.call(*self.inputs)
        if not y.requires_grad:
            came = "one that is cut off from its input" if y.is_floating_point() else f"one of {y.dtype}"
            wanted = f"an output with a gradient for direction {self.case.direction}"
            raise RuntimeError(f"{self.case.method}: expected {wanted}, got {came}")
        if self.grad is None:
            self.grad = torch.empty_like(y).copy_(Numbers(self.seed, -1, y.device).normal(tuple(y.shape)))
        self.y = y if self.case.direction == "backward" else None

    def __call__(self) -> Outputs:
        if self.case.direction == "backward":
            assert self.y is not None
            return torch.autograd.grad(self.y, self.leaves, self.grad, retain_graph=True)
        if self.case.direction == "both":
            return torch.autograd.grad(self.subject.call(*self.inputs), self.leaves, self.grad)
        with torch.no_grad():
            return (self.subject.call(*self.inputs),)

    def stage(self) -> list[Tensor]:
        """The next numbers, on the device."""
        return self.subject.stage(self.seed, self.turn + 1)

    def refill(self, staged: list[Tensor] | None = None) -> None:
        """The next numbers, in the memory of the ones before."""
        values = self.stage() if staged is None else staged
        self.turn += 1
        self.y = None
        self.subject.put(values)
        self._prepare()

    def state(self) -> list[Tensor]:
        """A copy of everything the call may read and must not write."""
        held = [*self.inputs, *([self.grad] if self.grad is not None else [])]
        return [t.detach().clone() for t in held]

    def untouched(self, before: list[Tensor]) -> bool:
        held = [*self.inputs, *([self.grad] if self.grad is not None else [])]
        return all(torch.equal(a.detach(), b) for a, b in zip(held, before, strict=True))

    def again(self) -> Outputs:
        """The same call on fresh copies, out of reach of anything remembered about the timed tensors."""
        fresh = [t.detach().clone() for t in self.inputs]
        return self._run(self.subject.call, fresh, self.grad)

    def _run(self, call: Any, inputs: list[Tensor], grad: Tensor | None) -> Outputs:
        if grad is None:
            with torch.no_grad():
                return (call(*inputs),)
        leaves = [inputs[i].requires_grad_(True) for i in self.subject.wanted]
        return torch.autograd.grad(call(*inputs), leaves, grad)

    def expected(self, state: list[Tensor]) -> Expected:
        """The oracle on the numbers of `state`, and on both sides of them."""
        oracle = self.subject.oracle
        assert oracle is not None
        count = len(self.inputs)
        exact = [t.double() if t.is_floating_point() else t for t in state[:count]]
        grad = state[count].double() if self.grad is not None else None
        step = STEP[self.case.dtype]
        values = self._run(oracle, [t.clone() for t in exact], grad)
        moves = [torch.zeros_like(v) for v in values]
        sign = Numbers(7, 0, exact[0].device).uniform(tuple(exact[0].shape)).to(exact[0]) * 2 - 1
        for side in (step, -step):
            moved = [t * (1 + side) if t.is_floating_point() else t.clone() for t in exact]
            moved[0] = exact[0] * (1 + side * sign)
            near = self._run(oracle, moved, grad)
            moves = [torch.maximum(m, (a - b).abs() / 128) for m, a, b in zip(moves, values, near, strict=True)]
        scale = max((float(t.abs().max()) for t in exact if t.numel() and t.is_floating_point()), default=1.0)
        strain: Tensor | float = 0.0
        if grad is not None:
            strain = _strain(self.case, self.subject.definition, exact[0])
        elif self.case.direction == "inverse" and self.subject.definition is not None:
            strain = _slack(self.case, oracle, *exact)
        return Expected(tuple(v.detach() for v in values), tuple(moves), scale, self.subject.coarse, strain)


def _slack(case: Case, oracle: Any, y: Tensor, guide: Tensor) -> Tensor:
    """How far an inverse may be off where its guide's mean m cancels.

    A rounding error r of m moves D = 2 |u| / (1 + u^2), u = a / m, by |u dD/du| r / |m|, and |u dD/du| is at most 1/2:
    a weight e^D / sum e^D moves by r / |m| of itself at most, and as D lies between 0 and 1 by twice itself whatever
    m is. So |y| times the lesser of the two is spread in place of y, with r = 8 roundings of the region's largest tap.
    (On windows whose means cancel the float32 row and the kernels are off by up to 0.8 in place of the 8.)
    """
    window = Window(case.kernel, case.stride, case.padding, case.ceil_mode)
    values = window.unfold(guide)
    region = Region(values, window.inside(guide.shape[2:], guide.device))
    off = 8 * (2.0**-53 if case.dtype == "float64" else 2.0**-24) * region.max(values.abs())
    share = (off / region.mean(values).abs()).nan_to_num(nan=0.0).clamp(max=2.0).squeeze(-1)
    spread: Tensor = oracle(y.abs() * share, guide)
    return spread


def _strain(case: Case, definition: str | None, x: Tensor) -> Tensor | float:
    """What divides in the gradient: largest magnitude over the mean (edscw, ada) or over the positive mass, largest gap
    over the smallest (idw). Infinite where a tap is so close to the mean that the type decides which side of idw's rule
    for equal taps it falls on.
    """
    if definition not in ("edscw", "ada", "idw", "stochastic_eval"):
        return 0.0
    window = Window(case.kernel, case.stride, case.padding, case.ceil_mode)
    values = window.unfold(x)
    region = Region(values, window.inside(x.shape[2:], x.device))
    if definition == "idw":
        gap = (values - region.mean(values)).abs()
        far, near = region.max(gap), -region.max(-gap)
        cut = 32 * (2.0**-52 if case.dtype == "float64" else 2.0**-23)
        strain = torch.where(near <= cut * region.max(values.abs()), torch.inf, far / near)
    else:
        mass = region.mean(values).abs() if definition != "stochastic_eval" else region.sum(values.clamp(min=0))
        strain = torch.where(
            mass > 0, region.max(values.abs()) / mass, 0.0 if definition == "stochastic_eval" else torch.inf
        )
    return window.fold(region.keep(strain.expand_as(values)), x.shape[2:])
