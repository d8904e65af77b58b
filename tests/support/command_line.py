"""runner.py's commands in the process of the tests: a Python of its own takes seconds to import torch and seaborn.

What a process is at its start, how it ends by a signal, and what it inherits need one of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from runner import cli

ROOT = Path(__file__).parents[2]


def runner(*words: str, cwd: Path = ROOT) -> Result:
    """What `python runner.py WORDS` prints and ends with, in the folder `cwd`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(ROOT / "runner.py"), *words])  # the command that a run records
        return CliRunner().invoke(cli, words, catch_exceptions=False)
