"""Every exit code of `gate ab`, provoked through the command line by small runs of copies of the library.

Those of `gate static` are in test_gate_faults.py.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from gate import cli, counts, interleaved, outcome
from gate.committed import Counts
from gate.judge import Judgement, Result
from suites.axes import UsageError
from tests.support.gate_commands import build, run

QUICK = ("--cpu", "--method", "avg", "--implementation", "plain", "--kernel", "2", "--shape", "1x2x8x8",
         "--direction", "forward", "--seconds", "0.002", "--pairs", "2")  # fmt: skip
CALM = '[tool.adapool.gate.margins.time]\n"*" = 5\n'  # no suspects, whatever the machine does meanwhile


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same but for a comment, since what is the same to the byte is not measured."""
    folder = build(tmp_path_factory.mktemp("again"))
    with (folder / "adapool" / "plain.py").open("a") as file:
        file.write("# As before.\n")
    return folder


def memory(base: Path, head: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A comparison of memory alone, which repeats exactly."""
    return run("gate", "ab", str(base), str(head), *QUICK, "--probe", "memory", "--out", str(out), *more)


def test_the_same_code_is_no_regression(good: Path, again: Path, tmp_path: Path) -> None:
    done = memory(good, again, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "exit code 0: no regression" in done.stdout
    data = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    assert {r["verdict"] for r in data["comparisons"]["cpu"]["results"]} <= {"EQUIVALENT", "INCONCLUSIVE"}
    assert (tmp_path / "out" / "cpu" / "base" / "records.jsonl").stat().st_size > 0


def test_more_memory_is_a_regression(good: Path, tmp_path: Path) -> None:
    worse = build(tmp_path / "head", "more-memory")
    done = memory(good, worse, tmp_path / "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REGRESSED avg/plain/forward" in done.stdout
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()[0]
    assert int(suite.get("failures") or 0) >= 1
    (tmp_path / "rules.toml").write_text('[tool.adapool.gate.margins.peak_bytes]\n"*" = 0\n"avg/plain/*" = 9.0\n')
    allowed = memory(good, worse, tmp_path / "allowed", "--rules", str(tmp_path / "rules.toml"))
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr


def test_an_unknown_revision_is_a_usage_error(tmp_path: Path) -> None:
    done = run("gate", "ab", "no-such-revision", "HEAD", "--cpu", "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and "no-such-revision" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("ab", "main", "HEAD", "--cpu"), ("selftest", "--cpu"), ("static",), ("static", "--part", "kernels"),
        ("static", "--part", "instructions"),
    ],
)  # fmt: skip
def test_an_unknown_method_is_a_usage_error_before_anything_is_built(words: tuple[str, ...], tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.gate, [*words, "--method", "softpol", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert "method: unknown method 'softpol'; did you mean 'softpool'?" in done.output
    assert not (tmp_path / "out").exists() and "building" not in done.output


def test_a_self_test_without_times_is_a_usage_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.gate, ["selftest", "--cpu", "--probe", "memory", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and "probe: expected latency among them" in done.output, done.output
    assert not (tmp_path / "out").exists()


def test_the_static_gate_says_its_steps_before_it_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def made(*given: object) -> Counts:
        assert said[-1].startswith("step ")
        return Counts("made", "made", {}, {})

    monkeypatch.setattr(counts, "say", said.append)
    monkeypatch.setattr(counts, "_kernels", made)
    monkeypatch.setattr(counts, "_python", made)
    monkeypatch.setattr(counts, "_instructions", made)
    CliRunner().invoke(cli.gate, ["static", "--arch", "80", "--arch", "90"])
    steps = [words.partition(":")[0] for words in said if words.startswith("step ")]
    assert steps == [f"step {n} of 4, {part}" for n, part in
                     enumerate(("kernels sm_80", "kernels sm_90", "python", "instructions"), 1)]  # fmt: skip


def test_a_machine_that_cannot_show_what_is_asked_is_unstable(good: Path, again: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("[tool.adapool.gate]\ndetect = 0.00001\n" + CALM)
    done = run("gate", "ab", str(good), str(again), *QUICK, "--probe", "latency", "--out", str(tmp_path / "out"),
               "--rules", str(tmp_path / "rules.toml"))  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert "could not have shown" in done.stdout


@pytest.mark.parametrize(("more", "code"), [((), 3), (("--unstable-ok",), 0)])
def test_an_unstable_machine_is_let_pass_where_that_is_asked_for(
    more: tuple[str, ...], code: int, good: Path, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unstable = Judgement((Result(case="a", metric="time hot", verdict="INCONCLUSIVE"),), unstable="made so")
    for name, given in (("_two_stages", None), ("_passes", []), ("_merge", None), ("judge", unstable)):
        monkeypatch.setattr(interleaved, name, lambda *_, given=given: given)
    done = CliRunner().invoke(cli.gate, ["ab", str(good), str(again), *QUICK, *more, "--out", str(tmp_path / "out")])
    assert done.exit_code == code, done.output
    assert f"unstable{', let pass by --unstable-ok' * bool(more)}: made so" in done.output


def test_a_fault_of_the_gates_own_is_no_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ValueError("made so")

    monkeypatch.setattr(interleaved, "ab", broken)
    done = CliRunner().invoke(cli.gate, ["ab", "HEAD", "HEAD", "--cpu"])
    assert done.exit_code == 6, done.output
    assert "ValueError: made so" in done.output and "the gate itself failed" in done.output


def test_a_wrong_result_is_no_speed(good: Path, tmp_path: Path) -> None:
    wrong = build(tmp_path / "head", "wrong-mean")
    (tmp_path / "rules.toml").write_text(CALM)
    done = run("gate", "ab", str(good), str(wrong), *QUICK, "--probe", "latency", "--out", str(tmp_path / "out"),
               "--rules", str(tmp_path / "rules.toml"))  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert "FAILED avg/plain/forward" in done.stdout and "incorrect" in done.stdout


def test_a_case_that_fails_is_unmeasured(good: Path, tmp_path: Path) -> None:
    fails = build(tmp_path / "head", "failing-row")
    done = memory(good, fails, tmp_path / "out")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "made so" in done.stdout


def test_a_build_that_does_not_import_is_infrastructure(good: Path, tmp_path: Path) -> None:
    broken = build(tmp_path / "head")
    (broken / "adapool" / "__init__.py").write_text("raise ImportError('made so')\n")
    done = memory(good, broken, tmp_path / "out")
    assert done.returncode == 6 and "made so" in done.stderr, done.stdout + done.stderr


def test_a_source_that_does_not_build_is_infrastructure(good: Path, tmp_path: Path) -> None:
    source = build(tmp_path / "source")
    (source / "pyproject.toml").write_text("[build-system]\nrequires = []\nbuild-backend = 'nowhere'\n")
    done = run("gate", "ab", str(good), str(source), *QUICK, "--out", str(tmp_path / "out"), "--builds",
               str(tmp_path / "builds"))  # fmt: skip
    assert done.returncode == 6 and "does not build" in done.stderr, done.stdout + done.stderr
    assert not any((tmp_path / "builds").iterdir())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('controls = "*/torch/*"', "controls: expected a list of globs, got"),  # not its letters
        ("controls = [1]", "controls: expected a list of globs"), ("margins = 0.1", "margins: expected metrics with"),
        ("margins.time = 0.1", "margins.time: expected globs"), ("detect = true", "detect: expected a number above 0"),
        ("detect = 'much'", "detect: expected a number above 0, got 'much'"), ("other = 1", "got other"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_a_usage_error_that_names_it(line: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(f"[tool.adapool.gate]\n{line}\n")
    with pytest.raises(UsageError, match=re.escape(says)):
        outcome.rules(str(file))
