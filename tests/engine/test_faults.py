"""Faults: each ends with every other case measured. Real workers, real signals, a real full disk."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from reports import store
from reports.record import Record
from suites import link, session
from suites.axes import Axes, UsageError
from suites.case import Case
from suites.engine import Run
from suites.finding import Finding
from suites.progress import Progress
from suites.records import Origin
from suites.session import Session
from tests.support.engine_runs import OPERATORS, ROOT, axes, command, keys, many, wait_for_records


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "operators.py"
    path.write_text(OPERATORS)
    return path


def run(folder: Path, wanted: Axes, timeout: float = 60.0) -> Counter[str]:
    folder.mkdir(exist_ok=True)
    return Session(folder, wanted, [("cpu", "cpu")], parallel=False, timeout=timeout).run().statuses


def by_method(folder: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in store.read(folder):
        found.setdefault(record.method, []).append(record)
    return found


@pytest.fixture(scope="module")
def every_fault(operators: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    names = (
        "good",
        "raises",
        "sticky",
        "after_sticky",
        "wrong_shape",
        "segfault",
        "leaves",
        "hangs",
        "no_memory",
        "killed",
    )
    run(folder, axes(operators, *names), timeout=8.0)
    return folder


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("raises", "failed", "KeyError: 'the lookup of operators.py'"),
        ("sticky", "failed", "device-side assert"),
        ("wrong_shape", "incorrect", "expected shape (1, 2, 4, 4), got (1, 2, 4, 3)"),
        ("segfault", "failed", "SIGSEGV"),
        ("leaves", "failed", "exited with code 7: last words"),
        ("hangs", "timeout", "no answer within 8 s"),
        ("no_memory", "oom", "memory"),
        ("killed", "failed", "SIGKILL"),
    ],
)
def test_each_fault_is_a_record(every_fault: Path, name: str, status: str, says: str) -> None:
    first = by_method(every_fault)[name][0]
    assert (first.status, says in str(first.reason)) == (status, True), first.reason
    assert first.value is None and first.samples is None


def test_the_others_are_measured(every_fault: Path) -> None:
    found = by_method(every_fault)
    assert [record.status for record in found["good"]] == ["ok"]
    assert [record.status for record in found["after_sticky"]] == ["ok"], found["after_sticky"][0].reason
    assert {record.status for record in found["copy"]} == {"ok"}
    assert all(len(records) == 1 for records in found.values())


def test_no_secret_is_published(every_fault: Path) -> None:
    words = (every_fault / "records.jsonl").read_text() + (every_fault / "machine.json").read_text()
    assert str(every_fault.parent) not in words
    assert str(ROOT) not in words
    assert os.uname().nodename not in words or len(os.uname().nodename) < 5


def test_a_case_that_is_wrong_by_one_clock_is_told_with_its_reason(tmp_path: Path) -> None:
    case = Case("latency", "avg", "torch", "forward", (2, 2), (2, 2), (0, 0), False, (1, 2, 8, 8), "float32", "nchw")
    found = [
        Finding("time", clock="cold", value=1.0),
        Finding("time", clock="hot", status="incorrect", reason="max |error| 3 where 1 is allowed"),
    ]
    source = {"version": "0.1.0", "commit": None, "dirty": None}
    with store.Writer(tmp_path) as writer:
        run = Run(writer, Progress(1, io.StringIO()), Axes(), source, lambda *_: "cpu-1", set(), 60.0)
        run.write(case, [asdict(finding) for finding in found], Origin("cpu", "cpu-1", source, 0))
    assert run.tally.faults == [f"{case.name} [latency]: incorrect: max |error| 3 where 1 is allowed"]
    assert run.tally.statuses == {"ok": 1, "incorrect": 1} and run.tally.cases == 1


def test_three_crashes_are_enough(operators: Path, tmp_path: Path) -> None:
    wanted = axes(operators, "killed", "good", shapes=tuple(f"1x2x8x{n}" for n in (8, 10, 12, 14)))
    run(tmp_path / "run", wanted)
    found = by_method(tmp_path / "run")
    assert [record.status for record in found["killed"]] == ["failed"] * 3 + ["skipped"]
    assert "given up after 3 crashes" in str(found["killed"][-1].reason)
    assert [record.status for record in found["good"]] == ["ok"] * 4


def test_killed_run_is_resumed_without_loss_or_repetition(operators: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = subprocess.Popen(command(folder, *many(operators)), stderr=subprocess.DEVNULL, cwd=tmp_path)
    wait_for_records(folder, 4)
    second = subprocess.run(
        [sys.executable, str(ROOT / "runner.py"), "bench", "--resume", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 2 and "in use" in second.stderr and "Traceback" not in second.stderr
    child.kill()
    child.wait()
    before = keys(folder)
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"schema": 1, "case": "torn')
    with pytest.warns(UserWarning, match="cut off"):
        Session.resumed(folder, 60.0).run()
    after = keys(folder)
    assert after[: len(before)] == before
    assert len(set(after)) == len(after)
    assert len(after) == len(Session.resumed(folder, 60.0).plan["cpu"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_what_it_has_and_reports(operators: Path, tmp_path: Path, number: int, code: int) -> None:
    folder = tmp_path / "run"
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # which background jobs ignore, and hand on
    child = subprocess.Popen(
        command(folder, *many(operators)), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    signal.signal(signal.SIGINT, before)
    wait_for_records(folder, 4)
    child.send_signal(number)
    out, err = child.communicate(timeout=120)
    assert child.returncode == code, err
    assert "--resume" in err and "Traceback" not in err
    assert out.strip() == str(folder / "report.html") and (folder / "report.html").is_file()
    assert 4 <= len(keys(folder)) < 20
    assert {record.status for record in store.read(folder)} == {"ok"}  # the case that was cut short left nothing


def test_a_full_disk_ends_the_run_and_spares_what_is_there(operators: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    script = (
        "import resource, runpy, sys, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = command(folder, *many(operators))[1:]
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1, done.stderr
    assert "could not be written" in done.stderr and "Traceback" not in done.stderr, done.stderr
    kept = keys(folder)
    assert kept and len(set(kept)) == len(kept)
    Session.resumed(folder, 60.0).run()
    assert len(keys(folder)) == len(Session.resumed(folder, 60.0).plan["cpu"])


def test_a_run_folder_is_never_reused(operators: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "records.jsonl").touch()
    with pytest.raises(UsageError, match="does not exist yet"):
        session.fresh_folder(str(tmp_path / "run"))
    with pytest.raises(UsageError, match="expected the folder of a run"):
        Session.resumed(tmp_path / "run", 60.0)


def test_a_run_that_does_not_say_when_it_began_cannot_be_read(operators: Path, tmp_path: Path) -> None:
    held = {"axes": asdict(axes(operators, "good")), "devices": [["cpu", "cpu"]], "parallel": False}
    (tmp_path / session.RESUME).write_text(json.dumps(held))
    with pytest.raises(UsageError, match=r"resume: .* cannot be read \(KeyError: 'time'\)"):
        Session.resumed(tmp_path, 60.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_that_is_gone_before_it_is_told_anything_leaves_no_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise link.Died("the worker exited with code 1")

    monkeypatch.setattr(link.Link, "_tell", gone)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(link.Died) as died:
        link.Link({}, {})
    assert died.tb is not None  # which holds on to what was not closed
    assert len(os.listdir("/proc/self/fd")) == before


def test_broken_photographs_are_named_and_the_rest_measured(tmp_path: Path) -> None:
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    gradient = [(x * 2 % 256, y * 3 % 256, (x + y) % 256) for y in range(80) for x in range(90)]
    image = Image.new("RGB", (90, 80))
    image.putdata(gradient)
    image.save(photos / "fine.png")
    whole = (photos / "fine.png").read_bytes()
    (photos / "broken.png").write_bytes(whole[: len(whole) // 2])
    (photos / "tiny.png").write_bytes(whole)
    Image.new("RGB", (9, 9)).save(photos / "tiny.png")
    wanted = Axes(profile="smoke", methods=("avg", "max"), kernels=("2",), probes=("retention",), images=str(photos))
    run(tmp_path / "run", wanted)
    found = {(r.method, r.image, r.metric, r.protocol): r for r in store.read(tmp_path / "run")}
    assert found["avg", "fine", "psnr", "P1"].status == "ok"
    assert found["max", "fine", "psnr", "P3"].status == "ok"
    assert found["avg", "broken", "psnr", "P1"].status == "skipped"
    assert "cannot be read" in str(found["avg", "broken", "psnr", "P1"].reason)
    assert "smaller than" in str(found["avg", "tiny", "ssim", "P1"].reason)
    run(tmp_path / "again", wanted)
    again = {(r.method, r.image, r.metric, r.protocol): r.value for r in store.read(tmp_path / "again")}
    assert again == {key: record.value for key, record in found.items()}  # to the last bit
    assert sorted(p.name for p in (tmp_path / "run" / "gallery").iterdir())


def test_what_the_engine_itself_costs(tmp_path: Path) -> None:
    """Two thousand cases of a probe that has nothing to do: energy, where no GPU counts it."""
    from dataclasses import replace

    (tmp_path / "run").mkdir()
    wanted = Axes(profile="smoke", methods=("avg",), implementations=("torch",), probes=("energy",))
    session_ = Session(tmp_path / "run", wanted, [("cpu", "cpu")], parallel=False, timeout=60.0)
    case = next(c for c in session_.plan["cpu"] if c.probe == "energy")
    session_.plan = {"cpu": [replace(case, shape=(1, 1, 4, n)) for n in range(4, 2004)]}
    start = time.monotonic()
    session_.run()
    seconds = time.monotonic() - start
    assert len(keys(tmp_path / "run")) == 2000
    assert seconds < 25, seconds  # 4 s for 2 ms a case, the rest for a worker's start on a busy machine
