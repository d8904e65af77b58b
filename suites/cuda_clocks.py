"""The clocks of a GPU: cold, hot and graph are device time between events, host is what a Python caller pays.

A spin blocker holds the stream while the host queues event, call, event, so that launch cost stays out of device time;
the cache flush is a thing of its own before it. Knows nothing of verdicts or records.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from suites import sampling
from suites.clocks import Measured, quiet, spoil
from suites.sampling import Samples
from suites.subject import Unavailable
from suites.timed import Outputs, Timed

_cuda: Any = torch.cuda  # much of it is untyped
LONGEST_BLOCK = 0.05  # a call that still is not queued by then synchronises inside
HOT_SECONDS = 1e-3
MOST_QUEUED = 100  # calls behind one blocker; the launch queue holds about a thousand kernels
MOST_UNROLLED = 64


class CudaClocks:
    """Works on the current device and stream; nothing of the GPU's settings is touched."""

    def __init__(self, flush_bytes: int) -> None:
        self.flush_bytes = flush_bytes
        self.l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
        self._buffer = torch.empty(flush_bytes, dtype=torch.uint8, device="cuda")
        self._cycles = self._calibrate()

    def _calibrate(self) -> float:
        """Blocker cycles a second."""
        cycles = 10_000_000
        _cuda._sleep(cycles)
        start, end = _event(), _event()
        start.record()
        _cuda._sleep(cycles)
        end.record()
        end.synchronize()
        return cycles / (float(start.elapsed_time(end)) / 1e3)

    def _block(self, seconds: float) -> None:
        _cuda._sleep(int(seconds * self._cycles))

    def run(self, timed: Timed, clock: str, seconds: float) -> Measured:
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
            return self._graph(timed, seconds)
        sampler = {"cold": self._cold, "hot": self._hot, "host": self._host}[clock]
        return sampler(timed, seconds, queued)

    def _device(self, timed: Timed, seconds: float, queued: float, calls: int, flush: bool) -> Measured:
        block = [min(LONGEST_BLOCK, max(2 * queued * calls, 1e-4))]
        last: list[Outputs] = [timed()]
        late = [0]

        def sample() -> float:
            spoil(timed, last[0])
            if flush:
                self._buffer.zero_()
            start, end = _event(), _event()
            self._block(block[0])
            start.record()
            for _ in range(calls):
                last[0] = timed()
            end.record()
            if start.query():  # the device had begun before everything was queued
                late[0] += 1
                block[0] = min(LONGEST_BLOCK, 2 * block[0])
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3 / calls

        with quiet():
            for _ in range(3):
                sample()
            late[0] = 0
            taken = sampling.take(sample, seconds)
            fresh = timed.stage()
            torch.cuda.synchronize()
            self._block(
                block[0]
            )  # the new numbers arrive behind the blocker: work on another stream reads the old ones
            timed.refill(fresh)
            state = timed.state()
            last[0] = timed()
            snapshot = tuple(out.detach().clone() for out in last[0])
            returned = time.perf_counter()
            torch.cuda.synchronize()
        if late[0] > len(taken.values) // 10:
            taken.warnings.append("syncs" if block[0] >= LONGEST_BLOCK else "late blocker")
        taken.how = {
            "calls_per_sample": calls,
            "warm_up": 8,
            "budget_s": round(seconds, 4),
            "flush_bytes": self.flush_bytes if flush else 0,
            "blocker_s": round(block[0], 6),
            "enqueue_s": queued,
        }
        if queued > taken.median:
            taken.warnings.append("host-bound")
        return Measured(taken, state, snapshot, last[0], returned)

    def _cold(self, timed: Timed, seconds: float, queued: float) -> Measured:
        return self._device(timed, seconds, queued, 1, True)

    def _hot(self, timed: Timed, seconds: float, queued: float) -> Measured:
        start, end = _event(), _event()
        start.record()
        timed()
        end.record()
        end.synchronize()
        once = max(start.elapsed_time(end) / 1e3, 1e-6)
        return self._device(timed, seconds, queued, max(1, min(MOST_QUEUED, round(HOT_SECONDS / once))), False)

    def _host(self, timed: Timed, seconds: float, queued: float) -> Measured:
        """Sync to sync; the time until the call returned beside it."""
        last: list[Outputs] = [timed()]
        enqueue: list[float] = []

        def sample() -> float:
            spoil(timed, last[0])
            torch.cuda.synchronize()
            start = time.perf_counter()
            last[0] = timed()
            enqueue.append(time.perf_counter() - start)
            torch.cuda.synchronize()
            return time.perf_counter() - start

        state = timed.state()
        with quiet():
            sample()
            taken = sampling.take(sample, seconds)
            snapshot = tuple(out.detach().clone() for out in last[0])
            returned = time.perf_counter()
        start, end = _event(), _event()
        self._block(max(2 * queued, 1e-4))
        start.record()
        timed()
        end.record()
        end.synchronize()
        device = start.elapsed_time(end) / 1e3
        queue = statistics.median(enqueue)
        taken.how = {
            "calls_per_sample": 1,
            "warm_up": 5,
            "budget_s": round(seconds, 4),
            "flush_bytes": 0,
            "enqueue_s": queue,
            "device_s": device,
            "launch_overhead_s": max(0.0, taken.median - device),
            "bound": "host" if queue > device else "device",
        }
        return Measured(taken, state, snapshot, last[0], returned)

    def _graph(self, timed: Timed, seconds: float) -> Measured:
        """Replays of a graph of k calls over rotated inputs, so that k x bytes exceeds three times the L2 cache."""
        case = timed.case
        if case.direction not in ("forward", "inverse"):
            raise Unavailable("the graph clock measures forward and inverse only")
        calls = min(MOST_UNROLLED, max(4, -(-3 * self.l2_bytes // max(1, case.bytes)) + 1))
        rotated = calls * case.bytes > 3 * self.l2_bytes
        sets = [timed.inputs, *([t.detach().clone() for t in timed.inputs] for _ in range(calls - 1))][::-1]
        call = timed.subject.call
        side = _cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.no_grad(), torch.cuda.stream(side):
            for inputs in sets:
                call(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph(keep_graph=True)
        try:
            with torch.no_grad(), torch.cuda.graph(graph):
                outputs = [call(*inputs) for inputs in sets]
        except RuntimeError as error:
            raise Unavailable(f"the call cannot be captured in a CUDA graph: {error}") from None
        nodes, kernels = _nodes(graph), _kernels(lambda: call(*timed.inputs))
        graph.instantiate()
        last: Outputs = (outputs[-1],)

        def sample() -> float:
            for output in outputs:
                spoil(timed, (output,))
            start, end = _event(), _event()
            self._block(1e-4)
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3 / calls

        state = timed.state()
        with quiet():
            for _ in range(3):
                sample()
            taken: Samples = sampling.take(sample, seconds)
            snapshot = tuple(out.detach().clone() for out in last)
            returned = time.perf_counter()
        taken.how = {
            "calls_per_sample": calls, "warm_up": 3, "budget_s": round(seconds, 4), "flush_bytes": 0,
            "rotated_past_l2": rotated, "graph_nodes": nodes, "eager_kernels": kernels,
        }  # fmt: skip
        if nodes is not None and kernels is not None and nodes < calls * kernels:
            raise ArithmeticError(
                f"the graph has {nodes} nodes for {calls} calls of {kernels} kernels: work is missing"
            )
        if not rotated:
            taken.warnings.append("graph stays in cache")
        return Measured(taken, state, snapshot, last, returned)


def _event() -> Any:
    return _cuda.Event(enable_timing=True)


def _kernels(call: Callable[[], Tensor]) -> int | None:
    """Kernels and copies that one eager call launches; None where the profiler sees no device."""
    torch.cuda.synchronize()
    with torch.no_grad(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    count = sum(1 for event in profile.events() or () if str(event.device_type).endswith("CUDA"))
    return count or None


def _nodes(graph: Any) -> int | None:
    """Nodes of a captured graph, from the CUDA runtime; None where it cannot be asked."""
    try:
        runtime = ctypes.CDLL(f"libcudart.so.{(torch.version.cuda or '0').split('.')[0]}")
        count = ctypes.c_size_t()
        fault = runtime.cudaGraphGetNodes(ctypes.c_void_p(graph.raw_cuda_graph()), None, ctypes.byref(count))
    except (OSError, AttributeError, RuntimeError):
        return None
    return None if fault else int(count.value)
