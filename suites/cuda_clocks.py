"""The clocks of a GPU: cold, hot and graph are device time between events, host is what a Python caller pays.

A spin blocker holds the stream while the host queues event, call, event, so that launch cost stays out of device time;
the cache flush is a thing of its own before it. Knows nothing of verdicts or records.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from suites import cuda_graph, sampling
from suites.clocks import Measured, quiet, spoil
from suites.nvtx import named
from suites.span import Span
from suites.timed import Outputs, Timed

_cuda: Any = torch.cuda  # much of it is untyped
SHORTEST_BLOCK = 1e-4
LONGEST_BLOCK = 0.05  # a call that still is not queued by then synchronises inside
HOT_SECONDS = 1e-3
MOST_QUEUED = 100  # calls behind one blocker; the launch queue holds about a thousand kernels


class CudaClocks:
    """Works on the current device and stream; nothing of the GPU's settings is touched."""

    rule = sampling.Rule()  # of the case at hand, as the plan wants it

    def __init__(self, flush_bytes: int) -> None:
        self.flush_bytes = flush_bytes
        self.l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
        self._buffer = torch.empty(flush_bytes, dtype=torch.uint8, device="cuda")
        self._cycles = self._calibrate()

    def _calibrate(self) -> float:
        """Blocker cycles a second."""
        cycles = 10_000_000
        _cuda._sleep(cycles)
        with Span() as span:
            _cuda._sleep(cycles)
        return cycles / span.seconds()

    def block(self, seconds: float) -> None:
        _cuda._sleep(int(seconds * self._cycles))

    def run(self, timed: Timed, clock: str, seconds: float) -> Measured:
        """In ranges that a profiler shows: the case, the clock, and in those the direction around each timed part."""
        with named(timed.case.name), named(clock):
            for _ in range(3):
                outputs = timed()
            torch.cuda.synchronize()
            start = time.perf_counter()
            outputs = timed()
            queued = time.perf_counter() - start
            torch.cuda.synchronize()
            del outputs
            timed.refill()
            if clock == "graph":
                return cuda_graph.measure(timed, seconds, self.rule, self.l2_bytes, lambda: self.block(SHORTEST_BLOCK))
            if clock == "host":
                return self._host(timed, seconds, queued)
            return self._device(timed, seconds, queued, clock == "cold")

    def _device(self, timed: Timed, seconds: float, queued: float, flush: bool) -> Measured:
        calls = 1 if flush else self._calls(timed)
        block = [min(LONGEST_BLOCK, max(2 * queued * calls, SHORTEST_BLOCK))]
        last: list[Outputs] = [timed()]
        late: list[bool] = []

        def sample() -> float:
            spoil(timed, last[0])
            if flush:
                self._buffer.zero_()
            self.block(block[0])
            with named(timed.case.direction), Span() as span:  # the events inside, all behind the blocker
                for _ in range(calls):
                    last[0] = timed()
            late.append(bool(span.start.query()))  # the device had begun before everything was queued
            if late[-1]:
                block[0] = min(LONGEST_BLOCK, 2 * block[0])
            return span.seconds() / calls

        with quiet():
            for _ in range(3):
                sample()
            late.clear()
            taken = sampling.take(sample, seconds, self.rule)
            fresh = timed.stage()
            torch.cuda.synchronize()
            self.block(block[0])  # the new numbers arrive behind it: work on another stream reads the old ones
            timed.refill(fresh)
            state = timed.state()
            last[0] = timed()
            snapshot = tuple(out.detach().clone() for out in last[0])
            returned = time.perf_counter()
            torch.cuda.synchronize()
        if not all(late):
            taken.kept = [not is_late for is_late in late]
        if sum(late) > len(late) // 10:
            taken.warnings.append("syncs" if block[0] >= LONGEST_BLOCK else "late blocker")
        taken.tell(calls, 8, seconds, self.flush_bytes if flush else 0, blocker_s=round(block[0], 6), enqueue_s=queued)
        if queued > taken.median:
            taken.warnings.append("host-bound")
        return Measured(taken, state, snapshot, last[0], returned)

    def _calls(self, timed: Timed) -> int:
        with Span() as span:
            timed()
        return max(1, min(MOST_QUEUED, round(HOT_SECONDS / max(span.seconds(), 1e-6))))

    def _host(self, timed: Timed, seconds: float, queued: float) -> Measured:
        """Sync to sync; the time until the call returned beside it."""
        last: list[Outputs] = [timed()]
        enqueue: list[float] = []

        def sample() -> float:
            spoil(timed, last[0])
            torch.cuda.synchronize()
            with named(timed.case.direction):
                start = time.perf_counter()
                last[0] = timed()
                enqueue.append(time.perf_counter() - start)
                torch.cuda.synchronize()
                return time.perf_counter() - start

        state = timed.state()
        with quiet():
            sample()
            taken = sampling.take(sample, seconds, self.rule)
            snapshot = tuple(out.detach().clone() for out in last[0])
            returned = time.perf_counter()
        self.block(max(2 * queued, SHORTEST_BLOCK))
        with Span() as span:
            timed()
        device, queue = span.seconds(), statistics.median(enqueue)
        overhead, bound = max(0.0, taken.median - device), "host" if queue > device else "device"
        taken.tell(1, 5, seconds, 0, enqueue_s=queue, device_s=device, launch_overhead_s=overhead, bound=bound)
        return Measured(taken, state, snapshot, last[0], returned)
