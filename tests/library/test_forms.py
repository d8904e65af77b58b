"""Adaptive, fractional and dilated regions: torch's for avg and max, every method on them, layers of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import adapool
from adapool import AdaptivePool, FractionalPool, Pool, adaptive_pool, fractional_pool, native, pool, pool_with_extra
from tests.support.problems import values

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch has no batching rule for unfold's adjoint
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
NAMES = adapool.names()
Lines = Sequence[Sequence[Sequence[int]]]  # of every axis the taps of every cell


def adaptive_lines(spatial: Sequence[int], out: Sequence[int]) -> Lines:
    """As torch's documentation words it."""
    return [
        [range(o * n // m, -(-(o + 1) * n // m)) for o in range(m)] for n, m in zip(spatial, out, strict=True)
    ]  # fmt: skip


def fractional_lines(spatial: Sequence[int], k: int, out: Sequence[int], u: Sequence[float]) -> Lines:
    lines = []
    for n, m, sample in zip(spatial, out, u, strict=True):
        step = (n - k) / (m - 1) if m > 1 else 0.0
        starts = [int((i + sample) * step) - int(sample * step) for i in range(m - 1)] + [n - k]
        lines.append([range(start, start + k) for start in starts])
    return lines


def dilated_lines(spatial: Sequence[int], k: int, s: int, p: int, d: int) -> Lines:
    lines = []
    for n in spatial:
        cells = (n + 2 * p - d * (k - 1) - 1) // s + 1
        lines.append([[i for i in range(o * s - p, o * s - p + d * k, d) if 0 <= i < n] for o in range(cells)])
    return lines


def by_cell(x: Tensor, name: str, lines: Lines, u: Tensor) -> Tensor:
    """The method over each region alone, taken out of one plane `x [*spatial]`; u for stochastic."""
    out = torch.empty([len(cells) for cells in lines], dtype=x.dtype)
    for cell in itertools.product(*(range(len(cells)) for cells in lines)):
        taps = torch.stack([x[tap] for tap in itertools.product(*(a[o] for a, o in zip(lines, cell, strict=True)))])
        more = {draw: u[cell].reshape(1, 1, 1) for draw in adapool.get(name).takes("random")}
        out[cell] = pool(taps.reshape(1, 1, -1), name, (len(taps),), implementation="plain", **more).squeeze()
    return out


@pytest.mark.parametrize("name", NAMES)
def test_every_method_over_every_region(name: str) -> None:
    x, out = values(2, 2, 7, 6), (3, 5)
    samples = torch.rand(2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u = torch.rand(2, 2, *out, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    more: dict[str, Any] = dict.fromkeys(adapool.get(name).takes("random"), u)
    dilated: dict[str, Any] = dict.fromkeys(more, u[..., :2, :2])
    found = {
        "adaptive": adaptive_pool(x, name, out, **more),
        "fractional": fractional_pool(x, name, 2, out, samples=samples, **more),
        "dilated": pool(x, name, 3, 3, 1, dilation=2, **dilated),
    }
    for n, c in ((0, 1), (1, 0)):
        lines = {
            "adaptive": adaptive_lines((7, 6), out),
            "fractional": fractional_lines((7, 6), 2, out, samples[n, c].tolist()),
            "dilated": dilated_lines((7, 6), 3, 3, 1, 2),
        }
        for form, y in found.items():
            expected = by_cell(x[n, c], name, lines[form], u[n, c])
            torch.testing.assert_close(y[n, c], expected, rtol=1e-12, atol=1e-13, equal_nan=name == "lp")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_is_torchs(rank: int) -> None:
    x = values(2, 3, *(7, 9, 5)[:rank])
    for out in (1, 2, 3, 5, 8):
        expected = getattr(F, f"adaptive_avg_pool{rank}d")(x, out)
        torch.testing.assert_close(adaptive_pool(x, "avg", out), expected)
        expected = getattr(F, f"adaptive_max_pool{rank}d")(x, out, return_indices=True)
        torch.testing.assert_close(adaptive_pool(x, "max", out, return_extra=True), expected)
    if rank > 1:
        sizes = (None, 2, 4)[:rank]
        torch.testing.assert_close(
            adaptive_pool(x[0], "avg", sizes), getattr(F, f"adaptive_avg_pool{rank}d")(x, sizes)[0]
        )


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_adaptive_sizes(n: int, out: int) -> None:
    x = torch.arange(1.0, n + 1).reshape(1, 1, n)
    torch.testing.assert_close(adaptive_pool(x, "avg", out), F.adaptive_avg_pool1d(x, out))
    assert adaptive_pool(x, "avg", out, return_extra=True)[1].sum(-1).allclose(torch.ones(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [2, 3])
def test_fractional_is_torchs(rank: int, dtype: torch.dtype) -> None:
    torch_pool = getattr(F, f"fractional_max_pool{rank}d")
    for seed, (k, cells) in enumerate(itertools.product((1, 2, 3), (1, 2, 4))):
        out = (cells, max(cells - 1, 1), cells)[:rank]
        x = values(2, 3, *(7, 9, 8)[:rank], seed=seed).to(dtype)
        samples = torch.rand(2, 3, rank, dtype=dtype, generator=torch.Generator().manual_seed(seed))
        expected = torch_pool(x, k, output_size=out, return_indices=True, _random_samples=samples)
        ours = samples.flip(-1) if rank == 2 else samples
        torch.testing.assert_close(fractional_pool(x, "max", k, out, samples=ours, return_extra=True), expected)
    expected = torch_pool(x, 2, output_ratio=(0.6,) * rank, _random_samples=samples)
    torch.testing.assert_close(fractional_pool(x, "max", 2, output_ratio=0.6, samples=ours), expected)


@given(st.integers(1, 60), st.integers(1, 5), st.data())
@settings(max_examples=60, deadline=None)
def test_fractional_regions_lie_inside_and_in_order(n: int, k: int, data: st.DataObject) -> None:
    k = min(n, k)
    out = data.draw(st.integers(1, n - k + 1))
    u = data.draw(st.floats(0, 1, exclude_max=True, width=32))
    x = torch.arange(float(n)).reshape(1, 1, n)
    first = -fractional_pool(-x, "max", k, out, samples=torch.full((1, 1, 1), u)).flatten()
    assert first[-1] == n - k and first[0] >= 0 and (out == 1 or u * 0 <= first[0] <= n - k)
    assert (first.diff() >= 0).all()


def test_fractional_draws_for_each_plane_and_by_its_generator() -> None:
    x = torch.arange(40.0).expand(4, 8, 40)
    draw = lambda seed: fractional_pool(x, "max", 2, 17, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    torch.testing.assert_close(draw(3), draw(3), rtol=0, atol=0)
    assert not torch.equal(draw(3), draw(4))
    assert len({tuple(plane.tolist()) for plane in draw(3).flatten(0, 1)}) > 4


SHAPES = [
    (n, k, s, p, d, ceil)
    for n, k, s, p, d, ceil in itertools.product(
        (1, 2, 5, 6, 9), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2, 3), (False, True)
    )
]


def test_dilated_windows_are_torchs() -> None:
    allowed = 0
    for n, k, s, p, d, ceil in SHAPES:
        x = torch.arange(1.0, n + 1).reshape(1, 1, n) % 4
        try:
            expected = F.max_pool1d(x, k, s, p, d, ceil, True)
        except RuntimeError:  # of padding it allows less in some ranks
            continue
        if not expected[0].isfinite().all():  # torch's answer to a cell without a tap
            with pytest.raises(ValueError, match="dilation: expected a tap of every cell inside the input"):
                pool(x, "max", (k,), s, p, ceil, dilation=d)
            continue
        allowed += d > 1
        torch.testing.assert_close(adapool.max_pool1d(x, k, s, p, ceil, True, dilation=d), expected)
    assert allowed > 150, allowed
    x = values(2, 3, 7, 9, 8)
    expected = F.max_pool3d(x, (2, 3, 2), 2, 1, (2, 1, 3), False, True)
    torch.testing.assert_close(adapool.max_pool3d(x, (2, 3, 2), 2, 1, False, True, dilation=(2, 1, 3)), expected)


def test_dilation_of_layers_and_of_an_axis_that_has_one_tap() -> None:
    x = values(2, 3, 9, 9).float()
    torch.testing.assert_close(
        adapool.AdaPool2d(2, 0.3, dilation=(2, 3))(x), pool(x, "ada", 2, beta=0.3, dilation=(2, 3))
    )
    torch.testing.assert_close(Pool("max", 3, 2, 1, dilation=2)(x), F.max_pool2d(x, 3, 2, 1, 2))
    torch.testing.assert_close(
        pool(x, "avg", (1, None), dilation=5, implementation="native"), pool(x, "avg", (1, None))
    )
    y, weights = pool_with_extra(x, "softpool", 2, dilation=3)
    assert weights.shape == (*y.shape, 4)


def test_an_even_output_size_runs_the_compiled_kernel() -> None:
    x = values(2, 3, 8, 6).float()
    if native.status()["cpu"] != "ok":
        pytest.skip(native.status()["cpu"])
    torch.testing.assert_close(
        adaptive_pool(x, "ada", (4, None), implementation="native"), pool(x, "ada", (2, 1), implementation="plain")
    )
    torch.testing.assert_close(adaptive_pool(x, "ada", 1, implementation="native"), pool(x, "ada", None))


def test_layers() -> None:
    x = values(2, 3, 7, 6).float()
    torch.testing.assert_close(
        AdaptivePool("ada", (3, None), beta=0.3)(x[0]), adaptive_pool(x, "ada", (3, 6), beta=0.3)[0]
    )
    fixed = torch.rand(2, 3, 2)
    layer = FractionalPool("softpool", 2, output_ratio=(0.5, 0.7), samples=fixed)
    torch.testing.assert_close(layer(x), fractional_pool(x, "softpool", 2, (3, 4), samples=fixed))
    stochastic = AdaptivePool("stochastic", 3)
    torch.testing.assert_close(stochastic.eval()(x), adaptive_pool(x, "stochastic_eval", 3))
    torch.testing.assert_close(
        FractionalPool("stochastic", 2, 3, samples=fixed).eval()(x).shape, torch.Size((2, 3, 3, 3))
    )
    assert "'softpool', kernel_size=(2, 2), output_size=None, output_ratio=(0.5, 0.7)" in repr(layer)
    assert repr(AdaptivePool("ada", 7, beta=0.5)) == "AdaptivePool('ada', 7, beta=0.5)"


def test_a_beta_for_each_place_at_every_input_size() -> None:
    layer = adapool.AdaptiveAdaPool2d((3, 2), beta=(3, 2), constraint="sigmoid", gradient="detached")
    torch.nn.init.normal_(layer.beta)
    for size in ((7, 5), (9, 8), (3, 2)):  # regions of unequal sizes; windows of the row; of the kernel
        x = values(2, 3, *size).float()
        expected = adaptive_pool(x, "ada", (3, 2), beta=layer.beta.sigmoid())
        torch.testing.assert_close(layer(x), expected)
        layer(x).square().sum().backward()
        assert (layer.beta.grad is not None and (layer.beta.grad != 0).all()) or size == (3, 2)
    twin = adapool.AdaptiveAdaPool2d((3, 2), beta=(3, 2), constraint="sigmoid")
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(twin(x), layer(x))
    assert repr(layer) == "AdaptiveAdaPool2d(output_size=(3, 2), beta=(3, 2), constraint='sigmoid')"
    assert adapool.AdaptiveAdaPool1d(4)(values(2, 3, 9).float()).shape == (2, 3, 4)
    with pytest.raises(TypeError, match="padding: method 'ada' takes beta"):
        adapool.AdaptiveAdaPool2d(3, padding=1)
    with pytest.raises(ValueError, match="output_size: expected an int or 2 ints"):
        adapool.AdaptiveAdaPool2d((1, 2, 3))


def test_samples_of_any_dtype_and_size_read_inside_the_plane() -> None:
    x = torch.arange(5000.0).reshape(1, 1, 5000)
    for u in (torch.tensor(0.999).half(), torch.tensor(1.0), torch.tensor(-7.0), torch.tensor(torch.nan)):
        y = fractional_pool(x, "max", 2, 4000, samples=u.expand(1, 1, 1))
        assert y[..., -1] == 4999 and y.min() >= 1 and (u.isnan() or (y.diff() >= 0).all())
