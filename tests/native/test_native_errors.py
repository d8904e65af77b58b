"""The numbers that float32 and 16-bit results have to hold, at ordinary scales and for the hard windows.

Every bound is stated for a window; the truth is the plain row in float64 on the same (rounded) inputs.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from adapool import native_library
from adapool.functional import pool
from suites import inspector
from tests.support.native_places import DEVICES, need

METHODS = ("softpool", "edscw", "idw", "ada")
SCALES = (1e-3, 1.0, 1e3)
WINDOWS = {4: (2, 2), 9: (3, 3), 25: (5, 5)}
UNIT = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}  # what correct rounding alone may cost
SLACK = {torch.float16: 2e-5, torch.bfloat16: 3e-4}
COUNT = 20000


def windows(taps: int, kind: str, scale: float, dtype: torch.dtype, count: int = COUNT) -> Tensor:
    """`count` separate windows side by side, [1, 1, side, count * side], numbers exact in the dtype."""
    side = WINDOWS[taps][0]
    x = torch.randn(1, 1, side, count * side, generator=torch.Generator().manual_seed(taps))
    return (x.relu() if kind == "relu" else x).mul(scale).to(dtype)


@dataclass
class Errors:
    y: Tensor  # per window
    grad: Tensor
    top: Tensor  # max |a|
    low: Tensor  # |mean|
    spread: Tensor  # max|r| / min|r|, r = a - mean
    slope: Tensor  # max |gradient|
    want: Tensor


def per_window(x: Tensor, side: int) -> Tensor:
    return x.unfold(3, side, side).squeeze(0).squeeze(0).permute(1, 0, 2).flatten(1)


def errors(method: str, x: Tensor, side: int, device: str) -> Errors:
    found = []
    for given, implementation in ((x.to(device), "native"), (x.double(), "plain")):
        leaf = given.clone().requires_grad_()
        y = pool(leaf, method, (side, side), implementation=implementation)  # type: ignore[arg-type]
        (dx,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
        found.append((y.detach().cpu().double().flatten(), per_window(dx.cpu().double(), side)))
    (y, dx), (want, slope) = found
    a = per_window(x.double(), side)
    gaps = (a - a.mean(1, keepdim=True)).abs()
    return Errors(
        (y - want).abs(), (dx - slope).abs().amax(1), a.abs().amax(1), a.mean(1).abs(),
        gaps.amax(1) / gaps.amin(1).clamp(min=1e-300), slope.abs().amax(1), want,
    )  # fmt: skip


def table(method: str, taps: int, device: str) -> list[tuple[str, float, float]]:
    """(case, worst forward error over its bound, worst gradient error over its bound), 1 being the bound."""
    rows = []
    side = WINDOWS[taps][0]
    for kind in ("normal", "relu"):
        for scale in SCALES:
            e = errors(method, windows(taps, kind, scale, torch.float32), side, device)
            live = e.top > 0
            bound = 2e-6 * e.top
            forward = e.y[live] / bound[live]
            limit = 4e-6 * e.slope * (1 + e.top / e.low.clamp(min=1e-300))
            if method == "idw":
                limit = limit * e.spread
            # Softpool's slope is a difference of numbers of the size of the window: its error is too.
            limit = limit + (2e-7 * e.top if method in ("softpool", "ada") else 0)
            backward = e.grad[live] / limit[live]
            if method == "idw":  # the cut-off at which a gap counts as zero lies elsewhere in float64
                backward = backward[e.spread[live] < 1e4]
            rows.append((f"{method} N={taps} {kind} {scale:g}", float(forward.max()), float(backward.max())))
    return rows


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("taps", WINDOWS)
@pytest.mark.parametrize("method", METHODS)
def test_float32_at_ordinary_scales(method: str, taps: int, device: str) -> None:
    need(device)
    for case, forward, backward in table(method, taps, device):
        assert forward <= 1, f"{case}: forward error {forward:.2f} of its bound"
        assert backward <= 1, f"{case}: gradient error {backward:.2f} of its bound"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_16_bit(method: str, dtype: torch.dtype, device: str) -> None:
    need(device)
    for scale in (1e-3, 1.0, 1e3):
        e = errors(method, windows(9, "normal", scale, dtype), 3, device)
        bound = UNIT[dtype] * e.want.abs() + SLACK[dtype] * e.top + torch.finfo(dtype).smallest_normal * 2.0**-9
        worst = float((e.y / bound).max())
        assert worst <= 1, f"{method} {dtype} {scale}: {worst:.2f} of its bound"


HARD = {
    "zero": [0.0] * 4,
    "constant": [0.1] * 4,
    "ninety": [90.0, 90.0, 90.0, 90.0],
    "minus ninety": [-90.0, -110.0, -100.0, -95.0],
    "both nineties": [90.0, -90.0, 89.0, -90.0],
    "1e30": [1e30, -2e30, 5e29, 4e30],
    "largest": [3.4e38, -3.4e38, 3.4e38, 3.3e38],
    "denormal": [1e-40, 2e-40, -1e-40, 3e-40],
    "mixed sizes": [1e30, 1e-30, -1e20, 1.0],
    "cancelling": [1.0, -1.0, 2.0, -1.9999],
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("method", [*METHODS, "avg", "lp_abs", "stochastic_eval", "dpp", "dpp_asym", "max"])
def test_hard_windows(method: str, name: str, device: str) -> None:
    """Finite in, finite out, and right, over the whole range of the type."""
    need(device)
    e = errors(method, torch.tensor(HARD[name]).reshape(1, 1, 2, 2), 2, device)
    if e.want.abs().max() > torch.finfo(torch.float32).max:
        pytest.skip("the result itself is beyond float32")
    quantum = 2.0**-149
    assert (e.y <= 2e-6 * e.top + 2 * quantum).all(), f"{float(e.y)} of {float(e.want)}"
    if name not in ("cancelling", "mixed sizes") and method not in ("lp_abs",):
        bound = 4e-6 * e.slope.clamp(min=1) * (1 + e.top / e.low.clamp(min=1e-300))
        if method == "idw" and name != "constant":
            bound = bound * e.spread.clamp(max=1e6)
        if name == "denormal":  # the mean of such numbers has few bits
            bound = bound + 1e-4
        assert (e.grad <= bound).all(), f"gradient {float(e.grad)} of {float(e.slope)}"


@pytest.mark.parametrize("device", DEVICES)
def test_half_near_its_limits(device: str) -> None:
    need(device)
    for values in (
        [1e4, -1e4, 9e3, 6e4],
        [300.0, 280.0, -500.0, 260.0],
        [1e-5, 2e-5, -1e-5, 1e-4],
        [6e-8, 0.0, 1.2e-7, 6e-8],
    ):
        x = torch.tensor(values, dtype=torch.float16).reshape(1, 1, 2, 2)
        for method in METHODS:
            e = errors(method, x, 2, device)
            assert (e.y <= UNIT[torch.float16] * e.want.abs() + 2e-5 * e.top + 2.0**-25).all(), (method, values)


@pytest.mark.parametrize("device", DEVICES)
def test_scale_equivariance(device: str) -> None:
    """f(c a) = c f(a) for 1e-15 < max |a| < 1e15: exactly, for powers of two."""
    need(device)
    x = windows(9, "normal", 1.0, torch.float32, 500).to(device)
    for method in ("edscw", "idw", "avg", "max", "lp_abs", "stochastic_eval"):
        one = pool(x, method, (3, 3), implementation="native")
        for power in (-49, -20, 20, 49):
            scaled = pool(x * 2.0**power, method, (3, 3), implementation="native")
            torch.testing.assert_close(scaled / 2.0**power, one, rtol=0, atol=0)


def test_the_table_can_fail() -> None:
    """The error measure sees an error of one part in 10^5."""
    x = windows(4, "normal", 1.0, torch.float32, 100)
    e = errors("softpool", x, 2, "cpu") if _ready() else None
    if e is None:
        pytest.skip("no compiled operators")
    assert ((e.y + 1e-5 * e.top) > 2e-6 * e.top).all()


def _ready() -> bool:
    from adapool import native

    return native.status()["cpu"] == "ok"


AXIS = "adapool: on CUDA expected fewer than 2^30 places of a spatial axis and of its window together, got "
TAPS = "adapool: on CUDA expected fewer than 2^31 taps of a window that one is chosen of, got "


@pytest.mark.parametrize(
    ("words", "refusal"),
    [("avg forward float32 nchw 2/2+0 1x1x1073741824", AXIS + "1073741824 and 2"),
     ("avg forward float32 nchw 2/2+0 4x1x1073741000", ""),
     ("avg forward float32 nchw 1073741824/1+536870912 1x1x5", AXIS + "5 and 1073741824"),
     *((f"{call} float32 nchw 65536x32768/1x1+0x0 1x1x65536x32768", TAPS + "2147483648")
       for call in ("max extra", "max backward", "mixed forward", "mixed backward", "stochastic extra")),
     ("max forward float16 nchw 65536x32768/1x1+0x0 1x1x65536x32768", ""),
     ("avg backward float32 nchw 65536x32768/1x1+0x0 1x1x65536x32768", ""),
     ("max extra float64 channels_last 65536x32767/1x1+0x0 1x1x65536x32768", "")],
)  # fmt: skip
def test_what_is_too_large_for_cuda(words: str, refusal: str) -> None:
    """Places are counted in 32 bits there: one sentence, and not a wrong place."""
    need("cpu")
    said = ctypes.c_char_p()
    refused = native_library.inspector().adapool_sources(words.encode(), 132, ctypes.byref(said))
    assert refused == bool(refusal) and said.value is not None
    assert not refused or said.value.decode() == refusal


def test_windows_far_apart_are_asked_for_by_places_on_cuda() -> None:
    """A thread would write the places between two windows one by one, by thousands of instructions."""
    need("cpu")
    for words, kinds in (
        ("ada backward float32 nchw 2x2/8x8+0x0 2x8x64x64", ["backward_apart"]),
        ("ada backward float32 nchw 3x3/32x32+0x0 2x8x256x256", ["large_forward", "large_gather"]),
        ("max backward float32 channels_last 1x1/256x256+0x0 2x8x512x512", ["large_forward", "large_gather"]),
        ("max forward float32 nchw 1x1/256x256+0x0 2x8x512x512", ["forward"]),
    ):
        assert [name.split()[1] for name, *_ in inspector.launches(words)] == kinds, words


def test_a_block_of_overlapping_windows_is_as_large_as_its_work() -> None:
    """A plane of a few windows is not left to a block of hundreds of threads, most of which would wait."""
    need("cpu")
    for words, threads, blocks in (
        ("ada backward float32 nchw 3x3/2x2+1x1 64x64x112x112 place", 448, 2),
        ("ada backward float32 nchw 3x3/2x2+1x1 16x64x14x14 place", 64, 14),
        ("max backward float32 nchw 3x3/2x2+1x1 16x64x7x7", 32, 16),
    ):
        name, found, at_once, _ = inspector.launches(words)[0]
        assert (name.split()[1], found, at_once) == ("backward_overlap", threads, blocks), words
