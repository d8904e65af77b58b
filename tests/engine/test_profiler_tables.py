"""What profilers print, read: Nsight Compute's numbers of a real device, Nsight Systems' table, torch's trace."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from reports.profile import Kernel, Profile
from reports.profiles import said, waiting
from suites import ncu, nsys, trace
from suites.launch import Refused, folded, number, seconds, worded

DATA = Path(__file__).parents[1] / "support" / "profiles"
H200 = (DATA / "ncu-h200.csv").read_text()
DRAM = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
PERMISSION = (
    "==PROF== Connected to process 4711 (/usr/bin/python3.12)\n"
    "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters on the "
    "target device 0. For instructions on enabling permissions and to get more information see "
    "https://developer.nvidia.com/ERR_NVGPUCTRPERM\n==WARNING== No kernels were profiled.\n"
)


def test_the_numbers_of_a_real_device() -> None:
    """Of Nsight Compute's text of the same run: AdaPool 2/2 forward, backward, and the sum of beta's gradient."""
    forward, backward, total = ncu.read(H200)
    assert (forward.seconds, backward.seconds, total.seconds) == pytest.approx((70.53e-6, 163.3e-6, 53.82e-6))
    assert (forward.dram, forward.issue, forward.occupancy) == (73.62, 60.70, 48.57)
    assert (forward.registers, backward.registers, total.registers) == (48, 128, 44)
    assert backward.threads == 256 and backward.name.startswith("void adapool::window_kernel<adapool::Ada")
    assert (backward.stall, total.stall) == ("long_scoreboard", "wait")
    assert backward.stall_share == pytest.approx(56.4, abs=0.7) and total.stall_share == pytest.approx(36.5, abs=0.5)
    assert waiting(backward) == (
        "waits for loads from memory (long scoreboard), 56 % of a warp's time; 58 % of issue slots idle"
    )
    assert waiting(total).startswith("waits the fixed latency of the instruction before (wait)")
    common = {"case": "c", "device": "d", "machine": "m", "profiler": "ncu", "calls": 1, "command": "c", "time": "t"}
    one = Profile(status="ok", reason=None, kernels=(backward, total, total), files=(), **common)  # type: ignore[arg-type]
    lines = said(one, 2)
    assert lines[0] == "ncu: c" and lines[3:] == ["  ... and 1 more"]
    assert ": 163 µs, dram 57 %, issue 42 %, occupancy 20 %, 128 registers; waits for loads" in lines[1]


def test_what_is_printed_around_the_table_and_between_is_left_out() -> None:
    noisy = "==PROF== Connected\nsome program's words\n" + H200.replace('\n"1"', '\n==WARNING== something\n"1"')
    assert ncu.read(noisy) == ncu.read(H200)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((DRAM, '"ns"', '"70,530"'), ("dram__throughput.avg.pct_of_peak_sustained_elapsed", '"usecond"', '"70.53"')),
        (("smsp__average_warp_latency_per_inst_issued.ratio",), ("smsp__average_warps_active_per_issue_active.ratio",)),
        (("smsp__issue_active.avg.pct_of_peak_sustained_active",), ("smsp__another.pct",)),
        (('"launch__block_size"',), ('"launch__nothing"',)),
    ],
)
def test_names_and_units_of_other_versions(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    text = H200
    for a, b in zip(old, new, strict=True):
        assert a in text
        text = text.replace(a, b)
    was, now = asdict(ncu.read(H200)[0]), asdict(ncu.read(text)[0])
    assert {**now, "issue": 0} == {**was, "issue": 0} and now["issue"] == pytest.approx(was["issue"], rel=0.01)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (H200.replace('"73.62"', '"nan"'), f"{DRAM} came back as nan"),
        (H200.replace('"12.54"', '"-nan"'), "came back as -nan"),
        (H200.replace('"4.8"', '"inf"'), "long_scoreboard_per_issue_active.ratio came back as inf"),
        (H200.replace('"73.62"', '"73,62"'), "expected a number such as 1,234.5, got '73,62'"),
        (H200.replace('"70,530"', '""'), "no duration"),
        (H200.replace('"ns"', '"cycle"'), "expected a unit such as ns"),
        (H200[:-40], "cut off"),
        (H200[: H200.index('"1.29"')], "cut off"),
        (H200[: H200.index('"0","4711"')], "no kernel"),
        ("\n".join(H200.splitlines()[:1]) + "\n", "no row of units"),
        ("==PROF== Connected\n", "no table"),
    ],
)  # fmt: skip
def test_what_may_not_be_shown_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        ncu.read(text)


def test_a_metric_that_is_not_measured_is_no_number() -> None:
    one = ncu.read(H200.replace('"73.62"', '"n/a"'))[0]
    assert one.dram is None and one.issue == 60.70


def test_the_kept_table_names_no_machine() -> None:
    kept = ncu.public(H200)
    assert ncu.read(kept) == ncu.read(H200)
    assert "4711" not in kept and "python3.12" not in kept and "127.0.0.1" not in kept


def test_ncu_says_why() -> None:
    assert "NVreg_RestrictProfilingToAdminUsers=0" in (ncu.fault(PERMISSION) or "")
    assert ncu.fault("==ERROR== Failed to initialize the profiler: LibraryNotLoaded\n") == (
        "ncu: Failed to initialize the profiler: LibraryNotLoaded"
    )
    assert ncu.fault("==ERROR== The application returned an error code (9).\n") is None, "it says why itself"
    assert ncu.fault("==WARNING== No kernels were profiled.\n") == "ncu: no kernel was launched in the call"
    assert ncu.fault("==PROF== Disconnected from process 4711\n") is None


def test_numbers_and_units() -> None:
    assert number("1,081,344", "x") == 1081344 and number(" 0.5 ", "x") == 0.5 and number("no data", "x") is None
    for bad in ("1.234,5", "1,23", "12 us", "--"):
        with pytest.raises(Refused):
            number(bad, "x")
    for unit in ("ns", "nsecond", "nsec"):
        assert seconds(5, unit) == pytest.approx(5e-9)
    assert seconds(5, "second") == seconds(5, "s") == 5 and seconds(5, "usecond") == pytest.approx(5e-6)


def test_nsys_table_in_the_order_of_launches() -> None:
    found = nsys.read((DATA / "nsys.csv").read_text())
    assert [(round(k.seconds * 1e6), k.threads, k.registers) for k in found] == [
        (163, 256, 128), (54, 256, 44), (165, 256, 128), (56, 256, 44)
    ]  # fmt: skip
    once = folded(found, 2)
    assert [(k.seconds, k.count) for k in once] == [(pytest.approx(164e-6), 1), (pytest.approx(55e-6), 1)]
    kept = nsys.public((DATA / "nsys.csv").read_text())
    assert "/tmp" not in kept and nsys.read(kept) == found
    for text in ("Processing\n", kept[:-20], kept.splitlines()[0] + "\n"):
        with pytest.raises(Refused):
            nsys.read(text)


def test_calls_that_launch_differently_are_put_together_by_name() -> None:
    seen = [Kernel("a", 1.0, dram=1), Kernel("b", 4.0), Kernel("a", 3.0), Kernel("a", 8.0, dram=8)]
    assert [(k.name, k.seconds, k.count, k.dram) for k in folded(seen, 2)] == [("a", 6.0, 2, 8), ("b", 2.0, 1, None)]
    many = folded([Kernel("a", 1.0), Kernel("b", 2.0)] * 20, 2)
    assert [(k.name, k.seconds, k.count) for k in many] == [("a", 10.0, 10), ("b", 20.0, 10)]


def test_words_only_where_the_kernels_are_those_planned() -> None:
    seen = [Kernel("adapool_kernel", 1.0, threads=256), Kernel("fill", 1.0), Kernel("adapool_kernel", 1.0, threads=64)]
    told = [("ada backward", 256), ("totals", 64)]
    assert [k.words for k in worded(seen, told)] == ["ada backward", None, "totals"]
    for other in ([("ada backward", 256)], [("ada backward", 256), ("totals", 128)], []):
        assert [k.words for k in worded(seen, other)] == [None] * 3


def test_own_time_of_operators() -> None:
    def event(name: str, ts: float, dur: float, tid: int = 1, cat: str = "cpu_op") -> dict[str, object]:
        return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "pid": 1, "tid": tid}

    events = [event("inner", 2, 3), event("outer", 0, 10), event("inner", 6, 1), event("leaf", 2, 1)]
    events += [event("other", 1, 4, tid=2), event("range", 0, 99, cat="user_annotation")]
    found = trace.read({"traceEvents": events})
    assert {(k.name, round(k.seconds * 1e6, 6)) for k in found} == {
        ("outer", 6.0), ("other", 4.0), ("inner", 2.0), ("leaf", 1.0), ("inner", 1.0)
    }  # fmt: skip
    kernel = {"block": [32, 8, 1], "registers per thread": 40}
    events.append({**event("adapool_kernel", 5, 7, cat="kernel"), "args": kernel})
    assert trace.read({"traceEvents": events}) == [Kernel("adapool_kernel", 7e-6, threads=256, registers=40)]
    with pytest.raises(Refused):
        trace.read({"traceEvents": []})
