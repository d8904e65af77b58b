"""Layers that train a row's operand: where they start, their limits, what is drawn, and every way to train them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from adapool import MixedPool1d, MixedPool2d, MixedPool3d, PowerPool1d, PowerPool2d, PowerPool3d, pool

LAYERS = [PowerPool1d, PowerPool2d, PowerPool3d, MixedPool1d, MixedPool2d, MixedPool3d]


def sample(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_power_runs_from_the_average_to_the_maximum() -> None:
    x = sample(2, 3, 8, 8).abs() + 0.01
    torch.testing.assert_close(pool(x, "power", 2, p=1.0), pool(x, "avg", 2))
    torch.testing.assert_close(pool(x, "power_sum", 2, p=1.0), pool(x, "sum", 2))
    for method in ("power", "power_sum"):  # the power mean lies within N^(1/p) of the maximum
        torch.testing.assert_close(pool(x, method, 2, p=1e6), pool(x, "max", 2), rtol=2e-6, atol=0)
    torch.testing.assert_close(pool(x, "power", 2), pool(x**3, "avg", 2) ** (1 / 3))
    rising = [pool(x, "power", 3, 2, 1, p=p) for p in (1.0, 1.5, 3.0, 10.0, 100.0)]
    assert all((a <= b * (1 + 1e-12)).all() for a, b in itertools.pairwise(rising))


def test_power_of_what_is_not_positive_is_the_least_without_gradient() -> None:
    x = torch.tensor([[[-1.0, 0.0, -3.0, 1e-9]]], dtype=torch.float64, requires_grad=True)
    y = pool(x, "power", 4)
    torch.testing.assert_close(y.flatten(), torch.tensor([1e-6]).double())
    assert torch.autograd.grad(y.sum(), x)[0].abs().sum() == 0
    for scale in (1e-30, 1e30, 3e38):  # the third power of neither is a float32
        x = torch.tensor([[[1.0, 0.5, 0.0, 0.25]]]) * scale
        assert pool(x, "power", 4).item() == pytest.approx(max(scale * (1.140625 / 4) ** (1 / 3), 1e-6), rel=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_and_shapes(layer: type) -> None:
    x = sample(2, 3, *(6, 5, 4)[: layer.rank]).requires_grad_()
    ones = (1,) * layer.rank
    for shape in ((1,), (3, *ones)):
        made = layer(2, shape, padding=1, dtype=torch.float64)
        name, start = next(iter(made.named_parameters()))
        with torch.no_grad():
            start.add_(0.2)
        call = lambda x, value, made=made, name=name: torch.func.functional_call(made, {name: value}, (x,))  # noqa: E731
        assert torch.autograd.gradcheck(call, (x, start))
        assert made(x[0]).shape == made(x).shape[1:]
        other = layer(2, shape, padding=1, dtype=torch.float64)
        other.load_state_dict(made.state_dict())
        torch.testing.assert_close(other(x), made(x))


def test_starts_and_refusals() -> None:
    assert PowerPool2d(2, p=4.5).exponent().item() == pytest.approx(4.5)
    assert PowerPool2d(2, p=(3, 1, 1)).exponent().flatten().tolist() == pytest.approx([3.0] * 3)
    assert PowerPool2d(2, p=1.0).exponent().item() == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        layer = PowerPool2d(2)
        layer.rho.fill_(-1e3)
        assert layer.exponent().item() == 1.0
    for words, call in (
        ("p: expected a value in [1, inf], got 0.5", lambda: PowerPool2d(2, p=0.5)),
        ("alpha: expected a value in [0, 1], got 1.5", lambda: MixedPool2d(2, alpha=1.5)),
        ("draw: expected one of 'network', 'channel', 'region', got 'cell'", lambda: MixedPool2d(2, draw="cell")),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == words


def test_mixed_limits() -> None:
    x = sample(2, 3, 8, 8)
    torch.testing.assert_close(MixedPool2d(3, 1.0, 2, 1)(x), pool(x, "max", 3, 2, 1))
    torch.testing.assert_close(MixedPool2d(3, 0.0, 2, 1)(x), pool(x, "avg", 3, 2, 1))
    per_region = sample(3, 4, 4).sigmoid()
    expected = per_region * pool(x, "max", 2) + (1 - per_region) * pool(x, "avg", 2)
    torch.testing.assert_close(MixedPool2d(2, per_region)(x), expected)


@pytest.mark.parametrize("draw", ["network", "channel", "region"])
def test_what_is_drawn_is_one_of_the_two_and_evaluation_is_its_expectation(draw: str) -> None:
    """Within five standard errors of the shares drawn, which a right layer leaves once in 1.7 million tests."""
    x = sample(2, 3, 4, 4)
    layer = MixedPool2d(2, 0.3, draw=draw, generator=torch.Generator().manual_seed(0))
    assert not list(layer.parameters())
    top, mean = pool(x, "max", 2), pool(x, "avg", 2)
    drawn = torch.stack([((layer(x) - mean) / (top - mean)).round(decimals=9) for _ in range(300)])
    assert ((drawn == 0) | (drawn == 1)).all()
    apart = {"network": drawn.amax((1, 2, 3, 4)), "channel": drawn.amax((3, 4)), "region": drawn}[draw]
    whole = {"network": (1, 2, 3, 4), "channel": (3, 4), "region": ()}[draw]
    assert not whole or torch.equal(drawn.amin(whole), drawn.amax(whole)), "drawn once for each"
    error = 5 * math.sqrt(0.3 * 0.7 / apart.numel())
    assert abs(apart.mean().item() - 0.3) < error
    if draw != "network":
        assert len(drawn[0].unique()) == 2 or len(drawn[1].unique()) == 2, "not all alike"
    layer.eval()
    torch.testing.assert_close(layer(x), pool(x, "mixed", 2, alpha=0.3))


def test_a_seed_repeats_and_the_global_generator_is_left_alone() -> None:
    x, state = sample(2, 3, 8, 8), torch.get_rng_state()
    first, second = (MixedPool2d(2, draw="region", generator=torch.Generator().manual_seed(3))(x) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("layer", [PowerPool2d, MixedPool2d])
def test_transforms_and_programs(layer: type) -> None:
    torch.compiler.reset()
    made, x = layer(2, (3, 1, 1)), sample(2, 3, 8, 8).float().abs()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), made(x))
    torch.testing.assert_close(torch.export.export(made, (x,)).module()(x), made(x))
    torch.testing.assert_close(torch.vmap(made)(x), made(x))


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("name", ["lp", "lp_abs"])
def test_second_derivatives_at_zero(name: str, p: float) -> None:
    """0^p has no logarithm: what is trained is p, beside taps and a whole window that are zero."""
    x = torch.tensor([[[0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 2.0, 0.3, 1.5]]], dtype=torch.float64, requires_grad=True)
    power = torch.tensor(p, dtype=torch.float64, requires_grad=True)

    def slope(power: torch.Tensor, of: int) -> torch.Tensor:
        y = pool(x, name, 3, p=power, implementation="plain")
        return torch.autograd.grad(y.sum(), (x, power), create_graph=True)[of]

    for of in range(2):
        assert torch.autograd.gradcheck(lambda power, of=of: slope(power, of), (power,))
    curve = torch.autograd.grad(slope(power, 0).sum(), x)[0][0, 0]
    first = {1.5: torch.inf, 2.0: 1 / 1.25**0.5, 3.0: 0.0}[p]  # sum over the window of d^2 y / da da_0
    torch.testing.assert_close(curve[[0, 3, 4, 5]], torch.tensor([first, 0, 0, 0], dtype=torch.float64))
