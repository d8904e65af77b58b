"""What a comparison need not build or measure, what a kept build depends on, and what of two builds differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from gate.cli import gate
from suites import builds
from suites.builds import Build

FILES = {
    "adapool/__init__.py": "one = 1\n", "csrc/CMakeLists.txt": "project(x)\n", "README.md": "read\n",
    "pyproject.toml": '[build-system]\nrequires = []\n[tool.scikit-build]\nwheel.py-api = "py3"\n',
}  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository in the place of this one, with one commit."""
    folder = tmp_path / "repository"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(builds, "ROOT", folder)
    builds.git("init", "--quiet")
    commit()
    return folder


def commit() -> str:
    builds.git("add", "--all")
    builds.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "m")
    return builds.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("file", "more", "alike"),
    [
        ("README.md", "more\n", True),
        ("tests/test_a.py", "more\n", True),
        ("pyproject.toml", "[tool.ruff]\nline-length = 99\n", True),
        ("pyproject.toml", 'cmake.args = ["-DX=1"]\n', False),
        ("adapool/__init__.py", "two = 2\n", False),
        ("adapool/new.py", "", False),
        ("csrc/CMakeLists.txt", "# more\n", False),
        ("csrc/math/a.h", "", False),
    ],
)
def test_what_installs_the_same(repository: Path, file: str, more: str, alike: bool) -> None:
    (repository / file).parent.mkdir(exist_ok=True, parents=True)
    with (repository / file).open("a") as end:
        end.write(more)
    assert builds.alike("HEAD", str(repository)) is alike  # a folder with changes beside its commit
    commit()
    assert builds.alike("HEAD~1", "HEAD") is alike


def test_what_is_not_known_to_be_the_same_is_built(repository: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed" / "adapool"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text(FILES["adapool/__init__.py"])
    assert not builds.alike("HEAD", str(installed.parent))
    assert builds.alike(str(installed.parent), str(installed.parent))
    builds.git("rm", "-r", "--quiet", "csrc")
    commit()
    assert not builds.alike("HEAD", "HEAD")  # nothing is known of what a revision without csrc installs


def test_a_commit_that_changes_nothing_installed_ends_without_a_build(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object) -> None:
        raise AssertionError(f"built {given}")

    monkeypatch.setattr(builds, "_install", never)
    commit()
    done = CliRunner().invoke(gate, ["ab", "HEAD~1", "HEAD", "--cpu", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "install the same Python files and csrc: there is nothing to build" in done.output
    assert json.loads((tmp_path / "out" / "verdicts.json").read_text())["exit_code"] == 0
    assert b"skipped" in (tmp_path / "out" / "junit.xml").read_bytes()


def test_a_revision_is_kept_and_a_source_folder_is_not(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    store = tmp_path / "store"
    monkeypatch.setattr(
        builds, "_install", lambda source, target: shutil.copytree(source / "adapool", target / "adapool")
    )
    with builds.built(str(repository), store, said.append) as build:
        assert build.folder is not None and (build.folder / "adapool" / "__init__.py").is_file()
    assert not any(store.iterdir())
    for _ in range(2):
        with builds.built("HEAD", store, said.append) as build:
            pass
        assert list(store.iterdir()) == [build.folder]
    assert len(said) == 2, "a revision is built once"


def test_nothing_is_left_of_what_does_not_build(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(source: Path, target: Path) -> None:
        target.mkdir(exist_ok=True)
        raise builds.BuildError("made so")

    monkeypatch.setattr(builds, "_install", fails)
    for name in (str(repository), "HEAD"):
        with pytest.raises(builds.BuildError), builds.built(name, tmp_path / "store", print):
            pass
        assert not any((tmp_path / "store").iterdir())


def test_a_build_is_kept_for_one_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "c++"

    def key(version: str) -> str:
        compiler.write_text(f"#!/bin/sh\necho c++ {version}\n")
        compiler.chmod(0o755)
        return builds._toolchain()

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CXX", raising=False)
    first = key("12.1")
    assert key("12.1") == first and key("12.2") != first
    for name in ("CXXFLAGS", "LDFLAGS", "SKBUILD_CMAKE_ARGS", "CMAKE_BUILD_TYPE"):
        before = key("12.1")
        monkeypatch.setenv(name, "-g")
        assert key("12.1") != before, name
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert len(key("12.1")) == 8


def test_what_differs_in_words() -> None:
    def made(python: str, native: str | None) -> Build:
        return Build("x", None, parts={"python": python, **({"native": native} if native else {})})

    assert builds.difference(made("a", "n"), made("b", "n")) == "only Python changed"
    assert builds.difference(made("a", "n"), made("a", "m")) == "only compiled code changed"
    assert builds.difference(made("a", "n"), made("b", "m")) is None
    assert builds.difference(made("a", "n"), made("a", "n")) is None


def test_files_that_differ_are_named(repository: Path) -> None:
    (repository / "adapool" / "__init__.py").write_text("one = 2\n")
    (repository / "README.md").write_text("other\n")
    commit()
    base, head = (Build(n, None, builds.git("rev-parse", n), parts={"python": n}) for n in ("HEAD~1", "HEAD"))
    assert builds.difference(base, head) == "only Python changed; changed: adapool/__init__.py"
