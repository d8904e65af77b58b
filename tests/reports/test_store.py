"""The store: nothing written is lost, nothing torn is read, nobody writes beside another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports import store
from reports.record import Record
from tests.reports.test_record import GOOD


def record(number: int) -> Record:
    return Record(**{**GOOD, "case": f"case {number}"})


def cases(run: Path) -> list[str]:
    return [r.case for r in store.read(run)]


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    run = tmp_path / "a" / "run"
    store.append(run, [record(1), record(2)])
    store.append(run, record(3))
    assert cases(run) == cases(run / store.RECORDS) == ["case 1", "case 2", "case 3"]
    assert store.done(run) == {record(n).key for n in (1, 2, 3)}
    assert store.done(tmp_path) == set()


@pytest.mark.parametrize("length", [1, 30, 400, -1])
def test_a_torn_last_line_is_dropped_on_reading_and_cut_on_appending(tmp_path: Path, length: int) -> None:
    store.append(tmp_path, [record(1), record(2)])
    with (tmp_path / store.RECORDS).open("ab") as file:
        file.write(record(3).to_json().encode()[:length])
    with pytest.warns(UserWarning, match=r"records.jsonl, line 3: the last line is cut off"):
        assert cases(tmp_path) == ["case 1", "case 2"]
    with pytest.warns(UserWarning, match="bytes were removed"):
        store.append(tmp_path, record(4))
    assert cases(tmp_path) == ["case 1", "case 2", "case 4"]


def test_a_torn_line_longer_than_a_block_and_a_torn_first_line(tmp_path: Path) -> None:
    for before in (b"", record(1).to_json().encode() + b"\n"):
        (tmp_path / store.RECORDS).write_bytes(before + b'{"case": "' + b"x" * 200_000)
        with pytest.warns(UserWarning, match="bytes were removed"):
            store.append(tmp_path, record(2))
        assert cases(tmp_path) == ["case 1", "case 2"][not before :]


def test_a_last_line_that_lacks_only_its_newline_is_kept(tmp_path: Path) -> None:
    (tmp_path / store.RECORDS).write_text(record(1).to_json())
    assert cases(tmp_path) == ["case 1"]
    store.append(tmp_path, record(2))
    assert cases(tmp_path) == ["case 1", "case 2"]


@pytest.mark.parametrize("bad", ["garbage", "", '{"schema": 1}', '{"schema": 9}'])
def test_a_corrupt_line_in_the_middle_is_an_error_with_file_and_line(tmp_path: Path, bad: str) -> None:
    (tmp_path / store.RECORDS).write_text(f"{record(1).to_json()}\n{bad}\n{record(2).to_json()}\n")
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2: "):
        cases(tmp_path)


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with store.Writer(tmp_path) as first:
        with pytest.raises(store.RunLocked, match="another run is writing"):
            store.Writer(tmp_path)
        first.append(record(1))
    store.append(tmp_path, record(2))
    assert cases(tmp_path) == ["case 1", "case 2"]


def test_the_lock_of_a_killed_writer_is_free_and_its_records_are_there(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from reports import store;"
        "w = store.Writer(sys.argv[1]); w.append(store.Record.from_json(sys.argv[2]));"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), record(1).to_json()], check=False)
    store.append(tmp_path, record(2))
    assert cases(tmp_path) == ["case 1", "case 2"]


def test_a_disk_that_fills_up_raises_and_leaves_whole_lines(tmp_path: Path) -> None:
    line = len(record(1).to_json()) + 1
    code = (
        "import resource, signal, sys; from reports import store;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * line + 100}, resource.RLIM_INFINITY));"
        "w = store.Writer(sys.argv[1]); r = store.Record.from_json(sys.argv[2])\n"
        "for _ in range(3): w.append(r)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), record(1).to_json()],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "cannot append the record of case case 1" in done.stderr
    assert (tmp_path / store.RECORDS).read_bytes() == 2 * (record(1).to_json().encode() + b"\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_no_space_left_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / store.RECORDS).symlink_to("/dev/full")
    with store.Writer(tmp_path) as writer, pytest.raises(OSError, match="the disk is full"):
        writer.append(record(1))


def test_a_folder_that_takes_no_records_is_an_error_of_the_system(tmp_path: Path) -> None:
    """As which the commands tell it: one sentence, and how to go on."""
    (tmp_path / store.RECORDS).mkdir()
    with pytest.raises(OSError, match="expected a folder to write to, got"):
        store.Writer(tmp_path)


def test_machine_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="machine.json is missing"):
        assert store.read_machine(tmp_path) == {"run": {}, "devices": {}}
    machine = {"run": {"seed": 1}, "devices": {"cpu-1": {"name": "CPU ü"}}}
    store.write_machine(tmp_path, machine)
    assert store.read_machine(tmp_path) == machine
    with pytest.raises(ValueError, match="Out of range float"):
        store.write_machine(tmp_path, {"run": {"x": float("nan")}, "devices": {}})
    with pytest.raises(ValueError, match="keys"):
        store.write_machine(tmp_path, {"cpu-1": {}})
    assert store.read_machine(tmp_path) == machine
    assert os.listdir(tmp_path) == [store.MACHINE]
    for text in ("{", json.dumps([]), json.dumps({"devices": []})):
        (tmp_path / store.MACHINE).write_text(text)
        with pytest.raises(ValueError, match=r"machine\.json: expected"):
            store.read_machine(tmp_path)


def test_the_records_are_there_as_parquet_where_pyarrow_is(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pandas as pd

    import reports

    store.append(tmp_path / "run", [record(1), record(2)])
    store.write_machine(tmp_path / "run", {"run": {}, "devices": {}})
    reports.write(tmp_path / "run")
    found, told = pd.read_parquet(tmp_path / "run" / "records.parquet"), reports.load(tmp_path / "run")
    pd.testing.assert_frame_equal(found, told, check_dtype=False)
