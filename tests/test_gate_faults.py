"""Faults planted in copies of the library and of csrc: `gate static` exits 1, and what is no fault does not."""

from __future__ import annotations

import os
import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from adapool import native
from suites import callgrind, static
from tests.gate_commands import run, sources

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_a_kernel_that_spills_exits_1(tmp_path: Path) -> None:
    words = ("--part", "kernels", "--arch", "90", "--baseline", str(tmp_path / "baseline"))
    bounds = "__launch_bounds__(kThreads) forward_kernel"
    good = sources(tmp_path / "good")
    spilling = sources(tmp_path / "spills", "kernels.cuh", bounds, bounds.replace("s)", "s, 8)"))  # 32 registers
    accepted = run("baseline", "accept", "--reason", "made", "--source", good, *words)
    assert accepted.returncode == 0 and "forward_kernel<SoftPool,float>: new" in accepted.stdout, accepted.stderr
    same = run("gate", "static", "--source", good, *words)
    assert same.returncode == 0, same.stdout + same.stderr
    spills = run("gate", "static", "--source", spilling, *words)
    assert spills.returncode == 1, spills.stdout + spills.stderr
    told = next(line for line in spills.stdout.splitlines() if "forward_kernel<SoftPool,float>" in line)
    spilled = re.search(r"spill_stores (\d+) -> (\d+)", told)
    assert told.startswith("REGRESSED") and spilled and int(spilled[2]) > int(spilled[1])


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_a_toolchain_without_a_baseline_exits_5_unless_it_is_optional(tmp_path: Path) -> None:
    (tmp_path / "cuda_instances.cu").touch()
    (tmp_path / "kernels.cuh").write_text("constexpr int kThreads = 256;\n")
    words = ("--part", "kernels", "--arch", "90", "--baseline", str(tmp_path), "--source", str(tmp_path))
    other = run("gate", "static", *words)
    assert other.returncode == 5 and "no baseline for nvcc" in other.stdout, other.stderr
    optional = run("gate", "static", *words, "--optional")
    assert optional.returncode == 0 and "skipped: no baseline for nvcc" in optional.stdout, optional.stderr


def test_a_missing_tool_exits_5_unless_it_is_optional(tmp_path: Path) -> None:
    words = ("gate", "static", "--part", "kernels", "--arch", "90", "--baseline", str(tmp_path))
    asked = run(*words, PATH="")
    assert asked.returncode == 5 and "MISSING kernels sm_90 [counts]  no nvcc" in asked.stdout
    optional = run(*words, "--optional", PATH="")
    assert optional.returncode == 0 and "kernels sm_90: skipped: no nvcc" in optional.stdout


@pytest.fixture
def counter() -> None:
    try:
        callgrind.compiler()
    except static.Missing as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("counter")
def test_a_slower_loop_exits_1(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[tool.adapool.gate.margins.instructions]\n"*" = 0\n')
    words = ("--part", "instructions", "--method", "softpool", "--baseline", str(tmp_path / "baseline"))
    exactly = (*words, "--rules", str(tmp_path / "rules.toml"))
    good = sources(tmp_path / "good")
    slow = sources(tmp_path / "slow", "cpu_instances.cpp", "#include", '#pragma GCC optimize("O1")\n#include')
    for folder in (good, slow):
        (Path(folder) / "fast.cpp").unlink(missing_ok=True)  # long to compile; knows methods that are not here
        (Path(folder) / "fast.h").unlink(missing_ok=True)
    accepted = run("baseline", "accept", "--reason", "made", "--source", good, *words)
    assert accepted.returncode == 0, accepted.stderr
    same = run("gate", "static", "--source", good, *exactly)
    assert same.returncode == 0 and "4 EQUIVALENT" in same.stdout, same.stdout + same.stderr
    slower = run("gate", "static", "--source", slow, *words)
    assert slower.returncode == 1 and "REGRESSED softpool/forward/float32/k2s2" in slower.stdout, slower.stderr


@pytest.mark.usefixtures("counter")
def test_sources_that_do_not_compile_are_infrastructure(tmp_path: Path) -> None:
    broken = sources(tmp_path / "csrc", "cpu_instances.cpp", "#include", "#error made so\n#include")
    done = run("gate", "static", "--part", "instructions", "--source", broken)
    assert done.returncode == 6 and "made so" in done.stderr, done.stdout + done.stderr


FAULTS = {  # changes of the library's files
    "falls back": {
        "native_library.py": {
            "    return method in METHODS and": "    return method != 'softpool' and method in METHODS and"
        }
    },
    "doubled saved tensor": {
        "native_gradients.py": {
            "ctx.save_for_backward(x, *tensors)": "ctx.save_for_backward(x, *tensors, x.clone())",
            "x, *tensors = ctx.saved_tensors": "x, *tensors = ctx.saved_tensors[:-1]",
        }
    },
    "extra launch": {
        "native.py": {"below_autograd(POOL, x,": "below_autograd(POOL, x + 0,"},
        "native_gradients.py": {"_next(POOL, x,": "_next(POOL, x + 0,"},
    },
}
SHOWN = {
    "falls back": "native_forward 1 -> 0",
    "doubled saved tensor": "saved 6240 -> ",
    "extra launch": "forward 1 -> 2",
}


@pytest.mark.skipif(native.status()["cpu"] != "ok", reason="no compiled operators")
def test_faults_in_the_library_exit_1(tmp_path: Path) -> None:
    library = os.environ.get("ADAPOOL_LIBRARY_DIR") or str(
        Path(str(files("adapool").joinpath("libadapool_cpu.so"))).parent  # an editable install keeps it elsewhere
    )
    places = {"ADAPOOL_LIBRARY_DIR": library, "TORCHDYNAMO_DISABLE": "1"}
    words = ("--part", "python", "--method", "softpool", "--baseline", str(tmp_path / "baseline"))
    for name, changes in {"good": dict[str, dict[str, str]](), **FAULTS}.items():
        package = tmp_path / name / "adapool"
        shutil.copytree(ROOT / "adapool", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        for file, edits in changes.items():
            text = (package / file).read_text()
            for old, new in edits.items():
                assert old in text, f"{name}: {file} has no {old!r} any more"
                text = text.replace(old, new, 1)
            (package / file).write_text(text)
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
