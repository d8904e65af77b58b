"""What cases share: numbers drawn once, answers of the definition kept while there is room, time accounted for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from reports import store
from suites import numbers, verify, worker
from suites.axes import Axes
from suites.case import Case
from suites.numbers import Kept, Numbers
from suites.session import Session
from suites.subjects import build
from suites.timed import Timed

CPU = torch.device("cpu")


def case(method: str, implementation: str = "plain", direction: str = "forward", probe: str = "latency") -> Case:
    window = ((2, 2), (2, 2), (0, 0), False)
    clocks = ("cold",) if probe == "latency" else ()
    return Case(probe, method, implementation, direction, *window, (1, 2, 8, 8), "float32", "nchw", clocks)


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    numbers.kept.clear()
    verify.known.clear()


def test_all_methods_share_numbers_that_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *a, **k: drawn.append(a) or randn(*a, **k))
    subjects = [build(case(m, i), CPU, 0) for m, i in (("ada", "plain"), ("avg", "torch"), ("max", "plain"))]
    assert len(drawn) == 1
    assert all(torch.equal(s.inputs[0], subjects[0].inputs[0]) for s in subjects)
    timed = Timed(subjects[0], case("ada"), 0)
    before = timed.inputs[0].clone()
    timed.refill()
    assert not torch.equal(before, timed.inputs[0]), "a turn has numbers of its own"
    assert not torch.equal(build(case("ada"), CPU, 1).inputs[0], before), "and so has a seed"


def test_operands_of_one_shape_are_different_numbers() -> None:
    x, logits = build(case("lip"), CPU, 0).inputs
    assert x.shape == logits.shape and not torch.equal(x, logits)


def test_a_subject_cannot_write_to_what_is_shared() -> None:
    for method, direction in (("ada", "forward"), ("adaunpool_guide", "inverse"), ("max_unpool", "inverse")):
        first = build(case(method, direction=direction), CPU, 0)
        wanted = [t.clone() for t in first.inputs]
        for tensor in first.inputs:
            tensor.zero_()
        again = build(case(method, direction=direction), CPU, 0).inputs
        assert all(torch.equal(a, b) for a, b in zip(again, wanted, strict=True)), method


def test_the_oracle_is_asked_once_for_all_implementations(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    plain = Timed.expected
    monkeypatch.setattr(Timed, "expected", lambda self, state: asked.append(self.case) or plain(self, state))
    for one in (case("avg"), case("max"), case("avg", "torch"), case("ada"), case("lp"), case("sum"), case("max")):
        timed = Timed(build(one, CPU, 0), one, 0)
        verify.expected(timed, timed.state())
    assert [c.method for c in asked] == ["avg", "max", "ada", "lp", "sum"]


def test_what_is_kept_fits_but_the_latest_always_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "CPU_BYTES", 4 * 100)
    store_, made = Kept(), []

    def get(name: str, size: int) -> None:
        store_.get(name, lambda: made.append(name) or torch.zeros(size), lambda t: [t])

    for name in ("a", "b", "a", "c", "b"):  # three of forty: the one not used for longest goes
        get(name, 40)
    assert made == ["a", "b", "c", "b"]
    get("large", 1000)
    get("large", 1000)
    assert made[4:] == ["large"]
    store_.clear()
    assert len(store_) == 0


def test_memory_that_is_kept_is_given_up_before_a_case_is_called_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    Numbers(0, 0, CPU).normal((8,))
    tries = []

    class Bench:
        device = CPU

        def measure(self, request: dict) -> list:
            tries.append(1)
            Numbers(0, 0, CPU).normal((16,))
            if len(tries) == 1 or request.get("always"):
                raise MemoryError
            return []

    bench, plain = Bench(), {"case": {"implementation": "plain"}}
    assert "findings" in worker.answer(bench, plain)  # type: ignore[arg-type]
    assert len(tries) == 2
    assert worker.answer(bench, {**plain, "always": True})["status"] == "oom"  # type: ignore[arg-type]
    assert len(tries) == 4, "a case is tried without what others left, not again and again"


def test_a_run_says_where_its_time_went(tmp_path: Path) -> None:
    axes = Axes(
        profile="smoke", methods=("avg",), kernels=("2",), shapes=("1x2x8x8",), implementations=("torch",),
        probes=("latency", "memory"), directions=("forward",), clocks=("hot",),
    )  # fmt: skip
    run = Session(tmp_path / "run", axes, [("cpu", "cpu")], parallel=False, timeout=60)
    begin = time.monotonic()
    run.run()
    elapsed = time.monotonic() - begin
    (spent,) = store.read_machine(run.folder)["run"]["spent"].values()
    assert set(spent) == {"start", "inputs", "sampling", "verifying", "memory", "other"}
    assert min(spent["sampling"], spent["memory"], spent["start"]) > 0, "a few samples may be precise enough"
    assert sum(spent.values()) < elapsed + 0.01 * len(spent), "each is rounded"
    again = Session.resumed(run.folder, 60)
    again.run()
    (longer,) = store.read_machine(run.folder)["run"]["spent"].values()
    assert longer["start"] > spent["start"], "a resumed run adds to it"
