"""The cause beside a verdict: read from kernels that NVRTC really compiled, and from instructions really counted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from adapool import native_library
from gate import cause
from suites import builds, digests, inspector
from suites.builds import Build
from suites.case import Case
from tests.support.gate_commands import ROOT

NAME = "softpool forward float 1x2x2 stride 1x2x2 padding 0x0x0"


def case(direction: str, method: str = "softpool", dtype: str = "float32", kernel: tuple[int, ...] = (2, 2)) -> Case:
    return Case("latency", method, "native", direction, kernel, kernel, (0, 0), False, (1, 4, 8, 8), dtype, "nchw")


def test_a_change_in_words() -> None:
    old = {"registers": 40, "stack": 0, "spill_stores": 0, "instructions": 1000}
    assert cause.change(old, old | {"registers": 64, "spill_stores": 24}) == "registers 40 -> 64, +24 B spill"
    assert cause.change(old, old | {"instructions": 1004}) == ""
    assert cause.change(old, old | {"instructions": 1100}) == "instructions 1000 -> 1100"
    assert cause.differences({NAME: old}, {NAME: old}) == ""
    assert cause.differences({NAME: old}, {"other": old, NAME: old | {"registers": 41}}) == (
        f"other: new; {NAME}: registers 40 -> 41"
    )


@pytest.fixture
def libraries(tmp_path: Path) -> tuple[Build, Build]:
    """Two builds with the same operators; the kernels of the second are to leave their loops as they are."""
    library = native_library.path()
    try:
        inspector.nvrtc()
    except inspector.Missing as reason:
        pytest.skip(str(reason))
    made = []
    for name in ("base", "head"):
        package = tmp_path / name / "adapool"
        shutil.copytree(ROOT / "adapool", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        held = library.read_bytes()
        if name == "head":  # of the same length, so that nothing in the file moves
            held = held.replace(b"#pragma unroll\n  ", b"#pragma unroll 1\n")
            assert held != library.read_bytes()
        (package / digests.LIBRARY).write_bytes(held)
        made.append(Build(name, tmp_path / name, parts=digests.installed(tmp_path / name)))
    return made[0], made[1]


def test_registers_and_spills_are_the_cause(libraries: tuple[Build, Build], capfd: pytest.CaptureFixture[str]) -> None:
    base, head = libraries
    assert base.parts["python"] == head.parts["python"] and base.parts["native"] != head.parts["native"]
    assert not builds.unchanged(base, head, "native") and builds.unchanged(base, head, "plain")
    moved = [case("forward"), case("backward"), case("forward", "max"), case("inverse", "adaunpool_guide")]
    moved.append(replace(case("forward", kernel=(9, 9)), ceil_mode=True))  # larger than the input
    words = cause.of_kernels(moved, base, head, "cuda")
    told = words[case("forward").name]
    assert told.startswith("sm_") and f" {NAME}: " in told and " -> " in told and "allowed" not in told
    assert "softpool backward_apart float 1x2x2" in words[case("backward").name]
    assert set(words) == {one.name for one in moved}, capfd.readouterr().err
    assert cause.of_kernels(moved, base, base, "cuda") == {}


def test_a_build_that_cannot_be_asked_has_no_cause(
    libraries: tuple[Build, Build], capfd: pytest.CaptureFixture[str]
) -> None:
    base, head = libraries
    assert head.folder is not None
    (head.folder / "adapool" / "__init__.py").write_text("raise ImportError('made so')\n")
    assert cause.of_kernels([case("forward")], base, head, "cuda") == {}
    assert "causes: kernels are not counted: ImportError: made so" in capfd.readouterr().err


def test_the_sources_of_a_revision_come_out_of_git(tmp_path: Path) -> None:
    found = builds.sources(Build("HEAD", None, builds.git("rev-parse", "HEAD")), tmp_path)
    assert found is not None and (found / "torch" / "schemas.cpp").is_file()
    assert builds.sources(Build(str(tmp_path / "none"), None), tmp_path) is None
