"""Why a case moved: what the compiler makes of its kernels in both builds.

CUDA kernels are compiled again as each build's own library has them; instructions of CPU kernels are counted where the
sources of both builds are known. Which files differ is the caller's to say (suites/builds.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from counts import callgrind, cuda
from gate.committed import Table, changes
from gate.outcome import say
from suites import builds, first_call
from suites.ab import REPEATED
from suites.builds import Build
from suites.case import Case
from suites.inspector import Missing
from suites.machine import ROOT, private

UNITS = {"stack": " B stack", "shared": " B shared", "spill_stores": " B spill"}  # as a change; others: old -> new
SILENT = ("allowed", "spill_loads")  # go with others
COUNTED = 0.005  # fewer instructions than this fraction explain nothing
SECONDS = 600
# In a process of its own: two libraries that declare the same operators cannot be loaded into one.
COUNT = """import sys; from suites.build_import import enter; enter(sys.argv[1])
from gate import cause; cause.tell(sys.argv[2:])"""


def of_kernels(moved: Sequence[Case], base: Build, head: Build, kind: str) -> dict[str, str]:
    """Case -> what is different in its kernels, as far as that is known."""
    native = [case for case in moved if case.implementation == "native" and case.probe in REPEATED and case.kernel]
    if not native or base.parts.get("native") == head.parts.get("native"):
        return {}
    return (_on_cuda if kind == "cuda" else _on_cpu)(native, base, head)


def _on_cuda(cases: Sequence[Case], base: Build, head: Build) -> dict[str, str]:
    calls = {case.name: first_call.measured(case) for case in cases if case.own is None}
    asked = list(dict.fromkeys(call for found in calls.values() for call in found))
    sides = []
    for build in (base, head):
        if build.folder is None or "native" not in build.parts:
            return {}
        try:
            architecture, counted = _counted(build.folder, asked)
        except Missing as error:
            say(f"causes: {error}")
            return {}
        sides.append(counted)
    found = {}
    for name, some in calls.items():
        told = [differences(sides[0][call], sides[1][call]) for call in some if call in sides[0] and call in sides[1]]
        if words := "; ".join(dict.fromkeys(filter(None, told))):
            found[name] = f"sm_{architecture} {words}"
    return found


def _counted(folder: Path, calls: Iterable[str]) -> tuple[int, dict[str, Table]]:
    """The architecture, and call -> kernel -> counts as a build's library makes it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAPOOL_")}
    words = [sys.executable, "-c", COUNT, str(folder.resolve()), *calls]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=ROOT, env=environment
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"kernels were not counted in {SECONDS} s") from None
    if done.returncode:
        raise Missing(f"kernels are not counted: {private((done.stderr.splitlines() or ['nothing said'])[-1])[:300]}")
    architecture, table = json.loads(done.stdout.splitlines()[-1])
    return architecture, table


def tell(calls: Iterable[str]) -> None:
    """Prints what `_counted` reads, of the adapool that this process imports."""
    import torch

    major, minor = torch.cuda.get_device_capability() if torch.cuda.is_available() else (9, 0)
    architecture = 10 * major + minor if 10 * major + minor in cuda.SM else 90
    found = {}
    for call in calls:
        try:
            found[call], _ = cuda.counts(cuda.kernels([call]), architecture)
        except ValueError:  # a call that this library does not know
            continue
    print(json.dumps([architecture, found]))


def differences(old: Table, new: Table) -> str:
    """ada forward float 1x2x2 stride 1x2x2 padding 0x0x0: registers 40 -> 64, +24 B spill."""
    return "; ".join(changes(old, new, change))


def change(old: Mapping[str, int], new: Mapping[str, int]) -> str:
    """registers 40 -> 64, +24 B spill."""
    words = []
    for name in dict.fromkeys((*old, *new)):
        a, b = old.get(name, 0), new.get(name, 0)
        if name in UNITS and a != b:
            words.append(f"{b - a:+d}{UNITS[name]}")
        elif name not in SILENT and abs(b - a) > COUNTED * a * (name == "instructions"):
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
