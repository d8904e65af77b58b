"""What a run took beside what pace expected of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from reports import store
from suites import pace, records, refit, session
from suites.axes import Axes


def test_parts_are_those_of_the_cases_that_were_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = Axes(profile="smoke", methods=("avg", "ada"), kernels=("2",))
    cases = session.cases(axes, [("cpu", "cpu")])["cpu"]
    origin = records.Origin("cpu", "cpu-1", {"version": "0.1", "commit": None, "dirty": None}, 0)
    timed = [case for case in cases if case.probe == "latency"]
    for case in cases:
        how = ("failed", "a reason") if case.probe == "memory" or case in timed[:3] else ("skipped", "no time")
        store.append(tmp_path, [records.make(case, one, origin) for one in records.ended(case, *how)])
    sampled = {"values": [0.5] * 30, "kept": [True] * 30, "stop": "budget"}
    first = records.ended(timed[0], "ok", "")[0] | {"reason": None, "samples": sampled, "clock": "cold"}
    store.append(tmp_path, records.make(timed[0], first, origin))
    (tmp_path / session.RESUME).write_text(json.dumps({"axes": asdict(axes), "devices": [["cpu", "cpu"]]}))
    spent = {"inputs": 1.0, "verifying": 2.0, "other": 0.5, "sampling": 99.0, "memory": 4.0, "start": 2.0}
    store.write_machine(tmp_path, {"run": {"spent": {"cpu": spent}}, "devices": {}})
    found = refit.parts(tmp_path)
    assert set(found) == {
        "latency",
        "around",
        "memory",
        "start",
    }  # nothing retained was measured, and there is no report
    assert found["latency"] == (pytest.approx(sum(pace.fixed(case, "cpu") for case in timed[:3])), 3.5)
    assert found["around"] == (
        pytest.approx(pace.around("cpu", "cold") * (30 + refit.WARM)),
        pytest.approx(99 - 34 * 0.5),
    )
    assert found["start"] == (pace.START_SECONDS, 2.0)
    assert refit.main([str(tmp_path)]) == 0
    assert f"took    2.0 s: {2 / pace.START_SECONDS:.2f} × START_SECONDS" in capsys.readouterr().out
    assert refit.main([]) == refit.main([str(tmp_path / "none")]) == 2
