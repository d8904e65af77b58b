"""What the engine costs, beside the limits it promises. Real measuring on a quiet machine; prints its figures."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reports import store
from suites.axes import Axes
from suites.session import Session
from tests.support.reports_made import make

pytestmark = pytest.mark.soak
LOADS = """
import resource, sys, time
start = time.perf_counter()
import reports
frame = reports.load(sys.argv[1])
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, len(frame))
"""


def session(folder: Path, **axes: object) -> Session:
    folder.mkdir()
    return Session(folder, Axes(**axes), [("cpu", "cpu")], parallel=False, timeout=60.0)  # type: ignore[arg-type]


def test_two_thousand_cases_of_a_probe_with_nothing_to_do(tmp_path: Path) -> None:
    """Energy where no GPU counts it; the start of the worker is what one case takes."""
    took = {}
    for count in (1, 2000, 1):
        run = session(tmp_path / str(len(list(tmp_path.iterdir()))), profile="smoke", methods=("avg",),
                      implementations=("torch",))  # fmt: skip
        case = next(c for c in run.plan["cpu"] if c.probe == "energy")
        run.plan = {"cpu": [replace(case, shape=(1, 1, 4, n)) for n in range(4, 4 + count)]}
        begin = time.perf_counter()
        run.run()
        took[count] = min(took.get(count, float("inf")), time.perf_counter() - begin)
        assert sum(1 for _ in store.read(run.folder)) == count
    each = (took[2000] - took[1]) / 1999
    print(f"\na run of one case: {took[1]:.2f} s; each further case: {each * 1e3:.2f} ms")
    assert each <= 2e-3


def test_a_hundred_thousand_records_load_and_summarise(tmp_path: Path) -> None:
    samples = [1e-3 + 1e-6 * (step * 7 % 30) for step in range(30)]
    line = make(samples=samples, bytes=10**6).to_json()
    with (tmp_path / store.RECORDS).open("w") as file:
        file.writelines(line.replace("/k2s2p0/", f"/{n}/") + "\n" for n in range(100_000))
    store.write_machine(tmp_path, {"run": {}, "devices": {}})
    words = [sys.executable, "-c", LOADS, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    seconds, memory, rows = map(float, done.stdout.split())
    print(f"\n{rows:.0f} records of {len(samples)} samples: {seconds:.1f} s, {memory / 1e9:.2f} GB at the peak")
    assert rows == 100_000
    assert seconds < 10 and memory < 1e9


def test_wall_time_stays_near_the_time_for_sampling(tmp_path: Path) -> None:
    """1.25 times the sampling budget, verification apart, and six seconds for the worker."""
    run = session(tmp_path / "run", methods=("avg", "max", "softpool", "ada"), probes=("latency",),
                  shapes=("resnet_stage", "resnet_stem"), clocks=("cold", "hot"))  # fmt: skip
    begin = time.perf_counter()
    tally = run.run()
    wall = time.perf_counter() - begin
    records = list(store.read(run.folder))
    assert {record.status for record in records} == {"ok"}
    verified = sum(record.measurement["verify_s"] for record in records)
    budget = sum(record.measurement["budget_s"] for record in records)
    sampled = sum(sum(record.samples or ()) * record.measurement["calls_per_sample"] for record in records)
    print(
        f"\n{tally.cases} cases, {len(records)} records: {wall:.1f} s, of which {verified:.1f} s verification; "
        f"sampling budget {budget:.1f} s, {sampled:.1f} s inside the clock; "
        f"allowed {1.25 * budget + 6:.1f} s, used {wall - verified:.1f} s"
    )
    assert wall - verified <= 1.25 * budget + 6
