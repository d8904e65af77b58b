"""The released AdaPool and SoftPool packages as peers: where their functions are, what they take, and as a subject.

They are measured as they are, on what they can do: CUDA, float32, NCHW, windows that do not overlap. Their gradient
takes the weights as constants and is not the exact one, so it is checked against, and labelled as, what it is. Which
tensors and windows a plan holds is not known here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import adapool
from adapool import functional
from suites.case import Case
from suites.numbers import Numbers
from suites.subject import Subject, Unavailable, place

METHODS = {  # functions without their rank, the first that is there counts: adaPool renamed its edscw
    "ada": (("adaPool", "adapool"),),
    "edscw": (("adaPool", "edscwpool"), ("adaPool", "ejvswpool")),
    "idw": (("adaPool", "idwpool"),),
    "softpool": (("SoftPool", "soft_pool"), ("adaPool", "empool")),
}
DEVICES = ("cuda",)
GRADIENT = "not the same gradient: the released one takes the weights as constants"


def subject(case: Case, device: torch.device) -> Subject:
    """The released function on the case's tensor; Unavailable where there is none, or it does not take the case."""
    if (why := outside(case, device)) is not None:
        raise Unavailable(f"the released package takes {why}")
    name, function = find(case.method, case.rank)
    kernel, stride, method = case.kernel, case.stride, case.method
    blended = method == "ada"

    def call(x: Tensor, *beta: Tensor) -> Tensor:
        y: Tensor = function(x, *beta, kernel_size=kernel, stride=stride)
        return y

    def defined(x: Tensor, *beta: Tensor) -> Tensor:
        operands: Any = {"beta": beta[0]} if blended else {}
        return functional.pool(x, method, kernel, stride, gradient="detached", implementation="plain", **operands)

    beta = [torch.full((1,) * case.rank, 0.5, device=device)] * blended

    def draw(numbers: Numbers) -> list[Tensor]:
        return [numbers.normal(case.shape), *beta]

    inputs = [place(case, torch.zeros(case.shape), device), *(b.clone() for b in beta)]
    graded = case.direction in ("backward", "both")
    return Subject(
        inputs, call, defined, tuple(range(len(inputs))), "plain row in float64" + ", weights constant" * graded, draw,
        {"function": name}, definition=method, notes=(GRADIENT,) if graded else (),
    )  # fmt: skip


def outside(case: Case, device: torch.device) -> str | None:
    """What the released packages take instead, where they do not take this; out of it they read and write astray."""
    if device.type not in DEVICES:
        return f"CUDA tensors, got one on {device.type}"
    if case.kernel != case.stride or any(case.padding) or case.ceil_mode:
        return f"windows with stride = kernel and no padding or ceil_mode, got {case.window}"
    if case.dtype != "float32" or case.layout != "nchw":
        return f"float32 in nchw, got {case.dtype} in {case.layout}"
    if case.rank == 3 and case.method != "softpool":
        return "1-D and 2-D tensors, got a 3-D one, whose offsets it computes without the width"
    return None


def find(method: str, rank: int) -> tuple[str, Callable[..., Any]]:
    """(name, function) of a method; Unavailable with the reason where it is not importable, or is adapool's own."""
    missing = []
    for package, function in METHODS.get(method, ()):
        try:
            module = importlib.import_module(package)
        except Exception as error:  # whatever the import of another's package raises, a CUDA library's errors too
            missing.append(f"{package} cannot be imported ({type(error).__name__}: {error})")
            continue
        found = getattr(module, f"{function}{rank}d", None)
        if found is None:
            missing.append(f"{package} has no {function}{rank}d")
        elif _ours(module, found):
            missing.append(f"{package} is adapool under another name")
        else:
            return f"{package}.{function}{rank}d", found
    raise Unavailable("; ".join(missing) or f"no released package has {method}")


def _ours(module: Any, function: Any) -> bool:
    """Whether a function's code, or its module's, lies in adapool: an alias of it would be compared with itself."""
    home = Path(adapool.__file__).resolve().parent
    code = getattr(function, "__code__", None)
    files = (getattr(code, "co_filename", None), getattr(module, "__file__", None))
    words = (getattr(function, "__module__", None), getattr(module, "__name__", None))
    told = any(str(word).split(".")[0] == "adapool" for word in words)
    return told or any(file is not None and Path(file).resolve().is_relative_to(home) for file in files)
