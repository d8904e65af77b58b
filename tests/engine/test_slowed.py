"""The slow-down that the gate's self-test has to find: inside the timed window, by the fraction asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reports import store
from suites import ab, slowed
from suites.builds import Build
from suites.case import Case
from suites.subject import build
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
