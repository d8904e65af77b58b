"""The memory probe: what one call allocates beyond its inputs at its peak, and what forward keeps for backward.

A pass of its own, never timed. On the CPU the profiler's exported trace is read, which sees native operators too; on
CUDA the allocator's own counters. Knows subjects; nothing of records.
"""

from __future__ import annotations

import gc
import json
import tempfile
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suites.case import Case
from suites.finding import Finding
from suites.latency import untimed
from suites.subjects import build
from suites.timed import Timed


def measure(case: Case, device: torch.device, seed: int) -> list[Finding]:
    """Peak of the case's direction; for forward also the bytes saved for backward."""
    timed = Timed(build(case, device, seed), case, seed)
    fault = untimed(timed)  # and what a first call sets up for good is not the call's own
    if fault is not None:
        return [Finding("peak_bytes", status="incorrect", reason=fault)]
    peak, how = (cuda_peak if device.type == "cuda" else cpu_peak)(timed)
    how |= {"operands": timed.subject.operands, "verified": timed.subject.oracle is not None}
    found = [Finding("peak_bytes", value=peak, how=how, warnings=list(timed.subject.notes))]
    if case.direction == "forward" and timed.subject.wanted:
        saved, parts = saved_bytes(timed)
        found.append(Finding("saved_bytes", value=saved, how=parts))
    return found


def cpu_peak(timed: Timed) -> tuple[float, dict[str, Any]]:
    gc.collect(1)
    # Not torch.profiler's own, which does the same but imports Inductor for it: a second and a half.
    with torch.autograd.profiler.profile(use_kineto=True, profile_memory=True) as profile:
        outputs = timed()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_bytes())["traceEvents"]
    del outputs
    peak, count, requested = trace_peak(events)
    return float(peak), {
        "source": "profiler trace, Total Allocated",
        "allocations": count,
        "requested_bytes": requested,
    }


def trace_peak(events: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Peak of live bytes above the start, number of allocations, and their sum, of a chrome trace's [memory] events."""
    steps = [e for e in events if e.get("name") == "[memory]" and e["args"].get("Device Type") == 0]
    steps.sort(key=lambda e: e["ts"])
    if not steps:
        return 0, 0, 0
    start = steps[0]["args"]["Total Allocated"] - steps[0]["args"]["Bytes"]
    peak = max(max(e["args"]["Total Allocated"] for e in steps) - start, 0)
    grown = [e["args"]["Bytes"] for e in steps if e["args"]["Bytes"] > 0]
    return peak, len(grown), sum(grown)


def cuda_peak(timed: Timed) -> tuple[float, dict[str, Any]]:
    device = timed.inputs[0].device
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)  # after the warm-up call, before the one that counts
    before = torch.cuda.memory_stats(device)
    outputs = timed()
    torch.cuda.synchronize(device)
    after = torch.cuda.memory_stats(device)
    del outputs

    def grown(name: str) -> int:
        return int(after[f"{name}.all.peak"]) - int(before[f"{name}.all.current"])

    return float(grown("allocated_bytes")), {
        "source": "allocator counters", "requested_bytes": grown("requested_bytes"),
    }  # fmt: skip


class _Saved:
    """A tensor that the graph holds; dies with the part of the graph that saved it, of which it must know nothing."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


def saved_bytes(timed: Timed) -> tuple[float, dict[str, Any]]:
    """Bytes of the distinct storages that forward keeps for backward; kept inputs count, and are told apart."""
    leaves = [t.detach().requires_grad_(i in timed.subject.wanted) for i, t in enumerate(timed.inputs)]
    return saved_by(lambda: timed.subject.call(*leaves), timed.inputs)


def saved_by(call: Callable[[], Tensor], given: Iterable[Tensor]) -> tuple[float, dict[str, Any]]:
    """Bytes that `call` keeps for its backward, and those of them that are `given` ones'.

    Looked at when forward is done: what belonged to a part of the graph that nothing needs is gone by then.
    """
    held: weakref.WeakSet[_Saved] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Saved:
        held.add(saved := _Saved(tensor))
        return saved

    own = {t.untyped_storage().data_ptr() for t in given}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        y = call()
    storages = {s.data_ptr(): s.nbytes() for s in (saved.tensor.untyped_storage() for saved in held)}
    total = sum(storages.values())
    of_inputs = sum(size for place, size in storages.items() if place in own)
    del y
    return float(total), {"source": "saved_tensors_hooks", "of_inputs_bytes": of_inputs, "own_bytes": total - of_inputs}
