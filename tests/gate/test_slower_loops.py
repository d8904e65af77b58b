"""A slower loop of the CPU, really compiled and counted: `gate static` exits 1, and `gate ab` names it as the cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counts import callgrind
from gate import cause
from suites import inspector
from suites.builds import Build
from suites.case import Case
from tests.support.gate_commands import run, sources


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Folders with the true csrc and one with the fault. Each is compiled once, for whoever asks."""
    try:
        callgrind.compiler()
    except inspector.Missing as reason:
        pytest.skip(str(reason))
    good, slow = (tmp_path_factory.mktemp(name) for name in ("good", "slow"))
    sources(good / "csrc")
    sources(slow / "csrc", "slow-loops")
    count, counted = callgrind.instructions, dict[str, Any]()

    def once(source: Path, only: Any = ()) -> dict[str, dict[str, int]]:
        key = f"{source.resolve()} {list(only)}"
        if key not in counted:
            counted[key] = count(source, only)
        found: dict[str, dict[str, int]] = counted[key]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callgrind, "instructions", once)
        yield good, slow
    assert len(counted) == 2


def test_it_exits_1(sides: tuple[Path, Path], tmp_path: Path) -> None:
    words = ("--part", "instructions", "--method", "softpool", "--baseline", str(tmp_path / "baseline"))
    good, slow = (str(side / "csrc") for side in sides)
    accepted = run("baseline", "accept", "--reason", "made", "--source", good, *words)
    assert accepted.returncode == 0, accepted.stderr
    same = run("gate", "static", "--source", good, *words)
    assert same.returncode == 0 and "4 EQUIVALENT" in same.stdout, same.stdout + same.stderr
    slower = run("gate", "static", "--source", slow, *words)
    assert slower.returncode == 1 and "REGRESSED softpool/forward/float32/k2s2" in slower.stdout, slower.stderr


def test_it_is_the_cause(sides: tuple[Path, Path]) -> None:
    made = [Build(str(side), side, None, True, {"native": name}) for name, side in zip(("a", "b"), sides, strict=True)]
    case = Case(
        "latency", "softpool", "native", "backward", (2, 2), (2, 2), (0, 0), False, (1, 4, 8, 8), "float32", "nchw"
    )
    words = cause.of_kernels([case], *made, "cpu")
    assert words[case.name].startswith("CPU gather: k2s2 instructions ")
