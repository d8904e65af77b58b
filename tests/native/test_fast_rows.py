"""The fast CPU kernels of windows that are not square: along a row, down a column, through two slabs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adapool.functional import pool
from adapool.unpooling import unpool
from tests.native.test_fast import HARD
from tests.support.fast_oracle import (
    BLENDS,
    DTYPES,
    METHODS,
    PLACE,
    ROWS,
    fast_here,
    gradients,
    hold_to_the_row,
    place,
)

pytestmark = pytest.mark.skipif(not fast_here(), reason="no compiled library, or a processor without AVX2")


def beta_shapes(n: int, c: int, out: list[int]) -> list[tuple[int, ...]]:
    ones = [1] * len(out)
    alone = [(), (c, *ones), out[-1:], (out[0], *ones[1:]), (n, 1, *ones)]
    return [tuple(shape) for shape in (*alone, out, (c, *out), (n, c, *out), (n, 1, *out))]


@settings(max_examples=90, deadline=None, derandomize=True)
@given(
    st.sampled_from(METHODS), st.sampled_from(ROWS), st.sampled_from(DTYPES), st.booleans(),
    st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 3), st.integers(1, 5), st.integers(3, 120)),
    st.sampled_from([(0, 0), (0, 0), (1, 0), (0, 1)]), st.integers(0, 8), st.sampled_from(["exact", "detached"]),
    st.integers(0, 5), st.integers(0, 10**6),
)  # fmt: skip
def test_against_the_row(
    method: str, kernel: tuple[int, ...], dtype: torch.dtype, channels_last: bool, size: tuple[int, int, int, int, int],
    more: tuple[int, int], shape: int, how: str, offset: int, seed: int,
) -> None:  # fmt: skip
    """Also where rows or slabs are left over."""
    n, c, depth, height, width = size
    k = (1, 1, *kernel)[-3:]
    sides = [depth * k[0] + more[0], height * k[1] + more[1], width][-len(kernel) :]
    torch.manual_seed(seed)
    x = place(torch.randn(n, c, *sides).to(dtype), channels_last, offset)
    beta = torch.rand(beta_shapes(n, c, [side // k for side, k in zip(sides, kernel, strict=True)])[shape])
    hold_to_the_row(x, method, (kernel, kernel), beta, how, seed)


def hard_rows(kernel: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Each hard set of values as a window of its own, repeated over its taps, between windows of ordinary ones."""
    k = kernel[-1]
    x = torch.randn(1, 2, *kernel[:-1], 4 * k * len(HARD) + 64, generator=torch.Generator().manual_seed(3)).to(dtype)
    for number, values in enumerate(HARD):
        taps = torch.tensor([values[i % 4] for i in range(math.prod(kernel))], dtype=torch.float64).to(dtype)
        x[..., 4 * k * number + 8 * k :][..., :k] = taps.reshape(kernel)
    return x


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", BLENDS)
@pytest.mark.parametrize("kernel", ROWS)
def test_hard_windows(kernel: tuple[int, ...], method: str, dtype: torch.dtype) -> None:
    x = hard_rows(kernel, dtype)
    y, dx = gradients(x, method, (kernel, kernel), 0.5, "exact", 5)
    want = pool(x.double(), method, kernel, implementation="plain")
    finite = pool(x.isfinite().double(), "sum", kernel, implementation="plain") == math.prod(kernel)
    assert torch.isfinite(y[finite & want.abs().lt(torch.finfo(dtype).max)]).all()
    assert y[~finite].isnan().all()
    size = pool(x.double().nan_to_num(0, 0, 0).abs(), "max", kernel, implementation="plain")
    bound = PLACE[dtype] * want.abs() + 2e-6 * size + torch.finfo(dtype).smallest_normal * 2**-9
    assert ((y.double() - want).abs() <= bound)[finite & y.isfinite()].all()
    assert (pool(dx.isfinite().double(), "sum", kernel, implementation="plain") == math.prod(kernel))[finite].all()


@pytest.mark.parametrize("method", BLENDS)
@pytest.mark.parametrize("kernel", ROWS)
def test_unpooling_from_a_guide(kernel: tuple[int, ...], method: str) -> None:
    torch.manual_seed(1)
    sides = [2 * k for k in kernel[:-1]] + [kernel[-1] * 37]
    x, y = torch.randn(2, 3, *sides), torch.randn(2, 3, *[side // k for side, k in zip(sides, kernel, strict=True)])
    got = unpool(y, x, method, kernel, implementation="native")
    want = unpool(y.double(), x.double(), method, kernel, implementation="plain")
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (5, 1, 1, 1), (4, 3, 19), (2, 5, 4, 3, 19)])
def test_the_same_bits_whatever_the_threads(shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    x, beta, threads = torch.randn(2, 5, 8, 6, 39), torch.rand(shape), torch.get_num_threads()
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(gradients(x, "ada", (2, 2), beta, "exact", 5))
    torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(a.equal(b) for a, b in zip(found[0], other, strict=True))
