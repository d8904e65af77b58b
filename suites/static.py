"""The kernel resource table: compiles every CUDA kernel for an architecture and counts what the compiler made of it.

Needs nvcc, no GPU; instruction counts also need nvdisasm (PyPI: nvidia-cuda-nvdisasm). `python -m suites.static 90`
prints the table. Knows nothing of baselines or verdicts.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from suites.machine import ROOT, cores, private

SCALARS = ("double", "float", "Half", "BFloat16")
ARCHITECTURES = (80, 90, 100)
FLAGS = ("-std=c++20", "--expt-relaxed-constexpr", "-O3")
SECONDS = 900


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
        by_registers = self.registers // per_warp // per_block
        taken = -(-(shared + self.reserved) // 128) * 128
        fitting = min(self.blocks, self.warps // per_block, by_registers, self.shared // max(taken, 1))
        return 100 * fitting * per_block // self.warps


SM = {
    75: Multiprocessor(32, 16, 65536, reserved=0),
    80: Multiprocessor(64, 32, 167936),
    86: Multiprocessor(48, 16, 102400),
    89: Multiprocessor(48, 24, 102400),
    90: Multiprocessor(64, 32, 233472),
    100: Multiprocessor(64, 32, 233472),
    120: Multiprocessor(48, 24, 102400),
}
CLASSES = (  # the first pattern that fits an instruction's name counts it
    ("mufu", r"MUFU"), ("fp64", r"D(ADD|MUL|FMA|SETP|MNMX)"), ("local", r"(LDL|STL)"),
    ("atomics", r"(ATOM|RED|ATOMG|ATOMS)\b"), ("load16", r"LDG.*\.128"), ("load8", r"LDG.*\.64"), ("load4", r"LDG"),
    ("store16", r"STG.*\.128"), ("store8", r"STG.*\.64"), ("store4", r"STG"), ("shuffles", r"SHFL"),
    ("barriers", r"BAR"), ("fma", r"(FFMA|FMUL|FADD|HFMA2|HMUL2|HADD2)"), ("alu", r"."),
)  # fmt: skip
WANTS = ("value", "given", "exact", "detached")  # enum Want of csrc/cuda_sheet.cuh
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_OWN_THREADS = re.compile(r"_kernel<.*\b(\d+)>$")  # the last parameter of kernels that choose for themselves
_SECTION = re.compile(r"^\.text\.(\w+):")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+ )?\s*([A-Z][A-Z0-9_.]*)")


class Missing(RuntimeError):
    """A tool that this count needs is not here."""


def tool(name: str, package: str) -> str | None:
    """A CUDA tool on the path, or out of its PyPI package."""
    found = shutil.which(name)
    if found:
        return found
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == name), None)


def nvcc() -> tuple[str, str]:
    """The compiler and its version; Missing without one."""
    path = shutil.which("nvcc")
    if path is None:
        raise Missing("no nvcc: kernels cannot be compiled here")
    words = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\bV(\d+\.\d+\.\d+)", words)
    return path, found[1] if found else "unknown"


def kernels(
    architecture: int, scalars: Sequence[str] = SCALARS, source: Path = ROOT / "csrc"
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Counts of every kernel of one architecture, and the scalars that did not compile with the compiler's words."""
    if architecture not in SM:
        raise ValueError(f"arch: expected one of {', '.join(map(str, SM))}, got {architecture}")
    compiler, _ = nvcc()
    block = threads(source)
    rows: dict[str, dict[str, int]] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(cores()) as pool:
        jobs = {s: pool.submit(compiled, compiler, architecture, s, source, Path(scratch)) for s in scalars}
        for scalar, job in jobs.items():
            report, cubin = job.result()
            if cubin is None:
                told = [line for line in report.splitlines() if "error" in line] or report.splitlines()
                failed[scalar] = f"does not compile for sm_{architecture}: {private(' '.join(told[:2]))[:300]}"
            else:
                rows |= rows_of(report, cubin, architecture, block)
    return rows, failed


def compiled(compiler: str, architecture: int, scalar: str, source: Path, scratch: Path) -> tuple[str, Path | None]:
    """What the compiler says of the kernels of one scalar, and their binary; None where there is none."""
    out = scratch / f"{scalar}.cubin"
    words = [compiler, "-cubin", f"-arch=sm_{architecture}", *FLAGS, f"-DADAPOOL_SCALAR={scalar}"]
    words += ["-DADAPOOL_MASKS"] if scalar == "float" else []
    words += ["-DADAPOOL_FAST"] if scalar != "double" else []
    words += ["-Xptxas", "-v", "-o", str(out), str(source / "cuda_instances.cu")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.stderr, None if done.returncode else out


def rows_of(report: str, cubin: Path, architecture: int, block: int) -> dict[str, dict[str, int]]:
    used = resources(report)
    counted = classified(listing(cubin))
    names = demangled(list(used))
    for mangled, row in used.items():
        own = _OWN_THREADS.search(names[mangled])
        threads_of = int(own[1]) if own else block
        row["occupancy"] = SM[architecture].occupancy(row["registers"], row["shared"], threads_of)
        row.update(counted.get(mangled, {}))
    return {names[mangled]: row for mangled, row in used.items()}


def threads(source: Path) -> int:
    """Threads of a block, as the launch bounds of the generic kernels have it."""
    for path in sorted(source.glob("*.cuh")) + sorted(source.glob("*.h")):
        found = re.search(r"\bkThreads\s*=\s*(\d+)", path.read_text())
        if found:
            return int(found[1])
    raise ValueError("kThreads: expected its definition in a header of csrc, found none")


def resources(report: str) -> dict[str, dict[str, int]]:
    """Registers, spills, stack and shared memory by kernel, from what `ptxas -v` says."""
    found: dict[str, dict[str, int]] = {}
    row: dict[str, int] = {}
    for line in report.splitlines():
        if entry := _ENTRY.search(line):
            row = found.setdefault(entry[1], {"registers": 0, "spill_stores": 0, "spill_loads": 0, "stack": 0})
        elif frame := _FRAME.search(line):
            row["stack"], row["spill_stores"], row["spill_loads"] = (int(n) for n in frame.groups())
        elif used := _USED.search(line):
            row["registers"] = int(used[1])
            shared = _SHARED.search(line)
            row["shared"] = int(shared[1]) if shared else 0
    return found


def listing(cubin: Path) -> str:
    """The machine code in words; nothing without the disassembler."""
    disassembler = tool("nvdisasm", "nvidia-cuda-nvdisasm")
    if disassembler is None:
        return ""
    done = subprocess.run([disassembler, "-c", str(cubin)], capture_output=True, text=True, check=True, timeout=SECONDS)
    return done.stdout


def sections(text: str) -> dict[str, list[str]]:
    """The lines of a listing by kernel."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if section := _SECTION.match(line):
            lines = found.setdefault(section[1], [])
        else:
            lines.append(line)
    return found


def classified(text: str) -> dict[str, dict[str, int]]:
    patterns = [(name, re.compile(pattern)) for name, pattern in CLASSES]
    found: dict[str, Counter[str]] = {}
    memo: dict[str, str] = {}
    for kernel, lines in sections(text).items():
        counts = found[kernel] = Counter()
        for line in lines:
            word = instruction[1] if (instruction := _INSTRUCTION.search(line)) else "NOP"
            if word == "NOP":
                continue
            if word not in memo:
                memo[word] = next(name for name, pattern in patterns if pattern.match(word))
            counts[memo[word]] += 1
    names = [name for name, _ in CLASSES]
    return {key: {"instructions": sum(c.values())} | {name: c[name] for name in names} for key, c in found.items()}


def demangled(names: Sequence[str]) -> dict[str, str]:
    """Kernels as forward_kernel<Ada,float>; mangled where there is no c++filt."""
    path = shutil.which("cu++filt") or shutil.which("c++filt")
    if path is None or not names:
        return {name: name for name in names}
    done = subprocess.run([path, *names], capture_output=True, text=True, check=True)
    return {name: _short(line) for name, line in zip(names, done.stdout.splitlines(), strict=True)}


def _short(name: str) -> str:
    """Without namespaces, return type, parameters and spaces."""
    name = re.sub(r"\b(?:adapool|portable)::|\bvoid ", "", name)
    name = re.sub(r"\(Want\)(\d)", lambda found: WANTS[int(found[1])], name.replace("(anonymous namespace)::", ""))
    return re.sub(r"\(.*\)$", "", name).replace(" ", "")


def main() -> None:
    for word in sys.argv[1:] or map(str, ARCHITECTURES):
        rows, failed = kernels(int(word))
        columns = list(next(iter(rows.values()))) if rows else []
        print(f"sm_{word}", *columns, sep="\t")
        for name, row in sorted(rows.items()):
            print(name, *(row.get(column, "-") for column in columns), sep="\t")
        for name, why in failed.items():
            print(name, why, sep="\t", file=sys.stderr)


if __name__ == "__main__":
    main()
