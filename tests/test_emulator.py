"""csrc's kernels and loops under the emulator and the sanitizers, against the plain rows in float64.

ADAPOOL_EMULATOR_CASES=5000 runs that many random problems (each of all directions) instead of CI's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.emulator.cases import DTYPES, METHODS, Problem
from tests.emulator.driver import CSRC, Driver, build, compiler

CASES = int(os.environ.get("ADAPOOL_EMULATOR_CASES", "448"))
PARTS = 16

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler for the emulator")


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver(build())
    yield driver
    driver.close()


def problem(number: int) -> Problem:
    """Walks methods, dtypes, layouts and engines, so that every 224 neighbours hold each combination once."""
    rest, method = divmod(number, len(METHODS))
    rest, dtype = divmod(rest, len(DTYPES))
    engine, last = divmod(rest % 4, 2)
    return Problem(number, METHODS[method], DTYPES[dtype], bool(last), engine)


def faults(driver: Driver, problems: Iterator[Problem]) -> tuple[list[str], int]:
    found, count = [], 0
    for one in problems:
        for check in one.checks():
            count += 1
            found += check.faults(driver.run(check.request))
    return found, count


@pytest.mark.parametrize("part", range(PARTS))
def test_random_problems(driver: Driver, part: int) -> None:
    found, count = faults(driver, (problem(n) for n in range(part, CASES, PARTS)))
    assert not found, "\n".join(found[:20])
    assert count >= CASES // PARTS


def test_the_walk_meets_every_combination() -> None:
    seen = {(p.method, p.dtype, p.channels_last, p.engine) for p in map(problem, range(224))}
    assert len(seen) == 14 * 4 * 2 * 2


def test_order_of_threads_does_not_matter(driver: Driver) -> None:
    for method, direction in (("ada", "dx"), ("dpp", "dlam"), ("softpool", "dx")):
        one = next(
            p
            for p in (Problem(s, method, torch.float32, False, 0) for s in range(99))
            if p.x.numel() > 300 and p.x.shape[0]
        )
        for check in one.checks():
            if not check.name.endswith(direction):
                continue
            answers = []
            for check.request.seed in (1, 2, 3):
                answers.append(driver.run(check.request))
            for answer in answers[1:]:
                assert all(torch.equal(a, b) for a, b in zip(answers[0].values(), answer.values(), strict=True))


# Teeth: a planted fault must be found. Each is planted into a copy of csrc with one method, in float.

PLANTED = {
    "load beyond the end": ("region.h", "load<V>(offset, step", "load<V>(offset + 1, step"),
    "missing barrier": ("kernels.cuh", "      __syncthreads();\n      if (real) {", "      if (real) {"),
    "off-by-one tail": ("kernels.cuh", "i < n; i += index_step()", "i < n - 1; i += index_step()"),
    "window shifted": (
        "region.h",
        "* w.stride[d] - w.padding[d], end",
        "* w.stride[d] - w.padding[d] + (w.padding[d] > 0), end",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found(tmp_path: Path, name: str) -> None:
    file, good, bad = PLANTED[name]
    copy = tmp_path / "csrc"
    shutil.copytree(CSRC, copy)
    source = (copy / file).read_text()
    assert good in source, f"{file} no longer has the line to spoil"
    (copy / file).write_text(source.replace(good, bad))
    table = (copy / "methods.h").read_text()
    kept = [line for line in table.splitlines() if not line.startswith("  X(") or "SoftPool" in line]
    text = "\n".join(kept).replace("X(softpool, SoftPool)                \\", "X(softpool, SoftPool)")
    (copy / "methods.h").write_text(text + "\n")
    driver = Driver(build(copy, ("float",), ()))
    found: list[str] = []
    try:
        for seed in range(40):
            one = Problem(seed, "softpool", torch.float32, False, 0)
            for check in one.checks():
                check.request.method = 0
                found += check.faults(driver.run(check.request))
    except RuntimeError as error:
        found.append(str(error))
    finally:
        driver.close()
    assert found, f"planted fault was not found: {name}"
    if name == "load beyond the end":
        assert "AddressSanitizer" in found[-1], found[-1]
