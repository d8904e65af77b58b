"""NVML and several GPUs, without one: a small library stands in for libnvidia-ml.so.1, subjects run on the CPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from reports import store
from reports.record import Record
from suites import cuda_graph, nvml
from suites.nvml import Gpu, allowed

ROOT = Path(__file__).parents[2]
TAIL = "1111-2222-3333-444444444444"
ON_THE_CPU = """import suites.machine

def device(kind):
    import torch
    return torch.device("cpu")

suites.machine.device = device
"""
WELL, HOT, MUTE, LOST = (f"GPU-{str(n) * 8}-{TAIL}" for n in range(4))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with four stand-in GPUs."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is needed to build the stand-in for NVML")
    folder = tmp_path_factory.mktemp("nvml")
    source = ROOT / "tests" / "support" / "nvml_stand_in.c"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / "libnvidia-ml.so.1"), str(source)],
        check=True,
    )
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    path = os.pathsep.join(p for p in (str(folder), os.environ.get("LD_LIBRARY_PATH", "")) if p)
    (folder / "sitecustomize.py").write_text(ON_THE_CPU)
    return {**environment, "LD_LIBRARY_PATH": path, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def ask(code: str, environment: dict[str, str]) -> object:
    done = subprocess.run(
        [sys.executable, "-c", f"import json\nfrom suites import nvml\nprint(json.dumps({code}))"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bench(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    base = ["bench", "--profile", "smoke", "--kernel", "2", "--shape", "1x2x8x8", "--direction", "forward"]
    return subprocess.run(
        [sys.executable, str(ROOT / "runner.py"), *base, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_visible_devices_decide_the_list(library: dict[str, str]) -> None:
    uuids = "[gpu.uuid for gpu in nvml.listed()]"
    assert ask(uuids, library) == [WELL, HOT, MUTE, LOST]
    for visible, expected in (("2,0", [MUTE, WELL]), ("", []), ("-1", []), (HOT[:12], [HOT]), ("0,9,1", [WELL])):
        assert ask(uuids, {**library, "CUDA_VISIBLE_DEVICES": visible}) == expected, visible


def test_devices_are_chosen_by_index_or_uuid(library: dict[str, str]) -> None:
    visible = {**library, "CUDA_VISIBLE_DEVICES": "3,1"}
    assert ask("[g.uuid for g in nvml.chosen('0')]", visible) == [LOST]
    assert ask(f"[g.uuid for g in nvml.chosen('1,{LOST}')]", visible) == [HOT, LOST]
    done = bench(library, "--gpu", "GPU-99", "--out", "/nowhere/run")
    assert done.returncode == 2 and WELL in done.stderr and "GPU-99" in done.stderr
    hidden = bench({**library, "CUDA_VISIBLE_DEVICES": ""}, "--gpu", "all", "--out", "/nowhere/run")
    assert hidden.returncode == 2
    assert "NVML lists 4 GPUs; CUDA_VISIBLE_DEVICES is ''" in hidden.stderr


def test_unsupported_answers_are_null(library: dict[str, str]) -> None:
    script = f"(lambda s: (lambda m: [nvml.Watch(m, {MUTE!r}).facts(), nvml.Watch(m, {MUTE!r}).state(), nvml.Watch(m, {WELL!r}).facts(), nvml.Watch(m, {WELL!r}).state()])(s.__enter__()))(nvml.session())"  # fmt: skip  # noqa: E501
    mute, mute_state, well, state = ask(script, library)  # type: ignore[misc]
    assert mute["name"] == "Stand-in GPU" and mute["ecc"] is None and mute["power_limit_w"] is None
    assert set(mute_state.values()) == {None}
    assert (well["power_limit_w"], well["memory_bytes"], well["ecc"], well["mig"]) == (700.0, 2**36, True, False)
    assert state == {
        "sm_clock_hz": 1500e6, "memory_clock_hz": 2619e6, "temperature_c": 41, "throttle": [], "other_processes": 0,
    }  # fmt: skip


def by_device(folder: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in store.read(folder):
        found.setdefault(record.device, []).append(record)
    return found


def test_four_devices_side_by_side_one_of_them_lost(library: dict[str, str], tmp_path: Path) -> None:
    """The operator itself pulls the plug of the fourth GPU, in the midst of its third case."""
    gone = tmp_path / "gone"
    (tmp_path / "ops.py").write_text(
        "import os, pathlib, torch\ncalls = [0]\n"
        "def pull(x, k, s, p):\n"
        "    calls[0] += 1\n"
        f"    if calls[0] > 5 and os.environ['CUDA_VISIBLE_DEVICES'] == {LOST!r}:\n"
        f"        pathlib.Path({str(gone)!r}).touch()\n"
        "    return torch.nn.functional.avg_pool2d(x, k, s, p)\n"
    )
    done = bench(
        {**library, "NVML_STAND_IN_LOST": str(gone)},
        "--gpu", "all", "--parallel", "--probe", "latency", "--method", "avg,max",
        "--method", f"{tmp_path}/ops.py:pull",
        "--implementation", "torch,own", "--clock", "hot", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # one device lost is no full success
    found = by_device(tmp_path / "run")
    assert set(found) == {WELL, HOT, MUTE, LOST}
    for uuid in (WELL, HOT, MUTE):
        assert {record.status for record in found[uuid]} == {"ok"}, uuid
        assert {record.machine for record in found[uuid]} == {uuid}
    assert len({len(records) for records in found.values()}) == 1  # the lost one has a record of every case as well
    lost = [record for record in found[LOST] if record.status != "ok"]
    assert lost and all(record.status == "failed" and "lost" in str(record.reason) for record in lost)
    for record in found[HOT]:
        assert "throttled: power cap, thermal (software)" in record.warnings and "shared device" in record.warnings
    assert not any("throttled" in warning for record in found[WELL] for warning in record.warnings)
    assert all(
        record.command.split()[3:5] == ["--gpu", record.device] for records in found.values() for record in records
    )
    held = store.read_machine(tmp_path / "run")["devices"]
    assert held[WELL]["driver"] == "999.1" and held[MUTE]["power_limit_w"] is None
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(("gpu", "status"), [("0", "ok"), ("1", "failed"), ("2", "skipped")])
def test_energy_is_counted_above_idle(library: dict[str, str], tmp_path: Path, gpu: str, status: str) -> None:
    """The stand-in draws 100 W always: above idle nothing is left. Shared: no number. Unsupported: skipped."""
    code = (
        "import os, json, torch; from suites import energy, nvml, subjects, timed; from suites.case import Case\n"
        "case = Case('energy', 'avg', 'torch', 'forward', (2, 2), (2, 2), (0, 0), False, (1, 2, 8, 8), "
        "'float32', 'nchw')\n"
        "make = lambda: timed.Timed(subjects.build(case, torch.device('cpu'), 0), case, 0)\n"
        "with nvml.session() as n:\n"
        f"    watch = nvml.Watch(n, nvml.chosen('{gpu}')[0].uuid)\n"
        "    f, = energy.measure(make, watch, torch.device('cpu'), 0.3, 1)\n"
        "print(json.dumps([f.status, f.reason, f.how, f.samples and f.samples.values]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=library, capture_output=True, text=True, check=True)
    got, reason, how, samples = json.loads(done.stdout)
    assert got == status, reason
    if status == "ok":
        assert how["idle_w"] == pytest.approx(100, abs=5)
        calls = how["calls_per_sample"]
        assert all(abs(s * c) < 0.25 * 100 * 0.3 for s, c in zip(samples, calls, strict=True))
    else:
        assert ("another process" if status == "failed" else "does not support") in reason


def test_the_list_stops_at_what_does_not_exist() -> None:
    gpus = [Gpu("GPU-aa", 0, ""), Gpu("GPU-bb", 1, "")]
    assert allowed(gpus, None) == gpus
    assert allowed(gpus, "1,1") == [gpus[1]]
    assert allowed(gpus, "GPU-bb,GPU-aa") == gpus[::-1]
    assert nvml.warnings(None, {"throttle": None, "other_processes": None}) == []


@pytest.mark.parametrize(("bytes_", "calls"), [(1 << 30, 4), (60 << 20, 4), (10 << 20, 16), (1, 256)])
def test_calls_in_a_graph(bytes_: int, calls: int) -> None:
    assert cuda_graph.unrolled(bytes_, 50 << 20) == calls


def test_a_driver_that_counts_no_devices_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fault(Exception):
        pass

    def count() -> int:
        raise Fault("Unknown Error")

    stand_in = SimpleNamespace(NVMLError=Fault, nvmlInit=lambda: None, nvmlDeviceGetCount=count)
    monkeypatch.setitem(sys.modules, "pynvml", stand_in)
    assert nvml.why_none() == "NVML (libnvidia-ml.so.1 of the NVIDIA driver) says: Unknown Error"
