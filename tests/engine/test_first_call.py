"""First-call times: a case in the library's words, calls made side by side, the records and tables that come of it."""

from __future__ import annotations

import ctypes
import io
import shutil
import subprocess
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import reports
from reports import store
from reports.record import Record
from suites import engine, first_call, inspector, records
from suites.axes import Axes
from suites.case import Case, of_json
from suites.link import Died, TimedOut
from suites.progress import Progress
from suites.tally import Tally
from suites.worker import Workbench
from tests.support.reports_made import GPU, make

ORIGIN = records.Origin(GPU, GPU, {"version": "0.1.0", "commit": None, "dirty": None}, 0)


def case(method: str = "ada", direction: str = "forward", implementation: str = "native", **more: Any) -> Case:
    given: dict[str, Any] = {
        "probe": "latency", "kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": False,
        "shape": (64, 64, 112, 112), "dtype": "bfloat16", "layout": "channels_last", "clocks": ("cold",),
    }  # fmt: skip
    return Case(method=method, direction=direction, implementation=implementation, **{**given, **more})


TAIL = "bfloat16 channels_last 3x3/2x2+1x1 64x64x112x112"
LINE: dict[str, Any] = {"kernel": (2,), "stride": (2,), "padding": (0,), "shape": (4, 8, 100), "layout": "nchw"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (case(), (f"ada forward {TAIL} scalar",)),
        (case(direction="backward"), (f"ada forward {TAIL} scalar", f"ada backward {TAIL} scalar")),
        (case("max", "both"), (f"max forward {TAIL} number", f"max backward {TAIL} number")),
        (case("lp"), (f"lp forward {TAIL} number",)),
        (case("avg", **LINE), ("avg forward bfloat16 nchw 2/2+0 4x8x100 number",)),
        (case("adaunpool_guide", "inverse"), (f"ada unpool {TAIL} number",)),
        (case("adaunpool_masks", "inverse"), (f"weights unpool {TAIL} number",)),
        (case("power"), (f"power forward {TAIL} scalar",)),
        (case("stochastic"), (f"stochastic forward {TAIL} cell",)),
        (case("max", ceil_mode=True), (f"max forward {TAIL} number".replace("+1x1", "+1x1^"),)),
    ],
)
def test_a_case_in_words(asked: Case, said: tuple[str, ...]) -> None:
    assert first_call.words(asked) == said


def test_the_calls_that_are_measured() -> None:
    """What is compared between builds and told of a profile: without the forward that a backward needs."""
    said = {way: [call.split()[1] for call in first_call.measured(case(direction=way))] for way in
            ("forward", "backward", "both")}  # fmt: skip
    assert said == {"forward": ["forward"], "backward": ["backward"], "both": ["forward", "backward"]}
    assert len(first_call.measured(case("adaunpool_guide", "inverse"))) == 1


def test_what_is_prepared() -> None:
    """Native cases on CUDA, each once whatever is measured of it."""
    plain, copied = case(implementation="plain"), case("copy", implementation="copy")
    wanted = [case(), case(direction="backward")]
    others = [case(probe="memory", clocks=()), case(probe="retention", shape=(3, 8, 8)), plain, copied]
    found = first_call.chosen([*wanted, *others], "cuda")
    assert [each.name for each in found] == [each.name for each in wanted]
    assert {each.probe for each in found} == {"kernels"}
    assert first_call.chosen(wanted, "cpu") == []


def test_calls_are_made_once_and_side_by_side() -> None:
    made: Counter[str] = Counter()
    both = threading.Barrier(2, timeout=30)

    def make_(call: str) -> int:
        made[call] += 1
        both.wait()
        return 0 if " forward " in call else 2

    forward, backward = first_call.prepare([case(), case(direction="backward")], make_, 2)
    assert set(made.values()) == {1} and len(made) == 2
    assert forward["how"] == {"cached": True, "compiled": 0, "threads": 2}
    assert backward["how"] == {"cached": False, "compiled": 2, "threads": 2}
    assert 0 < forward["value"] < backward["value"], "a backward's first call waits for forward's kernels too"


def test_a_kernel_that_is_not_made_is_a_record() -> None:
    def refuses(call: str) -> int:
        raise RuntimeError("NVRTC does not compile this: /some/where/x.cu")

    (finding,) = first_call.prepare([case()], refuses, 1)
    (asked,) = first_call.chosen([case()], "cuda")
    record = records.make(asked, finding, ORIGIN)
    assert record.status == "failed" and record.value is None
    assert record.reason == "NVRTC does not compile this: x.cu"


def test_a_record_and_the_command_that_makes_it_again() -> None:
    (finding,) = first_call.prepare([case()], lambda call: 1, 1)
    (asked,) = first_call.chosen([case()], "cuda")
    record = records.make(asked, finding, ORIGIN)
    assert (record.probe, record.metric, record.unit, record.clock) == ("kernels", "first_call", "s", None)
    assert record.measurement["cached"] is False and record.case == case().name
    assert Record.from_json(record.to_json()) == record
    assert record.command == case().command(GPU, 0) and "--probe latency" in record.command


STAND_IN = """
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static volatile int inside = 0;
/* 1 once two calls are inside at the same time, 0 when none joined for five seconds; "bad ..." is refused. */
int adapool_prepare(const char* words, int device, void** why) {
  if (device != 0 || strncmp(words, "bad", 3) == 0) {
    *why = strdup("specification: unexpected method 'bad'");
    return -1;
  }
  __sync_fetch_and_add(&inside, 1);
  for (int i = 0; i < 5000 && inside < 2; ++i) usleep(1000);
  return inside >= 2;
}
void adapool_free(void* made) { free(made); }
"""


def test_the_librarys_function_is_called_without_pythons_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is needed to build the stand-in for the library")
    (tmp_path / "library.c").write_text(STAND_IN)
    library = tmp_path / "library.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "library.c")], check=True)
    monkeypatch.setattr(inspector, "library", lambda: ctypes.CDLL(str(library)))
    make_ = first_call.maker(0)
    found = first_call.prepare([case(), case("max")], make_, 2)
    assert [finding["how"]["compiled"] for finding in found if finding] == [1, 1]
    with pytest.raises(RuntimeError, match="unexpected method 'bad'"):
        make_("bad forward")


def test_a_device_that_compiles_nothing_has_no_first_calls() -> None:
    bench = object.__new__(Workbench)
    bench.device, bench.setup = torch.device("cpu"), {"threads": 2}
    assert bench.prepare({"prepare": [asdict(case())]}) == [None]


class FakeLink:
    """A worker that prepares as it is told and measures everything in no time."""

    prepared: Any = None
    asked: list[str]
    started = 0

    def __init__(self, setup: dict[str, Any], environment: dict[str, str]) -> None:
        type(self).started += 1

    def ready(self) -> dict[str, Any]:
        return {}

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        self.asked.append(next(iter(request)))
        if "prepare" not in request:
            finding = first_call._finding([first_call.Made(1e-3)], 1)
            return {"seconds": 0.0, "spent": {}, "findings": [{**finding, "metric": "time", "clock": "cold"}]}
        if isinstance(self.prepared, Exception):
            raise self.prepared
        if self.prepared is not None:
            return dict(self.prepared)
        cases = [of_json(Case, each) for each in request["prepare"]]
        return {"prepared": first_call.prepare(cases, lambda call: 0, 1), "seconds": 0.0}

    def close(self) -> None: ...

    kill = close


def driven(
    folder: Path, monkeypatch: pytest.MonkeyPatch, prepared: Any = None, kind: str = "cuda", have: Any = ()
) -> tuple[Tally, list[Record], str, type[FakeLink]]:
    link = type("Link", (FakeLink,), {"prepared": prepared, "asked": [], "started": 0})
    monkeypatch.setattr(engine, "Link", link)
    said = io.StringIO()
    facts = {"version": "0.1.0", "commit": None, "dirty": None}
    planned = (case(), case(direction="backward"), case(implementation="plain"))
    device = engine.Device(GPU, kind, planned, {}, {})
    with store.Writer(folder) as writer:
        progress = Progress(len(planned), said)
        run = engine.Run(writer, progress, Axes(), facts, lambda facts: GPU, set(have), 10.0)
        tally = run.go([device], False)
    return tally, list(store.read(folder)), said.getvalue(), link


def test_a_run_makes_its_kernels_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally, found, _, link = driven(tmp_path / "run", monkeypatch)
    assert [record.probe for record in found] == ["kernels"] * 2 + ["latency"] * 3
    assert link.asked == ["prepare", "case", "case", "case"] and link.started == 1
    assert tally.cases == 3 and tally.statuses == {"ok": 5} and not tally.faults
    have = {(record.device, *record.key) for record in found}
    again = driven(tmp_path / "again", monkeypatch, have=have)
    assert again[1] == [] and again[0].cases == 3, "no record is written twice"


def test_a_run_on_the_cpu_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found, _, link = driven(tmp_path / "run", monkeypatch, kind="cpu")
    assert {record.probe for record in found} == {"latency"} and "prepare" not in link.asked


@pytest.mark.parametrize(
    ("prepared", "started"),
    [
        (Died("the worker died of SIGSEGV"), 2),
        (TimedOut("no answer within 300 s; the worker was killed"), 2),
        ({"status": "failed", "reason": "CUDA error: 700", "restart": True, "seconds": 0.1}, 2),
        ({"status": "failed", "reason": "AttributeError: undefined symbol: adapool_prepare", "seconds": 0.1}, 1),
    ],
)
def test_a_run_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Any, started: int) -> None:
    tally, found, said, link = driven(tmp_path / "run", monkeypatch, prepared)
    assert [record.probe for record in found] == ["latency"] * 3 and not tally.faults
    assert "kernels are made as they are met" in said and link.started == started


def test_the_report_shows_first_calls(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    gpu: dict[str, Any] = {"machine": GPU, "device": GPU}
    store.write_machine(folder, {"run": {}, "devices": {GPU: {"name": "Example GPU", "kind": "cuda"}}})
    store.append(
        folder,
        [
            make(samples=[1e-3] * 11, **gpu),
            make(probe="kernels", value=0.412, measurement={"cached": False, "compiled": 2}, **gpu),
            make(probe="kernels", value=0.0021, direction="backward", measurement={"cached": True}, **gpu),
            make(probe="kernels", method="lip", status="failed", reason="NVRTC was not found", **gpu),
        ],
    )
    page = reports.write(folder).read_text()
    forward = page.partition("Forward: a first call&#39;s kernels")[2].partition("</details>")[0]
    assert "412" in forward and "<small>compiled</small>" in forward and "failed" in forward
    backward = page.partition("Backward: a first call&#39;s kernels")[2].partition("</details>")[0]
    assert "<small>cached</small>" in backward
    assert "NVRTC was not found" in page and "A first call waits for its CUDA kernels" in page
    latency = page.partition("Forward, input")[2].partition("</details>")[0]
    assert "412" not in latency, "they are no latencies"
    frame = reports.load(folder)
    assert frame.loc[frame["probe"].eq("kernels"), "percent_of_copy"].isna().all()
