"""Digests of an adapool: of what runs where it is installed, and of what it is made of where it is not built yet.

Knows ELF, and what of pyproject.toml decides a build; nothing of git or pip.
"""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

from suites import provenance

LIBRARY = "libadapool_native.so"
# Tables of pyproject.toml that decide no install; any other may.
TOOLS = ("[tool.adapool", "[tool.mypy", "[[tool.mypy", "[tool.pytest", "[tool.ruff", "[project.optional-dependencies")
CODE = (".text", ".rodata")  # what runs, CUDA sources among it; the rest holds names and addresses


def installed(folder: Path, library: Path | None = None) -> dict[str, str]:
    """Of what runs: the Python files, and the code of the library where it is there."""
    package = folder / "adapool"
    parts = {"python": provenance.of_python(package)[:16]}
    library = library or package / LIBRARY
    if library.is_file():
        parts["native"] = hashlib.sha256(code(library)).hexdigest()[:16]
    return parts


def sources(tree: Path) -> dict[str, str]:
    """Of what an install is made of: the Python files, csrc, and how pyproject.toml has them built."""
    tables = re.split(r"^(?=\[)", (tree / "pyproject.toml").read_text(), flags=re.MULTILINE)
    how = "".join(table for table in tables if not table.startswith(TOOLS))
    return {
        "python": provenance.of_python(tree / "adapool")[:16],
        "csrc": provenance.of_csrc(tree / "csrc")[:16],
        "build": hashlib.sha256(how.encode()).hexdigest()[:16],
    }


def code(path: Path) -> bytes:
    """The sections of an ELF file that run, one after the other; the whole file where it is something else."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian
        return data
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    heads = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    strings = heads[names][4]
    found = []
    for name, _, _, _, offset, length in heads:
        text = data[strings + name : data.index(b"\0", strings + name)].decode()
        if text in CODE:
            found.append(text.encode() + data[offset : offset + length])
    return b"".join(found) or data
