"""The clocks of the CPU: wall time of the call, with the cache flushed before it (cold) and without (hot).

One timing loop for all: `run` warms up, changes the numbers, takes samples, and hands out the last timed call's output.
Knows nothing of verdicts or records.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from suites import sampling
from suites.sampling import Samples
from suites.timed import Outputs, Timed

SLOW_SECONDS = 0.02  # a call as long as this is warm after fewer calls, and its samples need no loop
HOT_SECONDS = 2e-4  # a hot sample is at least this long, so that the timer's own cost is below a per mille


@dataclass
class Measured:
    """Samples of one clock, and the evidence: the state before the last timed call, its outputs, their first copy."""

    samples: Samples
    state: list[Tensor]
    snapshot: Outputs
    outputs: Outputs
    returned: float  # perf_counter when it returned


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection inside the samples."""
    gc.collect(1)  # the oldest generation is mostly torch itself
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def spoil(timed: Timed, outputs: Outputs) -> None:
    """NaN over the last outputs, so that a call which only hands them out again is found out."""
    held = {t.untyped_storage().data_ptr() for t in (*timed.inputs, *([timed.grad] if timed.grad is not None else []))}
    for out in outputs:
        if out.untyped_storage().data_ptr() not in held and out.is_floating_point() and not out.is_inference():
            out.detach().fill_(float("nan"))


class CpuClocks:
    """Cold and hot on the CPU; the thread count is fixed by the worker and recorded there."""

    rule = sampling.Rule()  # of the case at hand, as the plan wants it

    def __init__(self, flush_bytes: int) -> None:
        self.flush_bytes = flush_bytes
        self._buffer: Tensor | None = None

    def flush(self) -> None:
        if self._buffer is None:
            self._buffer = torch.ones(self.flush_bytes // 4)
        self._buffer.sum()  # read, not written: dirty lines would be paid for by the call

    def run(self, timed: Timed, clock: str, seconds: float) -> Measured:
        """`seconds` is for the warm-up too, but for the first call, which may compile; slow calls get less of it."""
        outputs = timed()
        begin = time.perf_counter()
        outputs = timed()
        slow = time.perf_counter() - begin > SLOW_SECONDS
        timed.refill()  # whoever remembers the warm-up's answer has the wrong one now
        state = timed.state()
        outputs = timed()  # the first call on fresh memory is not the one to time
        calls = 1 if slow or clock != "hot" else self._calls(timed)
        last: list[Outputs] = [outputs]

        def cold() -> float:
            spoil(timed, last[0])
            self.flush()
            start = time.perf_counter()
            last[0] = timed()
            return time.perf_counter() - start

        def hot() -> float:
            spoil(timed, last[0])
            start = time.perf_counter()
            for _ in range(calls):
                last[0] = timed()
            return (time.perf_counter() - start) / calls

        sample: Callable[[], float] = cold if clock == "cold" else hot
        del outputs
        with quiet():
            if not slow:
                sample()  # fills the instruction cache of the sampling loop itself; not recorded
            taken = sampling.take(sample, begin + seconds - time.perf_counter(), self.rule)
            value = sample()  # one more, also a sample: the one whose output is judged
            returned = time.perf_counter()
            snapshot = tuple(out.detach().clone() for out in last[0])
        taken.values.append(value)
        taken.kept.append(True)
        warm = 3 if slow else 4 if clock == "cold" else 4 + calls
        taken.tell(calls, warm, seconds, self.flush_bytes if clock == "cold" else 0)
        return Measured(taken, state, snapshot, last[0], returned)

    def _calls(self, timed: Timed) -> int:
        start = time.perf_counter()
        timed()
        once = time.perf_counter() - start
        return max(1, min(1000, round(HOT_SECONDS / max(once, 1e-7))))
