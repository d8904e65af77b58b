"""Faults planted in copies of the library and of csrc: faults/*.patch, each with a sentence on what it breaks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

FAULTS = Path(__file__).with_name("faults")


def plant(name: str, folder: Path) -> None:
    """Applies a fault to a copy of the folder that its patch is of, adapool or csrc."""
    patch = FAULTS / f"{name}.patch"
    # Inside a repository git would look for the patch's files at its root, and say nothing where they are not.
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    command = ["git", "apply", "-p2", "-C1", "--verbose", str(patch)]
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the code that {patch.name} spoils has changed, write it anew: {done.stderr}"
    assert "Skipped" not in done.stderr, f"{patch.name} is of other files than those of {folder}"
