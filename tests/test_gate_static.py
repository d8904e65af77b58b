"""The static gate: what is read from the compiler, occupancy, baselines as text. (Faults: test_gate_faults.py.)"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gate import outcome
from reports import gate_static
from reports.gate import MARGINS, Rules
from reports.gate_static import Counts
from suites import callgrind, static
from suites.memory import saved_bytes

ROOT = Path(__file__).parents[1]
ROWS = {"forward<Ada,float>": {"registers": 40, "spill_stores": 0, "occupancy": 75, "instructions": 1000}}


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
    fewer = Counts(counts.name, counts.toolchain, {"other": {}})
    with pytest.raises(ValueError, match="expected counts of registers as in the baseline"):
        gate_static.accept(fewer, tmp_path, "third")
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


def test_what_a_dropped_graph_saved_is_not_kept() -> None:
    x = torch.arange(1.0, 101.0)

    def call(x: torch.Tensor) -> torch.Tensor:
        edge = (x.exp() * x).detach()  # exp's result is kept by nothing
        return x * (x > edge.new_zeros(()))

    subject = SimpleNamespace(inputs=[x], wanted=(0,), call=call)
    total, parts = saved_bytes(SimpleNamespace(inputs=[x], subject=subject))  # type: ignore[arg-type]
    assert (total, parts["of_inputs_bytes"]) == (100.0, 0)  # the mask


def test_the_counter_compiles_as_the_build_does() -> None:
    lists = (ROOT / "csrc" / "CMakeLists.txt").read_text()
    assert not [word for word in (*callgrind.FLAGS[1:], *callgrind.FAST) if word != "-fPIC" and word not in lists]


def test_the_projects_margins_are_the_gates_own() -> None:
    known = outcome.rules(None)
    ours = {**MARGINS, **gate_static.MARGINS}
    assert {metric: known.margin(metric, "any/case") for metric in ours} == ours
    assert known.controls == Rules.controls and known.detect == Rules.detect
