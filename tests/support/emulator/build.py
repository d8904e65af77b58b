"""Builds the stand-ins for libnvrtc and libcuda, and adapool's library for them or for the sanitizers; says how a
process finds them. Knows no kernel.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parents[2] / "csrc"
FLAGS = ["-std=c++20", "-O2", "-g1", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wl,--no-undefined"]
LIBRARIES = {"driver.cpp": "libcuda.so.1", "compiler.cpp": "libnvrtc.so.13"}
INCLUDED = ("prelude.h", "machine.h")  # by every program, from the folder of the libraries
# A null pointer, or one beyond its object, is known when it is followed.
# Every access asks the library: a check that is written out beside it takes longer to compile than to run.
SANITIZE = (
    "-fsanitize=address,undefined -fno-sanitize=null,object-size,pointer-overflow -fno-sanitize-recover=all "
    "--param=asan-instrumentation-with-call-threshold=0"
)
# Programs that are compiled in a third of a second; in less, where another walk looks at alignment, or at numbers too.
QUICK = "-O0"
UNALIGNED = f"{QUICK} -fno-sanitize=alignment"
ADDRESSES = f"{QUICK} -fno-sanitize=undefined"
# Sanitized code that is compiled in seconds matters more here than code that runs fast.
OBJECT = ["-std=c++20", "-O0", "-g1", "-w", "-fPIC", "-fvisibility=hidden", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
NAME = "libadapool_native.so"


def compiler() -> list[str] | None:
    words = os.environ.get("CXX", "g++").split()
    return words if words and shutil.which(words[0]) else None


def _ask(*arguments: str) -> str:
    done = subprocess.run([*(compiler() or []), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[-3:])} does not compile:\n{done.stderr[:4000]}")
    return done.stdout.strip()


def _cached(folder: str, parts: Sequence[object], make: Callable[[Path], None]) -> Path:
    """A folder in the cache that `make` filled, unless it was filled for the same parts before."""
    key = hashlib.sha256(repr((compiler(), _version(), *parts)).encode()).hexdigest()[:16]
    root = Path(os.environ.get("ADAPOOL_EMULATOR_CACHE", Path(tempfile.gettempdir(), "adapool-emulator"))) / folder
    found = root / key
    root.mkdir(parents=True, exist_ok=True)
    with found.with_suffix(".lock").open("w") as lock:  # two processes of tests begin with the same library
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            partial = Path(tempfile.mkdtemp(dir=root))
            make(partial)
            partial.rename(found)
    return found


@cache
def _version() -> str:
    return _ask("--version")


@cache
def build() -> Path:
    """The folder of both stand-ins."""

    def make(folder: Path) -> None:
        for source, name in LIBRARIES.items():
            _ask(*FLAGS, f"-Wl,-soname,{name}", str(HERE / source), "-o", str(folder / name))
        for name in INCLUDED:
            shutil.copy(HERE / name, folder)

    files = [p for p in sorted(HERE.iterdir()) if p.suffix in (".h", ".cpp")]
    return _cached("stand-ins", [FLAGS, *(p.read_bytes() for p in files)], make)


def _torch() -> Path:
    import torch

    return Path(torch.__file__).parent


def _embedded(csrc: Path, folder: Path) -> Path:
    """The device sources as embed.cmake writes them."""
    cmake = shutil.which("cmake") or str(Path(sys.executable).with_name("cmake"))
    names = [
        str(p.relative_to(csrc)) for kind in ("math/*.h", "cuda/*.h", "cuda/*.cuh") for p in sorted(csrc.glob(kind))
    ]
    script, out = csrc / "cuda" / "host" / "embed.cmake", folder / "device_sources.cpp"
    words = [cmake, f"-DOUT={out}", f"-DROOT={csrc}", f"-DFILES={';'.join(names)}", "-P", str(script)]
    subprocess.run(words, check=True, capture_output=True)
    return out


def _library(csrc: Path, sources: Sequence[tuple[Path, list[str]]]) -> Path:
    """The folder of adapool's library made of sources, each with its flags."""
    headers = [p.read_bytes() for p in sorted(csrc.rglob("*.h"))]  # device sources are text for it
    torch = _torch()
    flags = [*OBJECT, *SANITIZE.split()]
    system = [torch / "include", torch / "include" / "torch" / "csrc" / "api" / "include"]
    include = [f"-I{csrc}", "-iquote", str(csrc / "cuda" / "host"), f"-ffile-prefix-map={csrc}=csrc"]
    include += [word for path in system for word in ("-isystem", str(path))]

    def compiled(source: tuple[Path, list[str]]) -> Path:
        path, own = source
        text = path.read_bytes()
        make = lambda folder: _ask(*flags, *own, *include, "-c", str(path), "-o", str(folder / "object.o"))  # noqa: E731
        return _cached("objects", [flags, own, torch, text, headers], make) / "object.o"

    with ThreadPoolExecutor(2) as two:
        objects = [str(path) for path in two.map(compiled, sources)]
    words = ["-shared", *SANITIZE.split(), *objects, f"-L{torch / 'lib'}", "-ltorch_cpu", "-ldl"]
    return _cached("libraries", [words], lambda folder: _ask(*words, "-o", str(folder / NAME)) and None)


def cuda_host(csrc: Path, folder: Path) -> Path:
    """The sources that launch kernels and know no torch, as one unit, as in the product's build."""
    files = [p for p in sorted((csrc / "cuda" / "host").glob("*.cpp")) if p.stem not in ("operators", "stream")]
    unit = folder / "cuda_host.cpp"
    unit.write_text("\n".join(f'#line 1 "{p.relative_to(csrc)}"\n{p.read_text()}' for p in files))
    return unit


def emulated_library(csrc: Path = CSRC) -> Path:
    """The folder of a library whose CPU operators are those of a CUDA device."""
    with tempfile.TemporaryDirectory() as folder:
        made = [cuda_host(csrc, Path(folder)), _embedded(csrc, Path(folder))]
        own = [HERE / "operators.cpp", csrc / "own.cpp", csrc / "torch" / "schemas.cpp"]
        return _library(csrc, [(path, []) for path in (*own, *made)])


def cpu_library(csrc: Path = CSRC) -> Path:
    """The folder of a library with the CPU's general loops, sanitized."""
    loops = csrc / "cpu" / "general.cpp"  # which ask for no alignment
    own = ["-DADAPOOL_ISA=portable", "-DADAPOOL_VECTOR=16", "-fno-sanitize=alignment"]
    scalars = [(loops, [f"-DADAPOOL_SCALAR={s}", *own])
               for s in ("double", "float")]  # fmt: skip
    return _library(csrc, [*scalars, (csrc / "cpu" / "operators.cpp", []), (csrc / "torch" / "schemas.cpp", [])])


@cache
def sanitizers() -> list[str] | None:
    """The libraries to preload, since Python was not linked with them; None where the compiler has none."""
    paths = [Path(_ask(f"-print-file-name={name}")) for name in ("libasan.so", "libubsan.so")]
    return [str(path.resolve()) for path in paths] if all(path.is_absolute() for path in paths) else None


def environment(*, sanitize: bool, seed: int = 1, flags: str = "", library: Path | None = None) -> dict[str, str]:
    """The environment of a process in which dlopen finds the stand-ins by their names, and adapool its library."""
    found = {**os.environ, "ADAPOOL_EMULATOR_SEED": str(seed)}
    found["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(build()), found.get("LD_LIBRARY_PATH")]))
    found["ADAPOOL_EMULATOR_FLAGS"] = f"{SANITIZE} {flags}" if sanitize else flags
    found["ADAPOOL_CACHE"] = "0"  # what g++ compiled is not for a device
    if library:
        found["ADAPOOL_LIBRARY_DIR"] = str(library)
    if sanitize:
        found["LD_PRELOAD"] = " ".join(sanitizers() or [])
        # What Python and torch do without harm is let be: leaks at the end, and new beside free in their libraries.
        # Memory begins as no numbers, so that what is read before it is written shows.
        found["ASAN_OPTIONS"] = (
            "detect_leaks=0:alloc_dealloc_mismatch=0:detect_odr_violation=0:detect_stack_use_after_return=0:"
            "abort_on_error=0:quarantine_size_mb=32:redzone=128:max_malloc_fill_size=268435456:malloc_fill_byte=255"
        )
        found["UBSAN_OPTIONS"] = "print_stacktrace=0:halt_on_error=1"
    return found
