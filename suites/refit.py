"""What a run's parts took beside what pace expected of them: `python -m suites.refit RUN`, a run on a machine at rest.

Each factor is for the constants that it names. Of sampling it is what lies around the calls: how many of them there
are is what the run was given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from reports import store
from suites import pace, records, session
from suites.axes import Axes
from suites.case import of_json

CONSTANTS = {
    "latency": "FIXED, VERIFY", "around": "AROUND", "memory": "VERIFY's share in fixed",
    "retention": "PHOTOGRAPH and its 0.6e-6",
    "start": "START_SECONDS", "report": "REPORT_SECONDS",
}  # fmt: skip
AGAIN = 300.0  # seconds after a run; a page that is later was written again
WARM = 4  # calls of a clock that are no samples
LATENCY = ("inputs", "verifying", "other")  # its parts of what was spent, but for sampling


class Part(NamedTuple):
    expected: float  # seconds
    took: float


def parts(run: Path) -> dict[str, Part]:
    """By part of the run; ValueError for a folder that holds no run, or one of several devices."""
    if not (run / session.RESUME).is_file():
        raise ValueError(f"expected the folder of a run, got {str(run)!r}")
    held = json.loads((run / session.RESUME).read_bytes())
    if "axes" not in held:
        raise ValueError(f"expected a run of bench, got {str(run)!r}, which is of trained networks")
    axes = of_json(Axes, held["axes"])
    if len(held["devices"]) != 1:
        raise ValueError(f"expected a run on one device, got {len(held['devices'])}")
    ((device, kind),) = held["devices"]
    spent = store.read_machine(run)["run"]["spent"][device]
    made = [record for record in store.read(run) if record.status != "skipped"]
    done = {records.unit_of(record) for record in made}
    cold = [record for record in made if record.clock == "cold" and record.samples and record.value]
    cases = [case for case in session.cases(axes, [(device, kind)])[device] if case.key in done]
    expected = {
        probe: sum(pace.fixed(case, kind) for case in cases if case.probe == probe)
        for probe in ("latency", "memory", "retention")
    }
    expected |= {"start": pace.START_SECONDS, "report": pace.REPORT_SECONDS[axes.profile]}
    expected["around"] = pace.around(kind, "cold") * sum(len(record.samples or ()) + WARM for record in cold)
    called = sum(sum(record.samples or ()) + WARM * (record.value or 0.0) for record in cold)
    latency = sum(spent.get(part, 0.0) for part in LATENCY)
    took = {**spent, "around": spent.get("sampling", 0.0) - called, "latency": latency}
    page = run / "report.html"
    report = page.stat().st_mtime - (run / store.MACHINE).stat().st_mtime if page.is_file() else AGAIN
    if report < AGAIN:  # the run's own: machine.json is written when all is measured, and the page last
        took["report"] = report
    return {part: Part(seconds, took[part]) for part, seconds in expected.items() if seconds and part in took}


def main(words: Sequence[str]) -> int:
    try:
        (run,) = words
        found = parts(Path(run))
    except ValueError as error:
        print(f"error: {error}; python -m suites.refit RUN", file=sys.stderr)
        return 2
    for part, (expected, took) in found.items():
        print(f"{part:9}  expected {expected:6.1f} s, took {took:6.1f} s: {took / expected:.2f} × {CONSTANTS[part]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
