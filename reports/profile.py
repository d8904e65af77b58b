"""What a profiler said of a case: the schema of profiles.jsonl, which lies beside the records.

A profile is no record: it has several kernels of several numbers each, and none of them is compared between runs.
Stdlib only and quick to import; knows no profiler.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from reports import store
from reports.record import LINE, Check, is_finite, one_of, or_null, parsed, refuse, whole

FILE = "profiles.jsonl"
SCHEMA = 1
PROFILERS = ("ncu", "nsys", "torch")
STATUSES = ("ok", "refused", "failed", "timeout")


@dataclass(frozen=True)
class Kernel:
    """One kernel or operator of one call; a number is None where the profiler does not measure it."""

    name: str
    seconds: float  # of all its launches in one call
    count: int = 1  # launches in one call
    words: str | None = None  # the library's own for what its kernel does
    threads: int | None = None  # of a block
    registers: int | None = None  # of a thread
    dram: float | None = None  # percent of the peak that the device's memory was used
    issue: float | None = None  # percent of cycles in which a scheduler issued an instruction
    occupancy: float | None = None  # percent of the warps that fit
    stall: str | None = None  # what warps wait for most, in the profiler's word
    stall_share: float | None = None  # percent of a warp's cycles between two instructions

    def __post_init__(self) -> None:
        refuse(self, _OF_KERNEL)


_AMOUNT: Check = "a finite number from 0 on", lambda value: is_finite(value) and value >= 0
_TEXT: Check = "a text", lambda value: type(value) is str and value != ""
_OF_KERNEL = {
    "name": _TEXT, "seconds": _AMOUNT, "count": whole(1), **dict.fromkeys(("words", "stall"), or_null(_TEXT)),
    **dict.fromkeys(("threads", "registers"), or_null(whole(0))),
    **dict.fromkeys(("dram", "issue", "occupancy", "stall_share"), or_null(_AMOUNT)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A case under a profiler, or the reason why there is nothing to see."""

    schema: int = SCHEMA
    case: str
    device: str
    machine: str
    profiler: str
    status: str
    reason: str | None
    calls: int
    kernels: tuple[Kernel, ...]
    files: tuple[str, ...]  # below the run's folder
    command: str
    time: str
    note: str | None = None  # what a reader must know of the kernels

    def __post_init__(self) -> None:
        refuse(self, _OF_PROFILE)
        if (self.status == "ok") != bool(self.kernels) or (self.status == "ok") != (self.reason is None):
            raise ValueError(f"kernels, reason: expected kernels when ok, else a reason, got {self.reason!r}")
        for file in self.files:
            if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                raise ValueError(f"files: expected paths below the run's folder, got {file!r}")

    def to_json(self) -> str:
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> Profile:
        """Reads one line; ValueError says what is wrong. Unknown fields are left out, a newer schema is an error."""
        data = parsed(line, "profile", SCHEMA)
        kernels = tuple(Kernel(**_known(Kernel, kernel)) for kernel in data.get("kernels", ()))
        try:
            return cls(**{**_known(cls, data), "kernels": kernels, "files": tuple(data.get("files", ()))})
        except TypeError as error:
            raise ValueError(f"profile: {error}") from None


_OF_PROFILE = {
    "profiler": one_of(PROFILERS), "status": one_of(STATUSES),
    **dict.fromkeys(("case", "device", "machine", "command", "time"), LINE),
}  # fmt: skip


def _known(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    return {field.name: data[field.name] for field in fields(kind) if field.name in data}


def append(run: store.Folder, profile: Profile) -> None:
    """Adds a line to the run's profiles, on disk when it returns."""
    with store.Writer(run, FILE) as writer:
        writer.append(profile)


def read(run: store.Folder) -> list[Profile]:
    """The profiles of a run, of one case and profiler the last; none where nothing was profiled."""
    path = Path(run) / FILE
    made = store.lines(path, Profile.from_json) if path.is_file() else ()
    return list({(p.device, p.case, p.profiler): p for p in made}.values())
