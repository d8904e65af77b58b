"""Whose code runs: version, commit and dirty flag of the adapool that Python imports and of the library that it loaded.

They are told apart from this folder's by digests of their sources, of which the library holds its own. Paths stay
here: what is handed out says of what kind a place is. Imports adapool, so torch, when asked.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from suites.axes import UsageError
from suites.machine import ROOT

OTHER = "ADAPOOL_OTHER_SOURCES"  # "1" has other sources than this folder's measured, and said so
PATTERNS = ("*.cpp", "*.h", "*.cuh", "*.cmake", "CMakeLists.txt")  # as csrc/source_digest.cmake has them
INSTALL = "python -m pip install --no-build-isolation --no-deps -e ."


def source() -> dict[str, Any]:
    """Version, commit and dirty flag of the code that runs, None where git does not say; of what kind its places are.

    The version is the imported package's own: metadata is missing in a clone, and that of an editable install is old.
    """
    import adapool

    repository = _repository()
    commit = changes = None
    if repository is not None:
        commit, changes = _git(repository, "rev-parse", "HEAD"), _git(repository, "status", *_TRACKED)
    dirty = None if commit is None or changes is None else bool(changes) or _library_differs() is not None
    return {
        "version": adapool.__version__, "commit": commit, "dirty": dirty,
        "package": _kind(), "library": _library(),
    }  # fmt: skip


def words() -> str:
    """`source` for a person, on a line."""
    said = source()
    commit = (said["commit"] or "unknown")[:12]
    return f"{said['version']}, {said['package']}, commit {commit}{', changed since' if said['dirty'] else ''}"


def check() -> None:
    """UsageError when what would be measured was made of other sources than those of this folder."""
    if os.environ.get(OTHER) != "1" and (words := fault()) is not None:
        raise UsageError(f"{words}, or measure it all the same with {OTHER}=1, which the records then say")


def fault() -> str | None:
    """In one sentence what was made of other sources than this folder's, or None."""
    if not _same_package():
        commit = (source()["commit"] or "unknown")[:12]
        return (
            f"adapool: expected the package of this folder, Python imports {_kind()} (commit {commit}); "
            f"install this one: {INSTALL}"
        )
    if (words := _library_differs()) is not None:
        return f"compiled operators: expected a library built from this folder's csrc, got one {words}; {INSTALL}"
    return None


_CSRC = "csrc"
_TRACKED = ("--porcelain", "--untracked-files=no")


def _package() -> Path:
    import adapool

    return Path(adapool.__file__).resolve().parent


@cache
def _same_package() -> bool:
    ours, theirs = ROOT / "adapool", _package()
    return ours == theirs or (ours.is_dir() and of_python(ours) == of_python(theirs))


def _kind() -> str:
    """What the folder of the imported package is."""
    folder = _package()
    if folder == ROOT / "adapool":
        return "this folder's"
    place = "another folder's" if (folder.parent / "pyproject.toml").is_file() else "an installed copy's"
    return f"{place}, of {'the same' if _same_package() else 'other'} sources"


def _repository() -> Path | None:
    """The folder whose commit is the code's: its own where git tracks it there, else this one when it is equal."""
    own = _package().parent
    if _git(own, "ls-files", "--error-unmatch", "adapool/__init__.py") is not None:
        return own
    return ROOT if _same_package() else None


def _library() -> str:
    """Where the loaded library is, and which sources it was built from."""
    from adapool import native_library

    if not native_library.LOADED:
        return "none"
    place = "in ADAPOOL_LIBRARY_DIR" if os.environ.get("ADAPOOL_LIBRARY_DIR") else "beside the package"
    return f"{place}, {_library_differs() or f'of sources {of_csrc(ROOT / _CSRC)[:12]}'}"


def _library_differs() -> str | None:
    """In words which other sources the loaded library was built from; None where they are this folder's."""
    from adapool import native_library

    if not native_library.LOADED or not (ROOT / _CSRC).is_dir():
        return None
    built, here = native_library.source_digest(), of_csrc(ROOT / _CSRC)
    if built == here:
        return None
    which = "it does not say of which" if built is None else built[:12]
    return f"of other sources ({which}; here {here[:12]})"


@cache
def of_csrc(folder: Path) -> str:
    """The digest that a library built from this csrc holds: of the lines of `sha256sum` over its sources."""
    names = sorted({path.relative_to(folder).as_posix() for pattern in PATTERNS for path in folder.rglob(pattern)})
    lines = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def of_python(package: Path) -> str:
    """A digest of a package's Python files."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _git(folder: Path, *words: str) -> str | None:
    """What git says, which may be nothing; None where it cannot say."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
