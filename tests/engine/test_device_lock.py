"""Two runs on one device: the second waits, says so, and goes on when the first ends, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reports import store
from suites import device_lock
from suites.session import Session
from tests.support.engine_runs import ROOT, axes

HOLDER = """
import time
from suites import device_lock

with device_lock.held("cpu", print):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device_lock.FOLDER, str(tmp_path))


def test_waits_for_the_other_process_and_goes_on_when_it_is_killed() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with holder:
        _wait_for(holder)


def _wait_for(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    said: list[str] = []
    with device_lock.held("GPU-1", said.append) as mine:
        assert mine and not said  # another device is free
    threading.Timer(0.3, holder.kill).start()
    begin = time.monotonic()
    with device_lock.held("cpu", said.append, poll=0.01) as mine:
        assert mine and time.monotonic() - begin > 0.2
    assert said == [f"cpu: another run is measuring on it (process {holder.pid}); waiting until it ends"]


def test_a_stopped_run_waits_no_longer_and_holds_nothing() -> None:
    said: list[str] = []
    with device_lock.held("cpu", said.append) as first:
        assert first
        turns = iter([False, False, True, True])
        with device_lock.held("cpu", said.append, lambda: next(turns), poll=0.01) as second:
            assert not second
        assert len(said) == 1
        with device_lock.held("cpu", said.append, lambda: True) as third:
            assert not third
    with device_lock.held("cpu", said.append) as fourth:
        assert fourth and len(said) == 1


def test_a_folder_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(device_lock.FOLDER, str(tmp_path / "nowhere"))
    said: list[str] = []
    with device_lock.held("cpu", said.append) as mine:
        assert mine
    assert said == ["cpu: other runs cannot be kept away, no lock file can be opened (No such file or directory)"]


def test_the_file_is_every_users_and_follows_no_link(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        with device_lock.held("cpu", print):
            assert device_lock.path("cpu").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(mask)
    device_lock.path("gpu").symlink_to(tmp_path / "victim")
    said: list[str] = []
    with device_lock.held("gpu", said.append):
        assert not (tmp_path / "victim").exists() and len(said) == 1


def test_a_run_measures_nothing_while_another_has_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = axes(tmp_path, implementations=("torch",), methods=("avg",))
    run = Session(tmp_path / "run", asked, [("cpu", "cpu")], parallel=False, timeout=60)
    measuring = threading.Thread(target=run.run)
    with device_lock.held("cpu", print):
        measuring.start()
        time.sleep(1.0)
        assert (tmp_path / "run" / store.RECORDS).read_bytes() == b""
    measuring.join(60)
    assert {record.status for record in store.read(tmp_path / "run")} == {"ok"}
    assert capsys.readouterr().err.count("another run is measuring") == 1
