"""The acceptance table: numbers by hand, goals of every kind of window, and what has no rival."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reports import acceptance, store
from reports.record import Record
from tests.support.reports_made import GPU, make

ROOT = Path(__file__).parents[2]


def timed(microseconds: float, method: str, implementation: str, **more: Any) -> Record:
    given = {"bytes": 1000, "clock": "graph", "machine": GPU, "padding": [0, 0], **more}
    return make(samples=[microseconds * 1e-6] * 11, method=method, implementation=implementation, **given)


def window(text: str, shape: list[int]) -> dict[str, Any]:
    """`3/2+1` of a shape, as a record has it."""
    sizes, _, padding = text.partition("+")
    kernel, _, stride = sizes.partition("/")
    rank = len(shape) - 2
    sized = {"kernel": kernel, "stride": stride, "padding": padding or "0"}
    return {name: [int(value)] * rank for name, value in sized.items()} | {"shape": shape}


def written(folder: Path, *records: Record) -> Path:
    store.write_machine(folder, {"run": {}, "devices": {GPU: {"name": "Example GPU", "kind": "cuda"}}})
    store.append(folder, list(records))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """ada at half and at nine tenths of a copy's speed; all rivals forward, three for both directions."""
    both: dict[str, Any] = {"bytes": 3000, "direction": "both"}
    return written(
        tmp_path / "run",
        timed(100, "copy", "copy"), timed(200, "ada", "native"), timed(300, "avg", "torch"), timed(500, "max", "torch"),
        timed(4000, "ada", "plain"), timed(250, "ada", "compiled"), timed(110, "avg", "native"),
        timed(100, "copy", "copy", dtype="bfloat16"), timed(111, "ada", "native", dtype="bfloat16"),
        timed(400, "ada", "native", **both), timed(300, "avg", "torch", **both), timed(500, "max", "torch", **both),
        timed(9000, "ada", "plain", **both), timed(600, "ada", "compiled", **both),
        make(probe="kernels", value=1.0, method="ada", machine=GPU),
    )  # fmt: skip


def test_numbers_and_goals(run: Path) -> None:
    table = acceptance.table(run)
    assert table["method"].tolist() == ["ada"] * 3 + ["avg"], "torch's pools are rivals, our own are subjects"
    rows = {(row["method"], row["dtype"], row["direction"]): row for row in table.to_dict("records")}
    forward, both = rows["ada", "float32", "forward"], rows["ada", "float32", "both"]
    assert [forward[key] for key in ("us", "copy")] == pytest.approx([200, 0.5])
    assert [forward[rival] for rival in acceptance.RIVALS] == pytest.approx([1.5, 2.5, 20, 1.25])
    assert forward["goals"] == "copy 0.88, avg 1, max 1, row 1"
    assert (forward["verdict"], forward["missed"]) == ("missed", "copy 0.5 < 0.88")
    assert both["missed"] == "avg 0.75 < 1, compiled 1.5 < 2" and both["row"] == pytest.approx(22.5)
    narrow = rows["ada", "bfloat16", "forward"]
    assert narrow["copy"] == pytest.approx(0.9009, abs=1e-4) and narrow["goals"].startswith("copy 0.6,")
    assert narrow["verdict"] == "unmeasured" and narrow["missed"] == "", "the run has avg, but not in bfloat16"
    ours = rows["avg", "float32", "forward"]
    assert ours["goals"] == "copy 0.88, avg 1, row 1" and ours["verdict"] == "unmeasured"


PLANE, MAP = [64, 256, 56, 56], [64, 64, 112, 112]
ASKED = [
    ("2/2", PLANE, "forward", "float32", {"copy": 0.88, "avg": 1.0, "max": 1.0}),
    ("3/3", PLANE, "backward", "float32", {"copy": 0.85, "avg": 1.0, "max": 1.0}),
    ("2/2", PLANE, "forward", "float16", {"copy": 0.60, "avg": 1.0, "max": 1.0}),
    ("3/3", PLANE, "backward", "bfloat16", {"copy": 0.55, "avg": 1.0, "max": 1.0}),
    ("3/2", MAP, "forward", "float32", {"copy": 0.55, "avg": 1.0, "max": 1.0}),
    ("3/2+1", MAP, "forward", "float32", {"copy": 0.55, "avg": 1.0, "max": 1.0}),
    ("3/2+1", MAP, "backward", "float32", {"copy": 0.35, "avg": 1.0, "max": 1.0}),
    ("3/2", MAP, "forward", "bfloat16", {"copy": 0.33, "avg": 1.0, "max": 1.0}),
    ("3/2+1", MAP, "backward", "float16", {"copy": 0.20, "avg": 1.0, "max": 1.0}),
    ("3/2+1", MAP, "both", "float32", {"avg": 1.0, "max": 1.0}),
    ("5/2", MAP, "forward", "float32", {"avg": 1.0, "max": 1.0}),
    ("7/7", [256, 2048, 7, 7], "backward", "float32", {"avg": 0.95}),
    ("14/14", [64, 512, 14, 14], "both", "float16", {"avg": 0.95}),
    ("2/2", [64, 128, 16000], "forward", "float32", {"copy": 0.5}),
    ("2/2", [64, 128, 16000], "backward", "float32", {}),
    ("2/2", [16, 64, 16, 56, 56], "forward", "bfloat16", {"copy": 0.5}),
    ("2/2", PLANE, "forward", "float64", {"avg": 1.0, "max": 1.0}),
    ("2/2", PLANE, "inverse", "float32", {"copy": 0.88}),
]


@pytest.mark.parametrize(("pane", "shape", "direction", "dtype", "asked"), ASKED)
def test_what_is_asked_of_a_window(
    pane: str, shape: list[int], direction: str, dtype: str, asked: dict[str, float]
) -> None:
    at = window(pane, shape)
    row = {name: "x".join(map(str, sizes)) for name, sizes in at.items()}
    row |= {"method": "ada", "direction": direction, "dtype": dtype}
    assert acceptance.goals(row, {"copy", "avg", "max"}) == asked
    more = acceptance.goals(row, {"copy", *acceptance.RIVALS})
    assert more == asked | ({} if direction == "inverse" else {"row": 1.0}) | (
        {"compiled": 2.0} if direction == "both" else {}
    )


@pytest.mark.parametrize(("factor", "verdict"), [(0.99, "met"), (1.01, "missed")])
def test_a_goal_is_met_or_missed_at_its_number(tmp_path: Path, factor: float, verdict: str) -> None:
    """A copy of 100 us, windows that are as slow as their goal allows, and a little less or more."""
    cases = [
        (pane, shape, direction, dtype, asked["copy"])
        for pane, shape, direction, dtype, asked in ASKED
        if "copy" in asked
    ]
    records: dict[str, Record] = {}
    for pane, shape, direction, dtype, least in cases:
        at = window(pane, shape) | {"direction": direction, "dtype": dtype}
        copied = timed(100, "copy", "copy", **{**at, "direction": "forward"})
        found = timed(100 / least * factor, "ada", "native", **at)
        records |= {f"{copied.shape} {copied.dtype}": copied, found.case: found}
    table = acceptance.table(written(tmp_path / "run", *records.values()))
    assert len(table) == len(cases) and set(table["verdict"]) == {verdict}, "rivals that no run has are not asked for"
    assert table["missed"].str.startswith("copy ").all() == (verdict == "missed")


def test_padding_tells_windows_apart(tmp_path: Path) -> None:
    inside, padded = window("3/2", MAP), window("3/2+1", MAP)
    times = [(100, "copy", "copy"), (150, "ada", "native"), (300, "avg", "torch")]
    more = [(160, "ada", "native"), (150, "avg", "torch")]
    records = [timed(*each, **inside) for each in times] + [timed(*each, **padded) for each in more]
    rows = {row["padding"]: row for row in acceptance.table(written(tmp_path / "run", *records)).to_dict("records")}
    assert rows["0x0"]["avg"] == pytest.approx(2) and rows["0x0"]["verdict"] == "met"
    assert rows["1x1"]["avg"] == pytest.approx(0.9375) and rows["1x1"]["missed"] == "avg 0.938 < 1"


def test_the_table_as_text(run: Path) -> None:
    store.append(run, [make(method="lip", clock="graph", machine=GPU, status="skipped", reason="out of time")])
    words = [sys.executable, "-m", "reports.acceptance", str(run)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "4 native cases: 2 missed, 2 unmeasured" in said
    assert "without a time: 1 native skipped: out of time" in said
