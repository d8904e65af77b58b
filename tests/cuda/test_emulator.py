"""CUDA's kernels on an emulated device and the CPU's loops, under the sanitizers, against the plain rows in float64.

ADAPOOL_EMULATOR_CASES=500 walks that many random problems, each in all directions, instead of CI's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.emulator.build import (
    ADDRESSES,
    CSRC,
    QUICK,
    UNALIGNED,
    compiler,
    cpu_library,
    emulated_library,
    environment,
    sanitizers,
)  # fmt: skip
from tests.support.emulator.cases import DIRECTIONS, spread_walk
from tests.support.emulator.frames import FRAMES
from tests.support.planted import plant
from tests.support.problems import DTYPES, METHODS

ROOT = Path(__file__).parents[2]
CASES = int(os.environ.get("ADAPOOL_EMULATOR_CASES", "0"))

pytestmark = pytest.mark.skipif(
    compiler() is None or sanitizers() is None or not sys.platform.startswith("linux"),
    reason="no C++ compiler with sanitizers for the emulator",
)


def child(kind: str, library: Path, *words: str, flags: str = QUICK) -> subprocess.CompletedProcess[str]:
    # Of one multiprocessor, so that threads walk images.
    own = environment(sanitize=True, flags=flags, library=library) | {"ADAPOOL_EMULATOR_MULTIPROCESSORS": "1"}
    module = ["-m", kind] if "." in kind else [] if kind == "pytest" else ["-m", "tests.support.emulator.walk", kind]
    command = [sys.executable, *module, *words]
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Faults, and what a sanitizer said of which problem."""
    problem = [line for line in done.stderr.splitlines() if line.startswith("at ")][-1:]
    report = done.stderr[done.stderr.rfind("\nat ") :] if done.returncode else ""
    return "\n".join([*done.stdout.splitlines()[:20], *problem, report[:5000]])


@pytest.mark.parametrize("kind", ["device", "cpu"])
def test_walk(kind: str) -> None:
    library = emulated_library() if kind == "device" else cpu_library()
    name = f"random:{CASES}" if CASES else "spread"
    with ThreadPoolExecutor(2) as two:
        children = list(two.map(lambda part: child(kind, library, name, str(part), "2"), range(2)))
    for done in children:
        lines = done.stdout.splitlines()
        assert done.returncode == 0 and len(lines) == 1, said(done)
        results, repeated = map(int, lines[0].split())
        assert results >= (4 * CASES if CASES else 120) and repeated >= CASES // 16


def test_a_person_s_own_kernel() -> None:
    done = child("tests.support.emulator.own", emulated_library())
    assert done.returncode == 0, said(done)


def test_the_walk_meets_every_pair() -> None:
    """Of methods, frames, directions, dtypes and layouts."""
    met = set()
    for frame, problem, directions in spread_walk(frames=[f for f in FRAMES if f != "many"]):
        for direction in directions:
            facts = [problem.method, frame, direction.__name__, problem.dtype, problem.channels_last]
            met |= {(i, j, facts[i], facts[j]) for i in range(5) for j in range(i)}
    names = [d.__name__ for d in DIRECTIONS]
    facets = [METHODS, [f for f in FRAMES if f != "many"], ["forward", *names, "stored_weights"], DTYPES, [False, True]]
    for i in range(5):
        for j in range(i):
            missing = {(a, b) for a in facets[i] for b in facets[j] if (i, j, a, b) not in met}
            missing -= {("stored_weights", m) for m in METHODS if m != "softpool"}
            assert not missing or {i, j} & {3, 4}, missing


EDGES = (
    "test_native_errors.py::test_hard_windows", "test_native_errors.py::test_half_near_its_limits",
    "test_native_errors.py::test_scale_equivariance", "test_native.py::test_nothing_is_laundered",
    "test_native.py::test_constant_region_comes_back", "test_fast.py::test_constant_regions_come_back_exactly",
)  # fmt: skip


def test_edges_of_values() -> None:
    """What the CPU's operators are held to holds on the emulated device as well."""
    words = ["-m", "pytest", "-p", "tests.support.emulator.device", "-p", "no:cacheprovider", "-q", "-k", "not cuda"]
    tests = [f"tests/native/{name}" for name in EDGES]
    done = child("pytest", emulated_library(), *words, *tests, flags=UNALIGNED)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 100


# Teeth: a fault planted in the device's sources must be found, by a few problems of a frame and a method.

PLANTED = {  # fault -> frame, method
    "load-beyond-the-end": ("line", "softpool"),
    "missing-barrier": ("overlap", "avg"),
    "missing-warp-barrier": ("apart", "softpool"),
    "off-by-one-tail": ("apart", "ada"),
    "window-shifted-where-padded": ("overlap", "avg"),
    "operand-of-the-first-channel": ("overlap", "ada"),
    "terms-of-the-last-image": ("many", "ada"),
    "wrong-lane": ("large", "avg"),
}


@pytest.fixture(scope="module")
def bitten(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """The exit code and what was said of each, and of the true sources."""
    folder = tmp_path_factory.mktemp("planted")
    walks = [f"{CSRC}:apart:ada"]
    for name, (frame, method) in PLANTED.items():
        shutil.copytree(CSRC, folder / name)
        plant(name, folder / name)
        walks.append(f"{folder / name}:{frame}:{method}")
    done = child("tests.support.emulator.planted", emulated_library(), str(folder), *walks, flags=ADDRESSES)
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    words = [[(folder / f"{number}.{kind}").read_text() for kind in ("out", "err")] for number in range(len(codes))]
    return {name: (code, *said) for name, code, said in zip(["nothing", *PLANTED], codes, words, strict=True)}


def test_nothing_planted_is_no_fault(bitten: dict[str, tuple[int, str, str]]) -> None:
    code, out, err = bitten["nothing"]
    assert (code, len(out.splitlines())) == (0, 1), out + err[-3000:]


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found(bitten: dict[str, tuple[int, str, str]], name: str) -> None:
    code, out, err = bitten[name]
    assert code or len(out.splitlines()) > 1, f"planted fault was not found: {name}"
    assert "Traceback" not in err, err[-3000:]
    if name == "load-beyond-the-end":
        assert "AddressSanitizer" in err, err[-3000:]
