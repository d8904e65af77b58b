"""The frames of a video that a person has given: a folder of pictures, or a file that imageio or Pillow opens."""

from __future__ import annotations

import warnings
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suites import images
from suites.machine import private
from tasks.task import Picture

LEAST = 9  # frames: three to test with, and twice as many to train on
MOST = 300


@lru_cache(maxsize=1)
def read(where: str, side: int) -> Picture:
    """[frames, 3, H, W] in [0, 1], the first MOST of them. ValueError in one sentence for what is no such video."""
    path = Path(where)
    if not path.exists():
        raise ValueError(f"video: expected a file or a folder of frames, got {path.name!r}, which is not there")
    shots = _folder(path) if path.is_dir() else _file(path)
    if len(shots) < LEAST:
        raise ValueError(f"video: expected at least {LEAST} frames, got {len(shots)} in {path.name}")
    if len({shot.shape for shot in shots}) > 1:
        sizes = sorted({f"{shot.shape[2]} x {shot.shape[1]}" for shot in shots})
        raise ValueError(f"video: expected frames of one size, got {', '.join(sizes[:3])} in {path.name}")
    if min(shots[0].shape[1:]) < side:
        size = f"{shots[0].shape[2]} x {shots[0].shape[1]}"
        raise ValueError(f"video: expected frames of at least {side} x {side} pixels, got {size} in {path.name}")
    return np.stack(shots)


def _folder(path: Path) -> list[Picture]:
    """The pictures in the order of their names; one that is broken would leave a jump."""
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in images.ENDINGS and not p.name.startswith("."))
    for file in files[:MOST]:
        if (fault := images.fault(file)) is not None:
            raise ValueError(f"video: frame {file.name} cannot be used: {fault}")
    return [images.pixels(images.Photo(p.stem, p), None).astype(np.float32) for p in files[:MOST]]


def _file(path: Path) -> list[Picture]:
    import imageio.v3 as imageio

    shots: list[Picture] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of every reader that is tried in turn
            with imageio.imopen(path, "r") as file:
                for some in islice(file.iter(), MOST):
                    shots += _shots(some)[: MOST - len(shots)]
    except Exception as error:  # each reader has errors of its own
        words = private(str(error))[:200]
        raise ValueError(f"video: {path.name} cannot be read ({type(error).__name__}: {words})") from None
    return shots


def _shots(given: NDArray[Any]) -> list[Picture]:
    """The frames in what a reader gives at once: one or several, [H, W] or [H, W, colours] each."""
    colors = given if given.ndim > 2 and given.shape[-1] in (3, 4) else np.repeat(given[..., None], 3, -1)
    white = np.iinfo(given.dtype).max if np.issubdtype(given.dtype, np.integer) else 1
    stack = (colors[..., :3] / white).astype(np.float32).reshape(-1, *colors.shape[-3:-1], 3)
    return list(stack.transpose(0, 3, 1, 2))
