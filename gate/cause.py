"""Why a case moved: what the compiler made of its kernels in both builds.

Reads the kernels of CUDA libraries; counts the instructions of CPU kernels where the sources of both builds are known.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from gate.outcome import say
from suites import builds, built_kernels, callgrind
from suites.ab import REPEATED
from suites.builds import Build
from suites.case import Case
from suites.machine import ROOT
from suites.static import Missing

SCALARS = {"float64": "double", "float32": "float", "float16": "Half", "bfloat16": "BFloat16"}
UNITS = {"stack": " B stack", "shared": " B shared", "spill": " B spill"}  # told as a change, others as old -> new
COUNTED = 0.005  # fewer instructions than this fraction explain nothing
_LINE = re.compile(r"\bX\((\w+),\s*(\w+)\)")

Table = Mapping[str, Mapping[str, int]]


def of_kernels(moved: Sequence[Case], base: Build, head: Build, kind: str) -> dict[str, str]:
    """Case -> what is different in its kernels, as far as that is known."""
    native = [case for case in moved if case.implementation == "native" and case.probe in REPEATED]
    if not native or base.parts.get(kind) == head.parts.get(kind):
        return {}
    return (_on_cuda if kind == "cuda" else _on_cpu)(native, base, head)


def _on_cuda(cases: Sequence[Case], base: Build, head: Build) -> dict[str, str]:
    sides = []
    for build in (base, head):
        library = build.library("cuda")
        if library is None:
            return {}
        try:
            sides.append(built_kernels.kernels(library))
        except Missing as error:
            say(f"causes: {error}")
            return {}
    common = set(sides[0]) & set(sides[1])
    if not common:
        return {}
    architecture = max(common)
    old, new = (side[architecture] for side in sides)
    structs = dict(_LINE.findall((ROOT / "csrc" / "methods.h").read_text()))
    found = {}
    for case in cases:
        words = differences(old, new, structs.get(case.method, ""), case)
        if words:
            found[case.name] = f"sm_{architecture} {words}"
    return found


def differences(old: Table, new: Table, struct: str, case: Case) -> str:
    """gather_kernel<Ada,float>: registers 40 -> 64, +24 B spill."""
    told = []
    for name in sorted(set(old) | set(new)):
        if not concerns(name, struct, case):
            continue
        if name not in old or name not in new:
            told.append(f"{name}: {'gone' if name in old else 'new'}")
        elif words := change(old[name], new[name]):
            told.append(f"{name}: {words}")
    return "; ".join(told)


def concerns(name: str, struct: str, case: Case) -> bool:
    """Whether a case may run a kernel: a generic one of its method and type, or a fast one of its window too."""
    scalar = SCALARS.get(case.dtype)
    forward = case.direction == "forward"
    if name.endswith(f"<{struct},{scalar}>"):
        return name.startswith("forward") or not forward
    fast = re.match(rf"window_kernel<{struct},Tile<{scalar},(\d+),(\d+),\d+,\d+>,(\w+),", name)
    window = {(str(k), str(s)) for k, s in zip(case.kernel, case.stride, strict=True)}
    return fast is not None and window == {(fast[1], fast[2])} and (fast[3] == "value" or not forward)


def change(old: Mapping[str, int], new: Mapping[str, int]) -> str:
    """registers 40 -> 64, +24 B spill."""
    words = []
    for name in (*old, *(name for name in new if name not in old)):
        a, b = old.get(name, 0), new.get(name, 0)
        if name in UNITS and a != b:
            words.append(f"{b - a:+d}{UNITS[name]}")
        elif abs(b - a) > COUNTED * a * (name == "instructions"):
            words.append(f"{name} {a} -> {b}")
    return ", ".join(words)


def _on_cpu(cases: Sequence[Case], base: Build, head: Build) -> dict[str, str]:
    methods = sorted({case.method for case in cases})
    sides = []
    with tempfile.TemporaryDirectory() as scratch:
        for side, build in (("base", base), ("head", head)):
            source = builds.sources(build, Path(scratch) / side)
            if source is None:
                return {}
            there = [method for method in methods if method in callgrind.methods(source)]
            try:
                sides.append(callgrind.instructions(source, there) if there else {})
            except (Missing, callgrind.Broken) as error:
                say(f"causes: {error}")
                return {}
    found = {}
    for case in cases:
        kernel = "forward" if case.direction == "forward" else "gather"
        counts = [
            f"{name.rpartition('/')[2]} {words}"
            for name, row in sides[0].items()
            if name.startswith(f"{case.method}/{kernel}/") and (words := change(row, sides[1].get(name, row)))
        ]
        if counts:
            found[case.name] = f"CPU {kernel}: {', '.join(counts)}"
    return found
