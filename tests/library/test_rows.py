"""Every row against the definitions, over windows, ranks, dtypes and layouts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import adapool
from adapool import Window, get, names, pool
from suites import golden
from tests.support import oracle

ROWS = [name for name in names() if not get(name).takes("random")]  # draws have tests of their own
BOUNDED, HOMOGENEOUS, ODD, LINEAR = (
    [name for name in ROWS if what in get(name).holds] for what in ("bounded", "homogeneous", "odd", "linear")
)
WINDOWS = [
    pytest.param((2, 2), None, 0, False, id="k2s2"),
    pytest.param((3, 3), 2, 1, False, id="k3s2p1-overlap"),
    pytest.param((2, 3), (3, 4), 0, False, id="gaps"),
    pytest.param((3, 2), (2, 2), (1, 0), True, id="ceil-ragged"),
    pytest.param((7, 6), None, 0, False, id="whole"),
]


def sample(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", [*names(), *adapool.LEARNED])
def test_golden_values(name: str) -> None:
    for case in golden.GOLDEN[name]:
        for dtype, tolerance, steep in ((torch.float64, 1e-14, 2e-12), (torch.float32, 2e-6, 4e-6)):
            y, grad = golden.answer(name, case, dtype)
            assert y == pytest.approx(case.y, rel=tolerance), case
            assert case.grad is None or grad == pytest.approx(case.grad, abs=steep), case


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), WINDOWS)
@pytest.mark.parametrize("name", ROWS)
def test_definition_at_every_cell(name: str, kernel, stride, padding, ceil_mode) -> None:
    """Against a definition of its own where there is one, else against the row on each region alone."""
    x = sample(2, 3, 7, 6)
    y = pool(x, name, kernel, stride, padding, ceil_mode)
    define = oracle.DEFINITIONS.get(
        name, lambda taps: pool(torch.tensor([[taps]], dtype=torch.float64), name, len(taps)).item()
    )
    window = Window.make(2, kernel, stride, padding, ceil_mode)
    seen = 0
    for cell, taps in oracle.regions((7, 6), window.kernel, window.stride, window.padding, ceil_mode):
        for n, c in ((0, 0), (1, 2)):
            expected = define([x[n, c][tap].item() for tap in taps])
            assert y[n, c][cell].item() == pytest.approx(expected, rel=1e-12, abs=1e-13)
        seen += 1
    assert seen == math.prod(y.shape[2:])


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=3
    ),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_output_size_is_torchs(axes: list[tuple[int, int, int, int]], ceil_mode: bool) -> None:
    axes = [(n, k, s, min(p, k // 2)) for n, k, s, p in axes if n + 2 * min(p, k // 2) >= k]
    if not axes:
        return
    spatial, kernel, stride, padding = zip(*axes, strict=True)
    window = Window.make(len(axes), kernel, stride, padding, ceil_mode)
    counted = tuple(oracle.cells(*axis, ceil_mode) for axis in axes)
    assert window.output(spatial) == counted
    reference = getattr(torch.nn.functional, f"max_pool{len(axes)}d")
    torchs = reference(torch.ones(1, 1, *spatial), kernel, stride, padding, ceil_mode=ceil_mode)
    assert torchs.shape[2:] == counted


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_agrees_with_torch(rank: int) -> None:
    x = sample(2, 3, *(7, 8, 6)[:rank])
    f = torch.nn.functional
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        expected = getattr(f, f"avg_pool{rank}d")(x, kernel, stride, padding, count_include_pad=False)
        torch.testing.assert_close(pool(x, "avg", kernel, stride, padding), expected)
        expected, indices = getattr(f, f"max_pool{rank}d")(x, kernel, stride, padding, return_indices=True)
        y, ours = getattr(adapool, f"max_pool{rank}d")(x, kernel, stride, padding, return_indices=True)
        torch.testing.assert_close((y, ours), (expected, indices))
    for p in (1.0, 2.0, 3.0, 4.0):
        expected = getattr(f, f"lp_pool{rank}d")(x.abs(), p, 2)
        torch.testing.assert_close(pool(x.abs(), "lp", 2, p=p), expected)
    expected = getattr(f, f"lp_pool{rank}d")(x, 3.0, 2)
    torch.testing.assert_close(pool(x, "lp", 2, p=3.0), expected, equal_nan=True)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", ROWS)
def test_gradcheck(name: str, rank: int) -> None:
    shape = {1: (2, 2, 9), 2: (2, 2, 5, 6), 3: (1, 2, 4, 3, 4)}[rank]
    x = sample(*shape, seed=rank).requires_grad_()
    for stride, padding in ((2, 1), (1, 0), (3, 0)):
        if min(shape[2:]) < 3:
            continue
        assert torch.autograd.gradcheck(lambda x, s=stride, p=padding: pool(x, name, 3, s, p), (x,))


@pytest.mark.parametrize("name", ["ada", "lp_abs", "dpp", "dpp_asym", "lip"])
def test_gradcheck_operands(name: str) -> None:
    x = sample(2, 3, 6, 5).requires_grad_()
    positive = sample(3, 1, 1).abs().add(1).requires_grad_()
    given = {
        "ada": [{"beta": sample(3, 3, 2).sigmoid()}, {"beta": sample(1).sigmoid()}, {"beta": sample(3, 2).sigmoid()}],
        "lp_abs": [{"p": positive}],
        "dpp": [{"lam": positive, "alpha": positive, "guide": sample(2, 3, 3, 2, seed=1)}, {"lam": positive}],
        "dpp_asym": [{"lam": positive, "alpha": positive, "guide": sample(2, 3, 3, 2, seed=1)}],
        "lip": [{"logits": sample(2, 3, 6, 5, seed=2)}],
    }[name]
    for operands in given:
        keys = list(operands)
        tensors = [operands[key].detach().clone().requires_grad_() for key in keys]
        assert torch.autograd.gradcheck(
            lambda x, *rest, keys=keys: pool(x, name, 2, **dict(zip(keys, rest, strict=True))), (x, *tensors)
        )


@pytest.mark.parametrize("name", ROWS)
@given(st.permutations(range(9)), st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_order_of_taps_does_not_matter(name: str, order: list[int], seed: int) -> None:
    x = sample(1, 2, 9, seed=seed)
    torch.testing.assert_close(pool(x[..., order], name, 9), pool(x, name, 9), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", BOUNDED)
def test_constant_region_comes_back(name: str, dtype: torch.dtype) -> None:
    for value in (0.0, 1.0, -3.0, 0.1, 90.0, -110.0, 3e4, -1e-4):
        x = torch.full((1, 2, 5, 5), value, dtype=dtype)
        y = pool(x, name, 3, 2, 1)
        ulps = 4 if name in ("avg", "mixed") else 0  # a plain mean may round; a weighted sum about the mean may not
        torch.testing.assert_close(y, torch.full_like(y, value), rtol=ulps * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("name", BOUNDED)
def test_stays_between_minimum_and_maximum(name: str) -> None:
    x = sample(2, 4, 8, 8, dtype=torch.float32) * 5
    y, top = pool(x, name, 3, 2), pool(x, "max", 3, 2)
    slack = 1e-5
    assert (y <= top + slack).all()
    assert (y >= -pool(-x, "max", 3, 2) - slack).all()


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40, -1.0])
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_scales_with_its_input(name: str, factor: float) -> None:
    if factor < 0 and name not in ODD:
        return
    x = sample(1, 3, 8, 8, dtype=torch.float32)
    torch.testing.assert_close(pool(x * factor, name, 3, 2), pool(x, name, 3, 2) * factor, rtol=3e-6, atol=0)


@pytest.mark.parametrize("name", LINEAR)
def test_adds(name: str) -> None:
    x, other = sample(1, 3, 8, 8), sample(1, 3, 8, 8, seed=1)
    torch.testing.assert_close(pool(x + other, name, 3, 2, 1), pool(x, name, 3, 2, 1) + pool(other, name, 3, 2, 1))


@pytest.mark.parametrize("name", ROWS)
def test_layouts_agree_and_input_is_untouched(name: str) -> None:
    x = sample(2, 8, 6, 5)
    before = x.clone()
    y = pool(x, name, 2, 1)
    wide = sample(2, 16, 12, 10)
    wide[:, ::2, ::2, ::2] = x
    variants = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "strided": wide[:, ::2, ::2, ::2],
    }
    for label, variant in variants.items():
        torch.testing.assert_close(pool(variant, name, 2, 1), y, msg=lambda m, label=label: f"{label}: {m}")
        torch.testing.assert_close(pool(variant[0], name, (2, 2), 1), y[0])
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ROWS)
def test_batch_shapes(name: str) -> None:
    x = sample(3, 2, 6, 6)
    y = pool(x, name, 2)
    torch.testing.assert_close(pool(x[1], name, (2, 2)), y[1], rtol=0, atol=0)
    assert pool(x[:0], name, 2).shape == (0, 2, 3, 3)
    assert pool(x[:, :0], name, 2).shape == (3, 0, 3, 3)
    empty = x[:0].clone().requires_grad_()
    pool(empty, name, 2).sum().backward()
    assert empty.grad is not None and empty.grad.shape == (0, 2, 6, 6)
    torch.testing.assert_close(pool(x, name, None).flatten(2), pool(x.flatten(2), name, 36))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ROWS)
def test_sixteen_bit(name: str, dtype: torch.dtype) -> None:
    x = (sample(2, 3, 9, 9) * 3).to(dtype)
    y = pool(x, name, 3, 2, 1)
    expected = pool(x.double(), name, 3, 2, 1)
    assert y.dtype == dtype
    unit, floor = {torch.float16: (2.0**-11, 2e-5), torch.bfloat16: (2.0**-8, 3e-4)}[dtype]
    top = pool(x.double().abs(), "max", 3, 2, 1)
    assert ((y.double() - expected).abs() <= unit * expected.abs() + floor * top).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_dtypes_keep_their_own_gradients(dtype: torch.dtype) -> None:
    x = sample(2, 3, 8, 8).to(dtype).requires_grad_()
    beta = torch.full((3, 1, 1), 0.3, requires_grad=True)
    y = adapool.adapool2d(x, beta)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, beta.grad.dtype) == (dtype, dtype, torch.float32)
    double = x.detach().double().requires_grad_()
    reference = torch.full((3, 1, 1), 0.3, requires_grad=True, dtype=torch.float64)
    adapool.adapool2d(double, reference).sum().backward()
    torch.testing.assert_close(beta.grad.double(), reference.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ROWS)
def test_nothing_is_laundered(name: str, value: float) -> None:
    x = sample(1, 1, 6, dtype=torch.float32).abs()
    x[0, 0, 1] = -1e30
    limit = pool(x, name, 3).flatten()[0]
    x[0, 0, 1] = value
    y = pool(x, name, 3).flatten()
    low = value == -math.inf and y[0] == limit  # as any number that is low enough: the maximum does not see it
    assert not y[0].isfinite() or (low and limit.abs() < 1e3)
    assert y[1].isfinite()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", ["softpool", "edscw", "ada"])
def test_float32_error_bounds(name: str, scale: float) -> None:
    x = sample(1, 4, 120, 120) * scale
    exact = x.float().double().requires_grad_()
    single = x.float().requires_grad_()
    for kernel, stride in ((2, 2), (3, 2)):
        y, reference = pool(single, name, kernel, stride), pool(exact, name, kernel, stride)
        top = pool(exact.detach().abs(), "max", kernel, stride)
        assert ((y.double() - reference).abs() <= 2e-6 * top).all()
        if kernel == stride:
            (grad,) = torch.autograd.grad(y.sum(), single)
            (wanted,) = torch.autograd.grad(reference.sum(), exact)
            mean = pool(exact.detach(), "avg", kernel, stride).abs()
            amount = 4e-6 * (1 + top / mean) * pool(wanted.abs(), "max", kernel, stride)
            assert ((grad - wanted).abs() <= amount.repeat_interleave(2, 2).repeat_interleave(2, 3)).all()


HARD = [
    [0.0] * 4, [90.0] * 4, [-110.0] * 4, [1e4, -1e4, 1e4, -1e4], [1e30, -1e30, 1.0, 2.0], [3e38] * 4,
    [3e38, -3e38, -3e38, -3e38], [1e-40, 2e-40, 3e-40, 4e-40], [1.0, -1.0, 1e-7, 0.0], [0.0, 0.0, 0.0, 1e-38],
    [1e30, 1e-30, 0.0, 0.0], [-1.0, -1.0, -1.0, 3.0],
]  # fmt: skip


@pytest.mark.parametrize("values", HARD, ids=str)
@pytest.mark.parametrize("name", BOUNDED)
def test_finite_in_finite_out(name: str, values: list[float]) -> None:
    x = torch.tensor(values).reshape(1, 1, 4).requires_grad_()
    y = pool(x, name, 4)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.isfinite().all(), y
    assert grad.isfinite().all() or max(map(abs, values)) > 1e38, grad  # there scale times slope passes float32's end
    expected = pool(x.double(), name, 4)
    assert (y - expected).abs().max() <= 4e-6 * x.abs().max().double() + 1e-43


def test_half_at_ordinary_and_large_activations() -> None:
    for scale in (1e-4, 300.0, 1e4):
        x = (sample(1, 2, 16, 16).clamp(-3, 3) * scale).half()
        for name in ("softpool", "edscw", "ada", "idw"):
            y = pool(x, name, 2)
            torch.testing.assert_close(
                y.double(), pool(x.double(), name, 2), rtol=2e-3, atol=max(2e-4 * scale, 2.0**-24)
            )


@pytest.mark.parametrize("implementation", ["plain", "auto"])
@pytest.mark.parametrize("name", ROWS)
def test_gradient_is_finite_where_a_padded_regions_mean_is_zero(name: str, implementation: str) -> None:
    x = torch.tensor([[[1.0, -1.0, 3.0, 2.0, -2.0]]], requires_grad=True)
    (grad,) = torch.autograd.grad(pool(x, name, 3, 2, 1, implementation=implementation).sum(), x)
    assert grad.isfinite().all() or name == "lp", grad


@pytest.mark.parametrize("implementation", ["plain", "auto"])
def test_expectation_has_no_gradient_at_zero(implementation: str) -> None:
    x = torch.tensor([[[0.0, 2.0, 1.0]]], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(pool(x, "stochastic_eval", 3, implementation=implementation).sum(), x)
    torch.testing.assert_close(grad.flatten(), torch.tensor([0.0, (4 - 5 / 3) / 3, (2 - 5 / 3) / 3]).double())
