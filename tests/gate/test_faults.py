"""Faults planted in copies of the library and of csrc: `gate static` exits 1, and what is no fault does not."""

from __future__ import annotations

import os
import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from adapool import native, native_library
from counts import callgrind
from suites import inspector
from tests.support.gate_commands import build, run, sources

ROOT = Path(__file__).parents[2]


KERNEL = "stochastic forward float 1x2x2 stride 1x2x2 padding 0x0x0"  # of the only line of its method
KERNELS = ("--part", "kernels", "--arch", "90", "--method", "stochastic")
PLANTED = {  # a fault of the device sources -> what is said of it
    "fp64": r"REGRESSED .* fp64 [1-9]\d*, expected none",
    "sixteen-registers": r"REGRESSED .* spill_stores [1-9]\d*, expected none",
    "narrow-stores": r"REGRESSED .* store16 1 -> 0, store4 0 -> 4",
    "no-code": r"FAILED .* does not compile for sm_90: .*cuda/forward\.cuh\(\d+\): .*made so",
}


@pytest.fixture
def compiler() -> None:
    try:
        inspector.nvrtc()
    except inspector.Missing as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("compiler")
def test_worse_kernels_exit_1_and_none_exit_5(tmp_path: Path) -> None:
    words = (*KERNELS, "--baseline", str(tmp_path / "baseline"))
    good = sources(tmp_path / "good")
    accepted = run("baseline", "accept", "--reason", "made", "--source", good, *words)
    assert accepted.returncode == 0 and f"{KERNEL}: new" in accepted.stdout, accepted.stderr
    same = run("gate", "static", "--source", good, *words)
    assert same.returncode == 0 and "1 EQUIVALENT" in same.stdout, same.stdout + same.stderr
    for name, told in PLANTED.items():
        bad = sources(tmp_path / name, name)
        done = run("gate", "static", "--source", bad, *words)
        assert done.returncode == (5 if name == "no-code" else 1), f"{name}: {done.stdout}{done.stderr}"
        assert re.search(told, done.stdout) and KERNEL in done.stdout, f"{name}: {done.stdout}"


@pytest.mark.usefixtures("compiler")
def test_what_a_rule_forbids_is_told_when_it_is_accepted(tmp_path: Path) -> None:
    words = (*KERNELS, "--baseline", str(tmp_path), "--source", sources(tmp_path / "csrc", "fp64"))
    accepted = run("baseline", "accept", "--reason", "made", *words)
    assert accepted.returncode == 0 and f"`gate static` refuses {KERNEL}: fp64 " in accepted.stdout, accepted.stderr
    assert run("gate", "static", *words).returncode == 1


@pytest.mark.usefixtures("compiler")
def test_a_toolchain_without_a_baseline_exits_5_unless_it_is_optional(tmp_path: Path) -> None:
    words = (*KERNELS, "--baseline", str(tmp_path))
    other = run("gate", "static", *words)
    assert other.returncode == 5 and "no baseline for NVRTC" in other.stdout, other.stderr
    optional = run("gate", "static", *words, "--optional")
    assert optional.returncode == 0 and "skipped: no baseline for NVRTC" in optional.stdout, optional.stderr


def test_a_missing_tool_exits_5_unless_it_is_optional(tmp_path: Path) -> None:
    words = ("gate", "static", *KERNELS, "--baseline", str(tmp_path))
    asked = run(*words, ADAPOOL_LIBRARY_DIR=str(tmp_path))
    assert asked.returncode == 5 and "MISSING kernels sm_90 [counts]  no libadapool_native.so" in asked.stdout
    optional = run(*words, "--optional", ADAPOOL_LIBRARY_DIR=str(tmp_path))
    assert optional.returncode == 0 and "kernels sm_90: skipped: no libadapool_native.so" in optional.stdout


@pytest.fixture
def counter() -> None:
    try:
        callgrind.compiler()
    except inspector.Missing as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("counter")
def test_sources_that_do_not_compile_are_infrastructure(tmp_path: Path) -> None:
    broken = sources(tmp_path / "csrc", "no-general-loops")
    done = run("gate", "static", "--part", "instructions", "--source", broken)
    assert done.returncode == 6 and "made so" in done.stderr, done.stdout + done.stderr


SHOWN = {  # a fault of the library -> what is said of it
    "falls-back": "native_forward 1 -> 0",
    "doubled-saved-tensor": "saved 6240 -> ",
    "extra-launch": "forward 1 -> 2",
}


@pytest.mark.skipif(native.status()["cpu"] != "ok", reason="no compiled operators")
def test_faults_in_the_library_exit_1(tmp_path: Path) -> None:
    library = os.environ.get("ADAPOOL_LIBRARY_DIR") or str(
        Path(str(files("adapool").joinpath(native_library.NAME))).parent  # an editable install keeps it elsewhere
    )
    places = {"ADAPOOL_LIBRARY_DIR": "", "TORCHDYNAMO_DISABLE": "1"}  # each build has the library beside it
    words = ("--part", "python", "--method", "softpool", "--baseline", str(tmp_path / "baseline"))
    for name in ("good", *SHOWN):
        package = build(tmp_path / name, "" if name == "good" else name) / "adapool"
        shutil.copy2(Path(library, native_library.NAME), package)
    accepted = run("baseline", "accept", "--reason", "made", *words, library=tmp_path / "good", **places)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert run("gate", "static", *words, library=tmp_path / "good", **places).returncode == 0
    for name, shown in SHOWN.items():
        done = run("gate", "static", *words, library=tmp_path / name, **places)
        assert done.returncode == 1, f"{name}: {done.stdout}{done.stderr}"
        assert "REGRESSED softpool/auto/float32/k2s2p0" in done.stdout and shown in done.stdout, done.stdout


def test_static_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    assert run("gate", "static", "--part", "kernels", "--arch", "sm90").returncode == 2
    assert run("gate", "static", "--source", str(tmp_path)).returncode == 2
    assert run("gate", "static", "--rules", str(tmp_path / "none.toml")).returncode == 2
    assert run("baseline", "accept", "--reason", " ", "--part", "python").returncode == 2
