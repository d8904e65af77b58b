"""The cases that are furthest from the speed of a copy, and the page's table of what a profiler said of them.

Knows the tidy table and profiles.jsonl; nothing of profilers or of HTML.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import digits, profile
from reports.profile import Kernel, Profile

if TYPE_CHECKING:
    from pandas import DataFrame

MEASURED = ("dram", "issue", "occupancy")  # percentages that a table may have
WAITS = {  # Nsight Compute's stall reasons: what a warp waits for
    "long_scoreboard": "waits for loads from memory",
    "short_scoreboard": "waits for shared memory or special functions",
    "lg_throttle": "waits for room in the queue of memory accesses",
    "mio_throttle": "waits for room in the queue of shared memory and special functions",
    "tex_throttle": "waits for room in the texture queue",
    "math_pipe_throttle": "waits for a busy arithmetic pipe",
    "wait": "waits the fixed latency of the instruction before",
    "barrier": "waits for other warps at a barrier",
    "membar": "waits at a memory fence",
    "drain": "waits for its stores at the end",
    "no_instruction": "waits for instructions to be fetched",
    "no_instructions": "waits for instructions to be fetched",
    "not_selected": "is ready, but another warp issues",
    "branch_resolving": "waits for a branch to be resolved",
    "dispatch_stall": "is held back by the dispatcher",
    "imc_miss": "waits for constants",
    "sleeping": "sleeps",
    "gmma": "waits for the matrix unit",
}


def furthest(frame: DataFrame, count: int) -> list[tuple[str, str]]:
    """(device, case) of the native cases with the smallest share of a copy's speed, `count` of each device, by the
    clocks of the device.
    """
    timed = frame[frame["implementation"].eq("native") & frame["percent_of_copy"].notna() & frame["clock"].ne("host")]
    least = timed.groupby(["device", "case"], sort=False)["percent_of_copy"].min().sort_values(kind="stable")
    chosen = least.groupby("device", sort=False).head(count)
    return [(str(device), str(case)) for device, case in chosen.index]


def waiting(kernel: Kernel) -> str:
    """What warps wait for most, and how much is lost: words for a reader who does not know the profiler's."""
    idle = "" if kernel.issue is None else f"{100 - kernel.issue:.0f} % of issue slots idle"
    if kernel.stall is None:
        return idle
    known = WAITS.get(kernel.stall)
    plain = kernel.stall.replace("_", " ")
    said = f"{known} ({plain})" if known else f"stalls: {plain}"
    share = "" if kernel.stall_share is None else f", {kernel.stall_share:.0f} % of a warp's time"
    return said + share + (f"; {idle}" if idle else "")


def said(one: Profile, most: int = 8) -> list[str]:
    """A profile in lines for a terminal: the case, and what its kernels or operators cost."""
    if one.reason is not None:
        return [f"{one.profiler}: {one.case}: {one.status}: {one.reason}"]
    lines = [f"{one.profiler}: {one.case}"]
    for kernel in _longest_first(one)[:most]:
        shares = [(name, getattr(kernel, name)) for name in MEASURED]
        words = [_time(kernel), *(f"{name} {share:.0f} %" for name, share in shares if share is not None)]
        words += [] if kernel.registers is None else [f"{kernel.registers} registers"]
        tail = f"; {waits}" if (waits := waiting(kernel)) else ""
        lines.append(f"  {kernel.words or kernel.name[:80]}: {', '.join(words)}{tail}")
    lines += [f"  ({one.note})"] if one.note else []
    return lines + [f"  ... and {len(one.kernels) - most} more"] * (len(one.kernels) > most)


def _longest_first(one: Profile) -> list[Kernel]:
    return sorted(one.kernels, key=lambda kernel: -kernel.seconds)


def _time(kernel: Kernel) -> str:
    """Of a call, to about a percent: no profiler is more exact."""
    return digits.quantity(kernel.seconds, "s", 0.99 * kernel.seconds, 1.01 * kernel.seconds)


def shown(runs: Sequence[Path], machines: set[str], out: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The profiles of a device, or of several alike, for the page that lies in `out`; None where none was made."""
    found = [(run, one) for run in runs for one in profile.read(run) if one.machine in machines]
    if not found:
        return None
    kernels = [kernel for _, one in found for kernel in one.kernels]
    measured = [name for name in MEASURED if any(getattr(k, name) is not None for k in kernels)]
    return {
        "columns": measured,
        "registers": any(kernel.registers is not None for kernel in kernels),
        "waits": any(kernel.stall is not None for kernel in kernels),
        "profiles": [_one(one, run, out, measured) for run, one in found],
    }


def _one(one: Profile, run: Path, out: str | os.PathLike[str], measured: list[str]) -> dict[str, Any]:
    total = sum(kernel.seconds for kernel in one.kernels)
    links = [(Path(file).suffixes, os.path.relpath(run / file, out)) for file in one.files if (run / file).is_file()]
    return {
        "case": one.case, "profiler": one.profiler, "status": one.status, "reason": one.reason, "note": one.note,
        "command": one.command, "calls": one.calls,
        "files": [("".join(suffixes).lstrip("."), Path(path).as_posix()) for suffixes, path in links],
        "kernels": [
            {
                "name": kernel.name, "words": kernel.words, "count": kernel.count, "seconds": kernel.seconds,
                "time": _time(kernel),
                "share": 100 * kernel.seconds / total if total else 0.0,
                "percents": [getattr(kernel, name) for name in measured],
                "registers": kernel.registers, "waits": waiting(kernel),
            }
            for kernel in _longest_first(one)
        ],
    }  # fmt: skip
