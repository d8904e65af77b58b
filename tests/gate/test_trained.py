"""`gate tasks` on two stored runs: a method that has become worse with every seed, and what chance does to others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import reports
from reports import store
from runner import cli
from tests.support.reports_made import make

STUDY = {"profile": "default", "images": None, "video": None, "fashion": None}
SUBJECTS = ("max", "avg", "ada", "lip")
Scores = dict[str, list[float | None]]


def run(folder: Path, scores: Scores, study: dict[str, Any] = STUDY) -> Path:
    """A run of digits: the accuracy of each subject by seed, None for a trial that failed, and its time of a step."""
    records = []
    for subject, values in scores.items():
        for seed, value in enumerate(values):
            same = {"probe": "task", "case": f"digits/{subject}/{seed}", "method": subject, "direction": "both",
                    "samples": None, "kept": None, "stop": None}  # fmt: skip
            state = {} if value is not None else {"status": "failed", "reason": "NaN"}
            records.append(make(**same, **state, metric="accuracy", value=value, measurement={"seed": seed}))
            records.append(make(**same, metric="step", value=0.01 * (1 + seed), measurement={"seed": seed}))
    store.append(folder, records)
    store.write_machine(folder, {"run": {"study": study, "tasks": {}}, "devices": {}})
    return folder


def drawn(seed: int, count: int = 5) -> Scores:
    """Accuracies around 95 % that differ by half a percent, as digits' do."""
    rng = np.random.default_rng(seed)
    return {subject: [float(v) for v in 0.95 + rng.normal(0, 0.005, count)] for subject in SUBJECTS}


def gate(a: Path, b: Path, *words: str) -> tuple[int, str]:
    ended = CliRunner().invoke(cli, ["gate", "tasks", str(a), str(b), *words])
    return ended.exit_code, ended.output


def test_a_method_that_is_worse_with_every_seed_is_a_regression(tmp_path: Path) -> None:
    base = run(tmp_path / "a", good := drawn(0))
    worse = [value - 0.02 for value in drawn(1)["ada"] if value is not None]
    head = run(tmp_path / "b", {**good, "ada": worse})
    code, said = gate(base, head, "--out", str(tmp_path / "out"))
    assert code == 1 and "REGRESSED digits/ada [accuracy]" in said and "1 REGRESSED, 3 EQUIVALENT" in said
    found = json.loads((tmp_path / "out" / "verdicts.json").read_text())["comparisons"]["tasks"]["results"]
    (ada,) = [one for one in found if one["case"] == "digits/ada"]
    assert ada["change"] == pytest.approx(np.mean(worse) - np.mean(good["ada"])) and "over 5 seeds" in ada["note"]  # type: ignore[arg-type]
    assert gate(head, base)[0] == 0, "better is none"
    assert gate(base, base)[0] == 0
    rules = tmp_path / "rules.toml"
    rules.write_text('[tool.adapool.gate.margins.accuracy]\n"digits/ada" = 0.05\n')
    assert gate(base, head, "--rules", str(rules))[0] == 0
    comparison = reports.compare(base, head)
    assert "REGRESSED 1 " in comparison.text and "digits/ada accuracy" in comparison.text


def test_other_luck_is_no_regression(tmp_path: Path) -> None:
    """Where the numbers of all seeds have moved by chance, as after a change of rounding."""
    sides = [run(tmp_path / str(seed), drawn(seed)) for seed in range(10)]
    assert [gate(a, b)[0] for a, b in zip(sides[::2], sides[1::2], strict=True)] == [0] * 5


def test_what_is_lost_or_too_few_is_told(tmp_path: Path) -> None:
    good = drawn(0)
    base = run(tmp_path / "a", good)
    code, said = gate(base, run(tmp_path / "b", {**good, "ada": [*good["ada"][:4], None]}))
    assert code == 5 and "FAILED digits/ada [accuracy]" in said and "1 of 5 seeds: failed: NaN" in said
    code, said = gate(base, run(tmp_path / "c", {s: v for s, v in good.items() if s != "lip"}))
    assert code == 5 and "MISSING digits/lip [accuracy]" in said
    few = [run(tmp_path / name, drawn(seed, 2)) for name, seed in (("d", 1), ("e", 2))]
    code, said = gate(*few)
    assert code == 0 and "4 INCONCLUSIVE" in said


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    base = run(tmp_path / "a", drawn(0))
    smoke = run(tmp_path / "b", drawn(0), {**STUDY, "profile": "smoke"})
    code, said = gate(base, smoke)
    assert code == 2 and "trained differently: profile default in base, smoke in head" in said
    bench = tmp_path / "bench"
    store.append(bench, [make(value=1.0)])
    store.write_machine(bench, {"run": {}, "devices": {}})
    assert gate(base, bench) == (2, f"error: run: expected one of `runner.py tasks`, got {str(bench)!r}; "
                                    "`gate ab` is for pooling calls\n")  # fmt: skip
    assert gate(base, tmp_path / "none")[0] == 2
