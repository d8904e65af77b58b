"""What others did with the CPUs while a case was measured: a share in its record, and a warning where it is large."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from suites import machine
from suites.case import Case
from suites.worker import Workbench


def test_the_share_of_others() -> None:
    assert machine.others((10.0, 100.0, 5.0), (11.0, 102.0, 5.9)) == pytest.approx(0.05)
    assert machine.others((10.0, 100.0, 5.0), (11.8, 102.0, 5.2)) == pytest.approx(0.8)
    assert machine.others((10.0, 100.0, 5.0), (11.0, 102.0, 6.1)) == 0.0  # counted in hundredths
    assert machine.others((10.0, 100.0, 5.0), (10.1, 100.1, 5.0)) is None  # too short
    assert machine.others(None, (1.0, 2.0, 1.0)) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_another_process_is_seen_and_this_one_is_not_counted() -> None:
    def share(seconds: float) -> float:
        before = machine.work()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        found = machine.others(before, machine.work())
        assert found is not None
        return found

    spins = [sys.executable, "-c", "while True: pass"]
    other = [subprocess.Popen(spins) for _ in range(2)]
    try:
        time.sleep(0.3)
        assert share(1.0) > 0.2
    finally:
        for one in other:
            one.kill()
            one.wait()


@pytest.mark.parametrize(("busy", "said"), [(1.9, True), (0.1, False)])
def test_a_busy_machine_is_said_in_the_record(monkeypatch: pytest.MonkeyPatch, busy: float, said: bool) -> None:
    setup = {
        "kind": "cpu",
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "seed": 0,
        "gallery": None,
        "images": 1,
        "shown": 0,
    }
    bench = Workbench(setup)
    case = Case(
        "latency", "avg", "torch", "forward", (2, 2), (2, 2), (0, 0), False, (1, 1, 8, 8), "float32", "nchw", ("hot",)
    )
    times = iter([(0.0, 0.0, 0.0), (busy, 2.0, 0.0)])
    monkeypatch.setattr(machine, "work", lambda: next(times))
    (found,) = bench.measure({"case": case.to_dict(), "seconds": 0.02})
    assert found.how["others_cpu"] == pytest.approx(busy / 2)
    assert ("busy machine" in found.warnings) is said
