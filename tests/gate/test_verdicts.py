"""Verdicts, exit codes and outputs from passes of true Records on a made machine."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gate import output
from gate.judge import Judgement, Pass, Result, judge, suspects
from reports import rules
from reports.record import Record
from reports.rules import Rules
from tests.support.gate_machine import DEDICATED, Machine
from tests.support.reports_made import GPU, make

SLOW, FAST, SAME = "ada/native/slow", "ada/native/fast", "ada/native/same"
CASES = (SLOW, FAST, SAME, *(f"edscw/native/{i}" for i in range(20)), *(f"avg/torch/{i}" for i in range(8)))
Change = Callable[[str, str, str, int], Record | None]  # side, case, stage, pair


def timed(case: str, seconds: float) -> Record:
    return make(case=case, device=GPU, machine=GPU, value=seconds, samples=[seconds] * 3, kept=[True] * 3)


def fault(case: str, status: str) -> Record:
    return make(case=case, device=GPU, machine=GPU, status=status, reason="made so")


def passes(changes: Mapping[str, float] | None = None, change: Change | None = None, confirm: int = 10) -> list[Pass]:
    """Both stages of a run; `changes`: case -> fraction by which head differs."""
    moved = {SLOW: 0.08, FAST: -0.10} if changes is None else changes
    import numpy as np

    slower = np.zeros(312)
    for case, by in moved.items():
        slower[CASES.index(case)] = math.log1p(by)
    machine = Machine(DEDICATED, slower, 11)
    machine.level[: len(CASES)] = math.log(1e-3)
    made = []
    for stage, count in (("screen", 4), ("confirm", confirm)):
        base, head = machine.pairs(count, np.arange(len(CASES)))
        for side, values in (("base", base), ("head", head)):
            for pair in range(count):
                records = []
                for i, case in enumerate(CASES):
                    changed = change(side, case, stage, pair) if change else None
                    records.append(changed or timed(case, math.exp(values[i, pair])))
                made.append(Pass(side, pair, stage, tuple(records)))
    return made


def by_case(judgement: Judgement) -> dict[str, Result]:
    return {result.case: result for result in judgement.results if result.metric.startswith("time")}


def test_slower_faster_and_the_same() -> None:
    names, pairs = suspects(passes(), rules.read())
    assert {SLOW, FAST} <= names and pairs == 10
    judgement = judge(passes(), rules.read()).because({SLOW: "registers 40 -> 64", SAME: "none"}, "changed: a.h")
    found = by_case(judgement)
    assert found[SLOW].verdict == "REGRESSED" and found[SLOW].cause == "registers 40 -> 64; changed: a.h"
    assert found[SLOW].change == pytest.approx(0.08, abs=0.01)
    assert found[FAST].verdict == "IMPROVED"
    assert found[SAME].verdict in ("EQUIVALENT", "INCONCLUSIVE") and found[SAME].cause is None
    assert judgement.exit_code == 1
    assert judge(passes({}), rules.read()).exit_code == 0


def test_a_change_of_unchanged_code_is_the_environment() -> None:
    judgement = judge(passes({SLOW: 0.08}), rules.read(), unchanged={SLOW: True})
    assert by_case(judgement)[SLOW].verdict == "ENVIRONMENT"
    assert judgement.exit_code == 3 and judgement.unstable


def test_a_suspect_without_fresh_pairs_is_not_a_regression() -> None:
    judgement = judge(passes({SLOW: 0.08}, confirm=0), rules.read())
    assert by_case(judgement)[SLOW].verdict == "INCONCLUSIVE" and judgement.exit_code == 0


def test_noise_that_hides_everything_is_told() -> None:
    judgement = judge(passes({}), replace(rules.read(), detect=0.001))
    assert judgement.exit_code == 3 and "could not have shown" in (judgement.unstable or "")
    assert replace(judgement, unstable_ok=True).exit_code == 0
    surer = (*judgement.results, Result(case="a", metric="peak_bytes", verdict="REGRESSED"))
    assert replace(judgement, unstable_ok=True, results=surer).exit_code == 1


@pytest.mark.parametrize(
    ("side", "status", "verdict", "code"),
    [
        ("head", "incorrect", "FAILED", 4),
        ("head", "oom", "FAILED", 5),
        ("head", "timeout", "FAILED", 5),
        ("head", "skipped", "MISSING", 5),
        ("base", "skipped", "NEW", 0),
        ("base", "failed", "NEW", 0),
    ],
)
def test_what_one_side_lacks(side: str, status: str, verdict: str, code: int) -> None:
    def change(where: str, case: str, stage: str, pair: int) -> Record | None:
        return fault(case, status) if (where, case) == (side, SAME) and pair == 1 else None

    judgement = judge(passes({}, change), rules.read())
    assert by_case(judgement)[SAME].verdict == verdict
    assert judgement.exit_code == code


def test_what_both_sides_skip_is_counted_and_not_judged() -> None:
    judgement = judge(
        passes({}, lambda side, case, stage, pair: fault(case, "skipped") if case == SAME else None), rules.read()
    )
    assert SAME not in by_case(judgement) and list(judgement.skipped.values()) == ["made so"]


def memory(base: float, head: float, metric: str = "peak_bytes", probe: str = "memory") -> Judgement:
    made = [
        Pass(side, 0, "screen", (make(case="m", probe=probe, metric=metric, value=value),))
        for side, value in (("base", base), ("head", head))
    ]
    return judge(made, Rules.of({"margins": {"peak_bytes": {"big/*": 0.5}}}, rules.read()))


@pytest.mark.parametrize(
    ("base", "head", "metric", "verdict"),
    [
        (100.0, 100.0, "peak_bytes", "EQUIVALENT"),
        (100.0, 101.0, "peak_bytes", "REGRESSED"),
        (100.0, 50.0, "saved_bytes", "IMPROVED"),
        (0.0, 8.0, "saved_bytes", "REGRESSED"),
        (30.0, 29.995, "psnr", "EQUIVALENT"),
        (30.0, 29.9, "psnr", "REGRESSED"),
        (0.9, 0.91, "ssim", "IMPROVED"),
    ],
)
def test_exact_metrics(base: float, head: float, metric: str, verdict: str) -> None:
    judgement = memory(base, head, metric, "retention" if metric in ("psnr", "ssim") else "memory")
    assert [result.verdict for result in judgement.results] == [verdict]
    assert judgement.exit_code == (1 if verdict == "REGRESSED" else 0)


def test_margins_by_glob() -> None:
    known = Rules.of({"margins": {"time": {"*": 0.02, "ada/*": 0.20}}, "detect": 0.5})
    assert (known.margin("time", SAME), known.margin("time", "max/x"), known.margin("peak_bytes", SAME)) == (
        0.2,
        0.02,
        0,
    )
    assert by_case(judge(passes({SLOW: 0.08}), known))[SLOW].verdict == "EQUIVALENT"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"margins": {"time": 0.1}}, "margins.time: expected globs"),
        ({"margins": {"time": {"*": "much"}}}, r"margins.time.'\*': expected a number"),
        ({"margin": {}}, "got margin"),
    ],
)
def test_wrong_rules_are_named(table: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rules.of(table)


def test_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    found = {"cpu": judge(passes(), rules.read())}
    output.publish(tmp_path / "out", "a | <b>", found, {"seed": 1})
    data = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    assert data["exit_code"] == 1 and data["comparisons"]["cpu"]["counts"]["REGRESSED"] == 1
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()[0]
    failures = [test.get("name") for test in suite if test.find("failure") is not None]
    assert failures == [f"{SLOW} [time cold]"]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(CASES)), "1")
    summary = (tmp_path / "step.md").read_text()
    assert f"| REGRESSED | `{SLOW}` | time cold |" in summary and "1 REGRESSED" in summary
    (command,) = output.workflow_commands(found)
    assert command.startswith("::error title=REGRESSED on cpu::REGRESSED " + SLOW) and "%25" in command
    assert "exit code 1: regression" in output.text(found)


def test_junit_is_xml_whatever_a_reason_holds(tmp_path: Path) -> None:
    result = Result(case='a<b>&"c\x00\x1b', metric="time", verdict="FAILED", note="\ud800]]>")
    output.publish(tmp_path, "t", {"x": Judgement((result,), {"s\x01": "r\x02"})}, {})
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert root[0].get("errors") == "1" and root[0].get("skipped") == "1"


def test_several_devices_give_the_gravest_code() -> None:
    good = Judgement((Result(case="a", metric="time", verdict="EQUIVALENT"),))
    bad = Judgement((Result(case="a", metric="time", verdict="REGRESSED"),))
    wrong = Judgement((Result(case="a", metric="time", verdict="FAILED", incorrect=True),))
    assert output.exit_code({"a": good, "b": bad}) == 1
    assert output.exit_code({"a": bad, "b": wrong}) == 4
    assert output.exit_code({"a": good}) == 0
    assert output.exit_code({"a": Judgement(())}) == 5
