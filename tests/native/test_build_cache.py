"""The compiled library is kept for the next install: of the same sources, compiler and options, whole, this user's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
LIBRARY = b"a library" * 1000


@pytest.fixture(scope="module")
def cache() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_cache", CSRC / "build_cache.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with sources, facts and a library; what is kept lies in `cache/builds`."""
    (tmp_path / "csrc" / "math").mkdir(parents=True)
    (tmp_path / "csrc" / "math" / "a.h").write_text("one")
    (tmp_path / "facts").write_text("g++ 12.2.0 -O2")
    (tmp_path / "library").write_bytes(LIBRARY)
    monkeypatch.setenv("ADAPOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def find(cache: ModuleType, made: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, bytes | None]:
    """The key that is printed, and what was kept."""
    found = made / "found"
    found.unlink(missing_ok=True)
    cache.main("find", str(made / "csrc"), str(made / "facts"), str(found))
    return capsys.readouterr().out.strip(), found.read_bytes() if found.exists() else None


def keep(cache: ModuleType, made: Path, key: str) -> None:
    cache.main("keep", str(made / "csrc"), str(made / "facts"), str(made / "library"), key)


def test_what_was_kept_is_found_for_the_same_sources_and_facts_alone(
    cache: ModuleType, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, nothing = find(cache, made, capsys)
    assert len(key) == 64 and nothing is None
    keep(cache, made, key)
    assert find(cache, made, capsys) == (key, LIBRARY)
    elsewhere = made / "elsewhere"
    shutil.copytree(made / "csrc", elsewhere / "csrc")
    shutil.copy(made / "facts", elsewhere)
    (elsewhere / "csrc" / "build_cache.cpython-311.pyc").touch()
    assert find(cache, elsewhere, capsys) == (key, LIBRARY)
    for path, text in (("csrc/math/a.h", "two"), ("csrc/b.cpp", ""), ("facts", "g++ 12.2.1 -O2")):
        before = (elsewhere / path).read_text() if (elsewhere / path).exists() else None
        (elsewhere / path).write_text(text)
        other, found = find(cache, elsewhere, capsys)
        assert other != key and found is None, path
        (elsewhere / path).unlink() if before is None else (elsewhere / path).write_text(before)
    assert find(cache, elsewhere, capsys) == (key, LIBRARY)


def test_sources_that_changed_while_they_were_compiled_are_not_kept(
    cache: ModuleType, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, _ = find(cache, made, capsys)
    (made / "csrc" / "math" / "a.h").write_text("two")
    keep(cache, made, key)
    assert not list((made / "cache" / "builds").iterdir())


def test_a_torn_library_is_compiled_again(cache: ModuleType, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, _ = find(cache, made, capsys)
    keep(cache, made, key)
    (path,) = (made / "cache" / "builds").iterdir()
    path.write_bytes(LIBRARY[:-1])
    assert find(cache, made, capsys) == (key, None) and not path.exists()
    keep(cache, made, key)
    assert find(cache, made, capsys) == (key, LIBRARY)


def test_builds_at_once_leave_one_whole_library(
    cache: ModuleType, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, _ = find(cache, made, capsys)
    place = made / "cache" / "builds"

    def build(number: int) -> bytes | None:
        cache.keep(place, key, LIBRARY)
        held: bytes | None = cache.find(place, key)
        return held

    with ThreadPoolExecutor(8) as several:
        assert set(several.map(build, range(100))) == {LIBRARY}
    assert len(list(place.iterdir())) == 1


def test_a_folder_that_may_be_anothers_is_not_used(
    cache: ModuleType, made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = find(cache, made, capsys)
    keep(cache, made, key)
    place = made / "cache" / "builds"
    assert place.stat().st_mode & 0o777 == 0o700

    def refused(why: str) -> None:
        found = made / "found"
        found.unlink(missing_ok=True)
        cache.main("find", str(made / "csrc"), str(made / "facts"), str(found))
        keep(cache, made, key)
        said = capsys.readouterr()
        assert said.out == "" and said.err.count(why) == 2 and not found.exists()

    place.chmod(0o770)
    refused("others may write to it")
    place.chmod(0o700)
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: 12345)
        refused("it belongs to another user")
    place.rename(made / "moved")
    place.symlink_to(made / "moved")
    refused("it is a link or no folder")
    place.unlink()
    place.write_text("a file")
    refused("File exists")


def test_none_is_kept_where_none_is_wanted(
    cache: ModuleType, made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = find(cache, made, capsys)
    keep(cache, made, key)
    monkeypatch.setenv("ADAPOOL_CACHE", "0")
    assert find(cache, made, capsys) == ("", None)
    monkeypatch.delenv("ADAPOOL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / "xdg"))
    assert cache.folder() == made / "xdg" / "adapool" / "builds"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(made / "home"))
    assert cache.folder() == made / "home" / ".cache" / "adapool" / "builds"


def test_old_libraries_go(cache: ModuleType, made: Path) -> None:
    place = made / "kept"
    place.mkdir()
    (place / "dead.writing").touch()
    os.utime(place / "dead.writing", (1, 1))
    (place / "live.writing").touch()
    for number in range(cache.MOST + 3):
        cache.keep(place, f"{number:064}", LIBRARY)
        for path in place.glob(f"{number:064}.*"):
            os.utime(path, (time.time() - 1000 + number,) * 2)
        assert cache.find(place, f"{0:064}") == LIBRARY  # the first is taken every time
    left = {path.name[:64] for path in place.glob("*.so")}
    assert len(left) == cache.MOST and f"{0:064}" in left and f"{1:064}" not in left
    assert [path.name for path in place.glob("*.writing")] == ["live.writing"]


def test_an_install_compiles_once(tmp_path: Path) -> None:
    """The true CMakeLists.txt, on sources without content; from another folder and environment the second time."""
    cmake, ninja = (
        shutil.which(tool, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        for tool in ("cmake", "ninja")
    )
    if cmake is None or ninja is None or shutil.which("c++") is None:
        pytest.skip("needs CMake, Ninja and a C++ compiler")

    def install(name: str, *options: str) -> str:
        source, build, own = (tmp_path / name / part for part in ("csrc", "build", "ninja"))
        shutil.copytree(CSRC, source)
        for path in (*source.rglob("*.cpp"), *(source / "cpu" / "fast").glob("*.h")):
            path.write_text("")
        own.symlink_to(str(ninja))
        (source / "cpu" / "fast" / "methods.h").write_text("X(softpool)")
        words = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={own}", f"-DPython_EXECUTABLE={sys.executable}", "-DSKBUILD=2"]
        said = ""
        for command in (["-S", source, "-B", build, *words, *options], ["--build", build],
                        ["--install", build, "--prefix", tmp_path / name]):  # fmt: skip
            done = subprocess.run(
                [cmake, *map(str, command)], capture_output=True, text=True, check=False,
                env={**os.environ, "ADAPOOL_CACHE": str(tmp_path / "cache")},
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            said += done.stdout
        return said

    kept = "nothing is compiled, the library of these sources was kept"
    first, second = install("first"), install("second")
    assert kept not in first and "Linking" in first
    assert kept in second and "Building" not in second
    libraries = [tmp_path / name / "adapool" / "libadapool_native.so" for name in ("first", "second")]
    assert libraries[0].read_bytes() == libraries[1].read_bytes()
    assert kept not in install("other", "-DCMAKE_CXX_FLAGS=-DOTHER")
