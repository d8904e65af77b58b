"""Adaptive, fractional and dilated regions against torch's own avg and max: any rank, size, dtype, layout, batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adapool import adaptive_pool, fractional_pool, pool_with_extra

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
Input = tuple[Tensor, int, tuple[int, ...]]


@st.composite
def inputs(draw: st.DrawFn, least: tuple[int, int] = (1, 1)) -> Input:
    """x, its rank and its spatial sizes, at `least` so many. Ties are common, of which the first is asked for."""
    rank = draw(st.integers(least[0], 3))
    spatial = tuple(draw(st.integers(least[1], {1: 20, 2: 9, 3: 6}[rank])) for _ in range(rank))
    lead = draw(st.sampled_from([(2, 3), (1, 1), (3,), (0, 2)]))
    seed = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randint(-4, 5, (*lead, *spatial), generator=seed).to(draw(st.sampled_from(DTYPES))) / 4
    last = draw(st.booleans()) and len(lead) == 2 and rank > 1
    return (x.contiguous(memory_format=LAST[x.dim()]) if last else x), rank, spatial


def compare(ours: Callable[[Tensor], Any], torchs: Callable[[Tensor], Any], x: Tensor) -> None:
    """Values within a rounding of torch's in float64, indices as they are; gradients, of float64, place by place."""
    y, at = ours(x)
    expected, places = torchs(x.double())
    assert y.dtype == x.dtype
    torch.testing.assert_close(y, expected.to(x.dtype), rtol=2 * torch.finfo(x.dtype).eps, atol=1e-6)
    assert places is None or torch.equal(at, places)
    slopes = []
    for call in (ours, torchs):
        leaf = x.double().requires_grad_()
        out = call(leaf)[0]
        slopes += torch.autograd.grad(out, leaf, torch.arange(1.0, out.numel() + 1).reshape(out.shape).double())
    torch.testing.assert_close(slopes[0], slopes[1])


@given(inputs(), st.data())
@settings(max_examples=50, deadline=None)
def test_adaptive(given: Input, data: st.DataObject) -> None:
    x, rank, spatial = given
    out = tuple(data.draw(st.sampled_from(sorted({1, 2, 3, n, n + 1, 2 * n}))) for n in spatial)
    for name in ("avg", "max"):
        torchs = getattr(F, f"adaptive_{name}_pool{rank}d")
        more = {"return_indices": True} if name == "max" else {}
        compare(
            lambda v, name=name: adaptive_pool(v, name, out, return_extra=True),
            lambda v, torchs=torchs, more=more: torchs(v, out, **more) if more else (torchs(v, out), None),
            x,
        )


@given(inputs((2, 2)), st.data())
@settings(max_examples=40, deadline=None)
def test_fractional(given: Input, data: st.DataObject) -> None:
    """In two and three axes: torch has none in one, and in three no window for every place."""
    x, rank, spatial = given
    kernel = tuple(data.draw(st.integers(1, n - (rank == 3))) for n in spatial)
    out = tuple(data.draw(st.integers(1, n - k + (rank == 2))) for n, k in zip(spatial, kernel, strict=True))
    lead = x.shape[: x.dim() - rank]
    batched = (1, *lead) if len(lead) == 1 else lead
    samples = torch.rand(*batched, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(len(spatial)))
    torchs = getattr(F, f"fractional_max_pool{rank}d")
    theirs = samples.flip(-1) if rank == 2 else samples  # torch's 2-D function has the axes the other way round
    compare(
        lambda v: fractional_pool(v, "max", kernel, out, samples=samples.reshape(*lead, rank), return_extra=True),
        lambda v: torchs(v, kernel, output_size=out, return_indices=True, _random_samples=theirs),
        x,
    )


@given(inputs(), st.data())
@settings(max_examples=60, deadline=None)
def test_dilated(given: Input, data: st.DataObject) -> None:
    x, rank, spatial = given
    kernel = tuple(data.draw(st.integers(1, min(n, 3))) for n in spatial)
    pairs = list(zip(spatial, kernel, strict=True))
    dilation = tuple(data.draw(st.integers(1, max(1, (n - 1) // (k - 1) if k > 1 else 2))) for n, k in pairs)
    stride = tuple(data.draw(st.integers(1, 3)) for _ in spatial)
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    ceil = data.draw(st.booleans())
    torchs = getattr(F, f"max_pool{rank}d")
    compare(
        lambda v: pool_with_extra(v, "max", kernel, stride, padding, ceil, dilation=dilation),
        lambda v: torchs(v, kernel, stride, padding, dilation, ceil, True),
        x,
    )
