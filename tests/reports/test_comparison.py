"""Two runs against each other: every verdict, nothing vanishes, other machines refused."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reports
from gate import judge
from reports import rules, store
from reports.compared import VERDICTS
from reports.implementations import side_by_side
from reports.record import Record
from tests.support.command_line import runner
from tests.support.reports_made import GPU, make


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
    "broke": (timed(1.0, method="max"), hole("incorrect", method="max"), "FAILED"),
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
    table, text, _ = reports.compare(*runs)
    assert dict(zip(table["case"], table["verdict"], strict=True)) == {case: v[2] for case, v in A_AND_B.items()}
    assert set(table["verdict"]) == set(VERDICTS)
    assert set(VERDICTS) <= {*judge.VERDICTS, "UNMEASURED"}
    for case, (_, _, verdict) in A_AND_B.items():
        assert (f"\n  {case} " in text) == (verdict not in ("EQUIVALENT", "UNMEASURED")), case
        assert f"\n{verdict} " in text
    assert "not interleaved" in text
    assert "torch: 2.12 -> 2.13" in text
    assert "why incorrect" in text
    assert "oom: why oom (the same in A)" in text
    assert "could have shown ±" in table.set_index("case").loc["wide", "note"]
    assert "5 and 5 samples" in table.set_index("case").loc["few", "note"]


def test_the_medians_have_the_digits_of_their_change(tmp_path: Path) -> None:
    """An interval as wide as these leaves two digits of a median, with which 25 to 14 would be 44 % less."""
    a, b = (written(tmp_path / name, [timed(value, 0.5)]) for name, value in (("a", 0.0246), ("b", 0.0138)))
    assert " 24.6 ms  -> 13.80 ms  -43.9 %" in reports.compare(a, b).text


def test_the_interval_of_a_ratio_and_the_margin(runs: tuple[Path, Path]) -> None:
    row = reports.compare(*runs).table.set_index("case").loc["slower"]
    assert row["b_over_a"] == pytest.approx(1.2)
    assert row["b_over_a_lo"] < row["b_over_a"] < row["b_over_a_hi"]
    assert row["margin"] == 0.05
    wide = reports.compare(*runs, known=rules.Rules({"time": {"*": 0.5}})).table.set_index("case")["verdict"]
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
    table, text, _ = reports.compare(a, b, across=True)
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
    table, text, _ = reports.compare(a, b)
    assert table["verdict"].tolist() == ["EQUIVALENT"]
    assert "A: 1 records are of a case that was measured again" in text and "superseded" in text
    empty = written(tmp_path / "empty", [])
    assert reports.compare(empty, b).table["verdict"].tolist() == ["NEW"]
    assert reports.compare(b, empty).table["verdict"].tolist() == ["MISSING"]
    assert reports.compare(empty, empty).table.empty


def test_methods_side_by_side(tmp_path: Path) -> None:
    six = timed(6.0, implementation="plain")
    run = written(tmp_path / "a", [timed(2.0), hole("oom", method="max"), timed(4.0, kernel=[3, 3]), six])
    wide = side_by_side(reports.load(run))
    assert list(zip(wide["method"], wide["kernel"], strict=True)) == [("ada", "2x2"), ("ada", "3x3"), ("max", "2x2")]
    assert wide["native"].iloc[:2].tolist() == [2, 4] and wide["plain"].iloc[0] == 6
    assert wide["native_status"].iloc[2] == "oom" and wide["native"].isna().iloc[2]
    assert not {"torch", "avg"} & set(wide.columns)
    assert side_by_side(reports.load(written(tmp_path / "none", []))).empty


def slowed(folder: Path, factor: float, n: int) -> tuple[Path, Path]:
    """Two runs of ten methods' cases, ada by a factor slower in the second."""
    noise = random.Random(1)

    def side(name: str, slow: float) -> Path:
        at = [(method, k) for method in ("avg", "ada") for k in range(2, 9)]
        made = [(m, k, k * noise.uniform(0.98, 1.02) * (slow if m == "ada" else 1)) for m, k in at]
        return written(folder / name, [timed(v, 0.02, n, method=m, kernel=[k, k]) for m, k, v in made])

    return side("a", 1.0), side("b", factor)


@pytest.mark.parametrize("n", [4, 31])
def test_a_method_slowed_by_half_is_named_with_numbers(tmp_path: Path, n: int) -> None:
    found = reports.compare(*slowed(tmp_path, 1.5, n))
    verdict = "INCONCLUSIVE" if n == 4 else "REGRESSED"
    lines = [line for line in found.text.splitlines() if line.startswith("  ada/native")]
    assert len(lines) == 7 and verdict in found.text
    assert all(" -> " in line and " s  " in line for line in lines), lines
    assert all((" % [+" in line) == (n == 31) for line in lines)
    changes = [float(re.search(r"  \+([\d.]+) %", line)[1]) for line in lines]  # type: ignore[index]
    assert changes == sorted(changes, reverse=True) and min(changes) > 40
    assert re.search(r"ada native: slower in all 7 cases, \+[45]\d % of the time in the median", found.text)
    assert "avg native:" not in found.text
    assert len(found.beyond(0.1)) == 7 and all("ada/native" in line for line in found.beyond(0.1))
    assert not found.beyond(0.6)


def test_beyond_counts_what_broke_and_nothing_that_may_be_unchanged(runs: tuple[Path, Path]) -> None:
    found = reports.compare(*runs)
    assert {line.split()[0] for line in found.beyond(0.1)} == {"broke", "slower", "few", "energy"}
    assert {line.split()[0] for line in found.beyond(0.001)} == {"broke", "slower", "few", "energy", "bytes"}


def test_a_comparison_is_written_as_csv_markdown_and_json(runs: tuple[Path, Path], tmp_path: Path) -> None:
    found = reports.compare(*runs)
    found.write(tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "comparison.csv")) == len(A_AND_B)
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["counts"] == found.table["verdict"].value_counts().to_dict()
    assert {row["case"]: row["verdict"] for row in content["cases"]} == {case: v[2] for case, v in A_AND_B.items()}
    assert {row["case"]: row["b_over_a"] for row in content["cases"]}["fresh"] is None
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "| `slower time cold` | 1.0" in text and "## REGRESSED 4" in text and "torch: 2.12 -\\> 2.13" not in text
    assert all(line.count("|") == 6 for line in text.splitlines() if line.startswith("| `"))


def test_what_others_wrote_breaks_no_line_and_no_table_of_the_markdown(tmp_path: Path) -> None:
    bad = make(status="failed", reason="at <module>: a | b\u2028or c", case="broke")
    a = written(tmp_path / "a", [timed(1.0, case="broke"), timed(1.0, case="slower")], driver="1")
    b = written(tmp_path / "b", [bad, timed(1.2, case="slower")], driver="<2>\n\n# of ours")
    reports.compare(a, b).write(tmp_path / "out")
    lines = (tmp_path / "out" / "comparison.md").read_text().splitlines()
    assert "| `broke time cold` |  |  |  | failed: at &lt;module>: a \\| b or c |" in lines
    (told,) = (line for line in lines if "driver" in line)
    assert told.startswith("- ") and "driver: 1 -> &lt;2>  # of ours" in told
    assert [line for line in lines if line.startswith("#")] == ["# Comparison", "## FAILED 1", "## REGRESSED 1"]


def test_fail_on_is_exit_1_and_a_bad_share_is_usage(tmp_path: Path) -> None:
    a, b = map(str, slowed(tmp_path, 1.5, 31))
    failed = runner("compare", a, b, "--fail-on", "10%", "--out", str(tmp_path / "out"))
    assert failed.exit_code == 1 and "7 cases are broken or worse by more than 10 %" in failed.stderr
    assert (tmp_path / "out" / "comparison.md").is_file()
    assert runner("compare", a, b, "--fail-on", "0.6").exit_code == 0
    assert runner("compare", a, a, "--fail-on", "1%").exit_code == 0
    assert runner("compare", a, b).exit_code == 0
    assert runner("compare", a, b, "--fail-on", "10").exit_code == 2, "ten per cent were meant, not ten times"
    wrong = runner("compare", a, b, "--fail-on", "lots")
    assert wrong.exit_code == 2 and "10% or 0.1, got 'lots'" in wrong.stderr


def test_the_command_refuses_other_machines_and_says_what_it_cannot_know(tmp_path: Path) -> None:
    a = written(tmp_path / "a", [timed(1.0)])
    b = written(tmp_path / "b", [timed(1.2, machine=GPU, device=GPU)])

    refused = runner("compare", str(a), str(b))
    assert refused.exit_code == 2 and "--across" in refused.stderr and not refused.stdout
    across = runner("compare", str(a), str(b), "--across")
    assert across.exit_code == 0 and "REGRESSED 1" in across.stdout, across.stderr
    assert "not interleaved" in across.stdout and "on another machine" in across.stdout
