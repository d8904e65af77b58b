"""What a worker is started with on the machine that it runs on: setup and environment. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from suites import machine
from suites.axes import Axes


def setup(device: str, kind: str, axes: Axes, gallery: Path) -> dict[str, Any]:
    """The first line that a worker reads; pictures go to `gallery`."""
    preset = axes.preset
    return {
        "device": device, "kind": kind, "threads": machine.cores(), "seed": axes.seed,
        "gallery": str(gallery.resolve()), "images": preset.images, "shown": preset.gallery,
    }  # fmt: skip


def environment(device: str, kind: str) -> dict[str, str]:
    """What a process sees that measures this device: it alone, and the CPU's threads fixed."""
    threads = str(machine.cores())
    found = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "KINETO_LOG_LEVEL": "5",
    }
    found["CUDA_VISIBLE_DEVICES"] = device if kind == "cuda" else ""
    return found
