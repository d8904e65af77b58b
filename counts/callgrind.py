"""Instructions of the CPU kernels, counted by callgrind in a small C++ driver: they repeat to the instruction.

The build's own commands compile them. Needs g++, CMake and valgrind with its headers (Debian: valgrind). Knows nothing
of torch, baselines or verdicts.
"""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from suites.inspector import Missing
from suites.machine import ROOT, cores, private

DRIVER = Path(__file__).with_name("instructions.cpp")
DIRECTIONS = {"forward": 0, "gather": 1}
WINDOWS = ((2, 2), (3, 2))
SECONDS = 900
_METHOD = re.compile(r"^\s*X\((\w+),", re.MULTILINE)


class Broken(RuntimeError):
    """The driver does not build or run."""


def compiler() -> tuple[str, str]:
    """g++ and its version; Missing without one, or without valgrind."""
    path = shutil.which("g++")
    if path is None:
        raise Missing("no g++: the instruction counter cannot be built")
    if shutil.which("cmake") is None:
        raise Missing("no CMake: the loops cannot be compiled as the build does")
    if shutil.which("valgrind") is None:
        raise Missing("no valgrind (Debian: apt install valgrind): instructions cannot be counted")
    if platform.machine() not in ("x86_64", "AMD64"):
        raise Missing(f"instructions are counted on x86-64, this is {platform.machine()}")
    words = subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    return path, words.strip()


def methods(source: Path) -> list[str]:
    """The lines of ADAPOOL_METHODS."""
    return _METHOD.findall((source / "math" / "methods.h").read_text())


def instructions(source: Path = ROOT / "csrc", only: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Instructions of each method, direction and window in float32 with AVX2."""
    path, _ = compiler()
    calls = {
        f"{method}/{word}/float32/k{k}s{s}": f"{method}/{number}/{k}/{s}"
        for method in (only or methods(source))
        for word, number in DIRECTIONS.items()
        for k, s in WINDOWS
    }
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "driver"
        _build(path, source, program)
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out", str(program), *calls.values()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=scratch)
        if done.returncode:
            raise Broken(f"the instruction counter stopped with code {done.returncode}: {_last(done.stderr)}")
        counted = dict(_dump(file.read_text()) for file in Path(scratch).glob("out.*"))
    return {key: {"instructions": counted[word]} for key, word in calls.items()}


def _build(path: str, source: Path, program: Path) -> None:
    """The loops with AVX2 as the project's build compiles them, linked with the driver."""
    folder = program.with_name("build")
    words = ["cmake", "-S", str(source), "-B", str(folder), "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    words += [f"-DCMAKE_CXX_COMPILER={path}", f"-DPython_EXECUTABLE={sys.executable}"]
    _run([*words, *(["-G", "Ninja"] if shutil.which("ninja") else [])], source)
    objects: list[Path] = []
    with ThreadPoolExecutor(cores()) as pool:
        jobs = []
        for unit in loops(folder):
            objects.append(program.with_name(f"unit{len(objects)}.o"))
            jobs.append(pool.submit(_run, [*unit, "-c", "-o", str(objects[-1])], folder))
        common = [word for word in unit if word.startswith(("-std", "-O2", "-m", "-DADAPOOL_ISA", "-DADAPOOL_VECTOR"))]
        jobs.append(pool.submit(_run, [path, *common, f"-I{source}", "-c", str(DRIVER), "-o", f"{program}.o"], folder))
        for job in jobs:
            job.result()
    _run([path, *map(str, objects), f"{program}.o", "-o", str(program)], folder)


def loops(build: Path) -> list[list[str]]:
    """The commands, without their output, that compile float32's loops for AVX2 in a configured build."""
    found = []
    for unit in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(unit["command"])
        if "-DADAPOOL_ISA=avx2" in words and not {"-DADAPOOL_SCALAR=double", "c++-header"} & set(words):
            out = words.index("-o")
            found.append([word for word in (*words[:out], *words[out + 2 :]) if word != "-c"])
    if not found:
        raise Broken("the build has no loops for AVX2")
    return found


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if "error" in line] or [_last(done.stderr)]
        raise Broken(f"the instruction counter does not build: {private(told[0])[:300]}")


def _last(words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip()]
    return private(lines[-1])[:300] if lines else "it said nothing"


def _dump(text: str) -> tuple[str, int]:
    """The name and the total of one of callgrind's files."""
    name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
    total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    return (name[1] if name else ""), int(total[1]) if total else 0
