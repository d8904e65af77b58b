"""Every kind of picture that the reader has: its white is 1, or it is refused in words; scores say what was clamped."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from suites import images, memory, retention
from suites.case import Case
from suites.images import Photo

CPU = torch.device("cpu")
SIDE = 64
RAMP = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)  # black to white
WRONG = """
import adapool

def half(x, k, s, p):
    return 0.5 * adapool.pool(x, "avg", k, s, p)
half.oracle = "avg"

_held = {}
def remembers(x, k, s, p):
    if "y" not in _held:
        _held["y"] = adapool.pool(x, "avg", k, s, p)
    return _held["y"]
remembers.oracle = "avg"

_calls = [0]
def restless(x, k, s, p):
    _calls[0] += 1
    return adapool.pool(x, "avg", k, s, p) + _calls[0]

def right(x, k, s, p):
    return adapool.pool(x, "avg", k, s, p)
right.oracle = "avg"
"""


def made(folder: Path, mode: str, name: str) -> Path:
    """The ramp in a mode of Pillow's, in a file."""
    grey = PIL.Image.fromarray(np.round(RAMP * 255).astype(np.uint8))
    wide = np.round(RAMP * 65535).astype(np.uint16)
    if mode == "I;16":
        image = PIL.Image.fromarray(wide)
    elif mode == "I;16B":
        image = PIL.Image.frombytes("I;16B", (SIDE, SIDE), wide.astype(">u2").tobytes())
    elif mode == "I":
        image = PIL.Image.fromarray(np.round(RAMP * 2**31 - 1).astype(np.int32))
    elif mode == "F":
        image = PIL.Image.fromarray(RAMP.astype(np.float32))
    else:
        image = grey.convert(mode)
    image.save(folder / name)
    return folder / name


@pytest.mark.parametrize(("mode", "name"), [
    ("L", "a.png"), ("LA", "a.png"), ("P", "a.png"), ("RGB", "a.png"), ("RGBA", "a.png"), ("I;16", "a.png"),
    ("L", "a.tif"), ("RGB", "a.tif"), ("CMYK", "a.tif"), ("YCbCr", "a.tif"), ("I;16", "a.tif"), ("I;16B", "a.tif"),
    ("F", "a.tif"), ("L", "a.jpg"), ("RGB", "a.jpg"), ("CMYK", "a.jpg"), ("L", "a.bmp"), ("RGB", "a.webp"),
    ("RGB", "a.ppm"),
])  # fmt: skip
def test_white_is_one(tmp_path: Path, mode: str, name: str) -> None:
    path = made(tmp_path, mode, name)
    assert images.fault(path) is None
    found = images.pixels(Photo("a", path), None)
    assert found.shape == (3, SIDE, SIDE) and found.dtype == np.float64
    assert np.abs(found - RAMP).mean() < (1e-4 if mode.startswith(("I", "F")) else 0.02)
    assert 0 <= found.min() < 0.02 and 0.98 < found.max() <= 1


def test_one_bit_and_twelve(tmp_path: Path) -> None:
    found = images.pixels(Photo("a", made(tmp_path, "1", "a.png")), None)
    assert set(np.unique(found)) == {0.0, 1.0}
    (tmp_path / "a.ppm").write_bytes(b"P5 64 64 65535\n" + np.round(RAMP * 65535).astype(">u2").tobytes())
    assert np.abs(images.pixels(Photo("a", tmp_path / "a.ppm"), None) - RAMP).max() < 1e-4
    path = tmp_path / "a.tif"  # 12 bits in 16: its white is 4095
    tags = {256: SIDE, 257: SIDE, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: SIDE * SIDE * 3 // 2}
    levels = np.round(RAMP * 4095).astype(np.uint32).reshape(-1, 2)
    packed = (levels[:, 0] << 12 | levels[:, 1]).tolist()
    data = b"".join(value.to_bytes(3, "big") for value in packed)
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(tags)) + table + bytes(4)
    )
    if images.fault(path) is None:  # where the reader has them
        assert np.abs(images.pixels(Photo("a", path), None) - RAMP).max() < 1e-3


def test_what_has_no_white_is_refused(tmp_path: Path) -> None:
    assert "32-bit integers" in str(images.fault(made(tmp_path, "I", "a.tif")))


@pytest.mark.parametrize("values", [RAMP * 255, RAMP - 0.5, np.where(RAMP > 0.5, np.nan, RAMP)])
def test_floats_out_of_range_are_refused(tmp_path: Path, values: Any) -> None:
    PIL.Image.fromarray(values.astype(np.float32)).save(tmp_path / "a.tif")
    assert "floating-point numbers from" in str(images.fault(tmp_path / "a.tif"))


def case(method: str, implementation: str, own: str | None = None, images: str | None = None) -> Case:
    return Case(
        "retention", method, implementation, "none", (2, 2), (2, 2), (0, 0), False, (3, 0, 0), "float32", "nchw",
        own=own, images=images, crop=64,
    )  # fmt: skip


def test_what_lies_outside_the_range_is_clamped_and_said(tmp_path: Path) -> None:
    made(tmp_path, "I;16", "a.png")
    found = retention.measure(case("sum", "plain", images=str(tmp_path)), CPU, 0, 1, None, 0)
    assert {finding.how["clamped"] for finding in found} == {"all pictures, to the range"}
    (psnr,) = [f.value for f in found if (f.metric, f.protocol) == ("psnr", "P1")]
    blown = np.repeat(np.repeat(np.clip(4 * RAMP, 0, 1), 1, 0), 1, 1)  # what a sum of four shows
    assert psnr is not None and psnr == pytest.approx(-10 * np.log10(np.mean((blown - RAMP) ** 2)), abs=0.3)


def test_ssim_is_at_most_one() -> None:
    same = np.random.default_rng(0).random((3, 64, 64))
    assert retention.ssim(same, same) == 1.0


@pytest.mark.parametrize("name", ["half", "remembers", "restless", "right"])
def test_a_wrong_operator_has_no_memory_and_keeps_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.py").write_text(WRONG)
    made(tmp_path, "RGB", "a.png")
    own = f"{tmp_path / 'mine.py'}:{name}"
    kept = retention.measure(case(name, "own", own, str(tmp_path)), CPU, 0, 1, None, 0)
    speed = Case(
        "memory", name, "own", "forward", (2, 2), (2, 2), (0, 0), False, (1, 3, 8, 8), "float32", "nchw", own=own
    )
    for found in (kept, memory.measure(speed, CPU, 0)):
        if name == "right":
            assert {f.status for f in found} == {"ok"}, found
        else:
            assert {(f.status, f.value) for f in found} == {("incorrect", None)}
            # What remembers an answer gives the first probe's to the second, too: of another shape.
            assert all(re.search("differ from the definition|expected shape", str(f.reason)) for f in found)
