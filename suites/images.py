"""The photographs: which there are, and their pixels. Broken files are named, never fatal. Knows nothing of methods."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from suites.layers import LEAST

if TYPE_CHECKING:
    from PIL.Image import Image

BUILT_IN = ("astronaut", "coffee", "chelsea", "motorcycle_left", "rocket", "hubble_deep_field")
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
BITS = 258  # TIFF's tag of the bits in a number


class NoRange(ValueError):
    """A file's numbers have no white."""


@dataclass(frozen=True)
class Photo:
    """A photograph by its name without path; `fault` says why it cannot be used."""

    name: str
    path: Path
    fault: str | None = None


def photos(folder: str | None, count: int) -> list[Photo]:
    """The folder's files, or the first `count` of the built-in photographs. ValueError when there is none to use."""
    if folder is None:
        found = importlib.util.find_spec("skimage")
        if found is None or found.origin is None:
            raise ValueError(
                "images: expected scikit-image for its photographs, it is not installed; give --images DIR"
            )
        data = Path(found.origin).parent / "data"
        paths = [path for name in BUILT_IN for path in sorted(data.glob(f"{name}.*"))][:count]
    else:
        if not Path(folder).is_dir():
            raise ValueError(f"images: expected a folder of photographs, got {folder!r}, which is no folder")
        paths = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith("."))
    names = [path.stem for path in paths]
    checked = [Photo(path.stem if names.count(path.stem) == 1 else path.name, path, fault(path)) for path in paths]
    if not any(photo.fault is None for photo in checked):
        faults = "; ".join(f"{photo.path.name}: {photo.fault}" for photo in checked) or "it holds no image file"
        raise ValueError(
            f"images: expected at least one photograph ({', '.join(ENDINGS)}) in {folder or 'scikit-image'}, "
            f"got {faults}"
        )
    return checked


def fault(path: Path) -> str | None:
    """Why the file is no photograph that can be measured; None when it is one."""
    import PIL.Image

    try:
        with PIL.Image.open(path) as image:
            image.load()
            if min(image.size) < LEAST:
                return f"smaller than {LEAST} pixels ({image.size[0]} x {image.size[1]})"
            _unit(image)
    except NoRange as error:
        return str(error)
    except Exception as error:
        return f"cannot be read ({type(error).__name__}: {' '.join(str(error).replace(str(path), path.name).split())})"
    return None


def pixels(photo: Photo, crop: int | None) -> NDArray[np.float64]:
    """[3, H, W] in [0, 1]; of a longer side than `crop` only the middle."""
    import PIL.Image

    with PIL.Image.open(photo.path) as image:
        values = _unit(image)
    return np.ascontiguousarray(middle(values.transpose(2, 0, 1), crop or 10**9, crop or 10**9))


def _unit(image: Image) -> NDArray[np.float64]:
    """[H, W, 3], the black of the file as 0 and its white as 1; NoRange where the file does not say what is white.

    Transparency is left out. Pillow clips what it converts from more than 8 bits, so those are not left to it.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        tags = getattr(image, "tag_v2", {})
        bits = max(tags.get(BITS, (16,)))
        grey = np.asarray(image, dtype=np.float64) / (2**bits - 1)
        if not 0 <= grey.min() <= grey.max() <= 1:
            raise NoRange(f"holds integers outside the {bits} bits it says it has")
    elif image.mode == "I":
        raise NoRange("holds 32-bit integers, and nobody says how large white is; save it with 8 or 16 bits")
    elif image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        if not (np.isfinite(grey).all() and 0 <= grey.min() <= grey.max() <= 1):
            raise NoRange(f"holds floating-point numbers from {grey.min():g} to {grey.max():g}, expected 0 to 1")
    else:
        return np.asarray(image.convert("RGB"), dtype=np.float64) / 255
    return np.repeat(grey[..., None], 3, -1)


def middle(planes: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """The centred part of at most this size."""
    h, w = planes.shape[-2:]
    top, left = max(0, (h - height) // 2), max(0, (w - width) // 2)
    return planes[..., top : top + min(h, height), left : left + min(w, width)]


def whole(planes: NDArray[np.float64], kernel: tuple[int, ...]) -> NDArray[np.float64]:
    """Cropped to a multiple of the kernel, so that k = s windows cover everything."""
    h, w = planes.shape[-2:]
    return middle(planes, h - h % kernel[0], w - w % kernel[1])
