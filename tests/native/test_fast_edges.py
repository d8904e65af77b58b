"""The fast CPU kernels where the padding, or the end of the plane, cuts regions off."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapool.functional import pool
from tests.support.fast_oracle import (
    DTYPES,
    METHODS,
    PLACE,
    WINDOWS,
    beta_shapes,
    fast_here,
    hold_to_the_row,
    incoming,
    leaf,
    place,
)

pytestmark = pytest.mark.skipif(not fast_here(), reason="no compiled library, or a processor without AVX2")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(METHODS), st.sampled_from(WINDOWS), st.sampled_from(DTYPES), st.booleans(), st.booleans(),
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 30), st.integers(1, 40)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(0, 10), st.sampled_from(["exact", "detached"]),
    st.sampled_from([1e-3, 1.0, 30.0]), st.integers(0, 10**6),
)  # fmt: skip
def test_regions_cut_off(
    method: str, window: tuple[int, int], dtype: torch.dtype, channels_last: bool, ceil_mode: bool,
    size: tuple[int, int, int, int], padding: tuple[int, int], shape: int, how: str, scale: float, seed: int,
) -> None:  # fmt: skip
    k = window[0]
    pads = tuple(min(p, k // 2) for p in padding)
    n, c, h, w = size[0], size[1], max(size[2], k - 2 * pads[0]), max(size[3], k - 2 * pads[1])
    torch.manual_seed(seed)
    x = place(torch.randn(n, c, h, w).mul(scale).to(dtype), channels_last)
    frame = {"padding": pads, "ceil_mode": ceil_mode}
    out = torch.nn.functional.avg_pool2d(x.float(), *window, **frame).shape
    beta = torch.rand(beta_shapes(c, out[2], out[3], n)[shape])
    hold_to_the_row(x, method, window, beta, how, seed, **frame)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_every_beta_where_regions_are_cut_off(window: tuple[int, int], channels_last: bool) -> None:
    k, s = window
    torch.manual_seed(3)
    x = place(torch.randn(2, 20, 21, 22), channels_last)
    out = [(side + 2 * (k // 2) - k) // s + 1 for side in x.shape[2:]]
    for shape in beta_shapes(20, *out, 2):
        hold_to_the_row(x, "ada", window, torch.rand(shape), "exact", 4, padding=k // 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("channels", "channels_last"), [(5, False), (20, True), (50, False)])
def test_lip(channels: int, channels_last: bool, dtype: torch.dtype) -> None:
    """Both gradients, with logits near and far apart, taps at the border, hidden ones, and ones that are not finite."""
    torch.manual_seed(channels)
    windows = [((2, 2), 0), ((3, 2), 1), ((3, 1), 1), ((5, 5), 0)]
    for (window, padding), steep in itertools.product(windows, (1, 300)):
        x = place(torch.randn(2, channels, 15, 22).to(dtype), channels_last)
        logits = place((steep * torch.randn(x.shape)).to(dtype), channels_last)
        logits[0, 1, 2:4, 5:9] = -torch.inf
        x[1, 0, 4, 6] = logits[1, 2, 4, 6] = torch.nan
        found = []
        for leaves, how in (([leaf(x), leaf(logits)], "native"), ([leaf(x.double()), leaf(logits.double())], "plain")):
            y = pool(leaves[0], "lip", *window, padding, logits=leaves[1], implementation=how)  # type: ignore[arg-type]
            found.append([y.detach(), *torch.autograd.grad(y, leaves, incoming(y.shape, dtype, 1).to(y.dtype))])
        for name, got, want in zip(("y", "dx", "dlogits"), *found, strict=True):
            assert got.isnan().equal(want.isnan()), (name, window, steep)
            off = (got.double() - want).nan_to_num(0).abs() / want.nan_to_num(1).abs().clamp(min=1)
            assert off.max() <= 2 * PLACE[dtype] + 2e-5, (name, window, steep, float(off.max()))
    large = torch.full_like(x, torch.finfo(dtype).max)
    assert pool(large, "lip", 3, 2, 1, logits=logits.nan_to_num(0), implementation="native").equal(large[..., ::2, ::2])
