"""Nsight Compute: its command line, and its table of raw metrics read. Nothing of a GPU's settings is touched.

Metric names are those of several versions, the first that is there counts. Knows no case and no record.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from reports.profile import Kernel
from suites.launch import Refused, number, seconds

PROGRAM = "ncu"
MOST = 64  # kernels of a call that are profiled; each is replayed several times
CALLS = 1
SECTIONS = ("SpeedOfLight", "SchedulerStats", "WarpStateStats", "Occupancy", "LaunchStats")
PRIVATE = ("Process ID", "Process Name", "Host Name")
_DURATION = ("gpu__time_duration.sum", "gpu__time_duration.avg", "gpu__time_duration.max")
_DRAM = (
    "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__throughput.max.pct_of_peak_sustained_elapsed",
    "dram__bytes.sum.pct_of_peak_sustained_elapsed",
)
_ISSUE = (
    "smsp__issue_active.avg.pct_of_peak_sustained_active",
    "sm__inst_issued.avg.pct_of_peak_sustained_active",
    "sm__instruction_throughput_internal_activity.avg.pct_of_peak_sustained_active",
)
_ISSUE_A_CYCLE = ("smsp__issue_active.avg.per_cycle_active",)
_OCCUPANCY = ("sm__warps_active.avg.pct_of_peak_sustained_active",)
_REGISTERS = ("launch__registers_per_thread",)
_THREADS = ("launch__block_size",)
_LATENCY = (
    "smsp__average_warp_latency_per_inst_issued.ratio",
    "smsp__average_warps_active_per_issue_active.ratio",
    "smsp__warp_cycles_per_issue_active",
)
_STALL = re.compile(
    r"smsp__average_warps_issue_stalled_(\w+)_per_issue_active\.ratio"
    r"|smsp__average_warp_latency_issue_stalled_(\w+)\.ratio|smsp__warp_cycles_per_issue_stall_(\w+)"
)
_NO_STALL = ("selected", "none")  # the warp issues


def profile(report: Path, call: Sequence[str]) -> list[str]:
    """The command that profiles what `call` does between cudaProfilerStart and cudaProfilerStop into `report`."""
    words = [PROGRAM, "--clock-control", "none", "--profile-from-start", "off", "--nvtx"]
    words += ["--launch-count", str(MOST)]
    for section in SECTIONS:
        words += ["--section", section]
    return [*words, "--force-overwrite", "--export", str(report), *call]


def table(report: Path) -> list[str]:
    """The command that prints a report's metrics."""
    return [PROGRAM, "--import", str(report), "--csv", "--page", "raw", "--print-units", "base"]


def fault(said: str) -> str | None:
    """Why it refused, in its own words or better ones; None when it did not."""
    if "ERR_NVGPUCTRPERM" in said:
        return (
            "ncu may not read this GPU's counters (ERR_NVGPUCTRPERM): run as root, start the container with "
            "--cap-add=SYS_ADMIN, or load the driver with NVreg_RestrictProfilingToAdminUsers=0"
        )
    errors = [
        line
        for line in re.findall(r"^==ERROR== *(.+)$", said, re.MULTILINE)
        if "application returned an error" not in line  # which says itself what it was
    ]
    if errors:
        return f"ncu: {errors[0]}"
    return "ncu: no kernel was launched in the call" if "No kernels were profiled" in said else None


def public(text: str) -> str:
    """The table without the columns that name a machine or a process, and without what is printed around it."""
    head, rows = _rows(text)
    kept = [at for at, name in enumerate(head) if name not in PRIVATE]
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [[row[at] for at in kept] for row in (head, *rows)]
    )
    return out.getvalue()


def read(text: str) -> list[Kernel]:
    """The kernels of a raw page, in order. Refused where it is cut off, has no kernel, or has a counter that is NaN."""
    head, rows = _rows(text)
    if not rows or rows[0][head.index("ID")]:
        raise Refused("ncu's table has no row of units: expected the raw page")
    units = dict(zip(head, rows[0], strict=True))
    found = [_launch(dict(zip(head, row, strict=True)), units) for row in rows[1:]]
    if not found:
        raise Refused("ncu's table has no kernel")
    return found


def _rows(text: str) -> tuple[list[str], list[list[str]]]:
    start = text.find('"ID"')
    if start < 0:
        raise Refused("ncu printed no table")
    lines = [line for line in text[start:].splitlines(keepends=True) if not line.startswith("==")]
    head, *rows = [row for row in csv.reader(lines) if row]
    if not text.endswith("\n") or any(len(row) != len(head) for row in rows):
        raise Refused("ncu's table is cut off in the middle of a row")
    return head, rows


def _launch(row: dict[str, str], units: dict[str, str]) -> Kernel:
    def value(names: Sequence[str]) -> tuple[float | None, str]:
        for name in names:
            if name in row and (found := number(row[name], name)) is not None:
                return found, units[name]
        return None, ""

    took, unit = value(_DURATION)
    if took is None:
        raise Refused(f"ncu's table has no duration ({_DURATION[0]})")
    issue, a_cycle = value(_ISSUE)[0], value(_ISSUE_A_CYCLE)[0]
    if issue is None and a_cycle is not None:
        issue = 100 * a_cycle
    registers, threads = value(_REGISTERS)[0], value(_THREADS)[0]
    stalls = {}
    for name, text in row.items():
        if (cycles := _STALL.fullmatch(name)) and (found := number(text, name)) is not None:
            stalls[next(word for word in cycles.groups() if word)] = found
    between = value(_LATENCY)[0] or sum(stalls.values())
    waits = {word: found for word, found in stalls.items() if word not in _NO_STALL and "not_issued" not in word}
    worst = max(waits, key=waits.__getitem__, default=None)
    return Kernel(
        name=row["Kernel Name"],
        seconds=seconds(took, unit),
        threads=_product(row.get("Block Size", "")) if threads is None else int(threads),
        registers=None if registers is None else int(registers),
        dram=value(_DRAM)[0],
        issue=issue,
        occupancy=value(_OCCUPANCY)[0],
        stall=worst,
        stall_share=None if worst is None or not between else 100 * waits[worst] / between,
    )


def _product(block: str) -> int | None:
    """(32, 8, 1) as 256."""
    sizes = [int(size) for size in re.findall(r"\d+", block)]
    return sizes[0] * sizes[1] * sizes[2] if len(sizes) == 3 else None
