"""One owner of the version, and every record says the version of the code that ran."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest

import adapool
from reports.rules import toml
from suites import doctor, provenance
from suites.builds import Build

ROOT = Path(__file__).parents[2]


class Stale:
    """Metadata of an editable installation, which keeps the version that it was made with."""

    version = "0.0.1"


@pytest.mark.parametrize("installed", [None, Stale()])
def test_records_have_the_version_of_the_package_that_is_imported(
    installed: Stale | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a clone no metadata is there, and metadata that is there may be of another version."""
    real = importlib.metadata.Distribution.from_name

    def found(name: str) -> Any:
        if name == "adapool" and installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed if name == "adapool" else real(name)

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", found)
    assert provenance.source()["version"] == adapool.__version__
    monkeypatch.setattr(adapool, "__version__", "9.8.7")
    assert provenance.source()["version"] == "9.8.7"
    (told,) = [words for mark, what, words, _ in doctor.findings() if (mark, what) == ("ok", "adapool")]
    assert told.startswith("9.8.7, this folder's, commit ")


def test_each_side_of_a_comparison_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "old" / "adapool").mkdir(parents=True)
    (tmp_path / "old" / "adapool" / "__init__.py").write_text('import torch\n__version__ = "0.0.9"\n')
    (tmp_path / "bare" / "adapool").mkdir(parents=True)
    (tmp_path / "bare" / "adapool" / "__init__.py").write_text("")
    builds = {"base": Build("old", tmp_path / "old"), "head": Build("installed", None)}
    assert builds["base"].source["version"] == "0.0.9"
    assert builds["head"].source["version"] == adapool.__version__
    assert Build("bare", tmp_path / "bare").source["version"] == "unknown"


def test_the_package_owns_the_version() -> None:
    held = toml.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in held["project"] and held["project"]["dynamic"] == ["version"]
    source = held["tool"]["scikit-build"]["metadata"]["version"]
    assert source == {"provider": "scikit_build_core.metadata.regex", "input": "adapool/__init__.py"}
    found = re.findall(r"(?im)^(?:__version__|version) *= *([\"'])(.+?)\1", (ROOT / source["input"]).read_text())
    assert [version for _, version in found] == [adapool.__version__]
