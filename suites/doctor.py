"""What a run needs, whether it is there, and what to do when it is not. Imports nothing until asked; fixes nothing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from suites import inspector, machine, nvml, profiles, provenance

Finding = tuple[str, str, str, str | None]  # mark (ok, missing, note), what, how it stands, advice
EXTRA = 'the extra `bench` brings it: python -m pip install --no-build-isolation -e ".[bench]"'
REPORT = ("jinja2", "matplotlib", "numpy", "pandas", "seaborn")
NEEDED = (
    ("click", "click"), ("jinja2", "jinja2"), ("matplotlib", "matplotlib"), ("numpy", "numpy"), ("pandas", "pandas"),
    ("pytest", "pytest"), ("pytest_benchmark", "pytest-benchmark"), ("skimage", "scikit-image"), ("seaborn", "seaborn"),
)  # fmt: skip


def lacking() -> list[str]:
    """The packages without which a run has no report and that are not installed; none is imported for it."""
    return [module for module in REPORT if importlib.util.find_spec(module) is None]


def findings() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield ("ok" if sys.version_info >= (3, 10) else "missing"), "python", python, None
    yield from _torch()
    for module, package in NEEDED:
        try:
            importlib.import_module(module)
            yield "ok", package, version(package), None
        except (ImportError, PackageNotFoundError) as error:
            yield "missing", package, machine.private(str(error)), f"python -m pip install {package}"
    yield from _native()
    yield from _gpus()
    facts = machine.cpu()
    yield "ok", "cpu", f"{facts['name']}, {facts['cores']} cores, governor {facts['governor'] or 'unknown'}", None
    load = facts["load_before"]
    if load is not None and load > 0.5 * facts["cores"]:
        advice = "other work makes CPU numbers unstable; wait, or expect warnings"
        yield "note", "load", f"{load:.1f} on {facts['cores']} cores", advice
    use = "it builds the compiled operators, and torch.compile on the CPU needs it"
    yield ("ok", "g++", "found", None) if shutil.which("g++") else ("note", "g++", f"not found; {use}", None)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield "missing", "torch", machine.private(str(error)), "python -m pip install 'torch>=2.10'"
        return
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    yield "ok", "torch", f"{torch.__version__}, {built}", None


def _native() -> Iterator[Finding]:
    try:
        from adapool import native, native_library
    except ImportError as error:
        advice = "run from the repository, or python -m pip install --no-build-isolation ."
        yield "missing", "adapool", machine.private(str(error)), advice
        return
    yield from _provenance()
    advice = "python -m pip install --no-build-isolation --no-deps -e . (needs a C++ compiler)"
    if os.environ.get("ADAPOOL_NATIVE") == "0":
        advice = "unset ADAPOOL_NATIVE"
    for device, status in native.status().items():
        good = status == "ok"
        words = status if good else f"{machine.private(status)}; the plain rows run instead"
        remedy = None if good or native_library.LOADED else advice  # a library that is there is not built again
        yield "ok" if good else "note", f"compiled operators ({device})", words, remedy
    if native_library.LOADED:
        yield from _nvrtc()
    yield from _tuning()


def _tuning() -> Iterator[Finding]:
    asked = os.environ.get("ADAPOOL_TUNE") or "0"
    if asked == "1":
        yield "note", "tuning", "ADAPOOL_TUNE=1: the first call of a shape on CUDA tries launches", None
    elif asked != "0":
        yield "missing", "tuning", f"ADAPOOL_TUNE: expected 1 or 0, got {asked!r}", "unset ADAPOOL_TUNE"


def _provenance() -> Iterator[Finding]:
    """Whose code it is that runs here."""
    yield "ok", "adapool", provenance.words(), None
    yield "ok", "library", provenance.source()["library"], None
    if (fault := provenance.fault()) is not None:
        mark = "note" if os.environ.get(provenance.OTHER) == "1" else "missing"
        yield mark, "sources", "other code runs here than this folder's; measurements refuse that", fault


def _nvrtc() -> Iterator[Finding]:
    import torch

    try:
        path, release = inspector.nvrtc()
        yield "ok", "nvrtc", f"{release}, {path}", None
    except inspector.Missing as error:
        why, _, remedy = str(error).partition("; install it with ")
        if torch.version.cuda is not None:
            yield "note", "nvrtc", f"{machine.private(why)}; CUDA kernels cannot be compiled", remedy.strip("`") or None


def _gpus() -> Iterator[Finding]:
    gpus = nvml.listed()
    for index, gpu in enumerate(gpus):
        yield "ok", f"gpu {index}", f"{gpu.name}, {gpu.uuid}", None
    if not gpus:
        yield "note", "gpu", f"none: {nvml.why_none()}", "measurements run on the CPU; energy is skipped"
        return
    for name, place in profiles.ADVICE.items():  # only where there is something to profile
        gone = profiles.absent(name, "cuda")
        yield ("note", name, "not on the PATH", f"{place}: for --profile-with") if gone else ("ok", name, "found", None)
    import torch

    if not torch.cuda.is_available():
        advice = "install a torch built for the driver's CUDA version"
        yield "missing", "cuda in torch", "torch sees no CUDA device", advice
