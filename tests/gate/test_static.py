"""The static gate: what is read from the compiler, rules, baselines as text. (Faults: test_gate_faults.py.)"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from counts import callgrind, cuda
from counts.cuda import Kernel
from gate import committed, outcome
from gate.committed import Counts
from reports import rules
from suites import doctor, inspector
from suites.memory import saved_bytes

ROOT = Path(__file__).parents[2]
NAME = "ada forward float 1x2x2 stride 1x2x2 padding 0x0x0"
ROWS = {NAME: {"registers": 40, "allowed": 64, "spill_stores": 0, "occupancy": 75, "instructions": 1000, "load16": 2}}


def built() -> list[Kernel]:
    try:
        return cuda.kernels(cuda.lines())
    except inspector.Missing as reason:
        pytest.skip(str(reason))


def needs_nvrtc() -> None:
    try:
        inspector.nvrtc()
    except inspector.Missing as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    ("architecture", "registers", "shared", "threads", "percent"),
    [  # by CUDA's occupancy calculator; of 448 threads by what ptxas allows
        (90, 32, 0, 256, 100), (90, 40, 0, 256, 75), (90, 128, 0, 256, 25), (90, 255, 0, 256, 12),
        (90, 32, 50000, 256, 50),
        (90, 48, 0, 448, 43), (90, 40, 0, 448, 65), (90, 72, 0, 448, 43),
        (80, 64, 0, 1024, 50), (86, 32, 0, 256, 100), (86, 64, 0, 1024, 66), (75, 64, 0, 256, 100),
    ],
)  # fmt: skip
def test_occupancy(architecture: int, registers: int, shared: int, threads: int, percent: int) -> None:
    assert cuda.SM[architecture].occupancy(registers, shared, threads) == percent


@pytest.mark.parametrize(
    ("threads", "blocks", "registers"),
    [(256, 4, 64), (256, 3, 80), (256, 2, 128), (256, 1, 255), (32, 16, 128), (448, 2, 72), (448, 3, 40)],
)
def test_registers_of_a_launch_bound(threads: int, blocks: int, registers: int) -> None:
    assert cuda.SM[90].allowed(threads, blocks) == registers


PTX = """
	// .globl	adapool_kernel
.global .align 8 .f64 smallest = 0d0010000000000000;
.visible .entry adapool_kernel(
	.param .align 8 .b8 adapool_kernel_param_0[488]
)
.maxntid 256, 1, 1
{
	.reg .f64 	%fd<3>;
	ld.param.u64 	%rd1, [adapool_kernel_param_0+24];
	@!%p6 bra 	$L__BB0_5;
	ld.global.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd1];
	ld.global.nc.v2.u32 	{%r1, %r2}, [%rd1];
	@%p1 ld.u16 	%rs1, [%rd1];
	ld.shared.f32 	%f5, [%r1];
	// begin inline asm
	ex2.approx.ftz.f32 %f6, %f5;
	// end inline asm
	{ .reg .b16 t; mov.b16 t, %rs1; cvt.f32.bf16 %f7, t; }
	div.rn.f32 	%f8, %f7, %f6;
	fma.rn.f64 	%fd1, %fd2, %fd2, %fd1;
	mov.f64 	%fd2, %fd1;
	shfl.sync.bfly.b32	%r3|%p2, %r1, 16, 31, -1;
	call.uni (retval0),
	__internal_accurate_pow,
	(
	param0,
	param1
	);
	st.global.v2.f64 	[%rd1], {%fd1, %fd2};
	st.global.u8 	[%rd1], %rs1;
	atom.global.add.f32 	%f9, [%rd1], %f8;
	bar.sync 	0;
$L__BB0_5:
	ret;
}
"""
LOG = """ptxas info    : 190 bytes gmem
ptxas info    : Compiling entry function 'adapool_kernel' for 'sm_90'
ptxas info    : Function properties for adapool_kernel
    56 bytes stack frame, 40 bytes spill stores, 44 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 56 bytes cumulative stack size, 8320 bytes smem
ptxas info    : Function properties for __internal_accurate_pow
    0 bytes stack frame, 8 bytes spill stores, 0 bytes spill loads
"""


def test_instructions_are_classified() -> None:
    told = {name: count for name, count in cuda.instructions(PTX).items() if count}
    once = ("load16", "load8", "load2", "store16", "store2", "fp64", "atomics", "shuffles", "barriers")
    assert told == {"instructions": 19, "mufu": 2, **dict.fromkeys(once, 1)}


def test_resources_are_the_assemblers() -> None:
    kernel = Kernel("k", "", 256, 4, ())
    assert cuda.resources(LOG, kernel, cuda.SM[90]) == {
        "registers": 64, "allowed": 64, "spill_stores": 48, "spill_loads": 44, "stack": 56, "shared": 8320,
        "occupancy": 50,
    }  # fmt: skip
    bare = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nUsed 32 registers, used 0 barriers"
    assert cuda.resources(bare, kernel, cuda.SM[90])["shared"] == 0


def test_every_line_of_the_matrix_has_kernels_with_names_of_their_own() -> None:
    found = built()
    assert {line for kernel in found for line in kernel.lines} == set(cuda.lines())
    assert len({kernel.name for kernel in found}) == len(found) >= len(cuda.lines()) - 10
    assert not [kernel.name for kernel in found if "  " in kernel.name], "two spaces end a name in a baseline"
    with pytest.raises(ValueError, match="unexpected method 'sotf'"):
        cuda.kernels(["sotf forward float32 nchw 2x2/2x2+0x0 1x1x4x4"])


def test_a_folders_headers_take_the_place_of_the_librarys(tmp_path: Path) -> None:
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "a.cuh").write_text('#pragma once\n#include "cuda/b.cuh"\nint a;\n')
    (tmp_path / "cuda" / "b.cuh").write_text("#pragma once\nint b;\n")
    text = '// name\n#include "cuda/a.cuh"\n#include "cuda/b.cuh"\n#include <cmath>\nint c;\n'
    made = [line for line in cuda.inlined(text, tmp_path).splitlines() if line]
    assert made == ["// name", '#line 1 "cuda/a.cuh"', '#line 1 "cuda/b.cuh"', "int b;", "#line 3", "int a;", "#line 3",
                    "#include <cmath>", "int c;"]  # fmt: skip
    with pytest.raises(ValueError, match=r"without cuda/none\.cuh"):
        cuda.inlined('#include "cuda/none.cuh"\n', tmp_path)


def test_a_folder_and_the_library_that_was_built_of_it_count_the_same() -> None:
    needs_nvrtc()
    some = [kernel for kernel in built() if kernel.name.startswith("max forward float")]
    assert len(some) > 1 and cuda.counts(some, 90) == cuda.counts(some, 90, ROOT / "csrc")


def test_nvrtc_is_found_or_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_nvrtc()
    path, version = inspector.nvrtc()
    assert ("ok", "nvrtc", f"{version}, {path}", None) in list(doctor.findings())

    class Without:
        @staticmethod
        def adapool_nvrtc(out: ctypes.Array[ctypes.c_char], room: object) -> int:
            out.value = b"adapool: NVRTC was not found (no libnvrtc.so.13); install it with `pip install a-package`"
            return 1

    monkeypatch.setattr(inspector, "library", Without)
    with pytest.raises(inspector.Missing, match="NVRTC was not found"):
        inspector.nvrtc()
    assert not [what for _, what, *_ in doctor.findings() if what == "nvrtc" and torch.version.cuda is None]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    (told,) = [finding for finding in doctor.findings() if finding[1] == "nvrtc"]
    assert told[0] == "note" and told[2].endswith("kernels cannot be compiled") and told[3] == "pip install a-package"


def test_a_baseline_reads_back_and_diffs_by_line(tmp_path: Path) -> None:
    counts = Counts("kernels-x", "NVRTC 13", ROWS | {"other": {"registers": 1}})
    assert committed.accept(counts, tmp_path, "first") == [f"{NAME}: new", "other: new"]
    again = Counts.read(tmp_path / "kernels-x.txt")
    assert (again.rows, again.toolchain) == (counts.rows, "NVRTC 13")
    before = (tmp_path / "kernels-x.txt").read_text().splitlines()
    changed = Counts("kernels-x", "NVRTC 13", {**counts.rows, "other": {"registers": 2}})
    assert committed.accept(changed, tmp_path, "second") == ["other: registers 1 -> 2"]
    fewer = Counts(counts.name, counts.toolchain, {"other": {}})
    with pytest.raises(ValueError, match="expected counts of registers as in the baseline"):
        committed.accept(fewer, tmp_path, "third")
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
        ({"load16": 4, "allowed": 128}, "EQUIVALENT"),
        ({"registers": 41, "instructions": 500}, "REGRESSED"),
    ],
)
def test_verdicts_of_counts(tmp_path: Path, change: dict[str, int], verdict: str) -> None:
    committed.accept(Counts("k", "t", ROWS), tmp_path, "r")
    judgement = committed.judge(
        Counts("k", "t", {key: row | change for key, row in ROWS.items()}), tmp_path, rules.read()
    )
    assert [r.verdict for r in judgement.results] == [verdict]
    if change:
        assert f"{next(iter(change))} {ROWS[NAME][next(iter(change))]} -> " in judgement.results[0].note


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        (NAME, {"registers": 64, "allowed": 64, "spill_stores": 0, "fp64": 0}, ""),
        (NAME, {"spill_stores": 8, "fp64": 2}, "fp64 2, expected none; spill_stores 8, expected none"),
        (NAME, {"registers": 72, "allowed": 64}, "registers 72, expected at most the 64 of its launch bound"),
        (NAME.replace("float", "double"), {"fp64": 400, "stack": 8}, ""),
        ("ada large_forward double", {"fp64": 400}, ""),
        ("ada/forward/float32/k2s2", {"instructions": 400}, ""),
    ],
)
def test_rules_that_no_baseline_bends(tmp_path: Path, name: str, row: dict[str, int], told: str) -> None:
    assert "; ".join(committed.faults(name, row)) == told
    counts = Counts("k", "t", {name: row})
    committed.accept(counts, tmp_path, "r")
    (result,) = committed.judge(counts, tmp_path, rules.read()).results
    assert (result.verdict, result.note) == (("REGRESSED", told) if told else ("EQUIVALENT", ""))


def test_other_methods_are_neither_missed_nor_lost(tmp_path: Path) -> None:
    every = {name: {"registers": 1} for name in ("ada forward", "max forward", "totals float", "ada/auto", "max/auto")}
    committed.accept(Counts("k", "t", every), tmp_path, "r")
    some = Counts(
        "k", "t", {"max forward": {"registers": 2}, "totals float": {"registers": 1}, "max/auto": {"registers": 1}}
    )
    found = {r.case: r.verdict for r in committed.judge(some, tmp_path, rules.read(), methods=["max"]).results}
    assert found == {"max forward": "REGRESSED", "totals float": "EQUIVALENT", "max/auto": "EQUIVALENT"}
    other = Counts("k", "t", some.rows | {"max forward": {"registers": 3}})
    committed.accept(other, tmp_path, "taken back", ["max"])
    assert committed.accept(some, tmp_path, "r", ["max"]) == ["max forward: registers 3 -> 2"]
    header = [line for line in (tmp_path / "k.txt").read_text().splitlines() if line.startswith("# reason")]
    assert header == ["# reason: r", "# reason: max: r"], "why the other rows are as they are is not lost"
    assert Counts.read(tmp_path / "k.txt").rows == every | some.rows


def test_another_toolchain_is_unmeasured_and_no_regression(tmp_path: Path) -> None:
    committed.accept(Counts("kernels-nvrtc13", "NVRTC 13", ROWS), tmp_path, "r")
    judgement = committed.judge(Counts("kernels-nvrtc14", "NVRTC 14", ROWS), tmp_path, rules.read())
    assert judgement.exit_code == 5 and "there are: kernels-nvrtc13" in judgement.results[0].note
    gone = committed.judge(Counts("kernels-nvrtc13", "NVRTC 13", {}), tmp_path, rules.read())
    assert gone.exit_code == 5


def test_what_a_dropped_graph_saved_is_not_kept() -> None:
    x = torch.arange(1.0, 101.0)

    def call(x: torch.Tensor) -> torch.Tensor:
        edge = (x.exp() * x).detach()  # exp's result is kept by nothing
        return x * (x > edge.new_zeros(()))

    subject = SimpleNamespace(inputs=[x], wanted=(0,), call=call)
    total, parts = saved_bytes(SimpleNamespace(inputs=[x], subject=subject))  # type: ignore[arg-type]
    assert (total, parts["of_inputs_bytes"]) == (100.0, 0)  # the mask


def test_the_counter_compiles_as_the_build_does(tmp_path: Path) -> None:
    units = [
        {"file": name, "command": f"c++ {words} -o {name}.o -c {name}.cpp"}
        for name, words in {
            "double": "-O2 -DADAPOOL_SCALAR=double -DADAPOOL_ISA=avx2", "wide": "-O2 -DADAPOOL_ISA=avx512",
            "general": "-O2 -DADAPOOL_SCALAR=float -DADAPOOL_ISA=avx2",
            "fast": "-O3 -fschedule-insns -DADAPOOL_ISA=avx2", "headers": "-O3 -DADAPOOL_ISA=avx2 -x c++-header",
        }.items()
    ]  # fmt: skip
    (tmp_path / "compile_commands.json").write_text(json.dumps(units))
    assert [" ".join(words) for words in callgrind.loops(tmp_path)] == [
        "c++ -O2 -DADAPOOL_SCALAR=float -DADAPOOL_ISA=avx2 general.cpp",
        "c++ -O3 -fschedule-insns -DADAPOOL_ISA=avx2 fast.cpp",
    ]


def test_a_file_of_rules_lies_over_the_projects(tmp_path: Path) -> None:
    own = rules.read()
    file = tmp_path / "rules.toml"
    file.write_text('[tool.adapool.gate]\ndetect = 0.5\n[tool.adapool.gate.margins.time]\n"ada/*" = 0.2\n')
    known = outcome.rules(str(file))
    assert [known.margin("time", case) for case in ("ada/x", "max/x")] == [0.2, own.margin("time", "max/x")] != [0.2, 0]
    assert known.margins["energy"] == own.margins["energy"] and known.controls == own.controls
    assert (known.detect, own.detect) == (0.5, 0.25)
