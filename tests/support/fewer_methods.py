"""A copy of csrc with some of the fast methods, which compiles in a part of the time."""

from __future__ import annotations

import re
from pathlib import Path

LIST = "#define ADAPOOL_FAST_METHODS(X)"


def fast_methods(csrc: Path) -> list[str]:
    """Those that have fast kernels of their own."""
    return re.findall(r"X\((\w+)\)", (csrc / "cpu" / "fast" / "methods.h").read_text().partition(LIST)[2])


def keep(csrc: Path, *methods: str) -> None:
    """Takes the others out of the copy's list, and the twins whose kernels go with them."""
    file = csrc / "cpu" / "fast" / "methods.h"
    twins, found, _ = file.read_text().partition(LIST)
    assert found
    gone = set(fast_methods(csrc)) - set(methods)
    twins = re.sub(rf"^ +X\(\w+, ({'|'.join(gone)})\).*\n", "", twins, flags=re.MULTILINE)
    file.write_text(f"{twins}{LIST} {' '.join(f'X({method})' for method in methods)}\n")
