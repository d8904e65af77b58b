"""The README's section on the gate, and docs/gate.md: their commands are right, and those of the CI jobs run as they
stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gate.cli import baseline, gate

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text().partition("## The regression gate")[2].partition("\n## ")[0]
SECTION += (ROOT / "docs" / "gate.md").read_text()
COMMAND = re.compile(r"^(?:\s+- (?:run: )?)?(python runner\.py (?:gate|baseline) [^#\n]+)", re.MULTILINE)
JOBS = [COMMAND.findall(block) for block in re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)]


def execute(command: str, out: Path) -> subprocess.CompletedProcess[str]:
    """By a shell, as a CI job does, with this Python first on the path and results in a folder of the test."""
    words = command.replace("results/", f"{out}/")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        ["bash", "-ec", words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": known, "BASE": "HEAD"},
    )  # fmt: skip


def test_both_jobs_run_the_same_three_commands() -> None:
    assert len(JOBS) == 2 and JOBS[0] == JOBS[1] and len(JOBS[0]) == 3
    assert [re.findall(r"gate \w+", command)[0] for command in JOBS[0]] == ["gate static", "gate static", "gate ab"]


def test_every_command_of_the_section_is_understood() -> None:
    commands = COMMAND.findall(SECTION)
    assert len(commands) >= 10
    for command in commands:
        _, _, group, name, *words = shlex.split(command)
        known = {"gate": gate, "baseline": baseline}[group].commands
        assert known[name].make_context(name, list(words)).params, command


def test_the_ci_of_the_project_runs_the_static_commands_of_the_jobs() -> None:
    own = (ROOT / ".ci" / "run").read_text()
    for command in JOBS[0][:2]:  # each takes half a minute: there they run, here where `-m soak` asks for it
        assert command.partition(" --out")[0].removeprefix("python ") in own


@pytest.mark.soak
@pytest.mark.parametrize("command", JOBS[0])
def test_the_commands_of_the_jobs_run(command: str, tmp_path: Path) -> None:
    done = execute(command, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.glob("*/junit.xml"))
