"""Axes from a TOML file: the command line's words, under what the command line itself says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import runner
from reports import store
from suites import options, plan, session
from suites.axes import Axes

TABLE = """
[tool.adapool.bench]
profile = "smoke"
method = ["ada", "avg"]
kernel = [2, "3s2"]
min-samples = 40
budget = "1m"
seed = 3
cpu = true
"""


def test_a_file_gives_what_the_command_line_does_not(tmp_path: Path) -> None:
    (tmp_path / "axes.toml").write_text(TABLE)
    words = ["--config", str(tmp_path / "axes.toml"), "--kernel", "5", "--kernel", "7,2x3"]
    given = runner.plan.make_context("plan", words).params
    assert given.pop("summary") is False and given["cpu"] is True
    assert options.axes(given) == Axes(
        profile="smoke", methods=("ada", "avg"), kernels=("5", "7", "2x3"), min_samples=40, budget=60.0, seed=3
    )


def test_the_project_file_of_the_folder_is_read_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runner.plan.make_context("plan", []).params["methods"] == ()
    (tmp_path / "pyproject.toml").write_text('[tool.other]\nx = 1\n[tool.adapool.bench]\nmethod = "ada,avg"\n')
    assert runner.plan.make_context("plan", []).params["methods"] == ("ada", "avg")


def test_a_layer_is_its_input_and_its_window() -> None:
    """With the photographs' numbers for that window, so that the answer for a layer is whole."""
    given = runner.plan.make_context("plan", ["--layer", "resnet_stem,audio", "--method", "ada,avg"]).params
    del given["summary"]
    found = plan.build(options.axes(given), plan.Names(("ada", "avg"), (), {}), "cpu")
    assert {(case.probe == "retention", case.window, case.rank) for case in found} == {
        (False, "k3s2p1", 2), (False, "k2s2p0", 1), (True, "k3s2p1", 2),
    }  # fmt: skip
    asked = Axes(shapes=("resnet_stem",), methods=("lp",), implementations=("torch", "native"))
    lp = plan.build(asked, plan.Names(("lp",), (), {}), "cpu")
    assert {case.implementation for case in lp if case.method == "lp"} == {"native"}  # torch's has no padding
    for words, says in (
        (["--layer", "resnet_stm"], "did you mean 'resnet_stem'?"),
        (["--layer", "audio", "--shape", "1x2x8"], "layer: expected no --shape beside it"),
    ):
        done = CliRunner().invoke(runner.cli, ["plan", *words])
        assert done.exit_code == 2 and says in done.output, done.output


def test_a_run_that_is_resumed_has_its_own_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.adapool.bench]\nseed = 3\n")
    assert "gives seed" in CliRunner().invoke(runner.cli, ["bench", "--list", "--out", "x", "--method", "no"]).stderr
    done = CliRunner().invoke(runner.cli, ["bench", "--resume", "x"])
    assert done.exit_code == 2 and "expected the folder of a run" in done.stderr and "gives" not in done.stderr
    both = CliRunner().invoke(runner.cli, ["bench", "--resume", "x", "--config", "pyproject.toml"])
    assert both.exit_code == 2 and "expected no other axes" in both.stderr


def test_a_run_whose_folder_takes_no_records_is_a_usage_error(tmp_path: Path) -> None:
    run = tmp_path / "run"
    session.Session.fresh(str(run), Axes(methods=("avg",), profile="smoke"), [("cpu", "cpu")])._save()
    (run / store.RECORDS).mkdir()  # which is no file, so that nobody may write to it
    done = CliRunner().invoke(runner.cli, ["bench", "--resume", str(run)])
    assert done.exit_code == 2 and "resume: expected a folder to write to, got" in done.stderr, done.output


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("kernl = 2", "tool.adapool.bench.kernl: no axis of that name; did you mean 'kernel'?"),
        ("config = 'x'", "tool.adapool.bench.config: no axis of that name"),
        ("summary = true", "tool.adapool.bench.summary: no axis of that name"),
        ("cpu = 1", "tool.adapool.bench.cpu: expected true or false, got 1"),
        ("method = true", "tool.adapool.bench.method: expected a value, got True"),
        ("seed = [1, 2]", "tool.adapool.bench.seed: expected one value, got [1, 2]"),
        ("budget = 'soon'", "expected a duration"),
        ("profile = 'huge'", "'huge' is not one of"),
        ("method = ", "expected a TOML file"),
        ("", "expected a table [tool.adapool.bench]"),
    ],
)
def test_a_wrong_entry_is_a_usage_error_that_names_it(line: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "axes.toml"
    file.write_text(f"[tool.adapool.bench]\n{line}\n" if line else "[tool.adapool]\n")
    done = CliRunner().invoke(runner.cli, ["plan", "--config", str(file)])
    assert done.exit_code == 2 and says in done.output, done.output


def test_the_gate_joins_values_by_commas_as_bench_does() -> None:
    from gate.cli import gate

    words = ["--method", "ada,avg", "--kernel", "2", "--kernel", "3s2"]
    given = gate.commands["ab"].make_context("ab", ["a", "b", *words]).params
    assert given["methods"] == ("ada", "avg") and given["kernels"] == ("2", "3s2")
