"""A new method is what the README says, one row and one value: done in a copy of the tree, and nothing else edited."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapool import native_library
from reports import store

ROOT = Path(__file__).parents[2]
NEWCOMER = """
import pytest, sys, torch
from click.testing import CliRunner
from adapool import pool
from runner import cli

assert pool(torch.tensor([[[1.0, 7.0]]]), "rms", 2).item() == 5
axes = "--cpu --method rms --implementation plain --shape 1x2x6x6 --kernel 3s2p1 --direction both --probe latency"
for words in ("plan", "bench --profile smoke --clock hot --out run"):
    done = CliRunner().invoke(cli, words.split() + axes.split(), catch_exceptions=False)
    assert done.exit_code == 0 and ("rms/" in done.output or "1 ok" in done.output), done.output
held = "rms and (golden or definition or scales or sixteen)"
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", held, sys.argv[1]]))
"""

# Python reads this after an editable install has put its finder, which would find this folder's adapool, first.
ALONE = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The copy, with the README's two blocks added to the two files that it names."""
    for folder in (path for path in ROOT.iterdir() if (path / "__init__.py").is_file()):
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("runner.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "sitecustomize.py").write_text(ALONE)
    recipe = (ROOT / "README.md").read_text().partition("## Adding a method")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", recipe, re.DOTALL)
    files = re.findall(r"`(\S+\.py)`", recipe)[: len(blocks)]
    assert files == ["adapool/methods.py", "suites/golden.py"]
    for file, block in zip(files, blocks, strict=True):
        with (tmp_path / file).open("a") as end:
            end.write(f"\n\n{block}")
    return tmp_path


def test_a_new_row_is_pooled_with_planned_measured_reported_and_tested(tree: Path) -> None:
    environment = {**os.environ, "ADAPOOL_OTHER_SOURCES": "1", "ADAPOOL_LIBRARY_DIR": str(native_library.path().parent)}
    environment["PYTHONPATH"] = os.pathsep.join([str(tree), *filter(None, [os.environ.get("PYTHONPATH")])])
    rows = "tests/library/test_rows.py"
    done = subprocess.run(
        [sys.executable, "-c", NEWCOMER, rows], cwd=tree, env=environment, capture_output=True, text=True,
        timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = next(r for r in store.read(tree / "run") if r.method == "rms" and r.metric == "time")
    assert (record.status, record.reason, record.measurement["verified"]) == ("ok", None, True)
    assert "rms" in (tree / "run" / "report.html").read_text()
