"""ADAPOOL_TUNE on an emulated device whose clock is told which launch is the fastest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from suites import doctor, machine
from tests.support.emulator.build import ADDRESSES, compiler, emulated_library, environment, sanitizers

ROOT = Path(__file__).parents[2]
CASES = (
    "apart", "apart, channels last", "overlap", "overlap, channels last", "logits", "whole", "large", "unpool",
    "sums in two launches",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    compiler() is None or sanitizers() is None or not sys.platform.startswith("linux"),
    reason="no C++ compiler with sanitizers for the emulator",
)


@pytest.fixture(scope="module")
def device() -> Iterator[subprocess.Popen[str]]:
    """Answers calls, each with an environment of its own."""
    own = environment(sanitize=True, flags=ADDRESSES, library=emulated_library())
    own |= {"ADAPOOL_EMULATOR_MULTIPROCESSORS": "1"}
    command = [sys.executable, "-m", "tests.support.emulator.tuned"]
    with subprocess.Popen(command, cwd=ROOT, env=own, stdin=-1, stdout=-1, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ask(device: subprocess.Popen[str], case: str, **variables: object) -> dict[str, Any]:
    assert device.stdin is not None and device.stdout is not None
    print(json.dumps([case, {f"ADAPOOL_{k}": str(v) for k, v in variables.items()}]), file=device.stdin, flush=True)
    answer: dict[str, Any] = json.loads(device.stdout.readline())
    assert answer, f"{case} with {variables}: the process died"
    return answer


def kept(started: list[list[str]], launches: int) -> list[list[str]]:
    """The code, grid and threads of the last launches, which are those of a second call."""
    return [words[1:] for words in started[-launches:]]


def tried(started: list[list[str]], launches: int) -> tuple[list[str], list[list[str]]]:
    """The numbers of the functions that were chosen, and for each launch those of alternatives that run other code or
    other threads: bounds of registers are nothing to an emulator."""
    own = [words[0] for words in started[-launches:]]
    functions = {words[0]: words[1:] for words in started}
    others: list[list[str]] = [[] for _ in own]
    for number, function in functions.items():
        launch = max(i for i in range(launches) if int(own[i]) <= int(number))
        if function not in [functions[n] for n in (own[launch], *others[launch])]:
            others[launch].append(number)
    return own, others


@pytest.mark.parametrize("case", CASES)
def test_alternatives_are_chosen_where_they_are_fastest_and_have_the_same_bits(
    device: subprocess.Popen[str], case: str
) -> None:
    plain = ask(device, case)
    launches = len(plain["started"]) // 2
    assert plain["events"] == 0 and plain["results"] == plain["again"]
    slow = ask(device, case, TUNE=1)
    own, others = tried(slow["started"], launches)
    assert kept(slow["started"], launches) == kept(plain["started"], launches), "none is faster than the chosen one"
    assert slow["results"] == plain["results"] and any(others)
    for fastest in zip_longest(*others):
        told = ",".join(filter(None, fastest))
        found = ask(device, case, TUNE=1, EMULATOR_FASTEST=told)
        expected = [number or chosen for number, chosen in zip(fastest, own, strict=True)]
        assert [words[0] for words in found["started"][-launches:]] == expected
        assert found["results"] == found["again"] == plain["results"]


def test_a_choice_is_remembered_on_disk(device: subprocess.Popen[str], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    plain = ask(device, "overlap", CACHE=cache)
    launches = len(plain["started"]) // 2
    own = kept(plain["started"], launches)
    tuned = ask(device, "overlap", CACHE=cache, TUNE=1, EMULATOR_FASTEST=3)  # with half the threads
    chosen = kept(tuned["started"], launches)
    assert chosen != own and tuned["events"] > 0
    again = ask(device, "overlap", CACHE=cache, TUNE=1)
    assert again["events"] == 0 and kept(again["started"], launches) == chosen
    assert len(again["started"]) == 2 * launches, "nothing is tried"
    untuned = ask(device, "overlap", CACHE=cache)
    assert kept(untuned["started"], launches) == own, "used only where it is asked for"
    other = ask(device, "apart", CACHE=cache, TUNE=1)
    assert other["events"] > 0, "another shape has a choice of its own"
    notes = [path for path in cache.iterdir() if b"\nfastest launch on an emulated device 1 for" in path.read_bytes()]
    assert len(notes) == 4  # two of each shape; sums of beta have no alternatives
    for path in notes:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    altered = ask(device, "overlap", CACHE=cache, TUNE=1)
    assert altered["events"] > 0 and kept(altered["started"], launches) == own, "what was altered is not believed"


def test_a_folder_that_others_may_write_to_is_not_believed(device: subprocess.Popen[str], tmp_path: Path) -> None:
    first = ask(device, "unpool", CACHE=tmp_path / "cache", TUNE=1, EMULATOR_FASTEST=3)
    (tmp_path / "cache").chmod(0o722)
    assert first["events"] > 0
    assert ask(device, "unpool", CACHE=tmp_path / "cache", TUNE=1)["events"] > 0


def test_a_capture_tries_nothing_and_remembers_nothing(device: subprocess.Popen[str], tmp_path: Path) -> None:
    told = {"CACHE": tmp_path / "cache", "TUNE": 1}
    plain = ask(device, "unpool")
    captured = ask(device, "unpool", **told, EMULATOR_FASTEST=3, EMULATOR_CAPTURES=1)
    assert captured["events"] == 0 and captured["started"] == plain["started"], "kernels are loaded meanwhile"
    tuned = ask(device, "unpool", **told, EMULATOR_FASTEST=3)
    assert tuned["events"] > 0 and tuned["mode"] == captured["mode"] == 0
    captured = ask(device, "unpool", **told, EMULATOR_CAPTURES=1)
    assert captured["events"] == 0
    assert kept(captured["started"], 1) == kept(tuned["started"], 1) != kept(plain["started"], 1)


def test_values_of_the_variable(device: subprocess.Popen[str]) -> None:
    said = "adapool: ADAPOOL_TUNE: expected 1 (try launches and keep the fastest) or 0, got 'yes'"
    assert said in ask(device, "unpool", TUNE="yes")["error"]
    for off in ("", "0"):
        assert ask(device, "unpool", TUNE=off)["events"] == 0


@pytest.mark.parametrize(
    ("value", "tuned", "marks"), [("", False, []), ("0", False, []), ("1", True, ["note"]), ("yes", False, ["missing"])]
)
def test_records_and_doctor_say_it(monkeypatch: pytest.MonkeyPatch, value: str, tuned: bool, marks: list[str]) -> None:
    monkeypatch.setenv("ADAPOOL_TUNE", value)
    assert machine.software()["tuned"] is tuned
    assert [mark for mark, what, *_ in doctor.findings() if what == "tuning"] == marks
