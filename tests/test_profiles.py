"""What profilers print, read; and a run's cases under stand-ins of ncu and nsys that note their command lines."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from reports import frame, profile, render
from reports.profile import Kernel, Profile
from reports.profiles import furthest, said, waiting
from suites import ncu, nsys, profiles, trace
from suites.case import EXAMPLE, Case
from suites.launch import Refused, folded, number, seconds, worded
from suites.plan import UsageError
from tests import reports_made

DATA = Path(__file__).with_name("profiles")
H200 = (DATA / "ncu-h200.csv").read_text()
DRAM = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
PERMISSION = (
    "==PROF== Connected to process 4711 (/usr/bin/python3.12)\n"
    "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters on the "
    "target device 0. For instructions on enabling permissions and to get more information see "
    "https://developer.nvidia.com/ERR_NVGPUCTRPERM\n==WARNING== No kernels were profiled.\n"
)
CASE = Case.named("ada/native/backward/float32/nchw/k2s2p0/64x256x56x56")
# Notes its words, and does as its kind says: writes the report that --export names, prints a table, or complains.
STAND_IN = """#!/usr/bin/env bash
printf '%q ' "$(basename "$0")" "$@" >>"$NOTES"; echo "LC_ALL=$LC_ALL SEEN=$CUDA_VISIBLE_DEVICES" >>"$NOTES"
case " $* " in *" --import "* | *" stats "*) cat "$TABLE"; exit ;; esac
[ -z "${COMPLAINT:-}" ] || { cat "$COMPLAINT"; exit "${CODE:-0}"; }
while [ $# -gt 0 ]; do
  case $1 in --export) : >"$2" ;; --output=*) : >"${1#*=}" ;; --launches) echo "$LAUNCHES" >"$2" ;; esac
  shift
done
"""


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
    assert ncu.fault("==ERROR== The application returned an error code (9).\n") == (
        "ncu: The application returned an error code (9)."
    )
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


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, **given: str) -> Path:
    """A profiler of that name on the PATH; where its command lines are noted."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(STAND_IN)
    (folder / name).chmod(0o755)
    notes = tmp_path / "notes"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for variable, value in {"NOTES": str(notes), "LAUNCHES": "[]", **given}.items():
        monkeypatch.setenv(variable, value)
    return notes


def profiled(tmp_path: Path, name: str, kind: str = "cuda", case: Case = CASE) -> Profile:
    def environment(device: str, kind: str) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": device}

    tool = profiles.Profiler(name, tmp_path, 3, environment)
    made = tool.profile(profiles.Wanted("GPU-1", kind, "machine", case))
    assert profile.read(tmp_path)[-1] == made
    return made


def test_ncu_is_asked_to_leave_the_clocks_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.dumps([["ada backward", 256]])
    notes = stand_in(tmp_path, monkeypatch, "ncu", TABLE=str(DATA / "ncu-h200.csv"), LAUNCHES=told)
    made = profiled(tmp_path, "ncu")
    first, second = (shlex.split(line) for line in notes.read_text().splitlines())
    assert first[first.index("--clock-control") + 1] == "none" and "--profile-from-start" in first
    assert first[first.index("-m") + 1 :][:2] == ["suites.profiled", CASE.name]
    assert first[first.index("--seed") + 1] == "3" and first[first.index("--device") + 1] == "cuda"
    assert first[-2:] == ["LC_ALL=C", "SEEN=GPU-1"] and "--import" in second and "--csv" in second
    assert made.status == "ok" and [k.registers for k in made.kernels] == [48, 128, 44]
    assert [Path(file).name.split(".", 1)[1] for file in made.files] == ["ncu-rep", "ncu.csv"]
    assert all((tmp_path / file).is_file() for file in made.files)
    assert "127.0.0.1" not in (tmp_path / made.files[1]).read_text()
    assert made.command.startswith("ncu --clock-control none") and "/" not in made.command.replace(CASE.name, "")


def test_nsys_gives_kernels_with_the_librarys_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nsys, "CALLS", 2)
    told = json.dumps([["ada backward", 256], ["totals", 256]])
    notes = stand_in(tmp_path, monkeypatch, "nsys", TABLE=str(DATA / "nsys.csv"), LAUNCHES=told)
    made = profiled(tmp_path, "nsys")
    first = shlex.split(notes.read_text().splitlines()[0])
    assert "--capture-range=cudaProfilerApi" in first and "--clock-control" not in first
    assert [(k.words, k.registers) for k in made.kernels] == [("ada backward", 128), ("totals", 44)]


@pytest.mark.parametrize(("code", "said"), [("0", PERMISSION), ("1", PERMISSION)])
def test_no_permission_is_a_reason(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said").write_text(said)
    stand_in(tmp_path, monkeypatch, "ncu", TABLE="/dev/null", COMPLAINT=str(tmp_path / "said"), CODE=code)
    made = profiled(tmp_path, "ncu")
    assert made.status == "refused" and "ERR_NVGPUCTRPERM" in str(made.reason) and not made.kernels and not made.files


def test_counters_that_are_nan_are_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nan.csv").write_text(H200.replace('"73.62"', '"nan"'))
    stand_in(tmp_path, monkeypatch, "ncu", TABLE=str(tmp_path / "nan.csv"))
    made = profiled(tmp_path, "ncu")
    assert made.status == "refused" and f"{DRAM} came back as nan" in str(made.reason) and not made.kernels
    stand_in(tmp_path, monkeypatch, "ncu", TABLE=str(DATA / "ncu-h200.csv"))
    assert profiled(tmp_path, "ncu").status == "ok" and len(profile.read(tmp_path)) == 1, "the last one counts"


def test_what_is_not_there_or_does_not_fit_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ncu is not on the PATH" in str(profiled(tmp_path, "ncu").reason)
    assert "--profile-with torch works here" in str(profiled(tmp_path, "nsys", "cpu").reason)
    broken = Case.named("ada/native/forward/float32/nchw/k9s9p0/1x1x4x4")
    made = profiled(tmp_path, "torch", "cpu", broken)
    assert made.status == "failed" and "exited with code 1" in str(made.reason) and "Error" in str(made.reason)


def test_a_profiler_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "ncu", TABLE="/dev/null", COMPLAINT="/dev/zero")
    monkeypatch.setattr(profiles, "SECONDS", 0.3)
    (tmp_path / "bin" / "ncu").write_text("#!/bin/sh\nsleep 60\n")
    made = profiled(tmp_path, "ncu")
    assert made.status == "timeout" and "took more than 0.3 s" in str(made.reason)


def test_what_cannot_be_understood_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never an error that would keep the report back."""
    (tmp_path / "odd.csv").write_text(H200.replace('"Kernel Name"', '"Name of the kernel"'))
    stand_in(tmp_path, monkeypatch, "ncu", TABLE=str(tmp_path / "odd.csv"))
    made = profiled(tmp_path, "ncu")
    assert made.status == "failed" and made.reason == "ncu's output was not understood: KeyError: 'Kernel Name'"
    stand_in(tmp_path, monkeypatch, "ncu", TABLE=str(DATA / "ncu-h200.csv"), LAUNCHES="no JSON")
    assert "not understood: JSONDecodeError" in str(profiled(tmp_path, "ncu").reason)


def test_a_stop_leaves_no_half_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(base: Path, call: object, run: object) -> list[Kernel]:
        base.with_name(f"{base.name}.torch.json.gz").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(profiles, "_with_torch", stopped)
    with pytest.raises(KeyboardInterrupt):
        profiled(tmp_path, "torch", "cpu")
    assert not profile.read(tmp_path) and not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_torch_on_the_cpu_for_real(tmp_path: Path) -> None:
    case = Case.named("ada/native/both/float32/nchw/k3s2p1/2x4x12x12")
    made = profiled(tmp_path, "torch", "cpu", case)
    assert made.status == "ok", made.reason
    names = {kernel.name for kernel in made.kernels}
    assert {"adapool::pool", "adapool::pool_backward"} <= names
    assert all(k.seconds < 1 and k.registers is None for k in made.kernels)
    (file,) = made.files
    import gzip

    with gzip.open(tmp_path / file, "rt") as stream:
        kept = json.load(stream)
    ranges = [e for e in kept["traceEvents"] if e.get("cat") == "user_annotation" and e["name"] == case.name]
    assert len(ranges) == trace.CALLS and not {"host_name", "traceName"} & set(kept)


def test_names_make_cases_again() -> None:
    for name in (
        EXAMPLE,
        "max/torch/backward/bfloat16/channels_last/k3s2p1c/1x64x112x112",
        "lp/plain/both/float64/nchw/k1x2s2x1p0x1/2x3x8x9",
        "avg/native/forward/float16/nchw/k2s2p0/2x3x8x9x9",
    ):
        assert Case.named(name).name == name
    for bad in ("ada", "ada/native/forward/float32/nchw/2s2p0/4x64x56x56", f"{EXAMPLE}/more"):
        with pytest.raises(ValueError, match="case: expected a name"):
            Case.named(bad)


def test_globs_choose_latency_cases_and_one_that_fits_none_is_told() -> None:
    other = Case.named(EXAMPLE)
    plan = {"cpu": [CASE, other], "GPU-1": [CASE]}
    assert profiles.matching(plan, ["*/backward/*"]) == [("cpu", CASE), ("GPU-1", CASE)]
    assert profiles.matching(plan, ["ada/*", EXAMPLE]) == [("cpu", CASE), ("cpu", other), ("GPU-1", CASE)]
    assert profiles.among(plan, [("cpu", other.name), ("cpu", "gone")]) == [("cpu", other)]
    profiles.check(plan, ["*/backward/*", EXAMPLE])
    assert profiles.matching({"GPU-1": [CASE]}, [EXAMPLE]) == [], "in another shard"
    with pytest.raises(UsageError, match=r"profile-case: expected a glob that fits .* got 'max/.'"):
        profiles.check(plan, [EXAMPLE, "max/*"])


def test_a_profile_is_checked_on_both_ways(tmp_path: Path) -> None:
    good = Profile(
        case=EXAMPLE, device="cpu", machine="m", profiler="torch", status="ok", reason=None, calls=1,
        kernels=(Kernel("a", 1.0, dram=3.5),), files=("profiles/a.json",), command="c", time="t",
    )  # fmt: skip
    assert Profile.from_json(good.to_json()) == good
    held = json.loads(good.to_json())
    for change in (
        {"kernels": []}, {"status": "refused"}, {"reason": "why"}, {"schema": 2}, {"profiler": "vtune"},
        {"files": ["/etc/passwd"]}, {"files": ["../x"]}, {"kernels": [{"name": "a", "seconds": -1.0}]},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            Profile.from_json(json.dumps({**held, **change}))
    with pytest.raises(ValueError, match="finite"):
        Kernel("a", float("nan"))
    (tmp_path / profile.FILE).write_text(good.to_json() + "\n" + good.to_json()[:50])
    profile.append(tmp_path, other := replace(good, case=CASE.name))
    with pytest.warns(UserWarning, match=r"profiles.jsonl, line 2: the line is cut off"):
        assert profile.read(tmp_path) == [good, other]
    (tmp_path / profile.FILE).write_text(good.to_json() + "\n{}\n")
    with pytest.raises(ValueError, match=r"profiles.jsonl, line 2: profile: expected an object with a schema"):
        profile.read(tmp_path)


def test_the_page_shows_kernels_reasons_and_files(tmp_path: Path) -> None:
    run = reports_made.write(tmp_path / "run", devices=(reports_made.GPU,), methods=("ada", "avg"))
    (run / "profiles").mkdir()
    (run / "profiles" / "a.ncu-rep").touch()
    common = {"device": reports_made.GPU, "machine": reports_made.GPU, "profiler": "ncu", "calls": 1, "time": "t"}
    made = ncu.read(H200)
    kernels = (made[0], Kernel(**{**asdict(made[1]), "words": "ada backward <b>"}), Kernel("bare", 1e-6))
    files = ("profiles/a.ncu-rep", "profiles/gone.csv")
    profile.append(run, Profile(
        case=EXAMPLE, status="ok", reason=None, kernels=kernels, files=files, command="ncu --one", **common,
    ))  # fmt: skip
    profile.append(run, Profile(
        case=CASE.name, status="refused", reason="ncu <may> not", kernels=(), files=(), command="ncu --two", **common,
    ))  # fmt: skip
    page = render.write(run).read_text()
    for words in (
        "ada backward &lt;b&gt;", "waits for loads from memory (long scoreboard), 56 % of a warp&#39;s time; 58 % of",
        'href="profiles/a.ncu-rep"', "ncu &lt;may&gt; not", "ncu --one", "163", ">57 %<", ">128<", EXAMPLE,
    ):  # fmt: skip
        assert words in page, words
    assert f'<a href="#{(anchor := "device-1-profiles")}">Under a profiler' in page and f'id="{anchor}"' in page
    assert "gone.csv" not in page and "ada backward <b>" not in page
    other = render.write([run, reports_made.write(tmp_path / "b", methods=("avg",))], tmp_path / "both").read_text()
    assert 'href="../run/profiles/a.ncu-rep"' in other and other.count(">Under a profiler</h3>") == 1


def test_the_cases_furthest_from_a_copy(tmp_path: Path) -> None:
    run = reports_made.write(tmp_path / "run", devices=("cpu-1", reports_made.GPU), methods=("ada", "avg", "max"))
    table = frame.load(run)
    found = furthest(table, 2)
    assert sorted(device for device, _ in found) == [reports_made.GPU] * 2 + ["cpu"] * 2
    shares = table.dropna(subset=["percent_of_copy"]).query("implementation == 'native'")
    for device, part in shares.groupby("device"):
        least = part.groupby("case")["percent_of_copy"].min().nsmallest(2)
        assert list(least.index) == [case for where, case in found if where == device]
    assert furthest(table[table["implementation"].ne("copy")].assign(percent_of_copy=float("nan")), 2) == []


def test_doctor_knows_the_profilers_where_there_is_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suites import doctor, nvml

    assert not {"ncu", "nsys"} & {what for _, what, *_ in doctor._gpus()} or nvml.listed()
    monkeypatch.setattr(nvml, "listed", lambda: [SimpleNamespace(name="A GPU", uuid="GPU-1")])
    stand_in(tmp_path, monkeypatch, "ncu", TABLE="")
    found = {what: mark for mark, what, *_ in doctor._gpus()}
    assert (found["ncu"], found["nsys"]) == ("ok", "note")
