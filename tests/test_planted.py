"""Every planted fault still applies to the code it spoils, those of long tests too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.planted import FAULTS, plant

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(path.stem for path in FAULTS.glob("*.patch")))
def test_it_applies_and_says_what_it_breaks(name: str, tmp_path: Path) -> None:
    patch = (FAULTS / f"{name}.patch").read_text()
    assert patch.partition("\n\n---")[0].endswith("."), "a sentence on what it breaks comes first"
    room = patch.split("+++ b/")[1].split("/")[0]
    shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    plant(name, tmp_path / room)
