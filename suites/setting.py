"""What a process that measures is started with: setup and environment. Torch-free."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suites import machine
from suites.axes import Axes


def setup(device: str, kind: str, axes: Axes, gallery: Path | None, threads: int | None = None) -> dict[str, Any]:
    """The first line that a worker reads; pictures go to `gallery`."""
    preset = axes.preset
    return {
        "device": device, "kind": kind, "threads": threads or machine.cores(), "seed": axes.seed,
        "gallery": gallery and str(gallery.resolve()), "images": preset.images, "shown": preset.gallery,
    }  # fmt: skip


def environment(device: str, kind: str, threads: int | None = None) -> dict[str, str]:
    """What a process sees that measures this device: it alone, and the CPU's threads fixed."""
    count = str(threads or machine.cores())
    return {
        "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
        "KINETO_LOG_LEVEL": "5", "CUDA_VISIBLE_DEVICES": device if kind == "cuda" else "",
    }  # fmt: skip


def inherited(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and `more`, for one that imports this folder's suites."""
    path = os.pathsep.join(p for p in (str(machine.ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, **more, "PYTHONPATH": path}
