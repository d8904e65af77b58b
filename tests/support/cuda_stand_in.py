"""Streams, graphs and events of CUDA on a CPU, as far as the graph clock needs them: torch.cuda for one test.

A stream is a name: nothing runs beside anything. What a real device refuses is refused in its words: reading a value in
a capture, and in a capture a backward of any part of a graph that was made on another stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = torch.ops.aten._local_scalar_dense.default


class Refuses(TorchDispatchMode):
    """Reading a value waits for the device: where that is no matter of course, it is this error."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is READS:
            raise RuntimeError(self.words)
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


class Graph:
    """Replays the calls of its capture into their outputs."""

    def __init__(self, keep_graph: bool = False) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def instantiate(self) -> None:
        pass

    def raw_cuda_graph(self) -> int:
        raise RuntimeError("there are no nodes to count")

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():  # else a view, or in its own place
                    old.copy_(new)


class Event:
    ranges: ClassVar[tuple[str, ...]] = ()  # open now
    seen: ClassVar[set[tuple[str, ...]]] = set()  # in which events were recorded

    def __init__(self, enable_timing: bool = False) -> None:
        pass

    def record(self) -> None:
        self.seen.add(self.ranges)

    def synchronize(self) -> None:
        pass

    def query(self) -> bool:
        return False

    def elapsed_time(self, end: Event) -> float:
        return 1.0


class Stream:
    def wait_stream(self, other: Stream) -> None:
        pass


class Device:
    """What torch.cuda is for the test, from `install` on."""

    def __init__(self) -> None:
        self.current = self.default = Stream()
        self.captures = False
        self.captured = 0  # backwards
        self.made: dict[Any, Stream] = {}  # nodes of autograd graphs; kept, so that none is made anew on another stream
        self.debug: Refuses | None = None
        self.grad = torch.autograd.grad

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("stream", "graph", "get_sync_debug_mode", "set_sync_debug_mode"):
            patch.setattr(torch.cuda, name, getattr(self, name))
        for name, value in (("Stream", Stream), ("Event", Event), ("CUDAGraph", Graph)):
            patch.setattr(torch.cuda, name, value)
        patch.setattr(torch.cuda, "current_stream", lambda: self.current)
        patch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        patch.setattr(torch.cuda, "_sleep", lambda cycles: None)
        patch.setattr(torch.autograd, "grad", self.backward)
        patch.setattr(torch._C, "_nvtx", None, raising=False)
        patch.setattr(torch.cuda.nvtx, "range", self.range)

    def watched(self, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """`call`, of whose autograd graph it is known where it was made."""

        def found(*inputs: Tensor) -> Tensor:
            y = call(*inputs)
            for node in nodes(y):
                self.made.setdefault(node, self.current)
            return y

        return found

    def backward(self, y: Tensor, leaves: Sequence[Tensor], *rest: Any, **more: Any) -> tuple[Tensor, ...]:
        if self.captures:
            self.captured += 1
            if any(self.made[node] is not self.current for node in nodes(y)):
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        return self.grad(y, leaves, *rest, **more)

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def range(self, words: str) -> Iterator[None]:
        before, Event.ranges = Event.ranges, (*Event.ranges, words.format())
        try:
            yield
        finally:
            Event.ranges = before

    @contextmanager
    def graph(self, graph: Graph, stream: Stream) -> Iterator[None]:
        self.captures = True
        try:
            with self.stream(stream), Refuses("CUDA error: operation not permitted when stream is capturing") as seen:
                yield
        finally:
            self.captures = False
        graph.calls = seen.calls

    def get_sync_debug_mode(self) -> int:
        return 2 * (self.debug is not None)

    def set_sync_debug_mode(self, mode: int | str) -> None:
        if self.debug is not None:
            self.debug.__exit__(None, None, None)
            self.debug = None
        if mode == "error":
            self.debug = Refuses("called a synchronizing CUDA operation")
            self.debug.__enter__()


def nodes(y: Tensor) -> set[Any]:
    """Every node of y's autograd graph, those where leaves gather their gradients included."""
    found: set[Any] = set()
    todo = [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [following for following, _ in node.next_functions]
    return found
