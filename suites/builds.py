"""A revision of adapool as an installed folder of its own: worktree, pip, fingerprint. Never a second torch.

Knows git, pip and ELF; nothing of cases or records.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from suites import provenance
from suites.machine import ROOT, private
from suites.plan import UsageError

LIBRARY = "libadapool_native.so"
CODE = (".text", ".rodata")  # what runs, CUDA sources among it; the rest holds names and addresses
BUILD_SECONDS = 1800


class BuildError(RuntimeError):
    """A revision does not build; the text holds the last lines of the tool that failed."""


@dataclass(frozen=True)
class Build:
    """One side: `folder` holds an installed adapool; None is the adapool that this Python imports by itself."""

    name: str  # as asked for
    folder: Path | None
    commit: str | None = None
    dirty: bool | None = None
    parts: dict[str, str] = field(default_factory=dict)  # digests of python, native

    def library(self) -> Path | None:
        """The compiled operators; None where there are none."""
        path = _library() if self.folder is None else self._package() / LIBRARY
        return path if path.is_file() else None

    @property
    def version(self) -> str:
        """What the package says of itself as `__version__`; read, since two builds cannot be imported side by side."""
        told = re.search(
            r"^__version__ *= *[\"'](.+?)[\"']", (self._package() / "__init__.py").read_text(), re.MULTILINE
        )
        return told[1] if told else "unknown"

    def _package(self) -> Path:
        return (_found() if self.folder is None else self.folder) / "adapool"


def git(*words: str) -> str:
    """What git prints in the repository; UsageError with its complaint."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"git {words[0]}: {private(done.stderr or done.stdout)}")
    return done.stdout.strip()


def find(name: str, store: Path, say: Callable[[str], object]) -> Build:
    """The build of a git revision, of a source folder, or of a folder with an installed adapool.

    Revisions are built once and kept in `store` under their commit; source folders are built every time.
    """
    given = Path(name)
    if (given / "adapool" / "__init__.py").is_file():
        if not (given / "pyproject.toml").is_file():
            return Build(name, given.resolve(), None, None, fingerprint(given))
        folder = Path(tempfile.mkdtemp(prefix="source-", dir=_made(store)))
        say(f"building {name}")
        _install(given.resolve(), folder)
        return Build(name, folder, None, True, fingerprint(folder))
    try:
        commit = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except UsageError:
        raise UsageError(f"revision: expected a git revision, or a folder with adapool in it, got {name!r}") from None
    folder = store.resolve() / f"{commit[:12]}-{_toolchain()}"
    if not (folder / "adapool" / "__init__.py").is_file():
        say(f"building {name} ({commit[:12]})")
        _made(store)
        _install_commit(commit, folder)
    return Build(name, folder, commit, False, fingerprint(folder))


def here() -> Build:
    """The adapool that this Python imports."""
    return Build("installed", None, None, None, fingerprint(_found(), _library()))


def _library() -> Path:
    """Where this Python's adapool looks for its library: not always beside its Python files."""
    from adapool import native_library

    return native_library.path()


def _found() -> Path:
    import importlib.util

    found = importlib.util.find_spec("adapool")
    return Path(found.origin).parents[1] if found and found.origin else ROOT


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _toolchain() -> str:
    """What else decides a build: this Python's torch and compilers, as a short digest."""
    import importlib.metadata

    words = [importlib.metadata.version("torch"), os.environ.get("CXX", ""), os.environ.get("CXXFLAGS", "")]
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:8]


def _install_commit(commit: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="adapool-") as scratch:
        tree = Path(scratch) / "tree"  # the same length for every side: paths end up in the binary
        git("worktree", "add", "--detach", "--force", str(tree), commit)
        try:
            half = Path(scratch) / "half"
            _install(tree, half)
            half.replace(folder) if _same_disk(half, folder.parent) else _move(half, folder)
        finally:
            git("worktree", "remove", "--force", str(tree))


def _same_disk(a: Path, b: Path) -> bool:
    return a.stat().st_dev == b.stat().st_dev


def _move(half: Path, folder: Path) -> None:
    import shutil

    near = Path(tempfile.mkdtemp(dir=folder.parent)) / "half"
    shutil.copytree(half, near)
    near.replace(folder)
    near.parent.rmdir()


def _install(source: Path, target: Path) -> None:
    words = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-input"]
    words += ["--disable-pip-version-check", "--upgrade", "--target", str(target), str(source)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BuildError(f"pip install took more than {BUILD_SECONDS} s") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        told = [line for line in lines if "error" in line.lower()] or lines
        raise BuildError(private(" | ".join(told[-4:]))[:600])


def fingerprint(folder: Path, library: Path | None = None) -> dict[str, str]:
    """Digests of what runs: the Python files, and the code of the library where it is there."""
    package = folder / "adapool"
    parts = {"python": provenance.of_python(package)[:16]}
    library = library or package / LIBRARY
    if library.is_file():
        parts["native"] = hashlib.sha256(code(library)).hexdigest()[:16]
    return parts


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


def unchanged(base: Build, head: Build, implementation: str) -> bool:
    """Whether both builds run the same code for an implementation."""
    if implementation in ("torch", "copy", "own", "released"):
        return True
    needed = ("python", "native") if implementation == "native" else ("python",)
    return all(base.parts.get(part) == head.parts.get(part) for part in needed)


def sources(build: Build, scratch: Path) -> Path | None:
    """The csrc that a build was made of, laid out in `scratch` where it lies in git alone; None where not known."""
    if build.commit is None:
        given = Path(build.name) / "csrc"
        return given if given.is_dir() else None
    words = ["git", "-C", str(ROOT), "archive", build.commit, "csrc"]
    archive = subprocess.run(words, capture_output=True, check=False)
    if archive.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as held:
        held.extractall(scratch, filter="data")
    return scratch / "csrc"


def difference(base: Build, head: Build) -> str | None:
    """The sources that differ, in a few words; None where that is not known."""
    if base.commit is None or head.commit is None:
        return None
    names = git("diff", "--name-only", base.commit, head.commit, "--", "adapool", "csrc").splitlines()
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"changed: {', '.join(names[:4])}{more}" if names else None
