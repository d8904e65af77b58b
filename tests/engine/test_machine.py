"""What others did with the CPUs while a case was measured: a share in its record, and a warning where it is large."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from suites import inspector, machine
from suites.case import Case
from suites.worker import Workbench
from tests.support.engine_runs import ROOT


def test_the_share_of_others() -> None:
    assert machine.others((10.0, 100.0, 5.0), (11.0, 102.0, 5.9)) == pytest.approx(0.05)
    assert machine.others((10.0, 100.0, 5.0), (11.8, 102.0, 5.2)) == pytest.approx(0.8)
    assert machine.others((10.0, 100.0, 5.0), (11.0, 102.0, 6.1)) == 0.0  # counted in hundredths
    assert machine.others((10.0, 100.0, 5.0), (10.1, 100.1, 5.0)) is None  # too short
    assert machine.others(None, (1.0, 2.0, 1.0)) is None


def test_the_compiler_of_the_kernels_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> tuple[str, str]:
        raise inspector.Missing("no NVRTC")

    monkeypatch.setattr(inspector, "nvrtc", lambda: ("/somewhere/libnvrtc.so", "13.0"))
    monkeypatch.setattr(torch.version, "cuda", None)
    assert machine.software()["nvrtc"] is None
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert machine.software()["nvrtc"] == "13.0"
    monkeypatch.setattr(inspector, "nvrtc", missing)
    assert machine.software()["nvrtc"] is None


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("click", ["doctor"]), ("pandas", ["bench", "--cpu", "--profile", "smoke"]),
        ("jinja2", ["bench", "--cpu"]),
    ],
)  # fmt: skip
def test_a_package_that_is_not_there_is_one_sentence(tmp_path: Path, gone: str, words: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{gone!r}] = None")
    own = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(ROOT / "runner.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {gone} ") and '-e ".[bench]"' in line and done.returncode in (1, 2), line
    assert not (tmp_path / "results").exists()


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
    (found,) = bench.measure({"case": asdict(case), "seconds": 0.02})
    assert found.how["others_cpu"] == pytest.approx(busy / 2)
    assert ("busy machine" in found.warnings) is said
