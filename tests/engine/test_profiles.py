"""A run's cases under torch.profiler, and under stand-ins of ncu and nsys that note their command lines; the page."""

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
from reports.profiles import furthest, said
from suites import ncu, nsys, profiles, trace
from suites import profiled as profiled_alone
from suites.axes import UsageError
from suites.case import EXAMPLE, Case
from tests.engine.test_profiler_tables import DATA, DRAM, H200, PERMISSION
from tests.support import reports_made

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
    assert made.status == "failed"
    assert re.fullmatch(r"python\S* exited with code 1: ValueError: kernel_size: expected at most .*", str(made.reason))


def test_a_case_that_fails_under_ncu_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "==PROF== Connected\nRuntimeError: it does not run\n==ERROR== The application returned an error code (1).\n"
    (tmp_path / "said").write_text(said)
    stand_in(tmp_path, monkeypatch, "ncu", TABLE="/dev/null", COMPLAINT=str(tmp_path / "said"), CODE="1")
    made = profiled(tmp_path, "ncu")
    assert (made.status, made.reason) == ("failed", "ncu exited with code 1: RuntimeError: it does not run")


def test_a_cut_at_the_most_kernels_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "ncu", TABLE=str(DATA / "ncu-h200.csv"))
    assert profiled(tmp_path, "ncu").note is None
    monkeypatch.setattr(ncu, "MOST", 3)
    made = profiled(tmp_path, "ncu")
    assert "the first 3 were profiled" in str(made.note) and f"  ({made.note})" in said(made)


def test_an_nsys_that_has_no_such_table_is_asked_by_the_older_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = stand_in(tmp_path, monkeypatch, "nsys", TABLE="/dev/null")
    made = profiled(tmp_path, "nsys")
    assert "cuda_gpu_trace" in notes.read_text() and "=gputrace" in notes.read_text()
    assert made.status == "refused" and "no table of kernels" in str(made.reason)


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


@pytest.mark.parametrize(
    ("words", "says"), [(("ada",), "profiled: case: expected"), ((EXAMPLE,), "sees no CUDA device")]
)
def test_what_cannot_be_run_is_one_line(words: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["profiled", *words])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=says):
        profiled_alone.main()


def test_globs_choose_latency_cases_and_one_that_fits_none_is_told() -> None:
    other = Case.named(EXAMPLE)
    plan = {"cpu": [CASE, other], "GPU-1": [CASE]}
    assert profiles.matching(plan, ["*/backward/*"]) == [("cpu", CASE), ("GPU-1", CASE)]
    assert profiles.matching(plan, ["ada/*", EXAMPLE]) == [("cpu", CASE), ("cpu", other), ("GPU-1", CASE)]
    assert profiles.among(plan, [("cpu", other.name), ("cpu", "gone")]) == [("cpu", other)]
    profiles.check(plan, ["*/backward/*", EXAMPLE])
    assert profiles.matching({"GPU-1": [CASE]}, [EXAMPLE]) == [], "in another shard"
    with pytest.raises(UsageError, match=r"profile-case: expected a latency case .* got 'max/.'"):
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
    with pytest.warns(UserWarning, match=r"profiles.jsonl: the last line is cut off"):
        profile.append(tmp_path, other := replace(good, case=CASE.name))
    assert profile.read(tmp_path) == [good, other]
    (tmp_path / profile.FILE).write_text(good.to_json() + "\n{}\n")
    with pytest.raises(ValueError, match=r"profiles.jsonl, line 2: schema: expected a whole number"):
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
