"""The fast CUDA kernels under the emulator and the sanitizers, against the plain rows in float64.

ADAPOOL_EMULATOR_CASES=5000 runs that many random problems (each of all directions) instead of CI's.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.emulator.driver import CSRC, Driver, build, compiler
from tests.emulator.fast_cases import DTYPES, METHODS, ROW_WINDOWS, ROWS, WINDOWS, FastProblem, RowProblem

EVERY = len(METHODS) * len(DTYPES) * len(WINDOWS) * 2  # neighbours that hold each combination once
CASES = int(os.environ.get("ADAPOOL_EMULATOR_CASES", str(3 * EVERY)))
PARTS = 9

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler for the emulator")


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver(build())
    yield driver
    driver.close()


def problem(number: int) -> FastProblem:
    rest, method = divmod(number, len(METHODS))
    rest, dtype = divmod(rest, len(DTYPES))
    rest, window = divmod(rest, len(WINDOWS))
    return FastProblem(number, METHODS[method], DTYPES[dtype], bool(rest % 2), WINDOWS[window])


@pytest.mark.parametrize("part", range(PARTS))
def test_random_problems(driver: Driver, part: int) -> None:
    found, count = [], 0
    for number in range(part, CASES, PARTS):
        for check in problem(number).checks():
            count += 1
            found += check.faults(driver.run(check.request))
    assert not found, "\n".join(found[:20])
    assert count == 5 * len(range(part, CASES, PARTS))


@pytest.mark.parametrize("method", ROWS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_other_methods(driver: Driver, method: str, dtype: torch.dtype) -> None:
    found, seed = [], 0
    for window in ROW_WINDOWS:
        for last in (False, True):
            for _ in range(3):
                seed += 1
                for check in RowProblem(seed, method, dtype, last, window).checks():
                    found += check.faults(driver.run(check.request))
    assert not found, "\n".join(found[:20])


def test_the_windows_are_those_that_are_compiled() -> None:
    listed = re.search(r"#define ADAPOOL_FAST_WINDOWS\(X\)((?:.*\\\n)*.*)\n", (CSRC / "cuda_choice.cuh").read_text())
    assert listed
    assert [(int(k), int(s)) for k, s in re.findall(r"X\((\d), (\d)\)", listed[1])] == WINDOWS


def test_order_of_threads_and_number_of_blocks(driver: Driver) -> None:
    """Threads in any order give the same bits; so do more blocks, but for the order of beta's sums."""
    for number, window in enumerate(((2, 2), (3, 2), (7, 2))):
        one = FastProblem(40 + number, "ada", torch.float32, False, window)
        for check in one.checks():
            answers = []
            for check.request.seed in (3, 43, 83, 4):  # the last with another number of blocks
                answers.append(driver.run(check.request))
            for answer in answers[1:3]:
                assert all(torch.equal(a, b) for a, b in zip(answers[0].values(), answer.values(), strict=True))
            for slot in ("y", "target"):
                assert slot not in answers[0] or torch.equal(answers[0][slot], answers[3][slot])


HUGE, TINY = 3e38, 1e-36
HARD = [
    [0.0] * 4, [7.3] * 4, [-0.0, 0.0, -0.0, 0.0], [1e30] * 4, [HUGE, HUGE, -HUGE, 1.0], [-HUGE] * 4, [TINY] * 4,
    [HUGE] * 4, [5.0, 4.0, -3.4e38, 4.5], [3.4e38, -3.4e38, 3.4e38, -3.3e38], [TINY, -TINY, 0.0, 2 * TINY],
    [1.0, -1.0, 0.0, 0.0], [1.0, -1.0, 1e-25, 0.0], [1e13, 1.0, -1e13, 2.0],
    [1e-30, 2e-30, -3e-30, 4e-30], [2e34] * 4,
    [90.0] * 4, [-110.0] * 4, [1e3, -1e3, 5.0, 6.0], [3.0, -200.0, 2.0, -1e6],
    [float("nan"), 1.0, 2.0, 3.0], [float("inf"), 1.0, 2.0, 3.0], [-float("inf"), 0.0, 0.0, 0.0],
    [float("inf"), -float("inf"), 0.0, 0.0], [0.0, 0.0, 0.0, float("nan")],
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("window", [(2, 2), (3, 3), (3, 2), (5, 5), (7, 2)])
@pytest.mark.parametrize("aligned", [False, True])
def test_hard_values(
    driver: Driver, method: str, dtype: torch.dtype, window: tuple[int, int], aligned: bool
) -> None:  # fmt: skip
    """Zeros, cancelling means, the ends of the range, NaN and infinity: values as the row has them; gradients finite
    wherever the row's are, and NaN in the same windows."""
    k, _ = window
    width = 24 if aligned else k + 8
    for values in HARD:
        one = FastProblem(7, method, dtype, False, (k, k) if window == (7, 2) else window)
        one.window = one.window.make(2, (k, k), window[1:] * 2, (0, 0), False)
        one.shape, one.misplaced = (1, 1, k, width), False
        taps = torch.tensor([values[i % 4] for i in range(k * k)], dtype=torch.float64).reshape(k, k)
        one.x = torch.ones(one.shape, dtype=torch.float64)
        one.x[0, 0, :, :k] = taps.to(dtype).double()
        one.cells = (1, 1, *one.window.output(one.shape[2:]))
        one.operands = dict.fromkeys(one.operands, 0.3)
        largest = max(1.0, float(one.x[one.x.isfinite()].abs().max()))
        for check in list(one.checks())[:2]:
            answer = driver.run(check.request)
            (slot, want), got = next(iter(check.expected.items())), next(iter(answer.values())).double()
            assert torch.equal(got.isnan(), want.isnan()), (check.name, values, got, want)
            if torch.tensor(values, dtype=dtype).isfinite().all():
                assert got.isfinite().all(), (check.name, values, got)
                if slot == "y":
                    bound = largest * (2.0**-8 if dtype == torch.bfloat16 else 1e-3)
                    assert (got - want).abs().max() <= bound, (values, got, want)


# Teeth: a planted fault must be found. Each is planted into a copy of csrc with one method and one window.
PLANTED = {
    "missing barrier": ("cuda_fast.cuh", "  __syncthreads();\n#pragma unroll\n  for", "#pragma unroll\n  for"),
    "read beyond the row": ("cuda_tile.cuh", "c == 0 || c * piece < left", "true"),
    "written beyond the row": ("cuda_tile.cuh", "if ((line ? c * piece : c) >= left) return;", ""),
    "no group computed twice": ("cuda_fast.cuh", "(spots - reach) + spot - reach;", "spots + spot;"),
    "too few rows of windows": ("cuda_fast.cuh", "above = adds ? (K - 1) / S : 0;", "above = 0;"),
    "a zero with a slope": ("cuda_numbers.cuh", "if (v != 0) sum += x;", "sum += x;"),
    "slope without its sign": (
        "cuda_window.cuh",
        "return bit_cast<float>(bit_cast<uint32_t>(size) ^ (bit_cast<uint32_t>(v) & 0x80000000u));",
        "return size;",
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
    kept = [line for line in table.splitlines() if not line.startswith("  X(") or "Edscw" in line]
    (copy / "methods.h").write_text(re.sub(r"(X\(edscw, Edscw\)) *\\", r"\1", "\n".join(kept)) + "\n")
    choice = (copy / "cuda_choice.cuh").read_text()
    choice = re.sub(r"(#define ADAPOOL_FAST_WINDOWS\(X\))(?:.*\\\n)*.*\n", r"\1 X(3, 2)\n", choice)
    (copy / "cuda_choice.cuh").write_text(choice)
    driver = Driver(build(copy, (), ("float",)))
    found: list[str] = []
    try:
        for seed in range(60):
            for check in FastProblem(seed, "edscw", torch.float32, seed % 2 == 1, (3, 2)).checks():
                check.request.method = 0
                found += check.faults(driver.run(check.request))
    except RuntimeError as error:
        found.append(str(error))
    finally:
        driver.close()
    assert found, f"planted fault was not found: {name}"
