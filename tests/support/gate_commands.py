"""The gate's command line, and copies of the library and of its kernels with a fault planted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
from click.testing import CliRunner

from gate.cli import baseline, gate
from tests.support.fewer_methods import keep
from tests.support.planted import plant

ROOT = Path(__file__).parents[2]


def run(*words: str, library: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line; `library`: the folder that adapool is imported from. It and an environment of its own want a
    process of their own; else torch and the rest are not imported anew.
    """
    if library is None and not environment:
        unset = {name: None for name in os.environ if name.startswith("GITHUB_")}
        group = click.Group(commands=[gate, baseline])
        done = CliRunner().invoke(group, words, env={**unset, "OMP_NUM_THREADS": "1"}, catch_exceptions=False)
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)
    enter = f"from suites.build_import import enter; enter({str(library)!r}); " if library else ""
    script = f"{enter}import click; from gate.cli import baseline, gate; click.Group(commands=[gate, baseline])()"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    known = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**clean, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(known), **environment},
    )  # fmt: skip


def sources(folder: Path, fault: str = "") -> str:
    """The true csrc with one method and one fast window, which compile in seconds, and a fault."""
    shutil.copytree(ROOT / "csrc", folder)
    methods = folder / "math" / "methods.h"
    listed = methods.read_text()
    (line,) = re.findall(r"^ +X\(softpool,.*?\)", listed, re.MULTILINE)
    start = listed.index("#define ADAPOOL_METHODS(X)")
    end = listed.index("\n\n", start)
    methods.write_text(f"{listed[:start]}#define ADAPOOL_METHODS(X) \\\n{line}{listed[end:]}")
    keep(folder, "softpool")
    kernels = folder / "cpu" / "fast" / "kernels.cpp"
    windows = re.compile(r"(Kernel kernels\[\] = \{kernel_for<2, 2>\(\)).*?\};", re.DOTALL)
    text, found = windows.subn(r"\1};", kernels.read_text())
    assert found == 1
    kernels.write_text(text)
    if fault:
        plant(fault, folder)
    return str(folder)


def build(folder: Path, fault: str = "") -> Path:
    """An installed adapool without compiled operators, with a fault."""
    shutil.copytree(ROOT / "adapool", folder / "adapool", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    if fault:
        plant(fault, folder / "adapool")
    return folder
