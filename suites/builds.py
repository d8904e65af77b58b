"""A revision of adapool as an installed folder of its own: git archive and pip. Never a second torch.

Knows git and pip; nothing of cases or records.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suites import digests, provenance
from suites.axes import UsageError
from suites.machine import ROOT, private

BUILD_SECONDS = 1800
SOURCES = ("adapool", "csrc")  # what an install is made of, but for how pyproject.toml has it built
# Variables that decide a build, and what such variables begin with.
COMPILING = ("CXX", "CXXFLAGS", "LDFLAGS", "CPATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH")
COMPILING_ALL = ("CMAKE_", "SKBUILD_")


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

    @property
    def source(self) -> dict[str, Any]:
        """The code, as records state it. The version is read: two builds cannot be imported side by side."""
        if self.folder is None:
            return provenance.source()
        text = (self.folder / "adapool" / "__init__.py").read_text()
        told = re.search(r"^__version__ *= *[\"'](.+?)[\"']", text, re.MULTILINE)
        return {"version": told[1] if told else "unknown", "commit": self.commit, "dirty": self.dirty}


def git(*words: str) -> str:
    """What git prints in the repository; UsageError with its complaint."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"git {words[0]}: {private(done.stderr or done.stdout)}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Wanted:
    """What a side was asked to be: a git revision, or a folder with the sources or an installed adapool in it."""

    folder: Path | None
    commit: str | None

    @property
    def installed(self) -> bool:
        return self.folder is not None and not (self.folder / "pyproject.toml").is_file()

    def sources(self, scratch: Path) -> Path | None:
        """The folder of its sources, laid out in `scratch` where they lie in git alone; None where git lacks them."""
        if self.commit is None:
            return self.folder
        words = ["git", "-C", str(ROOT), "archive", self.commit]
        archive = subprocess.run(words, capture_output=True, check=False)
        if archive.returncode:
            return None
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as held:
            held.extractall(scratch, filter="data")
        return scratch

    def digests(self) -> dict[str, str]:
        """Of what it is made of, or of what runs where it is installed; none where that is not known."""
        if self.folder is not None and self.installed:
            return digests.installed(self.folder)
        with tempfile.TemporaryDirectory() as scratch:
            tree = self.sources(Path(scratch))
            if tree is None or not all((tree / name).exists() for name in ("csrc", "pyproject.toml")):
                return {}
            return digests.sources(tree)


def wanted(name: str) -> Wanted:
    """UsageError when the name is neither a revision nor a folder with adapool in it."""
    given = Path(name)
    if (given / "adapool" / "__init__.py").is_file():
        return Wanted(given.resolve(), None)
    try:
        return Wanted(None, git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))
    except UsageError:
        raise UsageError(f"revision: expected a git revision, or a folder with adapool in it, got {name!r}") from None


def alike(base: str, head: str) -> bool:
    """Whether both sides install the same, as far as that is known before anything is built."""
    one, other = wanted(base).digests(), wanted(head).digests()
    return bool(one) and one == other


@contextmanager
def built(name: str, store: Path, say: Callable[[str], object]) -> Iterator[Build]:
    """The build of a git revision, of a source folder, or of a folder with an installed adapool.

    Revisions are built once and kept in `store` under their commit. Source folders are built every time, since nothing
    tells when they change: theirs lie there while they are needed.
    """
    asked = wanted(name)
    if asked.folder is not None and asked.installed:
        yield Build(name, asked.folder, None, None, digests.installed(asked.folder))
        return
    store.mkdir(parents=True, exist_ok=True)
    if asked.folder is not None:
        with tempfile.TemporaryDirectory(prefix="source-", dir=store.resolve()) as made:
            say(f"building {name}")
            _install(asked.folder, Path(made))
            yield Build(name, Path(made), None, True, digests.installed(Path(made)))
        return
    commit = asked.commit or ""
    folder = store.resolve() / f"{commit[:12]}-{_toolchain()}"
    if not (folder / "adapool" / "__init__.py").is_file():
        say(f"building {name} ({commit[:12]})")
        _install_commit(asked, folder)
    yield Build(name, folder, commit, False, digests.installed(folder))


def here() -> Build:
    """The adapool that this Python imports; its library is not always beside its Python files."""
    from adapool import native_library

    place = Path(native_library.__file__).parents[1]
    return Build("installed", None, parts=digests.installed(place, native_library.path()))


def _toolchain() -> str:
    """What else decides a build: this Python's torch, the compiler and what is asked of it, as a short digest."""
    import importlib.metadata

    asked = {n: v for n, v in os.environ.items() if n in COMPILING or n.startswith(COMPILING_ALL)}
    words = [importlib.metadata.version("torch"), _compiler(), *(f"{n}={v}" for n, v in sorted(asked.items()))]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def _compiler() -> str:
    """What the C++ compiler says of itself: an upgrade under the same name is another."""
    try:
        words = [*shlex.split(os.environ.get("CXX") or "c++"), "--version"]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except (OSError, ValueError):
        return "none"


def _install_commit(asked: Wanted, folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="adapool-") as scratch,  # as long for every side: paths end up in the binary
        tempfile.TemporaryDirectory(dir=folder.parent) as beside,  # on the same disk
    ):
        tree = asked.sources(Path(scratch))
        if tree is None:
            raise BuildError(f"git archive gives no files of {asked.commit}")
        _install(tree, Path(beside) / "half")
        (Path(beside) / "half").replace(folder)


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


def unchanged(base: Build, head: Build, implementation: str) -> bool:
    """Whether both builds run the same code for an implementation."""
    if implementation in ("torch", "copy", "own", "released"):
        return True
    needed = ("python", "native") if implementation == "native" else ("python",)
    return all(base.parts.get(part) == head.parts.get(part) for part in needed)


def sources(build: Build, scratch: Path) -> Path | None:
    """The csrc that a build was made of, laid out in `scratch` where it lies in git alone; None where not known."""
    folder = None if build.commit is not None else Path(build.name)
    made_of = Wanted(folder, build.commit).sources(scratch)
    return made_of / "csrc" if made_of is not None and (made_of / "csrc").is_dir() else None


def difference(base: Build, head: Build) -> str | None:
    """In a few words which parts and files differ; None where that is not known."""
    parts = [part for part in ("python", "native") if base.parts.get(part) != head.parts.get(part)]
    alone = {"python": "only Python changed", "native": "only compiled code changed"}.get("".join(parts))
    return "; ".join(filter(None, [alone, _files(base, head)])) or None


def _files(base: Build, head: Build) -> str | None:
    """The sources that differ."""
    if base.commit is None or head.commit is None:
        return None
    names = git("diff", "--name-only", base.commit, head.commit, "--", *SOURCES).splitlines()
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"changed: {', '.join(names[:4])}{more}" if names else None
