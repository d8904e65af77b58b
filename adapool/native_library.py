"""The compiled library: loading it, what it holds, and how operands are written for its operators. No formulas."""

from __future__ import annotations

import ctypes
import importlib.resources
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapool.registry import Operand, get

TENSOR = sys.float_info.max  # in place of an operand's number; finite, as a packaged model's JSON must be
DTYPES = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))

NAME = "libadapool_native.so"

Operands = Iterable["Tensor | float | None"]


def path() -> Path:
    """The library: beside the installed package, or in the folder that ADAPOOL_LIBRARY_DIR names."""
    folder = os.environ.get("ADAPOOL_LIBRARY_DIR")
    return Path(folder, NAME) if folder else Path(str(importlib.resources.files("adapool").joinpath(NAME)))


def _load() -> str:
    """Load the library: "ok", or in one line why there is none."""
    if os.environ.get("ADAPOOL_NATIVE") == "0":
        return "switched off by ADAPOOL_NATIVE=0"
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < (2, 10):
        return f"needs torch 2.10 or newer, got {torch.__version__}"
    library = path()
    if not library.is_file():
        folder = os.environ.get("ADAPOOL_LIBRARY_DIR")
        where = f" in {folder}" if folder else " beside the installed package"
        return f"not built: no {NAME}{where}; install with a C++ compiler"
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError as error:
        return f"does not load: {str(error).splitlines()[0]}"
    if not hasattr(inspector(), "adapool_methods"):
        return "is of other sources, which do not say their methods: install again"
    if torch.version.cuda is not None:  # NVRTC has to be of the same major version; nothing of it is opened yet
        inspector().adapool_set_cuda_major(int(torch.version.cuda.split(".")[0]))
    return "ok"


def inspector() -> ctypes.CDLL:
    """The library's C functions: NVRTC's whereabouts, and what it makes of a specification without a GPU."""
    return ctypes.CDLL(str(path()))


def _compiled() -> list[str]:
    """The methods that the library was compiled with, as it says itself."""
    told = inspector().adapool_methods
    told.restype = ctypes.c_char_p
    return bytes(told()).decode().split()


def source_digest() -> str | None:
    """The digest of the csrc that the loaded library was built from; None where none is loaded or it holds none."""
    told = getattr(inspector(), "adapool_source_digest", None) if LOADED else None
    if told is None:
        return None
    told.restype = ctypes.c_char_p
    return bytes(told()).decode()


_STATUS: dict[str, str] = {"cpu": _load()}
_STATUS["cuda"] = _STATUS["cpu"]  # one library for both
if _STATUS["cuda"] == "ok" and torch.version.cuda is None:
    _STATUS["cuda"] = "this torch is built without CUDA"
_LOADED = frozenset(device for device, state in _STATUS.items() if state == "ok")
LOADED = "cpu" in _LOADED  # the library declares the operators
METHODS = frozenset(_compiled()) if LOADED else frozenset()


def status() -> dict[str, str]:
    """For each device "ok", or in one line why its compiled operators cannot run."""
    found = dict(_STATUS)
    if found["cuda"] == "ok" and not torch.cuda.is_available():
        found["cuda"] = "loaded, but torch sees no GPU"
    return found


def available(device: str) -> bool:
    """Whether the library is loaded for this type of device."""
    return device in _LOADED


def has_kernel(method: str, dtype: torch.dtype, device: str) -> bool:
    """Whether a compiled kernel exists for this method, dtype and type of device."""
    return method in METHODS and device in _LOADED and dtype in DTYPES


def operator(name: str) -> Any:
    """One of the four operators, to be looked up once and not at every call; None where nothing is loaded."""
    return getattr(torch.ops.adapool, name).default if LOADED else None


def encode(operands: Operands) -> tuple[list[Tensor], list[float]]:
    """The tensors among the operands, and a number for each: the largest marks a tensor, the lowest a default."""
    tensors: list[Tensor] = []
    constants: list[float] = []
    for o in operands:
        if isinstance(o, Tensor):
            tensors.append(o)
            constants.append(TENSOR)
        else:
            constants.append(-TENSOR if o is None else o)
    return tensors, constants


def given_as_tensors(method: str, constants: Iterable[float]) -> list[Operand]:
    """The operands, of a method that the table knows, which `encode` made tensors of."""
    specs = get(method).operands
    return [spec for spec, number in zip(specs, constants, strict=True) if number == TENSOR]


def decode(names: Iterable[str], tensors: Iterable[Tensor], constants: Iterable[float]) -> dict[str, Any]:
    """The operands by their names, from what `encode` made of them."""
    left = iter(tensors)
    pairs = zip(names, constants, strict=True)
    return {name: next(left) if c == TENSOR else None if c == -TENSOR else c for name, c in pairs}
