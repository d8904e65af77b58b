"""SIGKILL at random moments, to the worker and to the whole run. Minutes of real runs; prints its tables."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from reports import store
from tests.support.engine_runs import ROOT, keys

pytestmark = pytest.mark.soak
KILLS = 20
CASES = 16
OPERATOR = """
import torch
seen = set()

def slow(x, k, s, p):
    if x.shape[-1] not in seen:
        seen.add(x.shape[-1])
        with open({log!r}, "a") as file:
            file.write(f"{{x.shape[-1]}}\\n")
    torch.ones(400_000).sin_()
    return torch.nn.functional.avg_pool2d(x, k, s, p)
"""


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, str(ROOT / "runner.py"), "bench", *words]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(line, cwd=folder, stdout=said, stderr=said)


def fresh(folder: Path) -> subprocess.Popen[bytes]:
    (folder / "slow.py").write_text(OPERATOR.format(log=str(folder / "log")))
    shapes = ",".join(f"1x2x8x{n}" for n in range(8, 8 + CASES))
    return start(
        folder, "--cpu", "--profile", "smoke", "--method", "slow.py:slow", "--kernel", "2", "--shape", shapes,
        "--direction", "forward", "--probe", "latency", "--implementation", "own", "--out", "run",
    )  # fmt: skip


def worker_of(pid: int) -> int | None:
    """The worker process that `pid` started, if there is one now."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid and b"suites.worker" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue  # it ended while it was looked at
    return None


def recorded(folder: Path) -> int:
    return (folder / "run" / "records.jsonl").read_bytes().count(b"\n") if (folder / "run").is_dir() else 0


def test_a_worker_killed_at_random_moments(tmp_path: Path) -> None:
    """Each run loses one worker: the case it was at is a record, every other case is measured, none twice."""
    dice, planned, whole = random.Random(1), 2 * CASES, 0.0
    print("\nkilled after  measured  failed  twice  report")
    kills = turn = 0
    while kills < KILLS:
        folder = tmp_path / str(turn)
        folder.mkdir()
        moment = dice.uniform(0.2, whole) if turn else float("inf")  # the first run is left alone, to see how long
        begin = time.monotonic()
        child = fresh(folder)
        struck = False
        while child.poll() is None:
            if not struck and time.monotonic() - begin > moment and (pid := worker_of(child.pid)):
                os.kill(pid, signal.SIGKILL)
                struck, kills = True, kills + 1
            time.sleep(0.01)
            if not (folder / "run" / "records.csv").exists():
                whole = max(whole, time.monotonic() - begin) if not turn else whole
        found = Counter(record.status for record in store.read(folder / "run"))
        names = keys(folder / "run")
        report = (folder / "run" / "report.html").is_file()
        when = f"{moment:.2f} s" if struck else "never"
        print(f"{when:>12}  {found['ok']:8}  {found['failed']:6}  {len(names) - len(set(names)):5}  {report}")
        assert len(set(names)) == len(names) == planned
        assert found["failed"] <= struck and found["ok"] == planned - found["failed"]
        assert report
        turn += 1


def test_a_whole_run_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    """At most the case that was running is lost at each kill, and none is there twice in the end."""
    dice, kills, turn = random.Random(2), 0, 0
    print("\nkilled after  records  lost")
    while kills < KILLS:
        folder = tmp_path / str(turn)
        folder.mkdir()
        turn += 1
        child = fresh(folder)
        while True:
            moment = dice.uniform(2.0, 7.0)
            time.sleep(moment)
            if child.poll() is not None or recorded(folder) == 2 * CASES:  # measured: what is left is the report
                child.wait()
                break
            pid = worker_of(child.pid)
            child.kill()
            child.wait()
            kills += 1
            end = time.monotonic() + 20
            while pid is not None and Path(f"/proc/{pid}").exists() and time.monotonic() < end:
                time.sleep(0.05)
            assert pid is None or not Path(f"/proc/{pid}").exists(), "the worker outlived its run"
            before = recorded(folder)
            log = folder / "log"
            begun = len(set(log.read_text().split())) if log.exists() else 0
            own = sum(record.method == "slow" for record in store.read(folder / "run")) if before else 0
            lost = max(0, begun - own)
            child = start(folder, *(("--resume", "run") if (folder / "run" / ".resume.json").exists() else ("-h",)))
            print(f"{moment:10.2f} s  {before:7}  {lost:4}")
            assert lost <= 1
        if not (folder / "run").is_dir():
            continue  # killed before there was a folder to resume
        assert child.returncode == 0, (folder / "said").read_text()
        names = keys(folder / "run")
        print(f"{'finished':>12}  {len(names):7}")
        assert len(set(names)) == len(names) == 2 * CASES
        assert {record.status for record in store.read(folder / "run")} == {"ok"}
        assert (folder / "run" / "report.html").is_file()
