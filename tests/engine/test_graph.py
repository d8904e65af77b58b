"""The graph clock without a GPU: what is captured was made on the stream of the capture, and what waits is skipped."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import Any

import pytest
import torch

from suites import cuda_graph, latency, records, subject, subjects, worker
from suites.case import Case
from suites.cuda_clocks import CudaClocks
from suites.nvtx import named
from tests.support.cuda_stand_in import Device, Event

CPU = torch.device("cpu")
ORIGIN = records.Origin("GPU-1", "GPU-1", {"version": "0", "commit": None, "dirty": None}, 0)


class Clocks(CudaClocks):
    """A GPU's clocks over the stand-in, whose cache is small."""

    def __init__(self) -> None:
        self.flush_bytes, self.l2_bytes = 1 << 10, 1 << 12
        self._buffer, self._cycles = torch.empty(1 << 10, dtype=torch.uint8), 1.0


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    found.install(monkeypatch)

    def build(*given: Any) -> subject.Subject:
        made = subjects.build(*given)
        given = made.given and found.watched(made.given)
        return dataclasses.replace(made, call=found.watched(made.call), given=given)

    monkeypatch.setattr(latency, "build", build)
    monkeypatch.setattr(cuda_graph, "_kernels", lambda call: call() and None)
    return found


def case(method: str, implementation: str, direction: str, *clocks: str) -> Case:
    return Case(
        "latency", method, implementation, direction, (2, 2), (2, 2), (0, 0), False, (2, 3, 8, 8), "float32", "nchw",
        clocks,
    )  # fmt: skip


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize(
    ("method", "implementation"),
    [("ada", "plain"), ("ada", "native"), ("dpp_full", "plain"), ("lip", "plain"), ("avg", "torch")],
)
def test_captured_leaves_and_graphs_are_of_the_captured_stream(
    device: Device, method: str, implementation: str, direction: str
) -> None:
    """Whatever the default stream did before: x, beta, logits and a layer's parameters are leaves that it never met."""
    found = latency.measure(case(method, implementation, direction, "cold", "graph", "graph"), CPU, Clocks(), 0.0, 0)
    assert [(f.clock, f.status) for f in found] == [("cold", "ok"), ("graph", "ok"), ("graph", "ok")], found
    how = found[1].how
    assert how["verified"] and how["rotated_past_l2"]
    assert device.captured == (0 if direction == "forward" else 2 * how["calls_per_sample"])


def test_the_stand_in_refuses_what_a_device_refuses(device: Device) -> None:
    """A leaf that the default stream used first, however the capture comes by it."""
    leaf = torch.ones(3, requires_grad=True)
    square = device.watched(torch.square)
    kept, stream = square(leaf), torch.cuda.Stream()
    with (
        pytest.raises(RuntimeError, match="previous error during capture"),
        torch.cuda.graph(torch.cuda.CUDAGraph(), stream=stream),
    ):
        torch.autograd.grad(square(leaf), leaf, torch.ones(3))
    assert kept.requires_grad


@pytest.mark.parametrize("clock", ["cold", "hot", "graph"])
def test_ranges_name_case_and_direction_around_the_events(device: Device, clock: str) -> None:
    """Around both events of a sample, so that what a range costs is in no time."""
    asked, Event.seen = case("ada", "plain", "backward", clock), set()
    (found,) = latency.measure(asked, CPU, Clocks(), 0.0, 0)
    assert found.status == "ok" and Event.ranges == ()
    assert (asked.name, clock, "backward") in Event.seen
    assert Event.seen <= {(asked.name, clock, "backward"), (asked.name, clock)}, "the second: how long one call takes"
    with named("{braces}"):
        assert Event.ranges == ("{braces}",)


def looks(y: torch.Tensor, indices: torch.Tensor, *window: Any, output_size: Any) -> torch.Tensor:
    """torch's max_unpool where it looks at its indices, as the library's does."""
    assert int(indices.max()) < 64
    return MAX_UNPOOL(y, indices, *window, output_size=output_size)


MAX_UNPOOL = torch.nn.functional.max_unpool2d


@pytest.mark.parametrize("implementation", ["torch", "plain"])
def test_max_unpool_is_skipped_by_the_graph_clock_alone(
    device: Device, monkeypatch: pytest.MonkeyPatch, implementation: str
) -> None:
    """As a worker answers, and as the records have it: no capture is begun, the other clocks have their speed."""
    monkeypatch.setattr(torch.nn.functional, "max_unpool2d", looks)
    monkeypatch.setattr(torch.cuda, "graph", lambda *given, **more: pytest.fail("a capture was begun"))
    bench = worker.Workbench.__new__(worker.Workbench)
    bench.setup, bench.device, bench.clocks, bench.watch = {"seed": 0, "threads": 1}, CPU, Clocks(), None
    asked = case("max_unpool", implementation, "inverse", "cold", "graph", "host")
    answer = worker.answer(bench, {"case": asdict(asked), "seconds": 0.0})
    made = [records.make(asked, finding, ORIGIN) for finding in answer["findings"]]
    assert [(r.clock, r.status) for r in made] == [("cold", "ok"), ("graph", "skipped"), ("host", "ok")], made
    assert made[1].reason == f"max_unpool of {implementation} synchronises: it cannot be captured in a CUDA graph"
    assert made[1].value is None and made[1].samples is None
    assert torch.cuda.get_sync_debug_mode() == 0
