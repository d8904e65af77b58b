"""The fast CPU kernels where the padding, or the end of the plane, cuts regions off."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fast_oracle import DTYPES, METHODS, WINDOWS, beta_shapes, fast_here, hold_to_the_row, place

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
