"""Measures of similarity: against loops in plain floats, over vectors and scalars, their limits and symmetries."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import adapool
from adapool import adaptive_pool, get, names, native, pool
from tests.support import oracle

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch has no batching rule for unfold's adjoint
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
OPTIONS = [
    (name, measure, similarity)
    for name in ("edscw", "idw")
    for measure in get(name).measures
    for similarity in ("channel", "vector")
]


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("name", "measure", "similarity"), OPTIONS)
def test_by_hand(name: str, measure: str, similarity: str) -> None:
    x = values(2, 3, 12) * 2
    y = pool(x, name, 4, similarity=similarity, measure=measure)
    for n in range(2):
        for cell in range(3):
            taps = x[n, :, 4 * cell : 4 * cell + 4].T.tolist()
            assert y[n, :, cell].tolist() == pytest.approx(expected(name, measure, similarity, taps), rel=1e-12)


def expected(name: str, measure: str, similarity: str, taps: list[list[float]]) -> list[float]:
    if similarity == "vector":
        return oracle.by_likeness(name, measure, taps)
    return [oracle.by_likeness(name, measure, [[value] for value in line])[0] for line in zip(*taps, strict=True)]


REGIONS = st.lists(st.lists(st.integers(-7, 7).map(float), min_size=3, max_size=3), min_size=1, max_size=7)


@given(REGIONS, st.sampled_from([1.0, 0.1, 3.0]))
@settings(max_examples=25, deadline=None)
def test_by_hand_at_ties_zeros_and_means_of_zero(taps: list[list[float]], scale: float) -> None:
    """Small whole numbers meet every kink; a scale makes fractions of them that rounding changes."""
    x = (torch.tensor(taps, dtype=torch.float64) * scale).T[None].requires_grad_()
    for name, measure, similarity in OPTIONS:
        y = pool(x, name, len(taps), similarity=similarity, measure=measure, implementation="plain")
        (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        assert grad.isfinite().all() and torch.autograd.grad(grad.sum(), x)[0].isfinite().all()
        if measure != "huber" or scale == 1:
            wanted = [value * scale for value in expected(name, measure, similarity, taps)]
            assert y.flatten().tolist() == pytest.approx(wanted, abs=1e-9), (name, measure, similarity)


def signed(x: Tensor, order: list[int], signs: list[float]) -> Tensor:
    return x[:, order] * torch.tensor(signs).double().reshape(1, -1, *(1,) * (x.dim() - 2))


@given(st.integers(0, 99), st.permutations(range(4)), st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4))
@settings(max_examples=5, deadline=None)
def test_symmetries_of_taps_and_channels(seed: int, order: list[int], signs: list[float]) -> None:
    """What a measure does not tell apart: the taps' order, channels exchanged and turned round, twice as many alike."""
    x = values(2, 4, 4, seed=seed)
    for name, measure, similarity in OPTIONS:
        call = lambda v, s=similarity, m=measure, name=name: pool(v, name, 4, similarity=s, measure=m)  # noqa: E731
        y = call(x)
        torch.testing.assert_close(call(x[..., order]), y, rtol=1e-11, atol=1e-12)
        if measure != "pce":
            torch.testing.assert_close(call(signed(x, order, signs)), signed(y, order, signs), rtol=1e-11, atol=1e-12)
            torch.testing.assert_close(call(x.repeat(1, 2, 1)), y.repeat(1, 2, 1), rtol=1e-11, atol=1e-12)
        else:  # of circular correlation: channels moved round the circle, all of them turned round
            torch.testing.assert_close(-call(-x.roll(seed, 1)), y.roll(seed, 1), rtol=1e-11, atol=1e-12)
        if similarity == "vector" and measure in ("l2", "dice", "cosine"):  # turned in any direction
            turn = torch.linalg.qr(values(4, 4, seed=seed + 1))[0]
            torch.testing.assert_close(call(turn @ x), turn @ y, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("name", "measure", "similarity"), OPTIONS)
def test_nothing_is_laundered(name: str, measure: str, similarity: str, value: float) -> None:
    """Weights that channels share are no better than the worst of them."""
    x = values(1, 3, 6, seed=3).float()
    clean = pool(x, name, 3, similarity=similarity, measure=measure)
    x[0, 0, 1] = value
    y = pool(x, name, 3, similarity=similarity, measure=measure)
    assert not y[0, 0, 0].isfinite() and torch.equal(y[..., 1], clean[..., 1])
    assert not y[0, 1:, 0].isfinite().any() if similarity == "vector" else torch.equal(y[0, 1:], clean[0, 1:])


@pytest.mark.parametrize(("name", "measure", "similarity"), OPTIONS)
def test_gradients_near_kinks(name: str, measure: str, similarity: str) -> None:
    """A tap near the mean, taps near zero, a mean near zero, a gap on either side of Huber's knee."""
    kinks = torch.tensor([[0.0, 1, 2, 3, 2, -1, -1, 0.01], [0.0, 0, 1, -1, 1, 3, -4, 0]], dtype=torch.float64)
    x = (kinks + 2e-3 * values(2, 8, seed=4))[None].requires_grad_()
    call = lambda v: pool(v, name, 4, similarity=similarity, measure=measure)  # noqa: E731
    assert torch.autograd.gradcheck(call, (x,), eps=1e-7, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "measure", "similarity"), OPTIONS)
def test_nothing_to_pool(name: str, measure: str, similarity: str) -> None:
    x = torch.ones(0, 3, 6, requires_grad=True)
    y = pool(x, name, 3, similarity=similarity, measure=measure)
    assert y.shape == (0, 3, 2) and torch.autograd.grad(y.sum(), x)[0].shape == x.shape


def test_worked_values() -> None:
    """Four taps [1, 0], [2, 1], [0, 3], [1, 1], of mean [1, 1.25]."""
    x = torch.tensor([[1.0, 2, 0, 1], [0.0, 1, 3, 1]], dtype=torch.float64).unsqueeze(0)
    found = {m: pool(x, "idw", 4, similarity="vector", measure=m).flatten().tolist() for m in get("idw").measures}
    l1 = [1 / 1.25, 1 / 1.25, 1 / 2.75, 1 / 0.25]
    assert found["l1"] == pytest.approx([v / sum(l1) for v in (l1[0] + 2 * l1[1] + l1[3], l1[1] + 3 * l1[2] + l1[3])])
    most = [1 / 1.25, 1, 1 / 1.75, 4]
    assert found["chebyshev"] == pytest.approx(
        [v / sum(most) for v in (most[0] + 2 * most[1] + most[3], most[1] + 3 * most[2] + most[3])]
    )
    h = [1 / 0.75, 1 / (0.5 + 0.03125), 1 / (0.5 + 1.25), 1 / 0.03125]
    assert found["huber"] == pytest.approx([v / sum(h) for v in (h[0] + 2 * h[1] + h[3], h[1] + 3 * h[2] + h[3])])
    cosine = [math.exp(v / math.sqrt(2.5625)) for v in (1, 3.25 / math.sqrt(5), 1.25, 2.25 / math.sqrt(2))]
    assert pool(x, "edscw", 4, similarity="vector", measure="cosine").flatten().tolist() == pytest.approx(
        [v / sum(cosine) for v in (cosine[0] + 2 * cosine[1] + cosine[3], cosine[1] + 3 * cosine[2] + cosine[3])]
    )


@pytest.mark.parametrize(("name", "measure", "similarity"), OPTIONS)
def test_gradients_and_transforms(name: str, measure: str, similarity: str) -> None:
    x = values(1, 3, 5, seed=1).requires_grad_()
    call = lambda v: pool(v, name, 3, 2, similarity=similarity, measure=measure, implementation="plain")  # noqa: E731
    assert torch.autograd.gradcheck(call, (x,))
    (grad,) = torch.autograd.grad(call(x).square().sum(), x)
    one = torch.func.grad(lambda sample: call(sample[None]).square().sum())
    torch.testing.assert_close(torch.vmap(one)(x.detach()), grad)
    slope = torch.func.jvp(call, (x.detach(),), (torch.ones_like(x),))[1]
    torch.testing.assert_close((2 * call(x) * slope).sum(), grad.sum())


@pytest.mark.parametrize(("name", "measure", "similarity"), OPTIONS)
def test_what_every_measure_holds(name: str, measure: str, similarity: str) -> None:
    options = {"similarity": similarity, "measure": measure}
    x = values(2, 3, 8, 6, seed=2).float()
    y = pool(x, name, 3, 2, 1, **options)
    top, low = pool(x, "max", 3, 2, 1), -pool(-x, "max", 3, 2, 1)
    assert ((y <= top + 1e-5) & (y >= low - 1e-5)).all()
    torch.testing.assert_close(pool(-x, name, 3, 2, 1, **options), -y)
    if measure != "huber":
        for factor in (2.0**-40, 2.0**40):
            torch.testing.assert_close(pool(x * factor, name, 3, 2, 1, **options), y * factor, rtol=1e-5, atol=0)
    if name == "idw":
        torch.testing.assert_close(
            pool(x.double() + 3, name, 3, 2, **options), pool(x.double(), name, 3, 2, **options) + 3
        )
    for value in (0.0, 1.0, -3.0, 0.1, 90.0, 3e4, -1e-4, 1e30, 1e-40):
        flat = torch.full((1, 2, 5, 5), value, requires_grad=True)
        pooled = pool(flat, name, 3, 2, 1, **options)
        torch.testing.assert_close(pooled, torch.full_like(pooled, value), rtol=0, atol=0)
        assert torch.autograd.grad(pooled.sum(), flat)[0].isfinite().all()


HARD = [
    [[0.0, 0, 0, 0], [1.0, 2, 3, 4]], [[1e30, 1e-30, 0, 0], [0, 0, 0, 1e-30]], [[1.0, -1, 1, -1], [2.0, 2, -2, -2]],
    [[1e-40, 2e-40, 3e-40, 0], [0, 0, 1e-40, 0]], [[3e38, -3e38, 1.0, 0], [1.0, 2, 3, 4]],
    [[1.0, 1, 1, 1], [1, -1, 1, -1]],
]  # fmt: skip


@pytest.mark.parametrize("taps", HARD, ids=str)
@pytest.mark.parametrize(("name", "measure", "similarity"), OPTIONS)
def test_finite_in_finite_out(name: str, measure: str, similarity: str, taps: list[list[float]]) -> None:
    x = torch.tensor([taps]).requires_grad_()
    y = pool(x, name, 4, similarity=similarity, measure=measure)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.isfinite().all() and (grad.isfinite().all() or x.abs().max() > 1e38)
    expected = pool(x.double(), name, 4, similarity=similarity, measure=measure)
    assert ((y - expected).abs() <= 2e-5 * x.abs().amax(-1, keepdim=True).double() + 1e-43).all()


@pytest.mark.parametrize("similarity", ["channel", "vector"])
def test_huber_is_quadratic_near_and_straight_far(similarity: str) -> None:
    x = values(1, 2, 12)
    far = pool(x * 1e8, "idw", 4, similarity=similarity, measure="huber") / 1e8
    torch.testing.assert_close(far, pool(x, "idw", 4, similarity=similarity, measure="l1"), rtol=1e-6, atol=1e-7)
    near = pool(x * 1e-8, "idw", 4, similarity=similarity, measure="huber") * 1e8
    gaps = x.unfold(-1, 4, 4) - x.unfold(-1, 4, 4).mean(-1, keepdim=True)
    square = (gaps**2).sum(1, keepdim=True) if similarity == "vector" else gaps**2
    expected = (x.unfold(-1, 4, 4) / square).sum(-1) / (1 / square).sum(-1)
    torch.testing.assert_close(near, expected)


def test_of_scalars_some_are_one_and_have_the_kernel() -> None:
    x = values(2, 3, 8, 8).float()
    plain = pool(x, "idw", 3, 2, implementation="plain")
    how: Any = "native" if native.status()["cpu"] == "ok" else "auto"
    for measure in ("l1", "l2", "chebyshev"):
        torch.testing.assert_close(pool(x, "idw", 3, 2, measure=measure, implementation=how), plain)
    dice = pool(x, "ada", 3, 2, implementation="plain")
    torch.testing.assert_close(pool(x, "ada", 3, 2, measure="dice", implementation=how), dice)
    torch.testing.assert_close(pool(x.abs() + 1, "edscw", 3, measure="pce"), pool(x.abs() + 1, "avg", 3))
    one = x[:, :1]
    for name, measure, _ in OPTIONS:  # one channel is a scalar
        found = (
            pool(one, name, 3, 2, measure=measure, similarity=s, implementation="plain") for s in ("channel", "vector")
        )
        torch.testing.assert_close(*found)


def test_everything_that_pools_takes_them() -> None:
    x = values(2, 3, 7, 6).float()
    option: dict[str, Any] = {"similarity": "vector", "measure": "cosine"}
    parts = pool(x, "edscw", 2, **option), pool(x, "softpool", 2)
    torch.testing.assert_close(pool(x, "ada", 2, beta=0.25, **option), 0.25 * parts[0] + 0.75 * parts[1])
    torch.testing.assert_close(adapool.AdaPool2d(2, 0.25, **option)(x), pool(x, "ada", 2, beta=0.25, **option))
    y, (mask, _, _) = adapool.adapool2d(x, 0.25, 2, return_mask=True, **option)
    torch.testing.assert_close(pool(x[..., :6, :] * mask, "sum", 2), parts[0])
    torch.testing.assert_close(adapool.IDWPool2d(2, measure="huber")(x), pool(x, "idw", 2, measure="huber"))
    assert not torch.equal(adaptive_pool(x, "idw", 3, measure="huber"), adaptive_pool(x, "idw", 3))
    ones = torch.ones_like(y)
    spread = adapool.unpool(ones, x[..., :6, :], "edscw", 2, **option)
    torch.testing.assert_close(pool(spread, "avg", 2), ones)
    assert spread[:, 0].equal(spread[:, 1])  # one weight for all channels
    compiled = torch.compile(lambda x: pool(x, "edscw", 2, **option), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), parts[0])


X = torch.ones(1, 2, 4, 4)


@pytest.mark.parametrize(
    ("kind", "words", "call"),
    [
        (ValueError, ["measure", "'dice', 'cosine', 'pce'", "'l1'"], lambda: pool(X, "ada", 2, measure="l1")),
        (ValueError, ["measure", "'l2', 'l1', 'chebyshev', 'huber'", "'dice'"],
         lambda: adapool.Pool("idw", 2, measure="dice")),
        (TypeError, ["measure", "'avg' takes no operands"], lambda: pool(X, "avg", 2, measure="l1")),
        (ValueError, ["implementation", "no compiled kernel for method 'edscw' with measure 'pce'", "'plain'"],
         lambda: pool(X, "edscw", 2, measure="pce", implementation="native")),
        (ValueError, ["implementation", "no compiled kernel for method 'ada' with similarity 'vector'"],
         lambda: pool(X, "ada", 2, similarity="vector", implementation="native")),
        (ValueError, ["similarity", "'channel'", "'vector'"],
         lambda: adapool.unpool(X[..., ::2, ::2], X, "lip", 2, similarity="vector")),
    ],
)  # fmt: skip
def test_messages(kind: type[Exception], words: list[str], call: Any) -> None:
    with pytest.raises(kind) as raised:
        call()
    assert "\n" not in str(raised.value) and all(word in str(raised.value) for word in words), raised.value


def test_only_what_compares_has_measures() -> None:
    assert {name for name in names() if get(name).measures} == {"edscw", "idw", "ada"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-20, 1e-2, 1.0, 30.0, 1e20])
def test_huber_of_scalars_has_a_kernel(scale: float, dtype: torch.dtype) -> None:
    """Near its knee, far below and far above it; weights, both gradients, and what is restored by them."""
    if native.status()["cpu"] != "ok":
        pytest.skip("no compiled library")
    base = torch.tensor([0.0, 1.0, 2.5, 7.0, -1.0, 0.5, 0.5, 4.0, 1.0]).repeat(6)  # no mean is a tap
    x = (base.reshape(1, 1, 6, 9) * scale).to(dtype).expand(2, 3, 6, 9)
    found = []
    for how, leaf in (("native", x.clone().requires_grad_()), ("plain", x.double().requires_grad_())):
        options: dict[str, Any] = {"measure": "huber", "implementation": how}
        y, weights = adapool.pool_with_extra(leaf, "idw", 3, 3, **options)
        slope = torch.autograd.grad(y.sum(), leaf)[0]
        back = adapool.unpool(torch.ones_like(y), leaf, "idw", 3, **options)
        found.append([y / scale, weights, slope, back, torch.autograd.grad(back.square().sum(), leaf)[0] * scale])
    close = 1e-9 if dtype == torch.float64 else 1e-4 if dtype == torch.float32 else 2e-2
    for got, want in zip(*found, strict=True):
        assert (got.double() - want).abs().max() <= close * want.abs().max().clamp(min=1)
    if scale <= 1:  # far above the knee it is the distance itself
        assert not torch.allclose(found[1][0], pool(x.double(), "idw", 3, 3) / scale)
