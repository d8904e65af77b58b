"""A network in the gate: its cases with the model as it was for a control, and verdicts by the margins of time."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from gate.judge import Pass, judge
from reports import rules
from reports.record import Record
from suites import ab, records
from suites.axes import Axes
from suites.case import Case
from suites.finding import Finding
from suites.sampling import Samples

AXES = Axes(network="resnet18", methods=("max", "avg", "softpool", "ada"), probes=("latency",))
ORIGIN = records.Origin("cpu", "cpu-1", {"version": "0.1.0", "commit": None, "dirty": None}, 0)
SLOW = "ada/native/both/float32/nchw/resnet18/4x3x224x224"


def cases() -> list[Case]:
    return ab.cases(replace(AXES, implementations=("native",)), "cpu", "cpu", {})


def of(case: Case, seconds: float, saved: float) -> list[Record]:
    samples = Samples([seconds] * 3, [True] * 3, "budget")
    found = [Finding("step", samples, clock="hot"), Finding("saved_bytes", value=saved)]
    return [records.make(case, asdict(finding), ORIGIN) for finding in found]


def passes() -> list[Pass]:
    """Both stages on a machine with half a per cent of noise; head's step is slower with ada, and saves more."""
    draw = np.random.default_rng(0)
    made = []
    for stage, count in (("screen", 4), ("confirm", 10)):
        for pair in range(count):
            for side in ("base", "head"):
                held: list[Record] = []
                for case in cases():
                    worse = case.name == SLOW and side == "head"
                    seconds = (1.1 if worse else 1.0) * float(np.exp(draw.normal(0, 0.005)))
                    held += of(case, seconds, 110.0 if worse else 100.0)
                made.append(Pass(side, pair, stage, tuple(held)))
    return made


def test_the_model_as_it_was_is_the_control() -> None:
    found = cases()
    assert [case.method for case in found] == ["original", "max", "avg", "softpool", "ada"]
    assert [rules.read().is_control(case.name) for case in found] == [True, False, False, False, False]
    assert {case.probe for case in found} <= set(ab.REPEATED)


def test_a_slower_step_and_more_memory_are_regressions() -> None:
    known = rules.read()
    assert known.margin("step", SLOW) == known.margin("time", SLOW) > 0
    judgement = judge(passes(), known)
    moved = {(result.case, result.metric) for result in judgement.results if result.verdict == "REGRESSED"}
    assert moved == {(SLOW, "step hot"), (SLOW, "saved_bytes")}
    assert judgement.exit_code == 1
