"""Passes of a comparison: a worker of one side, faults and all, and the slow-down that the self-test has to find."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reports import store
from reports.record import Record
from suites import ab, engine, slowed
from suites.builds import Build
from suites.case import Case
from suites.finding import Finding
from suites.link import Died
from suites.subjects import build
from suites.timed import Timed

CASE = Case(
    "latency", "avg", "torch", "forward", (2, 2), (2, 2), (0, 0), False, (1, 2, 64, 64), "float32", "nchw",
    clocks=("hot",),
)  # fmt: skip


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_the_wait_is_a_fraction_of_the_call(fraction: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1e-4  # so that whoever waits gets on
        return now[0]

    def call(self: Timed) -> tuple[torch.Tensor, ...]:
        now[0] += 1.0
        return ()

    subject = slowed.Slowed(build(CASE, torch.device("cpu"), 0), CASE, 0, fraction)
    monkeypatch.setattr(slowed.time, "perf_counter", clock)
    monkeypatch.setattr(Timed, "__call__", call)
    subject()
    assert now[0] == pytest.approx(1 + fraction, abs=0.001)


def test_a_pass_slows_down_the_cases_it_is_told_to_in_head_alone(tmp_path: Path) -> None:
    other = replace(CASE, shape=(1, 2, 64, 66))
    sides = {side: Build("installed", None) for side in ab.SIDES}
    run = ab.Experiment(tmp_path, sides, [CASE, other], seconds=0.02, slow={CASE.key: 9.0})
    assert run.setup("base")["slow"] == {} and run.setup("head")["slow"] == {CASE.key: 9.0}
    run.one("screen", 0, "head", run.cases)
    took: dict[str, list[float]] = {}
    ((side, _, _, found),) = ab.passes(tmp_path)
    for record in found:
        took.setdefault(record.case, []).append(record.value or 0.0)
    assert side == "head" and all(len(values) == ab.ROUNDS for values in took.values())
    assert min(took[CASE.name]) > 3 * min(took[other.name])
    assert {record.machine for record in store.read(next((tmp_path / "passes").iterdir()))} == set(run.facts)


class Fake:
    """A worker as a link reaches it; `died` and `lost` are methods whose cases it does not survive."""

    started = 0
    died: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    start: str | None = None  # why it does not start

    def __init__(self, setup: dict[str, Any], environment: dict[str, str]) -> None:
        type(self).started += 1

    def ready(self) -> dict[str, Any]:
        if self.start is not None:
            raise Died(self.start)
        return {"uuid": "GPU-1", "kind": "cuda"}

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        method = request["case"]["method"]
        if method in self.died:
            raise Died("the worker died of SIGSEGV")
        told = {"seconds": 0.0, "spent": {}}
        if method in self.lost:
            return {"status": "failed", "reason": "the GPU is lost", "lost": True, **told}
        return {"findings": [{**dataclasses.asdict(Finding("time", clock="hot", value=1.0)), "how": {}}], **told}

    def close(self) -> None: ...

    kill = close


def passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> tuple[dict[str, list[Record]], int]:
    """The records of a pass by method, and how many workers it started."""
    link = type("Link", (Fake,), how)
    monkeypatch.setattr(engine, "Link", link)
    cases = [replace(CASE, method=m, shape=(1, 2, 8, n)) for m in ("avg", "max", "lp") for n in (8, 9)]
    try:
        ab.Experiment(tmp_path, {side: Build("made", None) for side in ab.SIDES}, cases).one("screen", 0, "base", cases)
    finally:
        monkeypatch.setattr(Fake, "started", link.started)
    found: dict[str, list[Record]] = {}
    for _, _, _, records in ab.passes(tmp_path):
        for record in records:
            found.setdefault(record.method, []).append(record)
    return found, link.started


def test_a_subject_that_crashes_is_given_up_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, started = passed(tmp_path, monkeypatch, died=("max",))
    assert [record.status for record in found["max"]] == ["failed"] * 3 + ["skipped"]
    assert {record.status for method in ("avg", "lp") for record in found[method]} == {"ok"}
    assert 3 <= started <= 4 and len(found["avg"]) == 2 * ab.ROUNDS


@pytest.mark.parametrize(
    ("how", "said", "workers"),
    [({"start": "ImportError: made so"}, "base .made.: .*: ImportError: made so", 1), ({"lost": ("lp",)}, "lost", 1)],
)
def test_a_side_without_a_device_is_no_verdict(
    how: dict[str, Any], said: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ab.Broken, match=said):
        passed(tmp_path, monkeypatch, **how)
    assert Fake.started == workers
