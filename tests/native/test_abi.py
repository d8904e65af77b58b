"""What the built library asks of the process that loads it: nothing of Python or CUDA, of torch only its stable ABI."""

from __future__ import annotations

import importlib.resources
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from adapool.native_library import NAME
from suites import digests

LISTS = (Path(__file__).parents[2] / "csrc" / "CMakeLists.txt").read_text()
INCLUDE = Path(torch.__file__).parent / "include"
HEADERS = ("torch/csrc/stable/c/shim.h", "torch/csrc/inductor/aoti_torch/c/shim.h")
TARGET = "0x020a000000000000"


def library() -> Path:
    folder = os.environ.get("ADAPOOL_LIBRARY_DIR")
    path = Path(folder, NAME) if folder else Path(str(importlib.resources.files("adapool").joinpath(NAME)))
    if not path.is_file():
        pytest.skip(f"{NAME} is not built")
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    return path


def test_who_knows_its_name() -> None:
    assert digests.LIBRARY == NAME and f"add_library({Path(NAME).stem.removeprefix('lib')} " in LISTS


def undefined(path: Path) -> set[str]:
    listing = subprocess.run(["nm", "-D", "--undefined-only", str(path)], capture_output=True, text=True, check=True)
    return {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines()}


def declared() -> str:
    """The stable C interface as it is at the target version, after the preprocessor."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no preprocessor")
    source = "".join(f"#include <{header}>\n" for header in HEADERS)
    command = [compiler, *["-E", "-P", "-x", "c++", "-std=c++20", "-DUSE_CUDA"], f"-I{INCLUDE}"]
    command += [f"-DTORCH_TARGET_VERSION={TARGET}", "-"]
    run = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    return run.stdout


def test_symbols() -> None:
    symbols = undefined(library())
    assert not {s for s in symbols if s.startswith(("Py", "_Py"))}
    assert not {s for s in symbols if re.match(r"cu(da)?[A-Z]|nvrtc|__cuda", s)}, (
        "the driver and NVRTC are found by dlopen"
    )
    mangled = {s for s in symbols if re.search(r"N?K?(2at|3c10|5torch)", s)}
    assert not mangled, f"C++ symbols of torch: {sorted(mangled)[:5]}"
    ours = {s for s in symbols if s.startswith(("torch_", "aoti_torch_"))}
    assert len(ours) > 10, "the list of symbols is the wrong one"
    interface = declared()
    unknown = {s for s in ours if not re.search(rf"\b{s}\(", interface)}
    assert not unknown, f"not in the stable ABI of 2.10: {sorted(unknown)}"


def test_the_check_knows_newer_symbols() -> None:
    """A symbol of 2.11 or later is not declared at the target version, so that the test above can fail."""
    text = (INCLUDE / HEADERS[0]).read_text()
    newer = (
        re.findall(r"\b(torch_\w+)\(", text.split("TORCH_VERSION_2_11_0", 1)[-1])
        if "TORCH_VERSION_2_11_0" in text
        else []
    )
    if not newer:
        pytest.skip("this torch has nothing newer than the target")
    interface = declared()
    assert any(f"{name}(" not in interface for name in newer)


def test_no_paths_of_the_build_machine() -> None:
    path = library()
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    dynamic = subprocess.run(["readelf", "-d", str(path)], capture_output=True, text=True, check=True).stdout
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    assert not re.search("libpython|libcuda|libnvrtc|libtorch_cuda|libc10_cuda", dynamic)
