"""Builds the host half of CUDA kernels into a library and a program, and asks both. Knows no test."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.emulator.build import CSRC, compiler, cuda_host

HERE = Path(__file__).parent
HOST = CSRC / "cuda" / "host"
HEADERS = {
    "cuda/twice.cuh": '#pragma once\n#include "../math/plus.h"\n'
    "__device__ inline float twice(float x) { return plus(x, x); }\n",
    "math/plus.h": '#pragma once\n#include "long.h"\n'
    "__device__ inline float plus(float a, float b) { return a + b + kNothing; }\n",
    "math/long.h": "#pragma once\n" + "// A [line]; with ${signs} \\ \"of\" @CMake@ and others'.\n" * 1000
    + "constexpr float kNothing = 0;\n",
}  # fmt: skip
KERNEL = """// sum forward 2-d 3/2 float32
#include "cuda/twice.cuh"
extern "C" __global__ void adapool_kernel(float* y, const float* x, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = twice(x[i]);
}
"""
# Compiles texts by the library's C functions, after other libraries were opened.
ASK = """
import ctypes, json, sys
library, before, major, requests = json.loads(sys.argv[1])
for name in before: ctypes.CDLL(name)
host = ctypes.CDLL(library)
host.adapool_set_cuda_major(major)
room = ctypes.create_string_buffer(4000)
answers = [[host.adapool_nvrtc(room, ctypes.c_size_t(4000)), room.value.decode()]]
for text, architecture, ptx in requests:
    out = [ctypes.c_void_p() for _ in range(3)]
    size = ctypes.c_size_t()
    cubin, ptx_out, log = map(ctypes.byref, out)
    status = host.adapool_compile(text.encode(), architecture, ptx, cubin, ctypes.byref(size), ptx_out, log)
    code = ctypes.string_at(out[0], size.value).decode("latin-1") if out[0] else None
    answers.append([status, code, *(ctypes.string_at(p).decode() if p else None for p in out[1:])])
    for p in out: host.adapool_free(p)
print(json.dumps(answers))
"""

NEEDED = [
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
    pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the libraries are found as on Linux"),
]


def build(*words: object) -> None:
    done = subprocess.run([*(compiler() or []), *map(str, words)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def stand_in_nvrtc(folder: Path, minor: int, says: int = 13, major: int = 13) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"libnvrtc.so.{major}"
    name = f"-Wl,-soname,{out.name}"
    build(
        "-x", "c", "-shared", "-fPIC", f"-DMAJOR={says}", f"-DMINOR={minor}", name, "-o", out, HERE / "nvrtc_stand_in.c"
    )
    return out


@dataclass(frozen=True)
class Host:
    """The built library and program, and the environment that both run in."""

    library: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def given(self, **variables: object) -> Host:
        return replace(self, variables={**self.variables, **{k: str(v) for k, v in variables.items()}})

    @property
    def environment(self) -> dict[str, str]:
        base = {"PATH": os.environ["PATH"], "HOME": str(self.home), "CUDA_HOME": "/nowhere"}
        logs = {f"{name}_STAND_IN_LOG": str(self.home / name) for name in ("CUDA", "NVRTC")}
        return {**base, **logs, **self.variables}

    def words(self, *words: object) -> list[str]:
        return [str(self.library.with_name("program")), *map(str, words)]

    def run(self, *words: object, input: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.words(*words),
            env=self.environment,
            input=input,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done

    def lines(self, *words: object) -> list[str]:
        return self.run(*words).stdout.splitlines()

    def noted(self, name: str) -> list[str]:
        log = self.home / name
        return log.read_text().splitlines() if log.exists() else []

    def ask(self, *requests: tuple[str, int, int], before: tuple[Path, ...] = (), major: int = 0) -> list[list]:
        question = json.dumps([str(self.library), list(map(str, before)), major, requests])
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", ASK, question],
            env=self.environment, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def embed(folder: Path, headers: dict[str, str]) -> Path:
    for name, text in headers.items():
        (folder / "csrc" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "csrc" / name).write_text(text)
    out = folder / "sources.cpp"
    names = ";".join(headers)
    subprocess.run(
        ["cmake", f"-DOUT={out}", f"-DROOT={folder / 'csrc'}", f"-DFILES={names}", "-P", str(HOST / "embed.cmake")],
        check=True, capture_output=True,
    )  # fmt: skip
    return out


@functools.cache
def built() -> Path:
    """A folder with the library, the program and the stand-ins for both of CUDA's libraries."""
    folder = Path(tempfile.mkdtemp(prefix="adapool-cuda-host-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "libhost.so"
    flags = ["-std=c++20", "-O0", f"-I{CSRC}", "-iquote", HOST]
    sources = [embed(folder, HEADERS), cuda_host(CSRC, folder)]
    build(*flags, "-shared", "-fPIC", *sources, "-o", library, "-ldl", "-pthread")
    build(*flags, "-w", HERE / "program.cpp", library, f"-Wl,-rpath,{folder}", "-o", folder / "program", "-pthread")
    stand_in_nvrtc(folder / "cuda", 0)
    driver = folder / "cuda" / "libcuda.so.1"
    build("-x", "c", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", driver, HERE / "cuda_stand_in.c")
    build("-x", "c", "-shared", "-fPIC", "-o", folder / "libtorch_cpu.so", "/dev/null")
    return folder


def with_stand_ins(home: Path) -> Host:
    """Both of CUDA's libraries are stand-ins on the loader's path."""
    return Host(built() / "libhost.so", home).given(LD_LIBRARY_PATH=built() / "cuda")


def torch_in(site: Path) -> Path:
    """What is loaded where torch is, in a folder of packages."""
    library = site / "torch" / "lib" / "libtorch_cpu.so"
    library.parent.mkdir(parents=True)
    return Path(shutil.copy(built() / library.name, library))


def wheel() -> Path | None:
    """The folder `nvidia` with an installed NVRTC below it."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or [] if spec else []:
        if any(Path(folder).glob("*/lib/libnvrtc.so.13")):
            return Path(folder)
    return None
