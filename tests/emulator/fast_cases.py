"""Random problems that the fast CUDA kernels must serve, with the bounds that the project promises for each type."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from adapool.registry import get
from adapool.window import Window
from tests.emulator.cases import GATHER, Check, Problem, pool
from tests.emulator.layout import five, memory_of

ENGINE = 2
METHODS = ("ada", "edscw", "softpool")
ROWS = ("max", "avg", "sum", "stochastic_eval", "idw")  # in the same tiles, with the arithmetic of methods.h
ROW_WINDOWS = [(2, 2), (3, 3), (3, 2)]
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WINDOWS = [
    (2, 2), (3, 3), (3, 2), (2, 1), (3, 1), (4, 4), (4, 2), (5, 5), (5, 3), (5, 2), (6, 6), (6, 3), (7, 7), (7, 4),
    (7, 2),
]  # fmt: skip
# Of what rounding the result to the type costs, and of the arithmetic before it; relative to the largest number there.
ROUNDING = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
VALUES = {torch.float32: 2e-6, torch.float16: 2e-5, torch.bfloat16: 3e-4}
SLOPES = {torch.float32: 4e-6, torch.float16: 6e-5, torch.bfloat16: 1.2e-3}


class FastProblem(Problem):
    """A window that has fast kernels, with every width, alignment and number of channels beside it."""

    def __init__(self, seed: int, method: str, dtype: torch.dtype, last: bool, window: tuple[int, int]) -> None:
        self.random = pick = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.method, self.dtype, self.channels_last, self.seed, self.engine = method, dtype, last, seed, ENGINE
        k, s = window
        self.window = Window.make(2, (k, k), (s, s), (0, 0), False)
        lanes = 128 // torch.finfo(dtype).bits
        whole = lanes * pick.randint(-(-k // lanes), 6)
        width = pick.choice((k, k + pick.randint(0, 4 * s), whole, pick.randint(k, 90)))
        channels = pick.choice((1, 2, 3, lanes, 2 * lanes, 5 * lanes, lanes + 1))
        height = pick.choice((k, k + s - 1, pick.randint(k, 5 * k), pick.randint(k, 40)))
        self.shape = (pick.randint(1, 3), channels, height, width)
        if pick.random() < 0.2:  # few tall images, which are cut into strips
            self.shape = (1, pick.choice((1, lanes)), pick.randint(60, 130), pick.choice((k, lanes * (1 + k // lanes))))
            height, width = self.shape[2:]
        while self.shape[1] * height * width > 9000:
            self.shape = (1, max(1, self.shape[1] // 2), *self.shape[2:])
            height = max(k, height // 2)
            self.shape = (*self.shape[:2], height, width)
        self.cells = (*self.shape[:2], *self.window.output((height, width)))
        self.entry = get(method)
        self.slack, self.misplaced = 1.0, pick.random() < 0.2
        self.x = self._values(self.shape)
        self.operands = {spec.name: self._beta() for spec in self.entry.operands}
        layout = "last" if last else "nchw"
        self.names = f"{method} {str(dtype)[6:]} {layout} {window} {self.shape} seed {seed}"

    def _values(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        """Normal numbers about 1, so that few means cancel; in some their magnitudes, in some zeros as after a ReLU."""
        raw = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        kind = self.random.choice(("any", "positive", "relu"))
        raw = raw + 1 if kind == "any" else raw.abs() + 0.1 if kind == "positive" else raw.clamp(min=0)
        return raw.to(dtype or self.dtype).double()

    def _beta(self) -> Tensor | float:
        pick = self.random
        _, c, h, w = self.cells
        shape = pick.choice([None, (), (1,), (c, 1, 1), (h, w), (c, h, w), (h, 1), (c, 1, w)])
        if shape is None:
            return 0.3
        raw = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return raw.to(pick.choice(DTYPES))

    def _request(self, direction: int, **fields: Any) -> Any:
        request = super()._request(direction, **fields)
        request.misalign = self.random.randint(1, 7) if self.misplaced else 0
        return request

    def _bound(self, want: Tensor, slope: bool = False, terms: float = 1.0) -> float:
        """Absolute, over `Check`'s scale: rounding of the result, and errors before it."""
        top = max(1.0, float(want.abs().max())) if want.numel() else 1.0
        steep = 1.0
        if slope:  # near a mean that cancels edscw's gradient is ill-conditioned in every precision
            taps = self.window.unfold(self.x)
            mean = taps.mean(-1).abs().clamp(min=1e-9)
            steep = 1 + float((taps.abs().amax(-1) / mean).max())
        own = (SLOPES if slope else VALUES)[self.dtype]
        largest = float(self.x.abs().max())
        return (ROUNDING[self.dtype] * float(want.abs().max()) + own * steep * max(largest, top) * terms) / top

    def checks(self) -> Iterator[Check]:
        for mode in ("exact", "detached"):
            x, operands = self._leaves()
            y = pool(x, self.method, *self._options(), implementation="plain", gradient=mode, **operands)
            if mode == "exact":
                ys, want = self._cell_layout(y.detach())
                request = self._request(0, ys=ys, outputs={"y": (self.dtype, y.numel())})
                yield Check(f"{self.names} forward", request, {"y": want}, self._bound(want))
            yield self._both(mode, x, operands, y)
        yield from self._unpooled()

    def _incoming(self) -> tuple[Tensor, dict[str, Any]]:
        grad = (torch.randn(self.cells, generator=self.generator, dtype=torch.float64)).to(self.dtype)
        laid, memory = memory_of(grad, self.channels_last)
        return grad.double(), {"tensors": {"coefficient": memory}, "cs": five(laid.stride())}

    def _both(self, mode: str, x: Tensor, operands: dict[str, Any], y: Tensor) -> Check:
        """The gradients of x and of beta, asked for at once where beta is a tensor."""
        grad, where = self._incoming()
        leaves = [v for v in operands.values() if isinstance(v, Tensor)]
        found = torch.autograd.grad(y, [x, *leaves], grad)
        outputs, expected = {"target": (self.dtype, x.numel())}, {"target": memory_of(found[0], self.channels_last)[1]}
        fields: dict[str, Any] = {**where, "use_through": mode == "exact"}
        tolerance = self._bound(expected["target"], slope=mode == "exact")
        if leaves:
            given = self.operands["beta"]
            assert isinstance(given, Tensor)
            full = (*(1,) * (4 - given.dim()), *given.shape)
            pairs = list(zip(full, self.cells, strict=True))
            kept, summed = [n if n == m else 1 for n, m in pairs], [1 if n == m else m for n, m in pairs]
            fields |= {"kept": [*kept[:2], 1, *kept[2:]], "summed": [*summed[:2], 1, *summed[2:]]}
            outputs["result"] = (given.dtype, given.numel())
            expected["result"] = found[1].flatten()
            rounding = ROUNDING[given.dtype]
            size = max(1.0, float(found[1].abs().max()))
            number = self.x.numel() / max(1, given.numel())
            own = VALUES[self.dtype] * float(self.x.abs().max()) * float(grad.abs().max()) * 2 * number**0.5
            tolerance = max(tolerance, rounding + own / size)
        return Check(f"{self.names} {mode}", self._request(GATHER, outputs=outputs, **fields), expected, tolerance)

    def _unpooled(self) -> Iterator[Check]:
        for check in self._unpooling():
            if check.name.endswith((" unpool", " unpool dy")):
                want = next(iter(check.expected.values()))
                check.tolerance = self._bound(want, terms=self.window.taps if check.name.endswith("y") else 4)
                yield check

    def _coefficient(self, dtype: torch.dtype) -> tuple[Tensor, dict[str, Any]]:
        return self._incoming()


class RowProblem(FastProblem):
    """A method without weights of its own kind: forward and exact gradient, by the bounds of the generic kernels."""

    def checks(self) -> Iterator[Check]:
        draws = [self.x, *(self._values(self.shape) for _ in range(30 if self.method == "idw" else 0))]
        self.x = min(draws, key=self._condition) if self.method == "idw" else self.x
        self.slack = 1 + 0.1 * self._condition(self.x) if self.method == "idw" else 1.0
        x, operands = self._leaves()
        y = pool(x, self.method, *self._options(), implementation="plain", **operands)
        ys, want = self._cell_layout(y.detach())
        request = self._request(0, ys=ys, outputs={"y": (self.dtype, y.numel())})
        yield Check(f"{self.names} forward", request, {"y": want}, self._tolerance())
        grad, where = self._incoming()
        (dx,) = torch.autograd.grad(y, x, grad)
        request = self._request(GATHER, outputs={"target": (self.dtype, x.numel())}, **where)
        expected = {"target": memory_of(dx, self.channels_last)[1]}
        yield Check(f"{self.names} exact", request, expected, self._tolerance())
