"""What the fast CUDA kernels execute, and what binds them: the reader of machine code, and the committed tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.gate_static import Counts
from suites import floors, hot_path
from suites.floors import Device, Kernel

BASELINE = Path(__file__).parents[1] / "reports" / "baseline"
ARCHITECTURES = (80, 90, 100)
# Instructions and special functions for each input, sm_90, that candidates of these kernels were counted with.
CANDIDATES = {
    ("Ada", "float", 2, "line", "value"): (19.0, 3.5), ("Ada", "BFloat16", 2, "line", "value"): (19.3, 2.5),
    ("Ada", "Half", 2, "line", "value"): (21.8, 2.5), ("Ada", "float", 2, "channels", "value"): (18.9, 3.5),
    ("Ada", "BFloat16", 2, "channels", "value"): (19.9, 2.5), ("Ada", "float", 3, "line", "value"): (38.0, 6.9),
    ("Ada", "BFloat16", 3, "line", "value"): (39.1, 4.4), ("Ada", "float", 3, "channels", "value"): (36.1, 7.25),
    ("Ada", "BFloat16", 3, "channels", "value"): (38.9, 5.0), ("Ada", "float", 2, "line", "exact"): (33.4, 3.75),
    ("Ada", "BFloat16", 2, "line", "exact"): (36.1, 2.75), ("Ada", "Half", 2, "line", "exact"): (37.1, 2.75),
    ("Ada", "float", 3, "line", "exact"): (82.9, 7.5), ("Ada", "BFloat16", 3, "line", "exact"): (84.6, 5.25),
    ("SoftPool", "float", 2, "line", "value"): (6.7, 1.25), ("SoftPool", "BFloat16", 2, "line", "value"): (7.7, 1.25),
}  # fmt: skip
MORE = 1.1

LISTING = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDG.E.128 R4, desc[UR6][R2.64] ;
        /*0020*/               @P0 BRA `(.L_x_1) ;
        /*0030*/                   LDG.E R9, desc[UR6][R2.64] ;
        /*0040*/                   I2F R9, R9 ;
.L_x_1:
        /*0050*/                   FFMA R5, R4, R4, RZ ;
        /*0060*/                   MUFU.EX2 R5, R5 ;
        /*0070*/                   NOP ;
        /*0080*/              @!P1 BRA `(.L_x_2) ;
        /*0090*/                   STG.E.128 desc[UR6][R2.64], R4 ;
.L_x_2:
        /*00a0*/               @P2 BRA `(.L_x_0) ;
        /*00b0*/                   EXIT ;
"""


def test_the_hot_path_does_the_work_and_no_more() -> None:
    names = hot_path.path(LISTING.splitlines())
    assert names == ["LDG.E.128", "BRA", "FFMA", "MUFU.EX2", "BRA", "STG.E.128", "BRA"]
    counts = hot_path.classes(names)
    assert hot_path.stored([*names, "STG.E", "STG.E.128"]) == 32
    told = {name: counts[name] for name in ("slots", "fma", "mufu", "load16", "load4", "store16", "other")}
    assert told == {"slots": 7, "fma": 1, "mufu": 1, "load16": 1, "load4": 0, "store16": 1, "other": 3}
    assert hot_path.path(["        /*0000*/                   EXIT ;"]) == []


def test_a_floor_by_hand() -> None:
    kernel = Kernel.named("window_kernel<Ada,Tile<float,3,2,4,1>,value,256>")
    assert kernel == Kernel("Ada", "float", 3, 2, 4, 1, "value")
    assert (kernel.inputs, kernel.tile) == (16, "line")
    assert (kernel.turns(16), kernel.turns(32), kernel.turns(8)) == (1, 2, 1)
    assert Kernel.named("forward_kernel<Ada,float>") is None
    shape = (1, 2, 9, 9)
    assert floors.moved(kernel, shape) == 4 * (162 + 2 * 16)
    device = Device("D", 90, copy=100.0, multiprocessors=2, clock=10.0, lanes=64)
    times = device.times(776, 162, {"slots": 40.0, "fma": 32.0, "mufu": 8.0})
    assert times == pytest.approx({"memory": 7.76, "issue": 2.53125, "arithmetic": 4.05, "special": 4.05})


def fast_rows(architecture: int) -> dict[str, dict[str, int]]:
    (path,) = BASELINE.glob(f"kernels-*-sm_{architecture}.txt")
    return {name: dict(row) for name, row in Counts.read(path).rows.items() if Kernel.named(name)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fast_kernels_stay_in_registers(architecture: int) -> None:
    rows = fast_rows(architecture)
    assert len(rows) == 1365
    none = ("spill_stores", "spill_loads", "stack", "local", "atomics", "fp64")
    assert not {name: row for name, row in rows.items() if any(row[column] for column in none)}


def inner_loops() -> dict[Kernel, dict[str, float]]:
    """The table of sm_90 in the committed report of floors."""
    (path,) = BASELINE.glob("floors-*.txt")
    lines = path.read_text().split("\n# sm_90\n")[1].split("\n\n")[0].splitlines()
    columns = lines[0].split()
    read = ((line.split()[0], map(float, line.split()[1:])) for line in lines[1:])
    return {kernel: dict(zip(columns, row, strict=True)) for name, row in read if (kernel := Kernel.named(name))}


def test_inner_loops_cost_what_was_planned() -> None:
    found = {}
    for kernel, row in inner_loops().items():
        key = (kernel.method, kernel.scalar, kernel.k, kernel.tile, kernel.want)
        if key in CANDIDATES and (kernel.k, kernel.s) in ((2, 2), (3, 2)):
            found[key] = (row["slots"], row["mufu"])
    assert set(found) == set(CANDIDATES)
    most = {key: tuple(MORE * n for n in counts) for key, counts in CANDIDATES.items()}
    dear = {key: counts for key, counts in found.items() if counts[0] > most[key][0] or counts[1] > most[key][1]}
    assert not dear


def test_accesses_are_16_bytes_wide() -> None:
    """Of tiles that hold more than a cell; but for what overlapping windows read of the next tile."""
    for kernel, row in inner_loops().items():
        if kernel.tile == "cell":
            continue
        assert row["load16"] > 0 and row["store16"] > 0 and row["store8"] == 0, kernel
        if kernel.k == kernel.s:
            narrow = {key: row[key] for key in ("load4", "load8", "store4", "local", "atomics", "fp64")}
            assert not any(narrow.values()), (kernel, narrow)
