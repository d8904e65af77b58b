"""The kernel resource table: compiles the CUDA kernels of counts/specifications.txt by NVRTC and counts what came out.

Needs the built library and NVRTC (PyPI: nvidia-cuda-nvrtc), no GPU. `python -m counts.cuda 90` prints the table.
Registers, spills and shared memory are the assembler's words; instructions are those of PTX, before it.
Knows nothing of baselines or verdicts.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from suites.inspector import launches, library, nvrtc, taken
from suites.machine import cores, private

LINES = Path(__file__).with_name("specifications.txt")
ARCHITECTURES = (75, 80, 90, 100, 120)
LONGEST_LOG = 300


SIDES = 4  # of a multiprocessor, each with a quarter of its registers and of its warps


@dataclass(frozen=True)
class Multiprocessor:
    """What limits the blocks that fit: CUDA C++ Programming Guide, compute capabilities."""

    warps: int
    blocks: int
    shared: int  # bytes
    registers: int = 65536
    reserved: int = 1024  # shared memory that each block costs besides its own

    def occupancy(self, registers: int, shared: int, threads: int) -> int:
        """Resident warps in percent of the most there can be."""
        per_block = -(-threads // 32)
        per_warp = -(-max(registers, 1) * 32 // 256) * 256
        by_registers = SIDES * (self.registers // SIDES // per_warp) // per_block
        taken = -(-(shared + self.reserved) // 128) * 128
        fitting = min(self.blocks, self.warps // per_block, by_registers, self.shared // max(taken, 1))
        return 100 * fitting * per_block // self.warps

    def allowed(self, threads: int, blocks: int) -> int:
        """Registers of a thread with which as many blocks fit as a kernel's launch bound says, or as there can be."""
        fitting = min(blocks, max(1, 32 * self.warps // threads))
        warps = -(-fitting * -(-threads // 32) // SIDES)  # of a side
        return min(255, self.registers // SIDES // warps // 32 // 8 * 8)


SM = {
    75: Multiprocessor(32, 16, 65536, reserved=0),
    80: Multiprocessor(64, 32, 167936),
    86: Multiprocessor(48, 16, 102400),
    89: Multiprocessor(48, 24, 102400),
    90: Multiprocessor(64, 32, 233472),
    100: Multiprocessor(64, 32, 233472),
    120: Multiprocessor(48, 24, 102400),
}
CLASSES = (  # every pattern that fits an instruction's name counts it
    ("instructions", r"."), ("fp64", r"(?!ld|st|mov).*\.f64"),
    ("mufu", r"(ex2|lg2|rcp|rsqrt|sqrt|div|sin|cos|tanh)\..*f32"), ("atomics", r"(atom|red)\."),
    ("shuffles", r"shfl"), ("barriers", r"(bar|barrier)\."),
)  # fmt: skip
WIDTHS = (16, 8, 4, 2)  # bytes of a load or store of global memory; a single byte counts as two
_INSTRUCTION = re.compile(r"(?:^|;)[ \t{]*(?:@!?%p\d+[ \t]+)?([a-z][\w.:]*)(?=[ \t;])", re.MULTILINE)
_ACCESS = re.compile(r"(ld|st)(?!.*\.(?:shared|local|param|const)\b).*?(?:\.v(\d))?\.[bfsu](\d+)")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
_INCLUDE = re.compile(r'^#include "(.+)"\n|^#pragma once\n', re.MULTILINE)

Row = dict[str, int]


@dataclass(frozen=True)
class Kernel:
    """A kernel of some of the lines: its source with includes, its launch bound."""

    name: str
    text: str
    threads: int  # of a block
    blocks: int  # of a multiprocessor at once, at least
    lines: tuple[str, ...]


def lines(file: Path = LINES) -> list[str]:
    """The calls whose kernels are counted."""
    words = (line.strip() for line in file.read_text().splitlines())
    return [line for line in words if line and not line.startswith("#")]


def kernels(calls: Iterable[str]) -> list[Kernel]:
    """The distinct kernels of some calls. ValueError names a word that is none.

    Those that would have the same name are told apart by the first call that runs them.
    """
    found: dict[str, Kernel] = {}
    for line in calls:
        for name, threads, blocks, text in launches(line):
            kernel = found.get(text) or Kernel(name, text, threads, blocks, ())
            found[text] = replace(kernel, lines=(*dict.fromkeys((*kernel.lines, line)),))
    often = Counter(kernel.name for kernel in found.values())
    return [k if often[k.name] == 1 else replace(k, name=f"{k.name}: {k.lines[0]}") for k in found.values()]


def counts(
    some: Sequence[Kernel], architecture: int, source: Path | None = None
) -> tuple[dict[str, Row], dict[str, str]]:
    """Counts of some kernels by name, and those that did not compile with the compiler's words.

    With `source`, a folder such as csrc, the device functions are read there and not in the library; how kernels are
    launched is always the library's.
    """
    if architecture not in SM:
        raise ValueError(f"arch: expected one of {', '.join(map(str, SM))}, got {architecture}")
    nvrtc()
    texts = [kernel.text if source is None else inlined(kernel.text, source) for kernel in some]
    rows: dict[str, Row] = {}
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(cores()) as pool:
        for kernel, (ptx, log) in zip(some, pool.map(lambda text: _compiled(text, architecture), texts), strict=True):
            if ptx:
                rows[kernel.name] = resources(log, kernel, SM[architecture]) | instructions(ptx)
            else:
                failed[kernel.name] = f"does not compile for sm_{architecture}: {private(log)[:LONGEST_LOG]}"
    return rows, failed


def _compiled(text: str, architecture: int) -> tuple[str, str]:
    """PTX, nothing where it does not compile, and what the compiler said."""
    cubin, ptx, log = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    results = map(ctypes.byref, (cubin, ctypes.c_size_t(), ptx, log))
    library().adapool_compile(text.encode(), architecture, 1, *results)
    library().adapool_free(cubin)
    return taken(ptx), taken(log)


def inlined(text: str, source: Path) -> str:
    """A program with the headers of a folder in place of their names, each once."""
    seen: set[str] = set()

    def body(found: re.Match[str]) -> str:
        name = found[1]
        if name is None or name in seen:
            return "\n"
        seen.add(name)
        if not (source / name).is_file():
            raise ValueError(f"source: expected a folder such as csrc, got {str(source)!r} without {name}")
        rest = found.string.count("\n", 0, found.end()) + 1
        return f'#line 1 "{name}"\n{_INCLUDE.sub(body, (source / name).read_text())}\n#line {rest}\n'

    return _INCLUDE.sub(body, text)


def resources(log: str, kernel: Kernel, on: Multiprocessor) -> Row:
    """Registers, spills, stack and shared memory from what `ptxas -v` says; with functions that it calls."""
    frames = [tuple(map(int, found)) for found in _FRAME.findall(log)]
    used = _USED.search(log)
    registers, shared = (int(used[1]), int(used[2] or 0)) if used else (0, 0)
    return {
        "registers": registers, "allowed": on.allowed(kernel.threads, kernel.blocks),
        "spill_stores": sum(frame[1] for frame in frames), "spill_loads": sum(frame[2] for frame in frames),
        "stack": max((frame[0] for frame in frames), default=0), "shared": shared,
        "occupancy": on.occupancy(registers, shared, kernel.threads),
    }  # fmt: skip


def instructions(ptx: str) -> Row:
    """The instructions of a kernel, and how many are of each class."""
    words = Counter(_INSTRUCTION.findall(ptx))
    row = {name: sum(n for word, n in words.items() if re.match(pattern, word)) for name, pattern in CLASSES}
    row |= {f"{way}{width}": 0 for way in ("load", "store") for width in WIDTHS}
    for word, n in words.items():
        if access := _ACCESS.fullmatch(word):
            size = int(access[2] or 1) * int(access[3]) // 8
            way = "load" if access[1] == "ld" else "store"
            row[f"{way}{min(max(size, WIDTHS[-1]), WIDTHS[0])}"] += n
    return row


def main() -> None:
    for word in sys.argv[1:] or map(str, ARCHITECTURES):
        rows, failed = counts(kernels(lines()), int(word))
        columns = list(next(iter(rows.values()))) if rows else []
        print(f"sm_{word}", *columns, sep="\t")
        for name, row in sorted(rows.items()):
            print(name, *row.values(), sep="\t")
        for name, why in failed.items():
            print(name, why, sep="\t", file=sys.stderr)


if __name__ == "__main__":
    main()
