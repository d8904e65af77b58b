"""Compiled libraries in a folder of this user's own, so that what was compiled once is not compiled again.

    python build_cache.py find CSRC FACTS LIBRARY        prints the build's key; writes LIBRARY where one is kept
    python build_cache.py keep CSRC FACTS LIBRARY KEY    keeps it, unless CSRC has changed since its key was printed

CMakeLists.txt asks before it compiles and after. A key is the digest of the sources and of FACTS, a file with all else
that decides what is compiled. The folder is ~/.cache/adapool/builds, or that below ADAPOOL_CACHE ("0": none). What is
wrong with it is said, and the build goes on without it. Stdlib only: nothing of adapool is installed yet.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

MOST = 12  # libraries, of some megabytes each; those that were not taken for longest go
ABANDONED = 600  # seconds after which a file that is being written has no writer


def folder() -> Path | None:
    """Where libraries are kept; None where the user wants none."""
    own = os.environ.get("ADAPOOL_CACHE")
    if own == "0":
        return None
    caches = os.environ.get("XDG_CACHE_HOME", "")
    return Path(own or Path(caches if caches.startswith("/") else Path.home() / ".cache", "adapool"), "builds")


def fault(place: Path) -> str | None:
    """Why what lies there may be another's; it is to be loaded."""
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is a link or no folder"
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    return "others may write to it" if found.st_mode & 0o022 else None


def key(csrc: Path, facts: Path) -> str:
    """The digest of everything that decides the library: of the C library, too, to which it is linked."""
    digest = hashlib.sha256(f"{platform.machine()} {platform.libc_ver()}\n".encode() + facts.read_bytes())
    for path in sorted(path for path in csrc.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        name = path.relative_to(csrc).as_posix()
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def find(place: Path, name: str) -> bytes | None:
    """The kept library of a key. A file bears its own digest as well, so that a torn one is known, and removed."""
    for path in place.glob(f"{name}.*.so"):
        with suppress(OSError):  # removed by another build
            held = path.read_bytes()
            if path.suffixes[0] == f".{hashlib.sha256(held).hexdigest()}":
                os.utime(path)
                return held
            path.unlink()
    return None


def keep(place: Path, name: str, library: bytes) -> None:
    """Lay the library there under its key: whole, or not at all."""
    number, half = tempfile.mkstemp(dir=place, suffix=".writing")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(library)
        os.replace(half, place / f"{name}.{hashlib.sha256(library).hexdigest()}.so")
    except OSError:
        os.unlink(half)
        raise
    with suppress(OSError):  # another build removes as well
        held = sorted(place.glob("*.so"), key=lambda path: -path.stat().st_mtime)
        old = [path for path in place.glob("*.writing") if path.stat().st_mtime < time.time() - ABANDONED]
        for path in (*held[MOST:], *old):
            path.unlink()


def main(what: str, csrc: str, facts: str, library: str, before: str = "") -> None:
    place = None
    try:
        place = folder()
        if place is None:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        if (why := fault(place)) is not None:
            raise OSError(why)
        name = key(Path(csrc), Path(facts))
        if what == "keep" and name == before:
            keep(place, name, Path(library).read_bytes())
        elif what == "find":
            if (held := find(place, name)) is not None:
                Path(library).write_bytes(held)
            print(name)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        where = f"in {place} " if place else ""
        print(f"adapool: compiled libraries are not kept {where}({error})", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
