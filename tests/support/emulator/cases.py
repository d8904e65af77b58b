"""One problem in every direction: the compiled operators' answers beside those of the plain rows in float64."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adapool.functional import pool, pool_with_extra
from adapool.unpooling import unpool, unpool_weights
from tests.support.emulator.frames import FRAMES, placed
from tests.support.problems import DTYPES, METHODS, Problem

WEIGHTS = "weights"  # in place of a method: unpooling by stored weights


@dataclass
class Found:
    what: str
    got: Tensor
    want: Tensor
    tolerance: float

    def fault(self) -> str | None:
        got, want = self.got.detach().double(), self.want.detach()
        if got.shape != want.shape:
            return f"{self.what}: of shape {tuple(got.shape)}, not {tuple(want.shape)}"
        if not want.numel():
            return None
        scale = max(1.0, float(want.abs().max()))
        off = (got - want).abs().nan_to_num(torch.inf)
        worst = float(off.max())
        if worst <= self.tolerance * scale:
            return None
        many, first = (
            int((off > self.tolerance * scale).sum()),
            tuple(off.gt(self.tolerance * scale).nonzero()[0].tolist()),
        )
        return f"{self.what}: {many} of {want.numel()} numbers are off, by {worst:.3g} of {scale:.3g}; first {first}"


class Case:
    """A problem with its tensors placed in memory, in the same way whatever directions are asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.pick = random.Random(problem.seed)
        problem.generator.manual_seed(problem.seed + 1)
        self.layout = "last" if problem.channels_last else "nchw"
        self.weighted = problem.entry.extra == "weights"
        self.normalize = self.pick.random() < 0.7
        self.offset = self.pick.choice((0, 0, 0, 1, 2, 3))  # of the storage: sixteen bytes, eight, four, two

    def _place(self, t: Tensor, layout: str, dtype: torch.dtype | None = None) -> Tensor:
        return placed(t.to(dtype or self.problem.dtype), layout, self.offset)

    def compiled(self, *wanted: str) -> tuple[Tensor, dict[str, Any]]:
        """x and operands in their dtypes and layouts; those in `wanted` are leaves."""
        p = self.problem
        x = self._place(p.x, self.layout).requires_grad_("x" in wanted)
        operands: dict[str, Any] = {}
        for number, (spec, given) in enumerate(zip(p.entry.operands, p.operands.values(), strict=True)):
            operands[spec.name] = given
            if isinstance(given, Tensor):
                way = (p.seed + number) % 5
                if spec.kind != "cell" or way > 1:
                    value = placed(given, self.layout, self.offset) if spec.kind != "cell" else given
                else:
                    value = given.expand(p.cells) if way else placed(given, "turned", self.offset)
                operands[spec.name] = value.detach().requires_grad_("operands" in wanted and spec.kind != "random")
        return x, operands

    def true(self, *wanted: str) -> tuple[Tensor, dict[str, Any]]:
        """The same in float64."""
        x, operands = self.compiled(*wanted)
        wide = {n: v.detach().double().requires_grad_(v.requires_grad) if isinstance(v, Tensor) else v
                for n, v in operands.items()}  # fmt: skip
        return x.detach().double().requires_grad_(x.requires_grad), wide

    def cells(self) -> Tensor:
        """Numbers of cells, exact in the dtype; some of one value in memory, in the other layout, or in none."""
        p = self.problem
        kind = self.pick.choice((self.layout, self.layout, "nchw", "last", "turned", "expanded"))
        if kind == "expanded":
            return torch.tensor([0.75], dtype=p.dtype).expand(p.cells)
        return self._place(torch.rand(p.cells, generator=p.generator, dtype=torch.float64) * 2 - 1, kind)

    def places(self) -> Tensor:
        return self._place(self.problem.values(self.problem.shape), self.pick.choice((self.layout, "nchw", "last")))

    def found(self, what: str, got: Tensor, want: Tensor, dtype: torch.dtype | None = None) -> Found:
        return Found(f"{self.problem.names} {what}", got, want, self.problem.tolerance(dtype))

    def gradients(self, what: str, run: Callable[..., Tensor], grad: Tensor, *wanted: str) -> Iterator[Found]:
        """`run(x, operands, implementation)`: its result, and gradients of what is `wanted`."""
        results = []
        for (x, operands), implementation in ((self.compiled(*wanted), "native"), (self.true(*wanted), "plain")):
            leaves = {"x": x, **{n: v for n, v in operands.items() if isinstance(v, Tensor)}}
            leaves = {n: v for n, v in leaves.items() if v.requires_grad}
            if not leaves:
                return
            y = run(x, operands, implementation)
            found = [None] * len(leaves)  # of weights that depend on nothing
            if y.requires_grad:
                found = torch.autograd.grad(y, list(leaves.values()), grad.to(y.dtype), allow_unused=True)
            results.append((y, dict(zip(leaves, found, strict=True)), leaves))
        (y, got, _), (y_true, want, truths) = results
        yield self.found(f"{what} y", y, y_true)
        for name in want:
            one, other = got[name], want[name]
            if other is None:
                other = torch.zeros_like(truths[name])
            if one is None:
                one = torch.zeros_like(other)
            result = self.found(f"{what} d{name}", one, other, None if name == "x" else one.dtype)
            if name != "x":  # each tap's part has what the mean was rounded by, and the sum of them little else
                result.tolerance *= max(1.0, self.problem.window.taps / 500)
            yield result


# Directions: what is asked of a problem. Each yields nothing where the method has no such thing.


def forward(case: Case) -> Iterator[Found]:
    p = case.problem
    y = pool_of(case, "native")(*case.compiled())
    yield case.found("y", y, pool_of(case, "plain")(*case.true()))
    kept = [(a, b) for n, a, b in zip(y.shape, y.stride(), placed(y, case.layout).stride(), strict=True) if n > 1]
    assert not y.numel() or all(a == b for a, b in kept), f"{p.names}: the layout of y is {y.stride()}"


def pool_of(case: Case, implementation: Any, gradient: Any = "exact") -> Callable[..., Tensor]:
    p = case.problem
    return lambda x, operands, other=None: pool(
        x, p.method, *p.options(), implementation=other or implementation, gradient=gradient, **operands
    )


def extra(case: Case) -> Iterator[Found]:
    p = case.problem
    if p.entry.extra is None:
        return
    found = []
    for (x, operands), implementation in ((case.compiled(), "native"), (case.true(), "plain")):
        found.append(pool_with_extra(x, p.method, *p.options(), implementation=implementation, **operands))
    yield case.found("y with extra", found[0][0], found[1][0])
    yield case.found("extra", found[0][1], found[1][1].double())


def exact(case: Case) -> Iterator[Found]:
    yield from case.gradients("exact", pool_of(case, None), case.cells(), "x")


def exact_with_operands(case: Case) -> Iterator[Found]:
    if case.problem.operands:
        yield from case.gradients("exact with operands", pool_of(case, None), case.cells(), "x", "operands")


def operands_alone(case: Case) -> Iterator[Found]:
    yield from case.gradients("operands alone", pool_of(case, None), case.cells(), "operands")


def detached(case: Case) -> Iterator[Found]:
    if case.weighted:
        wanted = ("x", "operands") if case.pick.random() < 0.5 else ("x",)
        yield from case.gradients("detached", pool_of(case, None, "detached"), case.cells(), *wanted)


def spread_of(case: Case, y: Tensor) -> Callable[..., Tensor]:
    p = case.problem
    return lambda guide, operands, implementation: unpool(
        y.to(guide.dtype) if y.dtype != guide.dtype else y, guide, p.method, *p.options(), normalize=case.normalize,
        implementation=implementation, **operands,
    )  # fmt: skip


def unpooled(case: Case) -> Iterator[Found]:
    if case.weighted:
        run = spread_of(case, case.cells())
        yield case.found("unpooled", run(*case.compiled(), "native"), run(*case.true(), "plain"))


def unpooled_to_y(case: Case) -> Iterator[Found]:
    if not case.weighted:
        return
    given, grad, slopes = case.cells(), case.places(), []
    for (x, operands), implementation in ((case.compiled(), "native"), (case.true(), "plain")):
        y = given.to(x.dtype).detach().requires_grad_()
        slopes += torch.autograd.grad(spread_of(case, y)(x, operands, implementation), y, grad.to(x.dtype))
    yield case.found("unpooled dy", *slopes)


def unpooled_to_guide(case: Case) -> Iterator[Found]:
    if case.weighted:
        yield from case.gradients("unpooled", spread_of(case, case.cells()), case.places(), "x")


def unpooled_to_operands(case: Case) -> Iterator[Found]:
    if case.weighted:
        yield from case.gradients("unpooled", spread_of(case, case.cells()), case.places(), "operands")


def stored_weights(case: Case) -> Iterator[Found]:
    p = case.problem
    weights = torch.rand((*p.cells, p.window.taps), generator=p.generator, dtype=torch.float64)
    if case.pick.random() < 0.2:
        weights = weights[:, :1]  # shared by all channels
    weights = weights.to(case.pick.choice((p.dtype, torch.float32)))
    weights = weights if case.pick.random() < 0.7 else placed(weights, "turned")
    given, grad, results = case.cells(), case.places(), []
    for wide in (False, True):
        y = (given.double() if wide else given).detach().requires_grad_()
        w = (weights.double() if wide else weights).detach().requires_grad_()
        out = unpool_weights(
            y, w, *p.options(), output_size=p.shape[2:], normalize=case.normalize,
            implementation="plain" if wide else "native",
        )  # fmt: skip
        results.append((out, *torch.autograd.grad(out, (y, w), grad.to(out.dtype))))
    for what, dtype, got, want in zip(("", " dy", " dweights"), (None, None, weights.dtype), *results, strict=True):
        yield case.found(f"by stored weights{what}", got, want, dtype)


DIRECTIONS: tuple[Callable[[Case], Iterator[Found]], ...] = (
    extra, exact, exact_with_operands, operands_alone, detached,
    unpooled, unpooled_to_y, unpooled_to_guide, unpooled_to_operands,
)  # fmt: skip
Walk = Iterator[tuple[str, Problem, list[Callable[[Case], Iterator[Found]]]]]  # by frames


def spread_walk(share: int = 7, frames: Sequence[str] = tuple(FRAMES)) -> Walk:
    """Every method in every frame, in one of `share` directions, so that each direction meets every method
    and every frame; dtypes and layouts by chance."""
    for w, frame in enumerate(frames):
        make = FRAMES[frame]
        for m, method in enumerate(METHODS):
            seed = zlib.crc32(f"{frame} {method}".encode())
            pick = random.Random(seed)
            dtype = pick.choice(DTYPES) if frame != "many" else torch.float32
            problem = Problem(seed, method, dtype, pick.random() < 0.5, make(pick))
            some = [d for i, d in enumerate(DIRECTIONS) if (m + w + i) % share == 0]
            yield frame, problem, [forward, *some] if (m + w) % 2 == 0 else some  # most of them begin with it anyway
        for dtype in DTYPES:
            for last in (False, True):
                seed = zlib.crc32(f"{frame} {dtype} {last}".encode())
                yield frame, Problem(seed, "softpool", dtype, last, make(random.Random(seed))), [stored_weights]
        if frame in ("apart", "overlap", "whole"):
            problem = Problem(w, "dpp", torch.float32, w % 2 == 1, make(random.Random(w)))
            alpha = (
                torch.rand((problem.shape[1], *(1,) * len(problem.window.kernel)), generator=problem.generator) + 0.5
            )
            problem.operands = {"guide": None, "lam": 1.5, "alpha": alpha}  # a single tensor, but not the first operand
            yield frame, problem, [exact_with_operands]


def random_walk(count: int) -> Walk:
    """Problems by their numbers: every direction, frames in turn and drawn ones."""
    makers = [*FRAMES.values(), None]
    for number in range(count):
        rest, method = divmod(number, len(METHODS))
        rest, dtype = divmod(rest, len(DTYPES))
        rest, last = divmod(rest, 2)
        make = makers[(rest + method) % len(makers)]
        frame = make(random.Random(number)) if make else None
        yield (
            "",
            Problem(number, METHODS[method], DTYPES[dtype], bool(last), frame),
            [forward, *DIRECTIONS, *([stored_weights] if method == 0 else [])],
        )


def few(frame: str, method: str) -> Walk:
    """A few problems in float32, whose operands batches share: pooling and its gradients."""
    taken = 0
    for seed in range(99):
        problem = Problem(seed, method, torch.float32, taken % 2 == 1, FRAMES[frame](random.Random(seed)))
        own = all(isinstance(v, Tensor) and v.shape == problem.cells[1:] for v in problem.operands.values())
        if taken < 2 and own and problem.x.numel():
            taken += 1
            yield frame, problem, [forward, exact_with_operands if problem.operands else exact]
