"""Stochastic pooling: the right distribution, the generator's draw and nothing else, no tap without mass."""

from __future__ import annotations

import torch

from adapool import StochasticPool2d, pool, pool_with_extra


def test_training_draws_in_proportion_and_evaluation_is_the_expectation() -> None:
    a = torch.tensor([1.0, -2.0, 0.5, 2.5])
    x = a.expand(1, 200_000, 4)
    y, indices = pool_with_extra(x, "stochastic", 4, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(indices.flatten(), minlength=4) / indices.numel()
    torch.testing.assert_close(share, torch.tensor([0.25, 0.0, 0.125, 0.625]), atol=5e-3, rtol=0)
    assert share[1] == 0
    torch.testing.assert_close(y.mean(), pool(a.reshape(1, 1, 4), "stochastic_eval", 4).squeeze(), atol=1e-2, rtol=0)


def test_uniform_where_nothing_is_positive() -> None:
    x = torch.tensor([-1.0, 0.0, -3.0]).expand(1, 90_000, 3)
    indices = pool_with_extra(x, "stochastic", 3, generator=torch.Generator().manual_seed(1))[1]
    share = torch.bincount(indices.flatten(), minlength=3) / indices.numel()
    torch.testing.assert_close(share, torch.full((3,), 1 / 3), atol=6e-3, rtol=0)


def test_edges_of_the_draw() -> None:
    x = torch.tensor([[[0.0, 2.0, 0.0, 1.0, 0.0]]])
    below_one = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    for u, tap in ((0.0, 1), (0.6, 1), (0.7, 3), (float(below_one), 3)):
        assert pool_with_extra(x, "stochastic", 5, u=torch.tensor([[[u]]]))[1].item() == tap


def test_padded_taps_are_never_drawn() -> None:
    x = torch.full((1, 64, 5, 5), -1.0)
    y, indices = pool_with_extra(x, "stochastic", 3, 2, 1, generator=torch.Generator().manual_seed(2))
    assert (indices >= 0).all() and (y == -1).all()


def test_gradient_goes_to_the_drawn_tap_alone() -> None:
    x = torch.rand(2, 3, 6, 6).requires_grad_()
    y, indices = pool_with_extra(x, "stochastic", 2, u=torch.rand(2, 3, 3, 3))
    (grad,) = torch.autograd.grad(y.sum(), x)
    expected = torch.zeros(2, 3, 36).scatter(-1, indices.flatten(2), 1.0).reshape(2, 3, 6, 6)
    assert torch.equal(grad, expected)


def test_a_seed_repeats_and_the_global_generator_is_left_alone_when_one_is_given() -> None:
    x = torch.rand(1, 2, 8, 8)
    state = torch.get_rng_state()
    first = pool(x, "stochastic", 2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, pool(x, "stochastic", 2, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(torch.get_rng_state(), state)


def test_layer_switches_with_training() -> None:
    x = torch.rand(1, 4, 16, 16)
    layer = StochasticPool2d(2)
    torch.manual_seed(0)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), pool(x, "stochastic_eval", 2))
