"""torch.profiler's trace read: kernels on a GPU, operators with their own time on the CPU. Torch-free.

Knows no case and no record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reports.profile import Kernel
from suites.launch import Refused

CALLS = 10


def read(trace: dict[str, Any]) -> list[Kernel]:
    """The kernels of a trace; where there is none, its operators, each with the time that none below it took."""
    events = [event for event in trace.get("traceEvents", ()) if event.get("ph") == "X"]
    kernels = sorted((event for event in events if event.get("cat") == "kernel"), key=lambda event: event["ts"])
    found = [_kernel(event) for event in kernels] or _operators(events)
    if not found:
        raise Refused("torch.profiler saw no kernel and no operator in the call")
    return found


def _kernel(event: dict[str, Any]) -> Kernel:
    args = event.get("args", {})
    block, registers = args.get("block"), args.get("registers per thread")
    return Kernel(
        name=event["name"],
        seconds=event["dur"] / 1e6,
        threads=math.prod(block) if block else None,
        registers=int(registers) if registers is not None else None,
    )


def _operators(events: Sequence[dict[str, Any]]) -> list[Kernel]:
    """Operators of all threads in the order of their begin, inner ones taken off the outer ones."""
    chosen = [event for event in events if event.get("cat") == "cpu_op"]
    made: list[tuple[float, str, float]] = []
    for thread in dict.fromkeys((event["pid"], event["tid"]) for event in chosen):
        mine = [event for event in chosen if (event["pid"], event["tid"]) == thread]
        mine.sort(key=lambda event: (event["ts"], -event["dur"]))
        own = [float(event["dur"]) for event in mine]
        open_: list[int] = []
        for at, event in enumerate(mine):
            while open_ and mine[open_[-1]]["ts"] + mine[open_[-1]]["dur"] <= event["ts"]:
                open_.pop()
            if open_:
                own[open_[-1]] -= event["dur"]
            open_.append(at)
        made += [(event["ts"], event["name"], max(0.0, took)) for event, took in zip(mine, own, strict=True)]
    return [Kernel(name=name, seconds=took / 1e6) for _, name, took in sorted(made)]
