"""The acceptance table: numbers by hand, goals of every kind, and what has no rival."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reports import acceptance, store
from reports.record import Record
from tests.reports_made import GPU, make

ROOT = Path(__file__).parents[1]


def timed(seconds: float, method: str, implementation: str, **more: Any) -> Record:
    samples = [seconds] * 11
    return make(samples=samples, method=method, implementation=implementation, clock="graph", machine=GPU, **more)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """ada at half and at nine tenths of a copy's speed; all rivals forward, two for both directions."""
    folder = tmp_path / "run"
    records = [
        timed(100e-6, "copy", "copy", bytes=1000), timed(200e-6, "ada", "native", bytes=1000),
        timed(300e-6, "avg", "torch", bytes=1000), timed(500e-6, "max", "torch", bytes=1000),
        timed(4e-3, "ada", "plain", bytes=1000), timed(250e-6, "ada", "compiled", bytes=1000),
        timed(240e-6, "avg", "native", bytes=1000),
        timed(100e-6, "copy", "copy", bytes=1000, dtype="bfloat16"),
        timed(111e-6, "ada", "native", bytes=1000, dtype="bfloat16"),
        timed(400e-6, "ada", "native", bytes=3000, direction="both"),
        timed(300e-6, "avg", "torch", bytes=3000, direction="both"),
        timed(9e-3, "ada", "plain", bytes=3000, direction="both"),
    ]  # fmt: skip
    store.write_machine(folder, {"run": {}, "devices": {GPU: {"name": "Example GPU", "kind": "cuda"}}})
    store.append(folder, records)
    return folder


def test_numbers_and_goals(run: Path) -> None:
    table = acceptance.table(run)
    assert table["method"].tolist() == ["ada"] * 3, "torch's pools as rows are rivals, not subjects"
    rows = {(row["dtype"], row["direction"]): row for row in table.to_dict("records")}
    forward, narrow, both = rows["float32", "forward"], rows["bfloat16", "forward"], rows["float32", "both"]
    assert [forward[key] for key in ("us", "percent_of_copy", "goal")] == pytest.approx([200, 50, 88])
    assert [forward[rival] for rival in acceptance.RIVALS] == pytest.approx([1.5, 2.5, 20, 1.25])
    assert forward["missed"] == "percent_of_copy < 88"
    assert narrow["goal"] == 76 and narrow["percent_of_copy"] == pytest.approx(90.09, abs=0.01)
    assert narrow["missed"] == "" and narrow["avg"] != narrow["avg"]
    assert both["missed"] == "avg < 1" and both["row"] == pytest.approx(22.5)


def test_the_table_as_text(run: Path) -> None:
    words = [sys.executable, "-m", "reports.acceptance", str(run)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "3 native cases, 2 of them below a goal" in said
