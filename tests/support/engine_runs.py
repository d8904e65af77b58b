"""Real runs for the engine's tests: operators with faults, the axes and command lines that measure them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from reports import store
from suites.axes import Axes

ROOT = Path(__file__).parents[2]
OPERATORS = """
import ctypes, os, signal, sys, time
import torch

def _avg(x, k, s, p):
    return torch.nn.functional.avg_pool2d(x, k, s, p)

def good(x, k, s, p):
    print("noise that must not reach the answers", flush=True)
    return _avg(x, k, s, p)

def raises(x, k, s, p):
    raise KeyError("the lookup of " + __file__)

_broken = []
def sticky(x, k, s, p):
    # as a CUDA error does, it spoils its process for everything that follows
    _broken.append(1)
    raise RuntimeError("CUDA error: device-side assert triggered")

def after_sticky(x, k, s, p):
    assert not _broken, "the worker was not restarted"
    return _avg(x, k, s, p)

def wrong_shape(x, k, s, p):
    return _avg(x, k, s, p)[..., :-1]

def segfault(x, k, s, p):
    ctypes.string_at(0)

def leaves(x, k, s, p):
    sys.stderr.write("last words\\n"); sys.stderr.flush()
    os._exit(7)

def hangs(x, k, s, p):
    time.sleep(3600)

def no_memory(x, k, s, p):
    return torch.empty(1 << 60)

def killed(x, k, s, p):
    os.kill(os.getpid(), signal.SIGKILL)

def slow(x, k, s, p):
    time.sleep(0.03)
    return _avg(x, k, s, p)
"""


def axes(operators: Path, *names: str, **more: Any) -> Axes:
    """Of the hot clock: before a cold sample twice the last cache is read, which takes longer than all else."""
    given: dict[str, Any] = {
        "methods": tuple(f"{operators}:{name}" for name in names),
        "profile": "smoke", "kernels": ("2",), "shapes": ("1x2x8x8",), "directions": ("forward",),
        "implementations": ("own", "torch", "plain"), "probes": ("latency",), "clocks": ("hot",),
    }  # fmt: skip
    return Axes(**{**given, **more})


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, str(ROOT / "runner.py"), "bench", "--cpu", *words] + (
        ["--out", str(folder)] if folder else []
    )


def many(operators: Path) -> list[str]:
    """Fourteen cases of half a second each, or so."""
    shapes = ",".join(f"1x2x8x{n}" for n in range(8, 22))
    return [
        "--profile", "smoke", "--method", f"{operators}:slow", "--kernel", "2", "--shape", shapes,
        "--direction", "forward", "--probe", "latency", "--implementation", "own", "--clock", "hot",
    ]  # fmt: skip


def wait_for_records(folder: Path, count: int) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if (folder / "records.jsonl").is_file() and (folder / "records.jsonl").read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} records in {folder}")


def keys(folder: Path) -> list[tuple[Any, ...]]:
    return [(record.device, *record.key) for record in store.read(folder)]
