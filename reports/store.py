"""A run folder's files: records.jsonl (one fsynced line per record, one writer at a time) and machine.json.

Knows the schema and the disk; nothing of statistics, of devices, or of how a record was measured.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from reports.record import Key, Record

RECORDS = "records.jsonl"
MACHINE = "machine.json"
Folder = str | os.PathLike[str]
Made = TypeVar("Made")


class RunLocked(RuntimeError):
    """Another process is writing to this run folder."""


class Unwritable(OSError):
    """A run folder that takes no records."""


class Writer:
    """Appends records to a run folder, one fsynced line each; holds the lock of their file until it is closed.

    A last line that an earlier kill left torn is cut off on opening, so the next record never continues garbage.
    The lock ends with the process, `kill -9` included; start workers by spawn, since a fork would share it.
    """

    def __init__(self, run: Folder, file: str = RECORDS) -> None:
        self.path = Path(run) / file
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise Unwritable(f"expected a folder to write to, got {self.path.parent} ({error.strerror})") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _mend(self._file, self.path)
            _sync_folder(self.path.parent)
        except BlockingIOError:
            os.close(self._file)
            raise RunLocked(
                f"{self.path.parent} is in use: another run is writing to it; choose another folder"
            ) from None
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Any) -> None:
        """Writes a record, or a profile: it survives a kill or a power loss. OSError when the disk does not take it."""
        line = record.to_json().encode() + b"\n"
        before = os.fstat(self._file).st_size
        try:
            _write_all(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            self._cut(before)
            what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "the disk refused it"
            raise OSError(
                error.errno,
                f"cannot append the record of case {record.case}: {what} ({error.strerror}); "
                "the records before it are kept",
                str(self.path),
            ) from error

    def _cut(self, size: int) -> None:
        with contextlib.suppress(OSError):  # the error that led here is the one to tell; opening again mends the line
            os.ftruncate(self._file, size)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def append(run: Folder, records: Record | Iterable[Record]) -> None:
    """Appends one record or several to the run folder; a writer of many records keeps a `Writer` open instead."""
    with Writer(run) as writer:
        for record in [records] if isinstance(records, Record) else records:
            writer.append(record)


def read(run: Folder) -> Iterator[Record]:
    """The records of a run folder (or of a records.jsonl itself), in order.

    A last line that a kill left unfinished is dropped with a warning; any other line that is no record is a ValueError.
    """
    path = Path(run)
    return lines(path / RECORDS if path.is_dir() else path, Record.from_json)


def lines(path: Path, parse: Callable[[bytes], Made]) -> Iterator[Made]:
    """What the lines of a file are, as `read` says it."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") and not _complete(line):
                warnings.warn(f"{path}, line {number}: the last line is cut off and was dropped", stacklevel=2)
                return
            try:
                yield parse(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None


def done(run: Folder) -> set[Key]:
    """What the run folder already has a record of, whatever its status; empty for a folder without records."""
    return {record.key for record in read(run)} if (Path(run) / RECORDS).exists() else set()


def read_machine(run: Folder) -> dict[str, Any]:
    """machine.json as {"run": {...}, "devices": {key: {...}}}; both empty, with a warning, when it is not there."""
    path = (Path(run) if Path(run).is_dir() else Path(run).parent) / MACHINE
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        warnings.warn(f"{path} is missing: the environment of this run is unknown", stacklevel=2)
        data = {}
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got something else ({error})") from None
    if not isinstance(data, dict) or not all(isinstance(data.get(part, {}), dict) for part in ("run", "devices")):
        raise ValueError(f'{path}: expected {{"run": {{...}}, "devices": {{...}}}}, got {str(data)[:60]}')
    return {"run": data.get("run", {}), "devices": data.get("devices", {})}


def write_machine(run: Folder, machine: dict[str, Any]) -> None:
    """Writes machine.json in one step: a reader sees the old file or the new one, never half of it."""
    if set(machine) != {"run", "devices"}:
        raise ValueError(f'machine: expected the keys "run" and "devices", got {sorted(machine)}')
    text = json.dumps(machine, allow_nan=False, indent=1, sort_keys=True) + "\n"
    write_file(Path(run) / MACHINE, text.encode())


def write_file(path: Path, content: bytes) -> None:
    """Puts a whole file in place by rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)  # mkstemp makes it private
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    _sync_folder(path.parent)


def _complete(line: bytes) -> bool:
    """Whether the bytes are whole JSON: a record starts with a brace, so no true prefix of one is."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _mend(file: int, path: Path) -> None:
    """Finishes a last line that lacks only its newline, cuts one that is torn."""
    size = os.fstat(file).st_size
    tail, start = b"", size
    while start > 0 and b"\n" not in tail:
        step = min(start, 65536)
        start -= step
        tail = os.pread(file, step, start) + tail
    tail = tail[tail.rfind(b"\n") + 1 :]
    if not tail:
        return
    if _complete(tail):
        _write_all(file, b"\n")
    else:
        warnings.warn(f"{path}: the last line is cut off; its {len(tail)} bytes were removed", stacklevel=3)
        os.ftruncate(file, size - len(tail))
    os.fsync(file)


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _sync_folder(folder: Path) -> None:
    """Makes a new name in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
