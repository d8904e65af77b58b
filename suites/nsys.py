"""Nsight Systems: its command line, and its table of kernels in the order of their launches read.

Knows no case and no record.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from reports.profile import Kernel
from suites.launch import Refused, number, seconds

PROGRAM = "nsys"
CALLS = 10
TABLES = ("cuda_gpu_trace", "gputrace")  # its names since 2022 and before
_DURATION = re.compile(r"Duration *\((\w+)\)")


def profile(report: Path, call: Sequence[str]) -> list[str]:
    """The command that records what `call` does between cudaProfilerStart and cudaProfilerStop into `report`."""
    words = [PROGRAM, "profile", "--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none"]
    words += ["--capture-range=cudaProfilerApi", "--capture-range-end=stop"]
    return [*words, "--force-overwrite=true", f"--output={report}", *call]


def table(report: Path, name: str) -> list[str]:
    """The command that prints a report's kernels and copies."""
    return [PROGRAM, "stats", f"--report={name}", "--format=csv", "--force-export=true", str(report)]


def public(text: str) -> str:
    """The table without what is printed around it, which names folders."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith("Start (")), None)
    if start is None:
        raise Refused("nsys printed no table of kernels")
    rest = lines[start:]
    return "\n".join(rest[: rest.index("")] if "" in rest else rest) + "\n"


def read(text: str) -> list[Kernel]:
    """The kernels of the table in the order of their launches; copies and fills are left out. Refused without any."""
    head, *rows = csv.reader(public(text).splitlines())
    took = next(filter(None, map(_DURATION.fullmatch, head)), None)
    if took is None or "Name" not in head:
        raise Refused("nsys' table has no duration or no name")
    if any(len(row) != len(head) for row in rows):
        raise Refused("nsys' table is cut off in the middle of a row")
    found = []
    for row in sorted(rows, key=lambda row: number(row[0], "start") or 0.0):
        of = dict(zip(head, row, strict=True))
        value, sizes = number(of[took[0]], "duration"), [number(of.get(f"Blk{axis}", ""), "block") for axis in "XYZ"]
        if value is None or None in sizes:  # no block: a copy
            continue
        registers = number(of.get("Reg/Trd", ""), "registers")
        found.append(
            Kernel(
                name=of["Name"],
                seconds=seconds(value, took[1]),
                threads=int(math.prod(size or 1 for size in sizes)),
                registers=None if registers is None else int(registers),
            )
        )
    if not found:
        raise Refused("nsys saw no kernel in the call")
    return found
