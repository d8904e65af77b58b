"""Calls of the emulated device under ADAPOOL_TUNE, each in a process of its own: run as a module.

Reads lines of [case, environment] as JSON and answers each with what the process found: its results in digits, those
of a second call, what was started by then, how many events were recorded, the thread's capture mode; or the error.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.fx.experimental.symbolic_shapes  # or the first gradient of every process imports it, for half a second
from torch import Tensor

from adapool import unpooling
from adapool.functional import pool
from tests.support.emulator import device  # noqa: F401

DRIVER = ctypes.CDLL("libcuda.so.1")
DRIVER.emulator_started.restype = ctypes.c_char_p


def numbers(*shape: int, dtype: torch.dtype = torch.float32, last: bool = False) -> Tensor:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def gradients(x: Tensor, method: str, *window: Any, **operands: Any) -> list[Tensor]:
    leaves = [t.detach().requires_grad_() for t in (x, *operands.values())]
    given = dict(zip(operands, leaves[1:], strict=True))
    y = pool(leaves[0], method, *window, **given)
    return [y.detach(), *torch.autograd.grad(y, leaves, torch.linspace(0.5, 1, y.numel()).view(y.shape).to(y.dtype))]


CASES: dict[str, Callable[[], list[Tensor]]] = {
    "apart": lambda: gradients(numbers(3, 2, 6, 16), "ada", 2, beta=numbers(3, 8)),
    "apart, channels last": lambda: gradients(
        numbers(2, 16, 4, 6, dtype=torch.bfloat16, last=True), "ada", 2, beta=numbers(16, 1, 1)
    ),
    "overlap": lambda: gradients(numbers(3, 2, 9, 20), "ada", 3, 2, 1, beta=numbers(5, 10)),
    "overlap, channels last": lambda: gradients(numbers(2, 5, 7, 9, last=True), "ada", 3, 2, 1, beta=numbers(5, 4, 5)),
    "logits": lambda: gradients(numbers(2, 2, 8, 16), "lip", 2, logits=numbers(2, 2, 8, 16)),
    "whole": lambda: gradients(numbers(2, 3, 7, 7), "ada", 7, beta=numbers(1)),
    "large": lambda: gradients(numbers(1, 2, 12, 13), "ada", 9, 4, 4, beta=numbers(3, 4)),
    "sums in two launches": lambda: gradients(numbers(512, 2, 2, 4), "ada", 2, beta=numbers(1)),
    "unpool": lambda: [unpooling.unpool(numbers(2, 2, 4, 8), numbers(2, 2, 8, 16), "softpool", 2)],
}  # fmt: skip


def digits(tensors: list[Tensor]) -> list[str]:
    raw = (bytes(t.contiguous().flatten().view(torch.uint8).tolist()) for t in tensors)
    return [hashlib.sha256(each).hexdigest()[:16] for each in raw]


def found(case: str) -> dict[str, Any]:
    try:
        results, again = (digits(CASES[case]()) for _ in range(2))
    except RuntimeError as error:
        return {"error": str(error)}
    DRIVER.cuThreadExchangeStreamCaptureMode(ctypes.byref(mode := ctypes.c_int()))
    started = [line.split() for line in DRIVER.emulator_started().decode().splitlines()]
    driver = {"started": started, "events": DRIVER.emulator_events(), "mode": mode.value}
    return {"results": results, "again": again, **driver}


def forked(work: Callable[[], Any], variables: dict[str, str]) -> str:
    """What `work` comes to in a process of its own, as JSON; null where it dies."""
    here, there = os.pipe()
    child = os.fork()  # the driver was not used before
    if child == 0:
        os.environ.update(variables)
        with os.fdopen(there, "w") as out:
            json.dump(work(), out)
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said or "null"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        case, variables = json.loads(line)
        print(forked(lambda case=case: found(case), variables), flush=True)
