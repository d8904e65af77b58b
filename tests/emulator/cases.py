"""Random pooling and unpooling problems: what to ask the driver, and what the plain rows answer in float64."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adapool import plain
from adapool.functional import pool, pool_with_extra
from adapool.registry import get
from adapool.unpooling import unpool_weights
from adapool.window import Window
from tests.emulator.driver import Request
from tests.emulator.layout import five, memory_of, three

METHODS = [
    "max",
    "avg",
    "sum",
    "lp",
    "lp_abs",
    "stochastic",
    "stochastic_eval",
    "softpool",
    "edscw",
    "idw",
    "ada",
    "dpp",
    "dpp_asym",
    "lip",
]
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float64: 1e-8, torch.float32: 5e-5, torch.float16: 3e-3, torch.bfloat16: 2.5e-2}
FORWARD, GATHER, OPERAND, MASKS, MASKS_TO_Y, MASKS_TO_WEIGHTS = range(6)


@dataclass
class Check:
    """One request and what must come back: slot -> expected values in the layout of the answer."""

    name: str
    request: Request
    expected: dict[str, Tensor]  # float64, in memory order
    tolerance: float

    def faults(self, answer: dict[str, Tensor]) -> list[str]:
        found = []
        for slot, want in self.expected.items():
            got = answer[slot].double()
            scale = max(1.0, float(want.abs().max())) if want.numel() else 1.0
            worst = float((got - want).abs().nan_to_num(torch.inf).max()) if want.numel() else 0.0
            if worst > self.tolerance * scale:
                found.append(f"{self.name} {slot}: off by {worst:.3g} of {scale:.3g}")
        return found


class Problem:
    """A random window, shape, layout, dtype and data for one method."""

    def __init__(self, seed: int, method: str, dtype: torch.dtype, channels_last: bool, engine: int) -> None:
        self.random = pick = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.method, self.dtype, self.channels_last, self.engine, self.seed = method, dtype, channels_last, engine, seed
        rank = pick.choice((1, 2, 2, 3))
        most = {1: 70, 2: 11, 3: 5}[rank]
        spatial = tuple(pick.randint(1, most) for _ in range(rank))
        kernel = tuple(pick.choice((1, 2, 2, 3, 3, 5, n)) for n in spatial)
        padding = tuple(pick.randint(0, k // 2) for k in kernel)
        kernel = tuple(min(k, n + 2 * p) for k, n, p in zip(kernel, spatial, padding, strict=True))
        padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
        kernel = tuple(min(k, n + 2 * p) for k, n, p in zip(kernel, spatial, padding, strict=True))
        stride = tuple(pick.choice((1, 2, k, k + 1)) for k in kernel)
        self.window = Window.make(rank, kernel, stride, padding, pick.random() < 0.4)
        self.shape = (pick.randint(0 if pick.random() < 0.05 else 1, 2), pick.choice((1, 2, 3, 5, 9, 17)), *spatial)
        self.cells = (*self.shape[:2], *self.window.output(spatial))
        self.entry = get(method)
        # Gaps near zero make IDW ill-conditioned in every precision: take the kindest of some draws, and mind the rest.
        draws = [self._values(self.shape) for _ in range(30 if method == "idw" else 1)]
        self.x = min(draws, key=self._condition)
        self.slack = 1 + 0.1 * self._condition(self.x) if method == "idw" else 1.0
        self.operands = {spec.name: self._operand(spec.name, spec.kind) for spec in self.entry.operands}
        self.names = f"{method} {str(dtype)[6:]} {'last' if channels_last else 'nchw'} engine {engine} seed {seed}"

    def _condition(self, x: Tensor) -> float:
        """The largest max |a| / min |a - mean| of a region that is not constant."""
        if not x.numel():
            return 0.0
        taps, inside = self.window.unfold(x), self.window.inside(self.shape[2:], x.device)
        real = torch.ones_like(taps, dtype=torch.bool) if inside is None else inside.expand_as(taps)
        mean = (taps * real).sum(-1, keepdim=True) / real.sum(-1, keepdim=True)
        gaps = (taps - mean).abs()
        near = gaps.masked_fill(~real, torch.inf).amin(-1)
        mixed = (gaps * real).amax(-1) > 1e-9
        return float(torch.where(mixed, taps.abs().amax(-1) / near.clamp(min=1e-12), 0.0).max())

    def _values(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        """Numbers exact in the dtype; away from cancelling means, where every precision is ill-conditioned."""
        raw = torch.rand(shape, generator=self.generator, dtype=torch.float64) * 2.5 + 0.25
        if self.dtype == torch.float64 and self.method != "lp":
            raw -= 1.2
        return raw.to(dtype or self.dtype).double()

    def _operand(self, name: str, kind: str) -> Tensor | float | None:
        pick = self.random
        if kind == "input":
            return self._values(self.shape, pick.choice(DTYPES))
        if kind == "random":
            return torch.rand(self.cells, generator=self.generator, dtype=torch.float64)
        if pick.random() < 0.25:
            return {"guide": None, "p": 2.5, "beta": 0.25}.get(name, 1.5)
        shapes = [(), (1,), (self.cells[1], *(1,) * (len(self.cells) - 2)), self.cells[2:], self.cells[1:], self.cells]
        raw = torch.rand(pick.choice(shapes), generator=self.generator, dtype=torch.float64)
        return raw.to(pick.choice((torch.float64, torch.float32))) * (0.9 if name == "beta" else 2) + (
            1 if name == "p" else 0.05
        )

    # requests

    def _request(self, direction: int, **fields: Any) -> Request:
        w = self.window
        kernel_stride_padding = three(w.kernel, 1), three(w.stride, 1), three(w.padding, 0)
        x, memory = memory_of(self.x.to(self.dtype), self.channels_last)
        tensors = {"x": memory, **fields.pop("tensors", {})}
        given, strides, numbers = [False] * 3, [[0] * 5] * 3, [0.0] * 3
        for k, (spec, value) in enumerate(zip(self.entry.operands, self.operands.values(), strict=True)):
            if spec.kind == "input":
                assert isinstance(value, Tensor)
                tensors["logits"] = memory_of(value, self.channels_last)[1]
            elif isinstance(value, Tensor):
                given[k] = True
                tensors[f"operand{k}"] = value.flatten()
                strides[k] = five(value.expand(self.cells).stride())
            elif value is not None:
                given[k], numbers[k] = True, float(value)
        return Request(
            self.engine, METHODS.index(self.method), self.dtype, direction,
            (three(self.shape[2:], 1), three(self.cells[2:], 1), *kernel_stride_padding),
            *self.shape[:2], self.channels_last, xs=five(x.stride()), tensors=tensors, given=given,
            operand_strides=strides, number=numbers, misalign=self.random.randint(0, 3), seed=self.seed, **fields,
        )  # fmt: skip

    def _tolerance(self, wide: bool = False) -> float:
        return self.slack * TOLERANCE[torch.float32 if wide and self.dtype != torch.float64 else self.dtype]

    def _coefficient(self, dtype: torch.dtype) -> tuple[Tensor, dict[str, Any]]:
        """A cell tensor in some layout: dense either way, or expanded from one number."""
        kind = self.random.choice(("nchw", "last", "expanded"))
        if kind == "expanded":
            one = torch.tensor([0.75], dtype=dtype)
            return one.double().expand(self.cells), {"tensors": {"coefficient": one}, "cs": [0] * 5}
        value = (torch.rand(self.cells, generator=self.generator, dtype=torch.float64) * 2 - 1).to(dtype)
        laid, memory = memory_of(value, kind == "last")
        return value.double(), {"tensors": {"coefficient": memory}, "cs": five(laid.stride())}

    def _options(self) -> tuple[Any, ...]:
        w = self.window
        return (w.kernel, w.stride, w.padding, w.ceil_mode)

    def _leaves(self) -> tuple[Tensor, dict[str, Any]]:
        x = self.x.clone().requires_grad_()
        operands = {
            n: v.double().clone().requires_grad_(n != "u") if isinstance(v, Tensor) else v
            for n, v in self.operands.items()
        }
        return x, operands

    def checks(self) -> Iterator[Check]:
        """Every direction of pooling and, where there are weights, of unpooling; none where float32 means nothing."""
        if self.slack > 1e4 and self.dtype != torch.float64:
            return
        yield from self._pooling()
        if self.entry.extra == "weights":
            yield from self._unpooling()
        if self.method == "softpool":
            yield from self._masks()

    def _cell_layout(self, t: Tensor) -> tuple[list[int], Tensor]:
        laid, memory = memory_of(t, self.channels_last)
        return five(laid.stride()), memory

    def _pooling(self) -> Iterator[Check]:
        x, operands = self._leaves()
        extra = None
        if self.entry.extra is None:
            y = pool(x, self.method, *self._options(), implementation="plain", **operands)
        else:
            y, extra = pool_with_extra(x, self.method, *self._options(), implementation="plain", **operands)
        ys, want = self._cell_layout(y.detach())
        outputs, expected = {"y": (self.dtype, y.numel())}, {"y": want}
        if extra is not None:
            indices = self.entry.extra == "indices"
            wide = torch.int64 if indices else torch.promote_types(self.dtype, torch.float32)
            outputs["extra"] = (wide, extra.numel())
            expected["extra"] = (self._cell_layout(extra)[1] if indices else extra.flatten()).double()
        request = self._request(FORWARD, ys=ys, outputs=outputs, want_extra=extra is not None)
        yield Check(f"{self.names} forward", request, expected, self._tolerance())
        grad, where = self._coefficient(self.dtype)
        modes = ("exact", "detached") if self.entry.extra == "weights" else ("exact",)
        for mode in modes:
            x, operands = self._leaves()
            y = pool(x, self.method, *self._options(), implementation="plain", gradient=mode, **operands)
            yield from self._gradients(mode, y, grad, x, operands, where, use_through=mode == "exact")

    def _gradients(
        self,
        name: str,
        out: Tensor,
        grad: Tensor,
        x: Tensor,
        operands: dict[str, Any],
        where: dict[str, Any],
        **flags: Any,
    ) -> Iterator[Check]:
        """Gradients of `out` for x and operands."""
        leaves = {n: v for n, v in operands.items() if isinstance(v, Tensor) and v.requires_grad}
        found = torch.autograd.grad(out, [x, *leaves.values()], grad, allow_unused=True)
        shared = {**where, **flags}
        tensors = shared.pop("tensors")
        dx = torch.zeros_like(x) if found[0] is None else found[0]
        target = {"target": (self.dtype, dx.numel())}
        request = self._request(GATHER, tensors=dict(tensors), outputs=target, **shared)
        yield Check(
            f"{self.names} {name} dx", request, {"target": memory_of(dx, self.channels_last)[1]}, self._tolerance()
        )
        for (leaf, value), want in zip(leaves.items(), found[1:], strict=True):
            if want is None:  # nothing flows to it
                continue
            dtype = self.operands[leaf].dtype
            k = [spec.name for spec in self.entry.operands].index(leaf)
            tolerance = max(self._tolerance(wide=True), TOLERANCE[dtype])
            if leaf == "logits":
                request = self._request(
                    GATHER, tensors=dict(tensors), outputs={"target": (dtype, want.numel())}, to_logits=True, **shared
                )
                yield Check(
                    f"{self.names} {name} d{leaf}",
                    request,
                    {"target": memory_of(want, self.channels_last)[1]},
                    tolerance,
                )
                continue
            full = (*(1,) * (len(self.cells) - value.dim()), *value.shape)
            pairs = list(zip(full, self.cells, strict=True))
            kept = [n if n == m else 1 for n, m in pairs]
            summed = [1 if n == m else m for n, m in pairs]
            padded = [[*axes[:2], *(1,) * (5 - len(axes)), *axes[2:]] for axes in (kept, summed)]
            terms = max(1, math.prod(summed))
            shared |= {"kept": padded[0], "summed": padded[1], "which": k}
            chunks, result = self.random.randint(1, min(terms, 70)), {"result": (dtype, want.numel())}
            request = self._request(OPERAND, tensors=dict(tensors), outputs=result, chunks=chunks, **shared)
            yield Check(f"{self.names} {name} d{leaf}", request, {"result": want.flatten()}, tolerance)

    def _unpooling(self) -> Iterator[Check]:
        normalize = self.random.random() < 0.7
        dtype = self.dtype
        y, where = self._coefficient(dtype)
        x, operands = self._leaves()
        y = y.clone().requires_grad_()
        weights = plain.run_row(self.entry, x, self.window, operands)[1]
        assert weights is not None
        out = plain.spread(y, weights.expand(*self.cells, -1), self.window, self.shape[2:], normalize)
        flags = {"unpool": True, "normalize": normalize}
        target = {"target": (dtype, out.numel())}
        request = self._request(
            GATHER, outputs=target, use_through=False, **flags, cs=where["cs"], tensors=dict(where["tensors"])
        )
        yield Check(
            f"{self.names} unpool",
            request,
            {"target": memory_of(out.detach(), self.channels_last)[1]},
            self._tolerance(),
        )
        spread = self._values(self.shape)
        memory = {"spread": memory_of(spread.to(dtype), self.channels_last)[1]}
        (dy,) = torch.autograd.grad(out, y, spread, retain_graph=True)
        ys, want = self._cell_layout(dy)
        request = self._request(FORWARD, ys=ys, outputs={"y": (dtype, dy.numel())}, tensors=dict(memory), **flags)
        yield Check(f"{self.names} unpool dy", request, {"y": want}, self._tolerance())
        where = {"cs": where["cs"], "tensors": {**where["tensors"], **memory}}
        yield from self._gradients("unpool", out, spread, x, operands, where, use_weight=False, **flags)

    def _masks(self) -> Iterator[Check]:
        normalize = self.random.random() < 0.7
        y, where = self._coefficient(self.dtype)
        weights = torch.rand((*self.cells, self.window.taps), generator=self.generator, dtype=torch.float64)
        weights = weights.to(self.random.choice((self.dtype, torch.float32)))
        shared = {"tap_stride": 1, "normalize": normalize, "cs": where["cs"], "ws": five(weights.stride()[:-1])}
        y = y.clone().requires_grad_()
        given = weights.double().clone().requires_grad_()
        out = unpool_weights(
            y, given, *self._options(), output_size=self.shape[2:], normalize=normalize, implementation="plain"
        )
        tensors = {**where["tensors"], "logits": weights.flatten()}
        request = self._request(MASKS, outputs={"target": (self.dtype, out.numel())}, tensors=dict(tensors), **shared)
        yield Check(
            f"{self.names} masks",
            request,
            {"target": memory_of(out.detach(), self.channels_last)[1]},
            self._tolerance(),
        )
        spread = self._values(self.shape)
        tensors["spread"] = memory_of(spread.to(self.dtype), self.channels_last)[1]
        dy, dweights = torch.autograd.grad(out, (y, given), spread)
        ys, want = self._cell_layout(dy)
        request = self._request(
            MASKS_TO_Y, ys=ys, outputs={"y": (self.dtype, dy.numel())}, tensors=dict(tensors), **shared
        )
        yield Check(f"{self.names} masks dy", request, {"y": want}, self._tolerance())
        extra = {"extra": (weights.dtype, dweights.numel())}
        request = self._request(MASKS_TO_WEIGHTS, outputs=extra, tensors=dict(tensors), **shared)
        yield Check(
            f"{self.names} masks dweights",
            request,
            {"extra": dweights.flatten()},
            max(self._tolerance(), TOLERANCE[weights.dtype]),
        )
