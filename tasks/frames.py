"""The frames of a video that a person has given: a folder of pictures, or a file that imageio or Pillow opens."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

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

    shots = []
    try:
        for shot in imageio.imiter(path):
            grey = shot if shot.ndim == 3 else np.repeat(shot[..., None], 3, -1)
            white = np.iinfo(grey.dtype).max if np.issubdtype(grey.dtype, np.integer) else 1
            shots.append((grey[..., :3] / white).astype(np.float32).transpose(2, 0, 1))
            if len(shots) == MOST:
                break
    except Exception as error:  # each reader has errors of its own
        words = private(str(error))[:200]
        raise ValueError(f"video: {path.name} cannot be read ({type(error).__name__}: {words})") from None
    return shots
