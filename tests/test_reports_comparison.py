"""Two runs against each other: every verdict, nothing vanishes, other machines refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reports
from reports import gate, store
from reports.comparison import VERDICTS, side_by_side
from reports.record import Record
from tests.reports_made import GPU, make


def written(folder: Path, records: list[Record], **facts: Any) -> Path:
    store.write_machine(folder, {"run": facts, "devices": {}})
    store.append(folder, records)
    return folder


def timed(value: float, spread: float = 0.001, n: int = 31, **more: Any) -> Record:
    return make(samples=[value * (1 + spread * (step - n // 2) / n) for step in range(n)], **more)


def hole(status: str, **more: Any) -> Record:
    return make(status=status, reason=f"why {status}", **more)


A_AND_B: dict[str, tuple[Record | None, Record | None, str]] = {
    "slower": (timed(1.0), timed(1.2), "REGRESSED"),
    "faster": (timed(1.0), timed(0.8), "IMPROVED"),
    "same": (timed(1.0), timed(1.001), "EQUIVALENT"),
    "wide": (timed(1.0, 2.0), timed(1.1, 2.0), "INCONCLUSIVE"),
    "few": (timed(1.0, n=5), timed(3.0, n=5), "INCONCLUSIVE"),
    "broke": (timed(1.0), hole("incorrect"), "FAILED"),
    "broken": (hole("oom"), hole("oom"), "FAILED"),
    "out": (timed(1.0), hole("skipped"), "MISSING"),
    "gone": (timed(1.0), None, "MISSING"),
    "fresh": (None, timed(1.0), "NEW"),
    "mended": (hole("failed"), timed(1.0), "NEW"),
    "never": (hole("skipped"), hole("skipped"), "UNMEASURED"),
    "bytes": (make(probe="memory", value=100), make(probe="memory", value=101), "REGRESSED"),
    "fewer": (make(probe="memory", value=100), make(probe="memory", value=99), "IMPROVED"),
    "equal": (make(probe="memory", value=100), make(probe="memory", value=100), "EQUIVALENT"),
    "nothing": (make(probe="memory", value=0), make(probe="memory", value=0), "EQUIVALENT"),
    "blurred": (make(probe="retention", value=30.0), make(probe="retention", value=29.0), "REGRESSED"),
    "sharper": (make(probe="retention", value=30.0), make(probe="retention", value=31.0), "IMPROVED"),
    "energy": (timed(1.0, probe="energy", metric="energy"), timed(1.5, probe="energy", metric="energy"), "REGRESSED"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    sides: tuple[list[Record], list[Record]] = ([], [])
    for case, pair in A_AND_B.items():
        for number, record in enumerate(pair[:2]):
            if record:
                sides[number].append(Record(**{**vars(record), "case": case}))
    return written(folder / "a", sides[0], torch="2.12"), written(folder / "b", sides[1], torch="2.13")


def test_every_verdict_and_nothing_vanishes(runs: tuple[Path, Path]) -> None:
    table, text = reports.compare(*runs)
    assert dict(zip(table["case"], table["verdict"], strict=True)) == {case: v[2] for case, v in A_AND_B.items()}
    assert set(table["verdict"]) == set(VERDICTS)
    assert set(VERDICTS) <= {*gate.VERDICTS, "UNMEASURED"}
    for case, (_, _, verdict) in A_AND_B.items():
        assert (f"\n  {case} " in text) == (verdict not in ("EQUIVALENT", "INCONCLUSIVE", "UNMEASURED"))
        assert f"\n{verdict} " in text
    assert "not interleaved" in text
    assert "torch: 2.12 -> 2.13" in text
    assert "why incorrect" in text
    assert "oom: why oom (the same in A)" in text
    assert "could have shown ±" in table.set_index("case").loc["wide", "note"]
    assert "5 and 5 samples" in table.set_index("case").loc["few", "note"]


def test_the_interval_of_a_ratio_and_the_margin(runs: tuple[Path, Path]) -> None:
    row = reports.compare(*runs).table.set_index("case").loc["slower"]
    assert row["ratio"] == pytest.approx(1.2)
    assert row["ratio_lo"] < row["ratio"] < row["ratio_hi"]
    assert row["margin"] == 0.05
    wide = reports.compare(*runs, margin=0.5).table.set_index("case")["verdict"]
    assert wide["slower"] == wide["faster"] == "EQUIVALENT"
    assert wide["bytes"] == "REGRESSED"


def test_a_run_equals_itself(runs: tuple[Path, Path], tmp_path: Path) -> None:
    verdicts = set(reports.compare(runs[0], runs[0]).table["verdict"])
    assert verdicts <= {"EQUIVALENT", "INCONCLUSIVE", "FAILED", "UNMEASURED"}


def test_other_machines_are_refused_unless_told(tmp_path: Path) -> None:
    a = written(tmp_path / "a", [timed(1.0), make(probe="memory", value=1)])
    gpu = {"machine": GPU, "device": GPU}
    b = written(tmp_path / "b", [timed(0.1, **gpu), make(probe="memory", value=2, **gpu)])
    with pytest.raises(ValueError, match="different machines: cpu-1"):
        reports.compare(a, b)
    table, text = reports.compare(a, b, across=True)
    assert set(zip(table["probe"], table["verdict"], strict=True)) == {("memory", "REGRESSED"), ("latency", "IMPROVED")}
    assert "Different machines: A is cpu-1" in text
    both = written(tmp_path / "both", [timed(1.0), timed(0.1, **gpu)])
    assert sorted(reports.compare(a, both).table["verdict"]) == ["EQUIVALENT", "MISSING", "NEW"]
    two = written(tmp_path / "two", [timed(0.1, **gpu), timed(0.1, machine="GPU-2", device="GPU-2")])
    with pytest.raises(ValueError, match="one machine in each run"):
        reports.compare(a, two, across=True)


def test_repeated_and_empty_records(tmp_path: Path) -> None:
    a = written(tmp_path / "a", [timed(1.0), timed(2.0)])
    b = written(tmp_path / "b", [timed(2.0)])
    table, text = reports.compare(a, b)
    assert table["verdict"].tolist() == ["EQUIVALENT"]
    assert "A: 1 records are of a case that was measured again" in text and "superseded" in text
    empty = written(tmp_path / "empty", [])
    assert reports.compare(empty, b).table["verdict"].tolist() == ["NEW"]
    assert reports.compare(b, empty).table["verdict"].tolist() == ["MISSING"]
    assert reports.compare(empty, empty).table.empty


def test_methods_side_by_side(tmp_path: Path) -> None:
    run = written(tmp_path / "a", [timed(2.0), hole("oom", method="max"), timed(4.0, kernel=[3, 3])])
    wide = side_by_side(reports.load(run))
    assert wide["kernel"].tolist() == ["2x2", "3x3"]
    assert wide["ada/native"].tolist() == [2, 4]
    assert wide["max/native status"].iloc[0] == "oom"
    assert wide["max/native"].isna().all()
    assert side_by_side(reports.load(written(tmp_path / "none", []))).empty


def test_the_command_refuses_other_machines_and_says_what_it_cannot_know(tmp_path: Path) -> None:
    a = written(tmp_path / "a", [timed(1.0)])
    b = written(tmp_path / "b", [timed(1.2, machine=GPU, device=GPU)])

    def compare(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(Path(__file__).parents[1] / "runner.py"), "compare", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    refused = compare(str(a), str(b))
    assert refused.returncode == 2 and "--across" in refused.stderr and not refused.stdout
    across = compare(str(a), str(b), "--across")
    assert across.returncode == 0 and "REGRESSED 1" in across.stdout, across.stderr
    assert "not interleaved" in across.stdout and "on another machine" in across.stdout
