"""A run of trained networks on paper: the terminal's table, Markdown, the report's section."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reports
from reports import store, trials, trials_text
from tests.support.command_line import ROOT
from tests.support.reports_made import make

ABOUT = {
    "title": "Digits", "metric": "accuracy", "floor": "an accuracy of 90 %", "baselines": ["avg", "max"],
}  # fmt: skip
BETA = {"mean": 0.4, "low": 0.1, "high": 0.7, "moved": 0.3, "histogram": [1] * 20, "map": [[0.1, 0.7], [0.4, 0.4]]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seeds of three subjects: ada two percent above avg with every seed, max as good as avg."""
    folder = tmp_path_factory.mktemp("run")
    for seed in range(5):
        for subject, more in (("avg", 0.0), ("max", 0.001 * (-1) ** seed), ("ada", 0.02)):
            facts = {
                "seed": seed, "floor": 0.9, "parameters": 1234, "beta": {"pool1": BETA} if subject == "ada" else {},
                "curve": [{"step": s, "loss": 1 / s, "score": 0.9 + s / 1000} for s in (10, 20)],
            }  # fmt: skip
            same = {"probe": "task", "case": f"digits/{subject}/{seed}", "method": subject, "direction": "both"}
            value = 0.91 + 0.01 * seed + more
            score = make(**same, metric="accuracy", value=value, samples=None, kept=None, stop=None, measurement=facts)
            step = 0.01 * (1.5 if subject == "ada" else 1)
            steps = make(
                **same, metric="step", value=step, samples=[step], kept=[True], stop=None, measurement={"seed": seed}
            )
            store.append(folder, [score, steps])
    store.write_machine(folder, {"run": {"tasks": {"digits": ABOUT}}, "devices": {}})
    return folder


def test_the_table_says_what_holds(run: Path) -> None:
    text = trials_text.text(run)
    lines = {line.split()[0]: line for line in text.splitlines()[2:5]}
    assert lines["ada"].split()[1] == "95.00" and "+2.00  [+2.00, +2.00]" in lines["ada"] and "1.5×" in lines["ada"]
    assert "holds: ada > avg, ada > max" in text and "floor is an accuracy of 90 % (90.00)" in text
    assert "beta of ada: pool1 0.40 (0.10 to 0.70)" in text
    assert "not trained" not in text and "doubtful" not in text


def test_tasks_come_in_the_order_of_the_plan(run: Path, tmp_path: Path) -> None:
    """A resumed run has its records in another one, and what is skipped before all others."""
    skipped = make(probe="task", case="motion/ada/0", direction="both", metric="accuracy", status="skipped",
                   value=None, measurement={"seed": 0})  # fmt: skip
    store.append(tmp_path, [skipped, *store.read(run)])
    store.write_machine(tmp_path, {"run": {"tasks": {"digits": ABOUT, "motion": ABOUT}}, "devices": {}})
    assert [found.name for found in trials.results(tmp_path)] == ["digits", "motion"]


def test_a_run_without_what_its_tasks_are_is_shown_by_its_records(run: Path, tmp_path: Path) -> None:
    store.append(tmp_path, store.read(run))
    command = [sys.executable, ROOT / "runner.py", "report", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [f"warning: {tmp_path}/machine.json is missing: the environment of this run is unknown"]
    assert done.returncode == 0 and done.stderr.splitlines() == said
    page = (tmp_path / "report.html").read_text()
    assert "machine.json is missing" in page and 'id="task-1"' not in page and "30 records" in page
    assert f"{tmp_path.name}: what its networks learned is not shown, for machine.json" in page
    assert "nothing was measured" not in page


def test_a_floor_that_is_not_reached_takes_the_claims_away(run: Path, tmp_path: Path) -> None:
    lines = []
    for line in (run / store.RECORDS).read_text().splitlines():
        held = json.loads(line)
        if held["metric"] == "accuracy":
            held["measurement"]["floor"] = 0.94  # above avg's mean, below ada's
        lines.append(json.dumps(held))
    (tmp_path / store.RECORDS).write_text("\n".join(lines) + "\n")
    (tmp_path / store.MACHINE).write_bytes((run / store.MACHINE).read_bytes())
    text = trials_text.text(tmp_path)
    assert "not trained" in text and "holds" not in text and "avg (below the floor)" in text


def test_the_report_has_a_section_and_markdown_the_table(run: Path, tmp_path: Path) -> None:
    page = reports.write(run, tmp_path / "out").read_text()
    (section,) = re.findall(r'<section id="task-1">.*?</section>', page, re.DOTALL)
    assert "Of the paper&#39;s order holds" in section or "Of the paper's order holds" in section
    for chart in ("pareto", "difference", "curve", "beta"):
        assert (tmp_path / "out" / "plots" / f"task-1-{chart}.svg").is_file(), chart
    assert "There is no record" not in page
    reports.write_markdown(run, tmp_path / "answers.md")
    told = (tmp_path / "answers.md").read_text()
    assert "### Digits, 5 seeds\n\n| method |" in told and "| ada | 95.00 | [" in told
    assert "\n\n* of the paper's order holds" in told


@pytest.mark.parametrize("without", [{"max"}, {"avg", "max"}, {"avg", "max", "ada"}])
def test_a_subject_whose_steps_were_not_timed_has_no_point(run: Path, tmp_path: Path, without: set[str]) -> None:
    """A run that was killed between a trial's score and the time of its steps, which is written after it."""
    kept = [record for record in store.read(run) if record.metric != "step" or record.method not in without]
    store.append(tmp_path, kept)
    (tmp_path / store.MACHINE).write_bytes((run / store.MACHINE).read_bytes())
    page = reports.write(tmp_path, tmp_path / "out").read_text()
    (section,) = re.findall(r'<section id="task-1">.*?</section>', page, re.DOTALL)
    assert all(f">{subject}<" in section for subject in ("avg", "max", "ada"))
    charts = {path.stem for path in (tmp_path / "out" / "plots").iterdir()}
    drawn = {"task-1-difference", "task-1-curve", "task-1-beta"}
    assert charts == drawn | ({"task-1-pareto"} if without == {"max"} else set())
    if without == {"max"}:
        points = re.findall("<title>(.*?)</title>", (tmp_path / "out/plots/task-1-pareto.svg").read_text(), re.DOTALL)
        assert {words.split()[0] for words in points[1:]} == {"avg", "ada"}
    assert "nan" not in trials_text.text(tmp_path)
