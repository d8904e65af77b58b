"""What `.ci/gpu` would do, without a GPU: a stand-in for Python notes its command lines, and the suite takes them."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from runner import cli

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "gpu"
LONGEST = 9 * 60
INSTALL = 60  # seconds of a step before it measures
# Notes its words, makes a run's folder, has hypothesis but not xdist, and does nothing else.
STAND_IN = """#!/usr/bin/env bash
printf '%q ' "$(basename "$0")" "$@" >>"$NOTES"; echo >>"$NOTES"
[ "${1:-}" != -c ] || [[ "$2" != *xdist* ]] || exit 1
while [ $# -gt 0 ]; do
  if [ "$1" = --out ]; then mkdir -p "$2" && echo '{}' >"$2/records.jsonl"; fi
  [ "$1" != - ] || cat >/dev/null
  shift
done
"""


def run(tmp_path: Path, *words: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """The script on a copy of its own folder; the command lines that it gave to Python and to the sanitizer."""
    clone = tmp_path / "clone"
    (clone / ".ci").mkdir(parents=True, exist_ok=True)
    (clone / ".ci" / "gpu").write_bytes(SCRIPT.read_bytes())
    for name in ("python-stand-in", "compute-sanitizer"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)
    notes = tmp_path / "notes"
    notes.unlink(missing_ok=True)
    given = {k: v for k, v in os.environ.items() if k not in ("WHEEL", "ADAPOOL_SITE")}
    given |= {"PYTHON": str(tmp_path / "python-stand-in"), "NOTES": str(notes), "OUT": str(tmp_path / "out")}
    given["PATH"] = f"{tmp_path}:{given['PATH']}"
    done = subprocess.run(
        ["bash", str(clone / ".ci" / "gpu"), *words],
        env={**given, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = notes.read_text().splitlines() if notes.is_file() else []
    return done, [shlex.split(line) for line in said]


def benches(commands: list[list[str]]) -> list[list[str]]:
    return [words[words.index("bench") + 1 :] for words in commands if words[1:3] == ["runner.py", "bench"]]


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_the_script_is_one() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.parametrize("words", [(), ("tset",), ("bench", "everything"), ("test", "sanitize")])
def test_a_wrong_step_is_told_before_anything_is_installed(words: tuple[str, ...], tmp_path: Path) -> None:
    done, commands = run(tmp_path, *words)
    assert done.returncode == 2 and done.stderr.startswith("usage: .ci/gpu test|sanitize|bench"), done.stderr
    assert not commands


def test_installs_the_clone_or_a_wheel_without_cuda_settings(tmp_path: Path) -> None:
    for given, what in (({}, "."), ({"WHEEL": "some.whl"}, "some.whl")):
        _, commands = run(tmp_path, "test", **given)
        (install,) = [words for words in commands if "pip" in words]
        assert install[-1] == what and {"--no-index", "--no-deps", "--no-build-isolation"} <= set(install)
    assert "CMAKE" not in SCRIPT.read_text() and "nvcc" not in re.sub("(?m)^#.*", "", SCRIPT.read_text())


def test_all_tests_run_once(tmp_path: Path) -> None:
    done, commands = run(tmp_path, "test")
    assert done.returncode == 0, done.stderr
    tests = [words for words in commands if "pytest" in words]
    assert [option(words[3:], "-m") for words in tests] == ["cuda and not soak"] * 2 + ["not cuda and not soak"]
    apart = [word for words in tests for word in words if "engine/test_cuda" in word]
    assert apart == ["tests/engine/test_cuda.py"] * 2, "left out of the first and all of the second"
    assert (ROOT / apart[0]).is_file()


def test_the_sanitizers_selection_selects(tmp_path: Path) -> None:
    """By the names that the tests have today."""
    done, commands = run(tmp_path, "sanitize")
    assert done.returncode == 0, done.stderr
    tools = [option(words, "--tool") for words in commands if words[0] == "compute-sanitizer"]
    assert tools == ["memcheck", "racecheck"]
    (plain,) = [words[words.index("-m", 3) :] for words in commands if words[1:3] == ["-m", "pytest"]]
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *plain],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    names = re.findall(r"::(\w+)\[?(.*)", listed)
    assert len(names) > 15, listed[-2000:]
    for method in ("ada", "dpp", "lip", "softpool", "max", "lp_abs"):
        assert any(method in words for _, words in names), method
    assert any("unpool" in name for name, _ in names)


@pytest.mark.parametrize(
    "words",
    [
        ("bench",), ("bench", "apart"), ("bench", "overlapping"), ("bench", "rows"), ("bench", "general"),
        ("compiled",),
    ],
)  # fmt: skip
def test_what_is_measured_is_accepted_and_bounded(words: tuple[str, ...], tmp_path: Path) -> None:
    done, commands = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    asked = benches(commands)
    assert sum(int(option(one, "--budget").removesuffix("s")) for one in asked) <= LONGEST - INSTALL - 15
    for one in asked:
        assert one[:2] == ["--gpu", "all"]
        at = one.index("--out")
        plan = CliRunner().invoke(cli, ["plan", *one[:at], *one[at + 2 :]])
        assert plan.exit_code == 0, plan.output
        for implementation in option(one, "--implementation").split(","):
            assert f"/{implementation}/" in plan.output, (one, implementation)
        assert "/copy/" in plan.output, "a ceiling in the same run"
    (table,) = [line for line in commands if "reports.acceptance" in line]
    assert sorted(Path(run).name for run in table[3:]) == sorted(Path(option(one, "--out")).name for one in asked)
    assert (tmp_path / "out" / f"{words[0]}.tar.gz").is_file()


def test_bench_asks_for_the_windows_of_the_goals(tmp_path: Path) -> None:
    _, commands = run(tmp_path, "bench")
    pairs = {
        (kernel, shape)
        for one in benches(commands)
        for kernel in option(one, "--kernel").split(",")
        for shape in option(one, "--shape").split(",")
    }
    assert pairs == {
        ("2s2", "64x256x56x56"), ("3s3", "64x256x56x56"), ("3s2", "64x64x112x112"), ("3s2p1", "64x64x112x112"),
        ("3s2p1", "16x64x112x112"), ("2s2", "16x64x112x112"), ("7", "256x2048x7x7"), ("14", "64x512x14x14"),
        ("2s2", "16x64x16x56x56"), ("2s2", "64x128x16000"),
    }  # fmt: skip
    for one in benches(commands)[:2]:
        assert option(one, "--dtype") == "float32,bfloat16" and option(one, "--direction") == "forward,backward"
    for part in ("apart", "overlapping"):
        (one,) = benches(run(tmp_path, "bench", part)[1])
        assert option(one, "--dtype") == "float32,bfloat16,float16"
        assert option(one, "--layout") == "nchw,channels_last"
        assert option(one, "--method") == "ada,softpool,edscw,avg,max"
        assert option(one, "--direction") == "forward,backward,both"


def test_a_failed_run_does_not_keep_the_table_back(tmp_path: Path) -> None:
    """Exit code 1 at the end, the other runs and the table in between."""
    _, commands = run(tmp_path, "bench")
    failing = STAND_IN + '[[ "$(tail -1 "$NOTES")" != *runner.py* ]]\n'
    shim = tmp_path / "failing"
    shim.write_text(failing)
    shim.chmod(0o755)
    done, again = run(tmp_path, "bench", PYTHON=str(shim))
    assert done.returncode == 1
    assert [words[1:] for words in again] == [words[1:] for words in commands]


def test_three_cases_are_profiled_and_fewer_are_a_failure(tmp_path: Path) -> None:
    done, commands = run(tmp_path, "profile")
    assert done.returncode == 1 and "not three profiles are there" in done.stdout
    (one,) = benches(commands)
    assert option(one, "--profile-with") == "ncu"
    globs = [one[at + 1] for at, word in enumerate(one) if word == "--profile-case"]
    first = min(one.index(word) for word in ("--out", "--profile-with"))
    axes = [word for word in one[:first] + one[one.index("--method") : one.index("--profile-with")] if word]
    plan = CliRunner().invoke(cli, ["plan", *axes])
    assert plan.exit_code == 0, plan.output
    names = [words[1] for words in map(str.split, plan.output.splitlines()) if words[0] == "latency"]
    assert [sum(fnmatch.fnmatchcase(name, glob) for name in names) for glob in globs] == [1, 1, 1]
    shim = tmp_path / "with-profiles"
    lines = "".join(f'echo \'{{"case":"{n}","status":"ok"}}\' >>"$2/profiles.jsonl"; ' for n in range(3))
    shim.write_text(STAND_IN.replace('>"$2/records.jsonl"; fi', f'>"$2/records.jsonl"; {lines}fi'))
    shim.chmod(0o755)
    done, _ = run(tmp_path, "profile", PYTHON=str(shim))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "profile.tar.gz").is_file()


def test_the_network_is_measured_with_its_options(tmp_path: Path) -> None:
    for words, model in (((), "resnet50"), (("torchvision:resnet18", "--method", "ada"), "torchvision:resnet18")):
        done, commands = run(tmp_path, "network", *words)
        assert done.returncode == 0, done.stderr
        (asked,) = [words[3:] for words in commands if words[1:3] == ["runner.py", "network"]]
        context = cli.commands["network"].make_context("network", asked)
        assert context.params["model"] == model and context.params["dtypes"] == ("bfloat16",)
        assert (tmp_path / "out" / "network.tar.gz").is_file()
