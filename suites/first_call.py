"""First calls on CUDA: the kernels of all cases compiled and loaded in parallel, before anything is measured.

Knows how the library wants a call in words, and its C function; nothing of records, of clocks or of tensors.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from suites import inspector
from suites.case import Case
from suites.finding import Finding

PROBE, METRIC = "kernels", "first_call"
APART = ("retention", "network")  # only their worker knows which tensors are pooled
SECONDS = 300.0  # that all of them may take
Make = Callable[[str], int]  # a call in words -> how many of its kernels were compiled just now


class Made(NamedTuple):
    """What one call in words came to."""

    seconds: float
    compiled: int = 0  # kernels; the others were on disk, or made for another call
    fault: str | None = None


def chosen(cases: Iterable[Case], kind: str) -> list[Case]:
    """The cases whose first calls are prepared, each once whatever is measured of it: native ones on CUDA."""
    if kind != "cuda":
        return []
    native = (case for case in cases if case.implementation == "native" and case.probe not in APART)
    found: dict[str, Case] = {}
    for case in native:
        found.setdefault(case.name, replace(case, probe=PROBE))
    return list(found.values())


def words(case: Case) -> tuple[str, ...]:
    """The calls of a case as csrc/cuda/host/describe.h has them."""
    import torch

    from adapool import native, registry
    from suites import own

    if case.own is not None:  # its kernels' source is in no table before
        own.load(case.own)
        native.has_kernel(case.method, getattr(torch, case.dtype), "cuda")
    method, calls, operand = case.method, ("forward", "backward")[: 1 + (case.direction != "forward")], "number"
    if case.direction == "inverse":
        method, calls = "weights" if case.method == "adaunpool_masks" else "ada", ("unpool",)
    else:
        for spec in registry.get(method).operands:  # as suites/subjects.py gives them
            operand = "cell" if spec.kind == "random" else "scalar" if spec.learned else operand
    sizes = ("x".join(map(str, each)) for each in (case.kernel, case.stride, case.padding))
    window = "{}/{}+{}".format(*sizes) + "^" * case.ceil_mode
    tail = f"{case.dtype} {case.layout} {window} {'x'.join(map(str, case.shape))} {operand}"
    return tuple(f"{method} {call} {tail}" for call in calls)


def measured(case: Case) -> tuple[str, ...]:
    """Those of them that are measured: a backward's forward is over by then."""
    return words(case)[case.direction == "backward" :]


def maker(device: int) -> Make:
    """The library's own `adapool_prepare` on a device, which holds no lock of Python's while it compiles."""
    prepare = inspector.library().adapool_prepare

    def make(call: str) -> int:
        why = ctypes.c_void_p()
        compiled: int = prepare(call.encode(), device, ctypes.byref(why))
        if compiled < 0:
            raise RuntimeError(inspector.taken(why) or "no reason given")
        return compiled

    return make


def _one(make: Make, call: str) -> Made:
    begin = time.perf_counter()
    try:
        compiled = make(call)
    except RuntimeError as error:
        return Made(time.perf_counter() - begin, fault=str(error))
    return Made(time.perf_counter() - begin, compiled)


def prepare(cases: Sequence[Case], make: Make, threads: int) -> list[dict[str, Any]]:
    """A finding for each case: the seconds that its first call waits for its kernels, and whether all were there.
    Calls that cases share are made once and count for each.
    """
    asked = [words(case) for case in cases]
    distinct = list(dict.fromkeys(call for calls in asked for call in calls))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        made = dict(zip(distinct, pool.map(lambda call: _one(make, call), distinct), strict=True))
    return [_finding([made[call] for call in calls], threads) for calls in asked]


def _finding(parts: Sequence[Made], threads: int) -> dict[str, Any]:
    fault = next((part.fault for part in parts if part.fault is not None), None)
    compiled = sum(part.compiled for part in parts)
    if fault is not None:
        return asdict(Finding(METRIC, status="failed", reason=fault))
    how = {"cached": compiled == 0, "compiled": compiled, "threads": threads}
    return asdict(Finding(METRIC, value=sum(part.seconds for part in parts), how=how))
