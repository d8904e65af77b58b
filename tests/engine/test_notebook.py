"""`suites.bench`: the command line's words from Python, and the frame as a notebook shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

import suites
from reports import store
from suites import options
from suites.axes import UsageError


def test_words_of_python_are_those_of_the_command_line() -> None:
    words = {"methods": "ada,avg", "kernel": [2, "3s2p1"], "budget": "1m", "cpu": True, "until_precise": False}
    axes = options.axes(options.spoken(words))
    assert axes.methods == ("ada", "avg") and axes.kernels == ("2", "3s2p1") and axes.budget == 60.0
    assert not axes.until_precise and options.spoken(words)["cpu"] is True


def test_words_of_python_go_before_those_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.adapool.bench]\nmethod = 'max'\nkernel = [2, '3s2']\n")
    monkeypatch.chdir(tmp_path)
    axes = options.axes(options.spoken({"methods": ["ada", "avg"], "seed": None}))
    assert (axes.methods, axes.kernels, axes.seed) == (("ada", "avg"), ("2", "3s2"), 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"kernls": 2}, "kernls: no axis of that name; did you mean 'kernels'?"),
        ({"config": "x"}, "config: no axis"),
        ({"budget": "soon"}, "expected a duration"),
        ({"profile": "huge"}, "'huge' is not one of"),
        ({"seed": [1, 2]}, "seed: expected one value, got"),
        ({"cpu": True, "method": "adda"}, "did you mean 'ada'"),
    ],
)
def test_a_wrong_word_is_a_value_error_and_leaves_no_folder(
    words: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        suites.bench(str(tmp_path / "run"), **words)
    assert not (tmp_path / "run").exists()


def test_a_run_is_a_frame_that_shows_what_to_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    frame = suites.bench(
        str(folder), cpu=True, methods=["avg", "max"], implementation="torch", shapes="1x2x16x16", kernels=2,
        probe=["latency", "memory"], direction="forward", clock="hot",
    )  # fmt: skip
    assert "ok" in capsys.readouterr().err and (folder / "report.html").is_file()
    assert len(frame) == sum(1 for _ in store.read(folder)) and set(frame["method"]) == {"avg", "max", "copy"}
    assert type(frame[frame["method"].eq("avg")]).__name__ == "DataFrame"
    shown = frame._repr_html_()
    assert "take <b>" in shown and "data:image/svg+xml;base64," in shown and "<script" not in shown
    assert len(shown) < 200_000
    told = store.read_machine(folder)["run"]["command"]
    assert told.startswith("suites.bench(cpu=True, methods=['avg', 'max']") and str(tmp_path) not in told
