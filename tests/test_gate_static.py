"""The static gate: what is read from the compiler, occupancy, baselines as text, and seeded faults through the CLI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from adapool import native
from reports import gate_static
from reports.gate_static import Counts
from suites import callgrind, static

ROOT = Path(__file__).parents[1]
ROWS = {"forward<Ada,float>": {"registers": 40, "spill_stores": 0, "occupancy": 75, "instructions": 1000}}


def run(*words: str, library: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line; `library`: the folder that adapool is imported from."""
    enter = f"from suites.ab_worker import enter; enter({str(library)!r}); " if library else ""
    script = f"{enter}import click; from gate.cli import baseline, gate; group = click.Group(); "
    script += "group.add_command(gate); group.add_command(baseline); group()"
    return subprocess.run(
        [sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "registers", "shared", "threads", "percent"),
    [  # by CUDA's occupancy calculator
        (90, 32, 0, 256, 100), (90, 40, 0, 256, 75), (90, 128, 0, 256, 25), (90, 255, 0, 256, 12),
        (90, 32, 50000, 256, 50),
        (80, 64, 0, 1024, 50), (86, 32, 0, 256, 100), (86, 64, 0, 1024, 66), (75, 64, 0, 256, 100),
    ],
)  # fmt: skip
def test_occupancy(architecture: int, registers: int, shared: int, threads: int, percent: int) -> None:
    assert static.SM[architecture].occupancy(registers, shared, threads) == percent


def test_instructions_are_classified() -> None:
    listing = """
.text.kernel_a:
        /*0000*/                   LDG.E.128 R4, [R2.64] ;
        /*0010*/              @!P0 MUFU.EX2 R5, R4 ;
        /*0020*/                   FFMA R5, R4, R4, RZ ;
        /*0030*/                   STL [R1+0x4], R5 ;
        /*0040*/               @P1 IADD3 R5, R4, R4, RZ ;
        /*0050*/                   DFMA R6, R4, R4, R6 ;
        /*0060*/                   RED.E.ADD.F32.FTZ.RN.STRONG.GPU [R2.64], R5 ;
        /*0070*/                   NOP ;
.text.kernel_b:
        /*0000*/                   EXIT ;
"""
    found = static.classified(listing)
    told = {name: count for name, count in found["kernel_a"].items() if count}
    expected = ("load16", "mufu", "fma", "local", "alu", "fp64", "atomics")
    assert told == {"instructions": 7, **dict.fromkeys(expected, 1)}
    assert found["kernel_b"]["instructions"] == 1


def test_a_baseline_reads_back_and_diffs_by_line(tmp_path: Path) -> None:
    counts = Counts("kernels-x", "nvcc 13", ROWS | {"other": {"registers": 1}})
    assert gate_static.accept(counts, tmp_path, "first") == ["forward<Ada,float>: new", "other: new"]
    again = Counts.read(tmp_path / "kernels-x.txt")
    assert (again.rows, again.toolchain) == (counts.rows, "nvcc 13")
    before = (tmp_path / "kernels-x.txt").read_text().splitlines()
    changed = Counts("kernels-x", "nvcc 13", {**counts.rows, "other": {"registers": 2}})
    assert gate_static.accept(changed, tmp_path, "second") == ["other: registers 1 -> 2"]
    after = (tmp_path / "kernels-x.txt").read_text().splitlines()
    assert [a for a, b in zip(before, after, strict=True) if a != b] == ["# reason: first", before[-1]]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "EQUIVALENT"),
        ({"registers": 41}, "REGRESSED"),
        ({"spill_stores": 24}, "REGRESSED"),
        ({"occupancy": 62}, "REGRESSED"),
        ({"instructions": 1010}, "EQUIVALENT"),
        ({"instructions": 1030}, "REGRESSED"),
        ({"instructions": 900}, "IMPROVED"),
        ({"registers": 41, "instructions": 500}, "REGRESSED"),
    ],
)
def test_verdicts_of_counts(tmp_path: Path, change: dict[str, int], verdict: str) -> None:
    gate_static.accept(Counts("k", "t", ROWS), tmp_path, "r")
    judgement = gate_static.judge(Counts("k", "t", {key: row | change for key, row in ROWS.items()}), tmp_path)
    assert [r.verdict for r in judgement.results] == [verdict]
    if change:
        assert f"{next(iter(change))} {ROWS['forward<Ada,float>'][next(iter(change))]} -> " in judgement.results[0].note


def test_another_toolchain_is_unmeasured_and_no_regression(tmp_path: Path) -> None:
    gate_static.accept(Counts("kernels-nvcc13", "nvcc 13", ROWS), tmp_path, "r")
    judgement = gate_static.judge(Counts("kernels-nvcc14", "nvcc 14", ROWS), tmp_path)
    assert judgement.exit_code == 5 and "there are: kernels-nvcc13" in judgement.results[0].note
    gone = gate_static.judge(Counts("kernels-nvcc13", "nvcc 13", {}), tmp_path)
    assert gone.exit_code == 5


KERNEL = """
constexpr int kThreads = 256;
template <class T> __global__ void LAUNCH busy(T* out, const T* in, int n) {
  T held[64];
  for (int i = 0; i < 64; ++i) held[i] = in[i * n + threadIdx.x];
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < 64; ++i) held[i] = held[i] * held[(i + 7) % 64] + in[j];
  for (int i = 0; i < 64; ++i) out[i * n + threadIdx.x] = held[i];
}
template __global__ void busy<float>(float*, const float*, int);
"""


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_a_kernel_that_spills_exits_1(tmp_path: Path) -> None:
    words = ("--part", "kernels", "--arch", "90", "--baseline", str(tmp_path / "baseline"))
    for name, launch in (("good", ""), ("spills", "__launch_bounds__(1024, 2)")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cuda_instances.cu").write_text('#include "kernels.cuh"\n')
        (tmp_path / name / "kernels.cuh").write_text(KERNEL.replace("LAUNCH", launch))
    accepted = run("baseline", "accept", "--reason", "made", "--source", str(tmp_path / "good"), *words)
    assert accepted.returncode == 0 and "busy<float>: new" in accepted.stdout, accepted.stdout + accepted.stderr
    same = run("gate", "static", "--source", str(tmp_path / "good"), *words)
    assert same.returncode == 0, same.stdout + same.stderr
    spills = run("gate", "static", "--source", str(tmp_path / "spills"), *words)
    assert spills.returncode == 1, spills.stdout + spills.stderr
    assert "REGRESSED busy<float>" in spills.stdout and "spill_stores 0 -> " in spills.stdout
    other = run("gate", "static", "--source", str(tmp_path / "good"), *words[:2], "--arch", "80", *words[4:])
    assert other.returncode == 5 and "no baseline for nvcc" in other.stdout


POOL = "        y = torch.ops.adapool.pool.default(x"
FAULTS = {  # changes of native.py
    "falls back": {"    return method in METHODS and": "    return method != 'softpool' and method in METHODS and"},
    "doubled saved tensor": {
        "ctx.save_for_backward(x, *inputs[9:])": "ctx.save_for_backward(x, *inputs[9:], x.clone())",
        "*ctx.saved_tensors)": "*ctx.saved_tensors[:-1])",
    },
    "extra launch": {f"{POOL}, ": f"{POOL} + 0, ", "y, extra = torch.ops.adapool.pool.default(x, list": (
        "y, extra = torch.ops.adapool.pool.default(x + 0, list")},
}  # fmt: skip


@pytest.mark.skipif(native.status()["cpu"] != "ok", reason="no compiled operators")
def test_faults_in_the_library_exit_1(tmp_path: Path) -> None:
    library = os.environ.get("ADAPOOL_LIBRARY_DIR") or str(
        Path(str(files("adapool").joinpath("libadapool_cpu.so"))).parent  # an editable install keeps it elsewhere
    )
    places = {"ADAPOOL_LIBRARY_DIR": library, "TORCHDYNAMO_DISABLE": "1"}
    words = ("--part", "python", "--method", "softpool", "--baseline", str(tmp_path / "baseline"))
    for name, changes in {"good": dict[str, str](), **FAULTS}.items():
        package = tmp_path / name / "adapool"
        shutil.copytree(ROOT / "adapool", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        text = (package / "native.py").read_text()
        for old, new in changes.items():
            assert old in text, f"{name}: native.py has no {old!r} any more"
            text = text.replace(old, new, 1)
        (package / "native.py").write_text(text)
    accepted = run("baseline", "accept", "--reason", "made", *words, library=tmp_path / "good", **places)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert run("gate", "static", *words, library=tmp_path / "good", **places).returncode == 0
    for name in FAULTS:
        done = run("gate", "static", *words, library=tmp_path / name, **places)
        assert done.returncode == 1, f"{name}: {done.stdout}{done.stderr}"
        assert "REGRESSED softpool/auto" in done.stdout, name


def test_instructions_of_the_cpu_kernels_repeat(tmp_path: Path) -> None:
    try:
        callgrind.compiler()
    except static.Missing as reason:
        pytest.skip(str(reason))
    once = callgrind.instructions(only=("avg", "ada"))
    assert once == callgrind.instructions(only=("avg", "ada"))
    assert once["ada/gather/float32/k3s2"]["instructions"] > once["avg/forward/float32/k2s2"]["instructions"] > 1000


def test_static_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    assert run("gate", "static", "--part", "kernels", "--arch", "sm90").returncode == 2
    assert run("gate", "static", "--source", str(tmp_path)).returncode == 2
    assert run("gate", "static", "--rules", str(tmp_path / "none.toml")).returncode == 2
    assert run("baseline", "accept", "--reason", " ", "--part", "python").returncode == 2
