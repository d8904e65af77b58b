"""Whether the timed call gave the right answer: compared with float64, from poisoned memory, with nothing left undone.

A fault is text; no fault is None. Knows nothing of clocks or records.

Tolerance of an element: a share of the largest magnitude, the output type's rounding, and what
 float64 itself moves by when the input moves by a rounding error, spread over the window.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as nn
from torch import Tensor

from suites import machine
from suites.case import Case
from suites.numbers import Kept
from suites.span import synchronize
from suites.timed import STEP, Expected, Outputs, Timed

ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SHARE = {"float64": 1e-14, "float32": 4e-6, "float16": 4e-5, "bfloat16": 6e-4}
LATE_SECONDS = 0.02  # how long an operator has for writing after it returned, to be caught at it
known = Kept()


def unhurried(case: Case) -> AbstractContextManager[None]:
    """On a machine that others use, one thread: several would mostly wait for each other, ten times as long.

    Not for what is compiled: another number of threads has it compiled anew.
    """
    busy = os.getloadavg()[0] > machine.cores() and case.implementation != "compiled"
    return machine.threads(1) if busy else nullcontext()


def expected(timed: Timed, state: list[Tensor]) -> Expected:
    """The oracle's answer, remembered: implementations and probes of one method share it."""
    case = timed.case
    key = (
        case.method, timed.subject.against, case.direction, case.window, case.shape, case.dtype, case.layout,
        timed.seed, timed.turn, str(timed.inputs[0].device),
    )  # fmt: skip
    if case.own is not None:
        return timed.expected(state)
    found: Expected = known.get(key, lambda: timed.expected(state), lambda made: [*made.values, *made.moves])
    return found


def after(timed: Timed, state: list[Tensor], snapshot: Outputs) -> tuple[str | None, float | None]:
    """Judge the last timed call: its outputs as copied the moment it returned, and its inputs.

    Returns the fault, if any, and the largest error as a fraction of the tolerance.
    """
    if not timed.untouched(state):
        return "the call changed its inputs", None
    if (fault := unfit(timed, snapshot)) is not None:
        return fault, None
    if timed.subject.oracle is None:
        return compare_with_itself(timed, snapshot)
    return compare(timed.case, snapshot, expected(timed, state))


def unfit(timed: Timed, outputs: Outputs) -> str | None:
    """What keeps one's own operator's output from being the pooled tensor, whatever its numbers: shape or dtype."""
    case = timed.case
    if case.own is None:
        return None
    y = outputs[0] if timed.grad is None else timed.grad  # the gradient that goes in is made like the output
    shape = (*case.shape[:2], *case.output)
    if tuple(y.shape) != shape:
        return f"output: expected shape {shape}, got {tuple(y.shape)}"
    return None if y.is_floating_point() else f"output: expected a floating-point dtype, got {y.dtype}"


def settled(snapshot: Outputs, outputs: Outputs, returned: float) -> str | None:
    """Whether the outputs still are what they were when the call returned."""
    time.sleep(max(0.0, returned + LATE_SECONDS - time.perf_counter()))
    if all(_same(copied, output) for copied, output in zip(snapshot, outputs, strict=True)):
        return None
    return "the output changed after the call had returned"


def compare(case: Case, outputs: Outputs, want: Expected) -> tuple[str | None, float]:
    """The first fault of the outputs against the oracle's, and the largest error in tolerances."""
    worst = 0.0
    for index, (out, ref, move) in enumerate(zip(outputs, want.values, want.moves, strict=True)):
        what = "output" if case.direction in ("forward", "inverse", "none") else f"gradient {index}"
        if out.shape != ref.shape:
            return f"{what}: expected shape {tuple(ref.shape)}, got {tuple(out.shape)}", worst
        if not ref.numel():
            continue
        wide = out.detach().double()
        lost = ref.isfinite() & ~wide.isfinite()
        if lost.any():
            return f"{what}: {int(lost.sum())} of {ref.numel()} elements are not finite, the definition's are", worst
        allowed = tolerance(case, ref, move, want.scale, want.strain if index == 0 else 0.0, want.coarse)
        error = (wide - ref).abs().masked_fill(~ref.isfinite(), 0.0)
        ratio = torch.where(error == 0, 0.0, error / allowed).nan_to_num(nan=torch.inf)
        top = float(ratio.max())
        worst = max(worst, top)
        if top > 1:
            at = int(ratio.argmax())
            got, wanted = float(wide.flatten()[at]), float(ref.flatten()[at])
            return (
                f"{what}: {int((ratio > 1).sum())} of {ref.numel()} elements differ from the definition; "
                f"at the worst, expected {wanted:.6g}, got {got:.6g}, allowed {float(allowed.flatten()[at]):.2g}"
            ), worst
    return None, worst


def tolerance(
    case: Case, ref: Tensor, move: Tensor, scale: float, strain: Tensor | float = 0.0, coarse: bool = False
) -> Tensor:
    """How far each element may be from float64."""
    dtype = case.dtype
    share = 16 * ROUNDING[dtype] if coarse and dtype.endswith("16") else SHARE[dtype]
    if tuple(ref.shape) not in (case.shape, (*case.shape[:2], *case.output)):
        return _of_parameter(case, ref, move, scale, coarse)
    reach = _spread(move, [2 * k - 1 for k in case.kernel]) if case.direction != "forward" else move
    partial = torch.zeros_like(ref)
    if case.direction in ("backward", "both") and case.stride < case.kernel:
        parts = math.prod(-(-k // s) for k, s in zip(case.kernel, case.stride, strict=True))
        partial = parts * _spread(ref.abs(), [2 * k - 1 for k in case.kernel])  # windows that overlap add rounded parts
    top = max(scale if case.direction in ("forward", "inverse", "none") else 0.0, float(ref.abs().max()))
    strained = strain if case.direction == "inverse" else share * top * strain
    allowed: Tensor = share * top + strained + 4 * ROUNDING[dtype] * (ref.abs() + partial) + 256 * reach
    return allowed


def _of_parameter(case: Case, ref: Tensor, move: Tensor, scale: float, coarse: bool) -> Tensor:
    """A parameter's gradient: a sum over many places, taken in float32 at least; a coarse one has terms of its type."""
    dtype, root = case.dtype, torch.Size(case.shape).numel() ** 0.5
    terms = max(float(ref.abs().max()), scale) * root
    allowed = 4 * SHARE["float64" if dtype == "float64" else "float32"] * terms + 256 * move + 1e-4 * ref.abs()
    if coarse and dtype.endswith("16"):  # as far as its sixteen bits move it, and what is left of terms that cancel
        allowed = allowed + 16 * 128 * (ROUNDING[dtype] / STEP[dtype]) * move.max() + ROUNDING[dtype] * scale * root
    return torch.as_tensor(allowed)


def _spread(x: Tensor, reach: list[int]) -> Tensor:
    """The largest neighbour within a window's reach: one cell's rounding error moves all cells of its window."""
    pool = {1: nn.max_pool1d, 2: nn.max_pool2d, 3: nn.max_pool3d}[len(reach)]
    return torch.as_tensor(pool(x, reach, 1, [k // 2 for k in reach]))


def compare_with_itself(timed: Timed, outputs: Outputs) -> tuple[str | None, float | None]:
    """What can be said without an oracle: finiteness, a second run, the gradient along one direction."""
    case = timed.case
    if outputs and not all(bool(out.isfinite().all()) for out in outputs):
        return "output: expected finite numbers for finite inputs, got NaN or inf", None
    second = timed.again()
    alike = Expected(tuple(t.detach().double() for t in second), tuple(torch.zeros_like(t) for t in second), 1.0)
    fault, _ = compare(case, outputs, alike)
    if fault:
        return f"a second run on copies of the same numbers gave another result: {fault}", None
    return (difference_quotient(timed) if case.direction in ("backward", "both") else None), None


def difference_quotient(timed: Timed) -> str | None:
    """The gradient along one direction against (f(x + hv) - f(x - hv)) / 2h in float64, where the operator takes it."""
    call, grad = timed.subject.call, timed.grad
    assert grad is not None
    x = timed.inputs[0].detach().double()
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(11)).to(x)
    h = 1e-6
    try:
        with torch.no_grad():
            ahead, behind = call(x + h * v), call(x - h * v)
        leaf = x.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(call(leaf), leaf, grad.double())
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None  # does not take float64: nothing can be said
    if ahead.dtype != torch.float64:
        return None
    terms = (ahead - behind) / (2 * h) * grad.double()
    want, got = float(terms.sum()), float((slope * v).sum())
    allowed = 1e-3 * float(terms.abs().sum()) + 1e-6
    if abs(want - got) > allowed:
        return f"gradient: along one direction the difference quotient is {want:.6g}, the gradient says {got:.6g}"
    return None


def poisoned(timed: Timed) -> Outputs:
    """One untimed call in which memory that nobody wrote reads as NaN.

    Compiled code takes its memory past torch's filling, and would be compiled anew for the deterministic mode.
    """
    if timed.inputs[0].device.type == "cuda" or timed.case.implementation == "compiled":
        _poison_freed(timed)
        return timed()
    before = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # What use_deterministic_algorithms() does, but for importing Inductor, which takes a second and a half.
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # operators without a deterministic twin say so
            return timed()
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def _poison_freed(timed: Timed) -> None:
    """Blocks of the outputs' sizes, filled with NaN and freed, so that the allocator hands them out next."""
    outputs = timed()
    held = [torch.full_like(out, float("nan")) for out in outputs * 3]
    del outputs
    synchronize(timed.inputs[0].device)
    held.clear()


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def golden(case: Case) -> str | None:
    """Whether the row or the layer that served as oracle is right itself, by hand-worked values."""
    from adapool import registry
    from adapool.learned import LEARNED
    from suites import golden as by_hand

    if case.method in (*registry.names(), *LEARNED) and case.own is None:  # a person's row is the definition
        return by_hand.fault(case.method)
    return by_hand.fault("ada") if case.method.startswith("adaunpool") else None
