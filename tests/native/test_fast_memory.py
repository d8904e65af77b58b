"""The fast CPU kernels under the sanitizers: no byte beyond a tensor is touched, no place is left unwritten.

The loops that touch memory take a method as a parameter: without `-m soak` one method of each kind of operands is
compiled.
ADAPOOL_FAST_ROUNDS=150 runs that many rounds of 66 random problems of a method instead of CI's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from suites.machine import cores
from tests.native.test_fast import fast_here
from tests.support.emulator.build import CSRC, compiler
from tests.support.fewer_methods import fast_methods, keep
from tests.support.planted import plant

ROUNDS = int(os.environ.get("ADAPOOL_FAST_ROUNDS", "5"))
ISA = {
    "avx2": ["-DADAPOOL_VECTOR=32", "-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-DADAPOOL_VECTOR=64", "-march=x86-64-v4", "-mprefer-vector-width=512"],
}
# What is undefined stops the program (exit code -4) and is not told: words would take as long to compile as the rest.
# Half of the code would watch pointers that are never read, or whose reading the other checks see, and alignment, which
# the loops do not ask for. And a function is compiled once, not wherever it is called: a third of the time.
FLAGS = ["-std=c++20", "-O0", "-g0", "-w", "-fsanitize=address,undefined", "-fsanitize-undefined-trap-on-error",
         "-fno-sanitize=null,object-size,pointer-overflow,alignment", "-Dalways_inline="]  # fmt: skip

pytestmark = pytest.mark.skipif(
    compiler() is None or not fast_here(), reason="no C++ compiler, no compiled library, or a processor without AVX2"
)


def run(isa: str, folder: Path, source: Path = CSRC, rounds: int = ROUNDS) -> subprocess.CompletedProcess[str]:
    program = folder / isa
    fast = source / "cpu" / "fast"
    methods = fast_methods(source)
    units = [(CSRC.parent / "tests" / "support" / "fast_memory.cpp", ""), (fast / "dispatch.cpp", "")]
    units += [(fast / "kernels.cpp", f"-DADAPOOL_METHOD={method}") for method in methods]
    words = [*(compiler() or []), *FLAGS, f"-DADAPOOL_ISA={isa}", *ISA[isa], f"-I{source}"]
    objects = [str(folder / f"{number}.o") for number in range(len(units))]
    made = [
        [*words, *filter(None, [own]), "-c", str(unit), "-o", out]
        for (unit, own), out in zip(units, objects, strict=True)
    ]
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda line: subprocess.run(line, check=True, capture_output=True), made))
    subprocess.run([*words, *objects, "-o", str(program)], check=True, capture_output=True, text=True)
    return subprocess.run([str(program), str(rounds)], check=False, capture_output=True, text=True)


def copy(folder: Path) -> Path:
    source = folder / "csrc"
    shutil.copytree(CSRC, source)
    keep(source, "ada", "power", "lip", "max")
    return source


def check(done: subprocess.CompletedProcess[str], methods: int) -> None:
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[:3000]}"
    ran, holes = map(int, done.stdout.split())
    assert (ran, holes) == ((66 * methods - 24) * ROUNDS, 0)  # lip has the square windows alone


def test_memory(tmp_path: Path) -> None:
    check(run("avx2", tmp_path, copy(tmp_path)), 4)


@pytest.mark.soak
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_memory_of_all(isa: str, tmp_path: Path) -> None:
    check(run(isa, tmp_path), len(fast_methods(CSRC)))


@pytest.mark.soak
def test_a_row_too_far_is_found(tmp_path: Path) -> None:
    source = copy(tmp_path)
    plant("row-too-far", source)
    assert "AddressSanitizer" in run("avx2", tmp_path, source, 2).stderr
