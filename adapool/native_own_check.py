"""Whether a person's own kernel computes what its row does: values and gradients on a few hard problems, before
anything else runs on it. Each problem is a batch of images that are hard in their own ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from adapool import plain
from adapool.native_gradients import POOL, UNPOOL
from adapool.native_library import encode
from adapool.registry import Method, Operand
from adapool.window import Window

# Sizes of an input with the windows over it: overlapping and padded, abutting, longer than short sums.
PROBLEMS = (
    (Window((3, 3), (2, 2), (1, 1), True), (8, 7), False),
    (Window((2, 2), (2, 2), (0, 0)), (4, 6), True),
    (Window((40,), (7,), (3,)), (61,), False),
)
KINDS = ("signed", "positive", "half zeros", "small whole", "constant", "with a NaN")
SMOOTH = 2  # the first of them, where every method has one gradient
CHANNELS = 3
TOLERANCE = {torch.float64: 1e-7, torch.float32: 2e-3}  # of the largest number of an image

Grads = tuple[Tensor | None, ...]


def check(entry: Method, dtype: torch.dtype, device: str) -> None:
    """ValueError that says where the kernel and the row differ."""
    for number, problem in enumerate(PROBLEMS):
        _Comparison(entry, dtype, torch.device(device), *problem, number).run()


def _images(shape: Sequence[int], seed: Callable[[], torch.Generator]) -> Tensor:
    """One image of each kind, [kinds, channels, *spatial] in float64."""
    draw = torch.randn(CHANNELS, *shape, generator=seed(), dtype=torch.float64)
    positive = draw.abs() + 0.25
    one = torch.arange(1, CHANNELS + 1.0).reshape(-1, *(1,) * len(shape)).expand_as(draw)
    broken = positive.clone()
    broken[0].view(-1)[broken[0].numel() // 2] = torch.nan
    return torch.stack([draw, positive, draw.clamp(min=0), (2 * draw).round(), one - 2, broken])


class _Comparison:
    def __init__(
        self, entry: Method, dtype: torch.dtype, device: torch.device, window: Window, size: Sequence[int],
        last: bool, number: int,
    ) -> None:  # fmt: skip
        self.entry, self.dtype, self.device, self.window = entry, dtype, device, window
        self.seed = torch.Generator().manual_seed(number)
        self.cells = (len(KINDS), CHANNELS, *window.output(size))
        x = _images(size, lambda: self.seed).to(dtype)
        x = x.movedim(1, -1).contiguous().movedim(-1, 1) if last else x
        self.x = x.to(device)
        self.operands = {spec.name: self._operand(spec, size).to(dtype).to(device) for spec in entry.operands}
        self.names = ("x", *self.operands)

    def _operand(self, spec: Operand, size: Sequence[int]) -> Tensor:
        """One for each image and channel, so that none is touched by another image's numbers."""
        shape = {"input": (*self.cells[:2], *size), "random": self.cells}.get(spec.kind)
        uniform = torch.rand(shape or (*self.cells[:2], *(1 for _ in size)), generator=self.seed, dtype=torch.float64)
        if spec.kind != "cell":
            return uniform
        default = 0.5 if spec.default is None else spec.default
        least = max(default, default if spec.least is None else spec.least)
        return least + 0.5 * uniform

    def run(self) -> None:
        draw = torch.randn(self.cells, generator=self.seed, dtype=torch.float64).to(self.dtype).to(self.device)
        for gradient in ("exact", "detached")[: 1 + (self.entry.extra == "weights")]:
            held = " with weights held fixed" * (gradient == "detached")
            values, grads = self._differentiated(self._native_pool(gradient), self.dtype, self.x, grad=draw)
            expected, exact = self._differentiated(self._plain_pool(gradient), torch.float64, self.x, grad=draw)
            self._compare("value", values[0], expected[0], len(KINDS))
            if self.entry.extra is not None:
                self._compare(self.entry.extra, values[1], expected[1], SMOOTH)
            self._compare_gradients(grads, exact, held, self.names)
        if self.entry.extra == "weights":
            guide = self.x
            values, grads = self._differentiated(self._native_unpool, self.dtype, draw, guide, grad=self.x)
            expected, exact = self._differentiated(self._plain_unpool, torch.float64, draw, guide, grad=self.x)
            self._compare("unpooled value", values[0], expected[0], SMOOTH)
            self._compare_gradients(grads, exact, " by unpooling", ("y", "guide", *self.operands))

    def _native_pool(self, gradient: str) -> Callable[..., Any]:
        def call(x: Tensor, *operands: Tensor) -> Any:
            wanted = self.entry.extra is not None
            return POOL(x, *self._frame(operands), wanted, gradient == "detached")

        return call

    def _frame(self, operands: Sequence[Tensor]) -> tuple[Any, ...]:
        w = self.window
        tensors, constants = encode(operands)
        return (tensors, self.entry.name, w.kernel, w.stride, w.padding, w.ceil_mode, constants)

    def _plain_pool(self, gradient: str) -> Callable[..., Any]:
        return lambda x, *operands: plain.pool(self.entry, x, self.window, self._named(operands), gradient=gradient)

    def _native_unpool(self, y: Tensor, guide: Tensor, *operands: Tensor) -> Any:
        tensors, name, *window, constants = self._frame(operands)
        return UNPOOL(y, guide, tensors, name, (), *window, constants, True), None

    def _plain_unpool(self, y: Tensor, guide: Tensor, *operands: Tensor) -> Any:
        return plain.unpool(self.entry, y, guide, self.window, self._named(operands), True), None

    def _named(self, operands: Sequence[Tensor]) -> dict[str, Any]:
        return dict(zip(self.operands, operands, strict=True))

    def _differentiated(
        self, call: Callable[..., Any], dtype: torch.dtype, *inputs: Tensor, grad: Tensor
    ) -> tuple[tuple[Tensor, Tensor | None], Grads]:
        """What a call gives, and its gradient in each input and operand; None where there is none."""
        drawn = {spec.name for spec in self.entry.operands if spec.kind == "random"}
        wanted = [True] * len(inputs) + [name not in drawn for name in self.operands]
        given = (*inputs, *self.operands.values())
        leaves = [t.detach().to(dtype).requires_grad_(want) for t, want in zip(given, wanted, strict=True)]
        y, extra = call(*leaves)
        found = iter(torch.autograd.grad(y, list(compress(leaves, wanted)), grad.to(dtype), allow_unused=True))
        return (y.detach(), extra), tuple(next(found) if want else None for want in wanted)

    def _compare_gradients(self, found: Grads, expected: Grads, held: str, names: Sequence[str]) -> None:
        for name, one, other in zip(names, found, expected, strict=True):
            like = other if one is None else one
            if like is not None:
                none = torch.zeros_like(like)
                found_one, row_one = (none if grad is None else grad for grad in (one, other))
                self._compare(f"gradient of {name}{held}", found_one, row_one, SMOOTH)

    def _compare(self, what: str, found: Tensor | None, expected: Tensor | None, images: int) -> None:
        """Image by image, the first `images` of them."""
        assert found is not None and expected is not None
        if found.shape != expected.shape:
            self._refuse(f"{what} of shape {tuple(found.shape)}", f"shape {tuple(expected.shape)}", "")
        for kind, one, other in zip(KINDS[:images], found.double(), expected.double(), strict=False):
            largest = other.abs().nan_to_num(0, 0, 0).amax()
            near = (one - other).abs() <= TOLERANCE[self.dtype] * largest
            wrong = ~(near | (one == other) | (one.isnan() & other.isnan()))
            if wrong.any():
                at = tuple(wrong.nonzero()[0].tolist())
                self._refuse(f"{what} {one[at].item():.6g}", f"{other[at].item():.6g}", f", {kind} values")

    def _refuse(self, found: str, expected: str, kind: str) -> None:
        w = self.window
        where = f"{self.device.type}, {str(self.dtype)[6:]}, kernel {w.kernel}, stride {w.stride}, padding {w.padding}"
        raise ValueError(
            f"method {self.entry.name!r}: its kernel gives the {found} where its row, the definition, gives {expected} "
            f"({where}{kind})"
        )
