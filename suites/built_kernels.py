"""The kernels of a built CUDA library: registers, stack, spilled bytes and instructions, read out of its machine code.

Needs cuobjdump and nvdisasm (PyPI: nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm), no compiler and no GPU. What the
compiler says itself is in static.py. Knows nothing of cases or verdicts.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from suites.static import SECONDS, Missing, demangled, listing, tool

Row = dict[str, int]
_ELF = re.compile(r"\.sm_(\d+)[a-z]?\.cubin$")
_FUNCTION = re.compile(r"^\s*Function (\w+):")
_USAGE = re.compile(r"\bREG:(\d+) STACK:(\d+) SHARED:(\d+)")
_SECTION = re.compile(r"^\.text\.(\w+):")
_STORE = re.compile(r"/\*[0-9a-f]{4,}\*/.*\bSTL(?:\.(\d+))?")
_ANY = re.compile(r"/\*[0-9a-f]{4,}\*/\s+\S")


def kernels(library: Path) -> dict[int, dict[str, Row]]:
    """Architecture -> kernel -> its counts. Missing without the tools; nothing where the library holds no kernels."""
    dump = tool("cuobjdump", "nvidia-cuda-cuobjdump")
    if dump is None:
        raise Missing("no cuobjdump (PyPI: nvidia-cuda-cuobjdump): built kernels cannot be read")
    found: dict[int, dict[str, Row]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        _said([dump, "-xelf", "all", str(library.resolve())], Path(scratch))
        for path in sorted(Path(scratch).iterdir()):
            if architecture := _ELF.search(path.name):
                used = _usage(_said([dump, "-res-usage", str(path)], Path(scratch)))
                counted = spilled(listing(path))
                names = demangled(list(used))
                rows = {names[key]: row | counted.get(key, {}) for key, row in used.items()}
                found.setdefault(int(architecture[1]), {}).update(rows)
    return found


def _said(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=folder)
    return "" if done.returncode else done.stdout  # a library without kernels is an error to cuobjdump


def _usage(report: str) -> dict[str, Row]:
    found: dict[str, Row] = {}
    name = ""
    for line in report.splitlines():
        if function := _FUNCTION.match(line):
            name = function[1]
        elif used := _USAGE.search(line):
            found[name] = {"registers": int(used[1]), "stack": int(used[2]), "shared": int(used[3])}
    return found


def spilled(text: str) -> dict[str, Row]:
    """Bytes that each kernel of a listing stores to local memory, and its instructions."""
    found: dict[str, Row] = {}
    row: Row = {}
    for line in text.splitlines():
        if section := _SECTION.match(line):
            row = found.setdefault(section[1], {"spill": 0, "instructions": 0})
        elif row and _ANY.search(line) and " NOP" not in line:
            row["instructions"] += 1
            if store := _STORE.search(line):
                row["spill"] += int(store[1] or 32) // 8
    return found
