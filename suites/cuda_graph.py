"""The graph clock: replays of a CUDA graph of k calls over rotated inputs, which leaves launch cost and cache out.

Knows torch's graphs and the timed call; nothing of events' blockers, of verdicts or of records.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from suites import sampling
from suites.clocks import Measured, quiet, spoil
from suites.nvtx import named
from suites.sampling import Rule
from suites.span import Span
from suites.subject import Unavailable
from suites.timed import Outputs, Timed

_cuda: Any = torch.cuda  # much of it is untyped
MOST_UNROLLED = 256
LEAST_UNROLLED = 4


def unrolled(bytes_: int, l2_bytes: int) -> int:
    """Calls in one graph, so that calls x bytes exceeds three times the cache, as far as that goes."""
    return min(MOST_UNROLLED, max(LEAST_UNROLLED, 3 * l2_bytes // max(1, bytes_) + 1))


def measure(timed: Timed, seconds: float, rule: Rule, l2_bytes: int, block: Callable[[], None]) -> Measured:
    """Samples are replay time over k. The outputs that are judged come from a replay over outputs made NaN, on new
    numbers where the graph reads the inputs themselves (backward reads what forward saved).
    """
    case = timed.case
    calls = unrolled(case.bytes, l2_bytes)
    rotated = calls * case.bytes > 3 * l2_bytes
    # Backward runs where forward ran and ends where leaves were first used: all of it here, or the capture is left.
    stream = _cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        turns = [_call(timed, inputs, grad) for inputs, grad in _sets(timed, calls)]
        for turn in turns:
            turn()
        _refuse_waiting(timed, turns[-1])
    torch.cuda.synchronize()
    graph = _cuda.CUDAGraph(keep_graph=True)
    outputs = captured(graph, stream, lambda: [turn() for turn in turns])
    nodes, kernels = _nodes(graph), _kernels(timed)
    graph.instantiate()

    def sample() -> float:
        block()
        with named(case.direction), Span() as span:
            graph.replay()
        return span.seconds() / calls

    measured = replayed(timed, outputs[-1], sample, seconds, rule)
    taken = measured.samples
    taken.tell(calls, 3, seconds, 0, rotated_past_l2=rotated, graph_nodes=nodes, eager_kernels=kernels)
    if nodes is not None and kernels is not None and nodes != calls * kernels:
        if nodes < calls * kernels:
            raise ArithmeticError(
                f"the graph has {nodes} nodes for {calls} calls of {kernels} kernels: work is missing"
            )
        taken.warnings.append("graph has more nodes than eager kernels")
    if not rotated:
        taken.warnings.append("graph stays in cache")
    return measured


def captured(graph: Any, stream: Any, work: Callable[[], Any]) -> Any:
    """What `work` gives while the graph takes in what it launches; Unavailable where it cannot."""
    try:
        with _cuda.graph(graph, stream=stream):
            return work()
    except RuntimeError as error:
        raise Unavailable(f"the call cannot be captured in a CUDA graph: {error}") from None


def replayed(
    timed: Any, outputs: Outputs, sample: Callable[[], float], seconds: float, rule: sampling.Rule
) -> Measured:
    """Samples of replays after three, then one over outputs made NaN, whose outputs are judged."""
    with quiet():
        for _ in range(3):
            sample()
        taken = sampling.take(sample, seconds, rule)
        if timed.case.direction != "backward":
            timed.refill()
        state = timed.state()
        spoil(timed, outputs)
        sample()
        snapshot = tuple(out.detach().clone() for out in outputs)
        torch.cuda.synchronize()
        returned = time.perf_counter()
    return Measured(taken, state, snapshot, outputs, returned)


def _sets(timed: Timed, calls: int) -> list[tuple[list[Tensor], Tensor | None]]:
    """Inputs and gradient of each call: the last in the timed ones' memory, the others in copies, parameters apart.

    All are leaves of their own: autograd remembers on which stream a leaf was first used, for as long as any graph of
    it is kept, and has that stream wait at the end of every backward.
    """
    case = timed.case
    planes = (tuple(case.shape), (*case.shape[:2], *case.output))

    def leaf(tensor: Tensor, copied: bool) -> Tensor:
        plane = tuple(tensor.shape[: 2 + case.rank]) in planes
        values = tensor.detach().clone() if copied and plane else tensor.detach()
        return values.requires_grad_(tensor.requires_grad)

    copies: list[tuple[list[Tensor], Tensor | None]] = [
        ([leaf(t, True) for t in timed.inputs], None if timed.grad is None else timed.grad.clone())
        for _ in range(calls - 1)
    ]
    return [*copies, ([leaf(t, False) for t in timed.inputs], timed.grad)]


def _call(timed: Timed, inputs: list[Tensor], grad: Tensor | None) -> Callable[[], Outputs]:
    """What `timed()` does, on these tensors; backward's graph is made here, on the current stream."""
    call, direction = timed.subject.given or timed.subject.call, timed.case.direction
    leaves = [inputs[i] for i in timed.subject.wanted]
    if timed.case.method == "copy":  # writes into one buffer, which would stay in the cache
        out = torch.empty_like(inputs[0])
        return lambda: (out.copy_(inputs[0]),)
    if direction == "backward":
        y = call(*inputs)
        return lambda: torch.autograd.grad(y, leaves, grad, retain_graph=True)
    if direction == "both":
        return lambda: torch.autograd.grad(call(*inputs), leaves, grad)

    def forward() -> Outputs:
        with torch.no_grad():
            return (call(*inputs),)

    return forward


def _refuse_waiting(timed: Timed, turn: Callable[[], Outputs]) -> None:
    """Unavailable where the call waits for the device, before a capture that it would spoil is begun."""
    before = _cuda.get_sync_debug_mode()
    _cuda.set_sync_debug_mode("error")
    try:
        turn()
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        name = f"{timed.case.method} of {timed.case.implementation}"
        raise Unavailable(f"{name} synchronises: it cannot be captured in a CUDA graph") from None
    finally:
        _cuda.set_sync_debug_mode(before)


def _kernels(call: Callable[[], object]) -> int | None:
    """Kernels and copies that one eager call launches; None where the profiler sees no device."""
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
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
