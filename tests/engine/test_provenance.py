"""What is measured is this folder's code: another package, or a library of other sources, is refused and never named as
this one's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapool import native_library
from reports import store
from suites import ab, doctor, provenance
from suites.axes import UsageError
from suites.builds import Build
from suites.case import Case
from tests.support.engine_runs import ROOT

CASE = Case("memory", "avg", "plain", "forward", (2, 2), (2, 2), (0, 0), False, (1, 2, 8, 8), "float32", "nchw")
EDITABLE = """
import importlib.util, os, sys

class Redirect:
    '''As the finder of an editable install: before every folder of sys.path.'''
    def find_spec(self, name, path=None, target=None):
        if name != "adapool":
            return None
        place = os.path.join({folder!r}, "adapool", "__init__.py")
        return importlib.util.spec_from_file_location(name, place, submodule_search_locations=[os.path.dirname(place)])

sys.meta_path.insert(0, Redirect())
"""


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(provenance.OTHER)
    provenance._same_package.cache_clear()
    yield
    provenance._same_package.cache_clear()


def copy(folder: Path, old: str = "", new: str = "") -> Path:
    """adapool in another folder, with one edit."""
    shutil.copytree(ROOT / "adapool", folder / "adapool", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (folder / "pyproject.toml").touch()
    methods = folder / "adapool" / "methods.py"
    methods.write_text(methods.read_text().replace(old, new) + ("# other\n" if new else ""))
    return folder


def run(editable: Path, *words: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """runner.py of this folder in a Python that has an editable install of another."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(EDITABLE.format(folder=str(editable)))
    own = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "ADAPOOL_NATIVE": "0"}
    return subprocess.run(
        [sys.executable, "runner.py", *words], cwd=ROOT, env=own, capture_output=True, text=True, check=False
    )


def test_the_code_of_another_folder_is_refused(tmp_path: Path) -> None:
    other = copy(tmp_path / "other", "edscw", "edscw")
    bench = run(other, "bench", "--cpu", "--profile", "smoke", "--out", str(tmp_path / "run"), tmp_path=tmp_path)
    assert bench.returncode == 2 and not (tmp_path / "run").exists()
    assert "error: adapool: expected the package of this folder, Python imports another folder's" in bench.stderr
    assert str(tmp_path) not in bench.stderr and len(bench.stderr.splitlines()) == 1
    new = run(other, "bench", "--cpu", "--method", "of_this_folder_alone", tmp_path=tmp_path)
    assert new.returncode == 2 and "error: adapool: expected the package of this folder" in new.stderr
    static = run(other, "gate", "static", "--part", "python", tmp_path=tmp_path)
    assert static.returncode == 6 and "Python imports another folder's, of other sources" in static.stderr
    said = run(other, "doctor", tmp_path=tmp_path)
    assert said.returncode == 1 and "missing  sources: other code runs here" in said.stdout


def test_the_same_code_in_another_folder_is_this_folders(tmp_path: Path) -> None:
    words = ("bench", "--cpu", "--profile", "smoke", "--method", "avg", "--kernel", "2", "--shape", "1x1x4x4",
             "--probe", "latency", "--clock", "hot", "--direction", "forward",
             "--out", str(tmp_path / "run"))  # fmt: skip
    done = run(copy(tmp_path / "other"), *words, tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "run" / "machine.json").read_text()
    assert "another folder's, of the same sources" in told and str(tmp_path / "other") not in told


def test_a_library_of_other_sources_is_refused_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "LOADED", True)
    monkeypatch.setattr(native_library, "source_digest", lambda: provenance.of_csrc(ROOT / "csrc"))
    provenance.check()
    assert "of other sources" not in provenance.source()["library"]
    for built, shown in (("ab" * 32, r"\(abababababab; here "), (None, r"\(it does not say of which; here ")):
        monkeypatch.setattr(native_library, "source_digest", lambda built=built: built)
        with pytest.raises(UsageError, match=f"^compiled operators: expected a library .* of other sources {shown}"):
            provenance.check()
        assert provenance.source()["dirty"] in (True, None)  # None: no git
        assert [mark for mark, what, *_ in doctor.findings() if what == "sources"] == ["missing"]
    monkeypatch.setenv(provenance.OTHER, "1")
    provenance.check()
    assert [mark for mark, what, *_ in doctor.findings() if what == "sources"] == ["note"]
    assert "of other sources (it does not say of which; here " in provenance.source()["library"]
    monkeypatch.setattr(native_library, "LOADED", False)
    monkeypatch.delenv(provenance.OTHER)
    provenance.check()


def test_the_build_embeds_the_digest_that_is_compared(tmp_path: Path) -> None:
    cmake = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if cmake is None:
        pytest.skip("no cmake")
    root = tmp_path / "csrc"
    for name in ("CMakeLists.txt", "b.cpp", "a/b.h", "a.b/c.cuh", "a/c.cmake", "a-b.h", "B.h", "ignored.txt"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(f"text of {name}; with $things\n")

    def embedded() -> str:
        out = tmp_path / "digest.cpp"
        words = [cmake, f"-DOUT={out}", f"-DROOT={root}", "-P", str(ROOT / "csrc" / "source_digest.cmake")]
        subprocess.run(words, check=True)
        return out.read_text().partition('return "')[2].partition('"')[0]

    def reckoned() -> str:
        provenance.of_csrc.cache_clear()
        return provenance.of_csrc(root)

    first = embedded()
    assert len(first) == 64 and first == reckoned()
    (root / "ignored.txt").write_text("other")
    assert embedded() == first == reckoned()
    (root / "a" / "b.h").write_text("text of a/b.h, changed\n")
    assert embedded() != first and embedded() == reckoned()


def test_a_library_that_was_built_says_of_which_sources() -> None:
    if not native_library.LOADED or native_library.source_digest() is None:
        pytest.skip("no library that says so")
    assert len(native_library.source_digest() or "") == 64


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_side_of_a_comparison_runs_its_own_library_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build whose library is garbage was measured with the one that ADAPOOL_LIBRARY_DIR named, on both sides."""
    build = copy(tmp_path / "build")
    library = native_library.path()
    monkeypatch.setenv("ADAPOOL_LIBRARY_DIR", str(library.parent))
    for text, said in ((b"garbage", "compiled operators cannot be measured: does not load"), (None, None)):
        if text is not None:
            (build / "adapool" / native_library.NAME).write_bytes(text)
        elif library.is_file():
            shutil.copy(library, build / "adapool" / native_library.NAME)
        else:
            (build / "adapool" / native_library.NAME).unlink()
        sides = {"base": Build("base", build), "head": Build("head", build)}
        experiment = ab.Experiment(tmp_path / "out", sides, [])
        if said is not None:
            with pytest.raises(ab.Broken, match=said):
                experiment.one("screen", 0, "head", [CASE])
        else:
            experiment.one("screen", 1, "head", [CASE])
            assert {record.status for record in store.read(tmp_path / "out" / "passes" / "screen-01-head")} == {"ok"}


@pytest.mark.parametrize("fails", [True, False])
def test_where_git_cannot_say_what_has_changed_nothing_is_known_of_it(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk where it takes more than its ten seconds."""
    (tmp_path / "git").write_text(
        f"#!/bin/sh\ncase $3 in status) exit {int(fails)};; rev-parse) echo 0123456789ab;; *) echo $5;; esac\n"
    )
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(native_library, "LOADED", False)
    said = provenance.source()
    assert said["commit"] == "0123456789ab" and said["dirty"] is (None if fails else False)
