"""Pieces of photographs, drawn by a seed: from some photographs to train on, from the others to test with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from suites import images
from suites.images import Photo

Array = NDArray[np.float32]
PLAIN = 0.03  # standard deviation below which a piece shows next to nothing
TRIES = 20


def fault(folder: str | None, side: int) -> str | None:
    """Why pieces of `side` pixels cannot be drawn for both training and testing; None when they can."""
    try:
        found = images.photos(folder, len(images.BUILT_IN))
    except ValueError as error:
        return str(error)
    good: list[str] = []
    small: list[str] = []
    for photo in found:
        if photo.fault is None:
            size = min(_pixels(photo).shape[1:])
            (good if size >= side else small).append(f"{photo.name} ({size} pixels)")
    if len(good) >= 2:
        return None
    return (
        f"images: expected at least two photographs with sides of {side} pixels, got {len(good)}"
        + (f"; too small: {', '.join(small)}" if small else "")
        + "".join(f"; {photo.name}: {photo.fault}" for photo in found if photo.fault)
    )


def split(folder: str | None, side: int) -> tuple[list[Array], list[Array]]:
    """The photographs [3, H, W] to train on and to test with, in turns. ValueError as `fault` has it."""
    if (wrong := fault(folder, side)) is not None:
        raise ValueError(wrong)
    photos = [p for p in images.photos(folder, len(images.BUILT_IN)) if p.fault is None]
    planes = [p for p in map(_pixels, photos) if min(p.shape[1:]) >= side]
    return planes[::2], planes[1::2]


@lru_cache(maxsize=64)
def _pixels(photo: Photo) -> Array:
    """Half the size by the mean of 2 x 2 pixels, at most 1024 a side before: sharp down to the pixel."""
    planes = images.whole(images.pixels(photo, 1024), (2, 2)).astype(np.float32)
    c, h, w = planes.shape
    halved: Array = planes.reshape(c, h // 2, 2, w // 2, 2).mean((2, 4))
    return halved


def piece(photos: list[Array], side: int, rng: np.random.Generator) -> Array:
    """[3, side, side] of one of the photographs; after TRIES draws a plain one is taken as well."""
    for _ in range(TRIES):
        planes = photos[rng.integers(len(photos))]
        top, left = (int(rng.integers(n - side + 1)) for n in planes.shape[1:])
        drawn = planes[:, top : top + side, left : left + side]
        if drawn.std(axis=(1, 2)).mean() > PLAIN:
            break
    return drawn


def pieces(photos: list[Array], count: int, side: int, rng: np.random.Generator) -> Array:
    """[count, 3, side, side]."""
    return np.stack([piece(photos, side, rng) for _ in range(count)])
