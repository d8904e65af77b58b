"""A person's own method, compiled: its struct of C++ becomes loops of the CPU by a C++ compiler, and kernels of CUDA by
NVRTC, in the process of the person who declared it and when that first asks. Knows no method and no formula.

What was compiled for the CPU is kept in the cache of CUDA's kernels, a folder of this user's alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch

from adapool import native_own_check
from adapool.native_library import DTYPES, available, inspector, source_digest
from adapool.registry import Method, find

COMPILERS = ("c++", "g++", "clang++")
LINES_SHOWN = 12
_FACTS = ("ordered", "logits", "scales", "operands")  # of a struct, that launches on CUDA depend on

_lock = threading.Lock()
_made: dict[tuple[str, str, bool], bool | Exception] = {}


def has_kernel(name: str, dtype: torch.dtype, device: str) -> bool:
    """Whether the own method `name` runs compiled: made now where it was not; ValueError where its struct is wrong."""
    if dtype not in DTYPES or not available(device):
        return False
    made: bool = _make_once(name, device, dtype == torch.float64)
    return made


def _make_once(name: str, device: str, wide: bool) -> bool:
    """In a thread of its own, which knows nothing of the caller's transforms, modes and gradients."""
    with _lock:
        if (name, device, wide) not in _made:
            thread = threading.Thread(target=_make, args=(name, device, wide))
            thread.start()
            thread.join()
            if _made[name, device, wide] is False:
                warnings.warn(
                    f"adapool: method {name!r} runs as its row on the CPU: no C++ compiler was found (CXX, "
                    f"{', '.join(COMPILERS)})",
                    RuntimeWarning,
                    stacklevel=2,
                )
    found = _made[name, device, wide]
    if isinstance(found, Exception):
        raise found
    return found


# As torch.compiler.assume_constant_result does, which loads all of torch.compile.
_make_once._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _make(name: str, device: str, wide: bool) -> None:
    entry = find(name)
    assert entry is not None
    found: bool | Exception
    try:
        found = (_make_loops if device == "cpu" else _make_shape)(entry, wide)
        if found:
            native_own_check.check(entry, torch.float64 if wide else torch.float32, device)
    except Exception as error:
        found = error.with_traceback(None)
    _made[name, device, wide] = found


def struct_of(entry: Method) -> str:
    """The struct's name: `soft_gem` is compiled from `SoftGem`."""
    return "own::" + "".join(part[:1].upper() + part[1:] for part in entry.name.split("_"))


def source_of(entry: Method) -> str:
    """The person's text where the library's struct of a method would be, and what it has to agree on with its row."""
    assert entry.kernel is not None
    struct, one = struct_of(entry), f"method '{entry.name}': its struct and its row differ in "
    operands = [spec for spec in entry.operands if spec.kind != "input"]
    agreed = {
        "weighted": entry.extra == "weights", "indices": entry.extra == "indices",
        "logits": len(operands) < len(entry.operands), "operands": len(operands),
    }  # fmt: skip
    checks = "".join(
        f'static_assert({struct}<float>::{fact} == {int(value)}, "{one}{fact}");\n' for fact, value in agreed.items()
    )
    file = entry.kernel.file.replace("\\", "/").replace('"', "'")
    return (
        "namespace adapool { inline namespace ADAPOOL_ISA { namespace own {\n"
        f'#line {entry.kernel.line} "{file}"\n{entry.kernel.text}\n#line 1 "{entry.name}, as adapool includes it"\n'
        f"}}}}}}\nnamespace adapool {{\n{checks}}}\n"
    )


@cache
def _number(entry_name: str) -> int:
    """The method's number in the library's table, into which it is put."""
    entry = find(entry_name)
    assert entry is not None
    inputs = sum(spec.kind == "input" for spec in entry.operands)
    facts = (entry.extra == "weights", entry.extra == "indices", inputs, len(entry.operands) - inputs)
    words = (word.encode() for word in (entry.name, struct_of(entry), source_of(entry)))
    number: int = inspector().adapool_add_method(*words, *map(int, facts))
    return number


# On the CPU.


def compiler() -> list[str] | None:
    """The C++ compiler's command: CXX, or the first that is there; None without one."""
    given = os.environ.get("CXX", "").split()
    for words in [given] if given else [[name] for name in COMPILERS]:
        if shutil.which(words[0]):
            return words
    return None


def _make_loops(entry: Method, wide: bool) -> bool:
    command = compiler()
    if command is None:
        return False
    scalar = "double" if wide else "float"
    flags = [*_text("adapool_loop_flags").split(), "-fPIC", "-shared", "-fvisibility=hidden"]
    flags.append(f"-DADAPOOL_SCALAR={scalar}")
    text = f'#include "cpu/own.h"\n{source_of(entry)}ADAPOOL_OWN_LOOPS({struct_of(entry)})\n'
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    digest = hashlib.sha256(text.encode()).hexdigest()
    key = f"own loops {digest}\nsources {source_digest()}\ncompiler {version}\noptions {' '.join([*command, *flags])}"
    code = _kept(key)
    if code is None:
        code = _compiled(entry, [*command, *flags], text, version)
        _keep(key, code)
    _set_loops(entry, wide, _loaded(code).adapool_own_loops)
    return True


def _compiled(entry: Method, command: list[str], text: str, version: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="adapool-") as folder:
        for name, header in _headers().items():
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).write_bytes(header)
        (Path(folder) / "own.cpp").write_text(text)
        words = [*command, "-I.", "own.cpp", "-o", "own.so"]
        plain = {**os.environ, "LC_ALL": "C"}  # messages in English and ASCII
        done = subprocess.run(words, cwd=folder, env=plain, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return (Path(folder) / "own.so").read_bytes()
    said = done.stderr.splitlines()
    first = next((i for i, line in enumerate(said) if "error" in line), 0)
    shown = "\n".join(said[first : first + LINES_SHOWN])
    raise RuntimeError(f"method {entry.name!r}: its kernel does not compile for the CPU with {version}:\n{shown}")


def _loaded(code: bytes) -> ctypes.CDLL:
    """Code as a library, from memory: nobody can put another file in its place. It stays open, because the loader
    takes a second library of the same path for the first.
    """
    file = os.memfd_create("adapool_own")
    with open(file, "wb", closefd=False) as out:
        out.write(code)
    return ctypes.CDLL(f"/proc/self/fd/{file}")


def _set_loops(entry: Method, wide: bool, loops: Any) -> None:
    inspector().adapool_set_loops(_number(entry.name), int(wide), ctypes.cast(loops, ctypes.c_void_p))


@cache
def _headers() -> dict[str, bytes]:
    """The headers of the library's general loops by their paths, as it was built from them."""
    header = inspector().adapool_header
    header.restype = ctypes.c_char_p
    found: dict[str, bytes] = {}
    text = ctypes.c_char_p()
    while (name := header(len(found), ctypes.byref(text))) is not None:
        found[name.decode()] = text.value or b""
    return found


def _text(function: str) -> str:
    told = getattr(inspector(), function)
    told.restype = ctypes.c_char_p
    return bytes(told()).decode()


def _kept(key: str) -> bytes | None:
    found, size = ctypes.c_void_p(), ctypes.c_size_t()
    if not inspector().adapool_read_cache(key.encode(), ctypes.byref(found), ctypes.byref(size)):
        return None
    return _taken(found, size.value)


def _keep(key: str, code: bytes) -> None:
    inspector().adapool_write_cache(key.encode(), code, ctypes.c_size_t(len(code)))


def _taken(made: ctypes.c_void_p, size: int = -1) -> bytes:
    """Bytes of the library's, to their zero without a size; freed there."""
    found = ctypes.string_at(made.value, size) if made.value else b""
    inspector().adapool_free(made)
    return found


# On CUDA. Kernels are compiled from the method's text in the table when a call needs them; launches need to know some
# of the struct beforehand, which NVRTC tells in the PTX of a program that has no kernel.


def _make_shape(entry: Method, wide: bool) -> bool:
    inspector().adapool_set_shape(_number(entry.name), int(wide), *_told(entry, wide))
    return True


def _told(entry: Method, wide: bool) -> tuple[int, ...]:
    """The facts, and how many words are left of a region for its gradient."""
    scalar = "double" if wide else "float"
    struct = struct_of(entry)
    facts = [f"{struct}<{scalar}>::{fact}" for fact in _FACTS]
    words = f"sizeof(Sharing<{struct}, {scalar}>) / 4"
    text = (
        f'// the facts of {entry.name}\n#include "math/cell.h"\n{source_of(entry)}using namespace adapool;\n'
        f'extern "C" __device__ unsigned char adapool_shape[] = {{{", ".join(facts)}, {words} % 256, {words} / 256}};\n'
    )
    cubin, size, ptx, log = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_void_p(), ctypes.c_void_p()
    results = map(ctypes.byref, (cubin, size, ptx, log))
    inspector().adapool_compile(text.encode(), 90, 1, *results)
    _taken(cubin)
    said, found = _taken(log).decode(), re.search(r"adapool_shape\[\d*\] = \{([\d, ]+)\}", _taken(ptx).decode())
    if found is None:
        raise RuntimeError(f"method {entry.name!r}: its kernel does not compile for CUDA: {said}")
    told = [int(byte) for byte in found[1].split(",")]
    told += [0] * (len(facts) + 2 - len(told))  # PTX leaves zeros at the end away
    return (*told[:-2], told[-2] + 256 * told[-1])
