"""Makes this process import adapool from a build, whatever else its Python has installed. Stdlib until then."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from suites.digests import LIBRARY


def enter(build: str) -> None:
    """Make `import adapool` find the build, and its library, not one that ADAPOOL_LIBRARY_DIR names.

    RuntimeError when it found another, or when the build has a library and that is not the one that was loaded.
    """
    os.environ.pop("ADAPOOL_LIBRARY_DIR", None)
    finders: list[Any] = list(sys.meta_path)
    sys.meta_path[:] = [f for f in finders if f is PathFinder or f.find_spec("adapool", None) is None]
    sys.path.insert(0, build)
    from adapool import native

    if not Path(native.__file__).resolve().is_relative_to(Path(build).resolve()):
        raise RuntimeError("adapool came from another place than the build")
    library, state = Path(build, "adapool", LIBRARY).resolve(), native.status()["cpu"]
    if library.is_file() and state != "ok" and os.environ.get("ADAPOOL_NATIVE") != "0":
        raise RuntimeError(f"the build's compiled operators cannot be measured: {state}")
    if state == "ok" and loaded() != {library}:
        raise RuntimeError("the compiled operators came from another place than the build")


def loaded() -> set[Path]:
    """The libraries of compiled operators in this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line.split(maxsplit=5)[5]).resolve() for line in lines if line.endswith(f"/{LIBRARY}")}
