"""Stochastic pooling: the right distribution, the generator's draw and nothing else, no tap without mass."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from adapool import (
    FractionalPool,
    MixedPool2d,
    S3Pool2d,
    StochasticDPPPool,
    StochasticPool2d,
    pool,
    pool_with_extra,
)

DRAWING: dict[str, Callable[..., torch.nn.Module]] = {
    "stochastic": lambda **more: StochasticPool2d(2, **more),
    "s3": lambda **more: S3Pool2d(2, **more),
    "sdpp": lambda **more: StochasticDPPPool(2, 3, **more),
    "mixed": lambda **more: MixedPool2d(2, draw="region", **more),
    "fractional": lambda **more: FractionalPool("ada", 2, 5, **more),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_training_draws_in_proportion_and_evaluation_is_the_expectation() -> None:
    """Within six standard errors, which a right sampler leaves once in a hundred million tests."""
    a, count = torch.tensor([1.0, -2.0, 0.5, 2.5]), 200_000
    x = a.expand(1, count, 4)
    y, indices = pool_with_extra(x, "stochastic", 4, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(indices.flatten(), minlength=4) / indices.numel()
    chance = torch.tensor([0.25, 0.0, 0.125, 0.625])
    assert ((share - chance).abs() <= 6 * (chance * (1 - chance) / count).sqrt()).all() and share[1] == 0
    expected = pool(a.reshape(1, 1, 4), "stochastic_eval", 4).squeeze()
    assert (y.mean() - expected).abs() <= 6 * y.std() / count**0.5


def test_uniform_where_nothing_is_positive() -> None:
    """As above."""
    x = torch.tensor([-1.0, 0.0, -3.0]).expand(1, 90_000, 3)
    indices = pool_with_extra(x, "stochastic", 3, generator=torch.Generator().manual_seed(1))[1]
    share = torch.bincount(indices.flatten(), minlength=3) / indices.numel()
    assert ((share - 1 / 3).abs() <= 6 * (2 / 9 / 90_000) ** 0.5).all()


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


@pytest.mark.parametrize("name", DRAWING)
def test_computed_anew_in_backward_it_draws_the_same_or_refuses(name: str) -> None:
    """A checkpoint sets the global generator back, and no other: by another the gradient would be of other draws."""
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    layer = DRAWING[name]()
    torch.manual_seed(0)
    (expected,) = torch.autograd.grad(layer(x).square().sum(), x)
    for reentrant in (False, True):
        torch.manual_seed(0)
        x.grad = None
        checkpoint(layer, x, use_reentrant=reentrant).square().sum().backward()
        torch.testing.assert_close(x.grad, expected)
        with pytest.raises(RuntimeError, match="generator: expected None where a backward pass computes anew"):
            checkpoint(DRAWING[name](generator=seeded()), x, use_reentrant=reentrant).sum().backward()


@pytest.mark.parametrize("name", DRAWING)
def test_a_copy_a_file_and_a_map_draw_as_they_should(name: str) -> None:
    x, file = torch.randn(2, 3, 8, 8), io.BytesIO()
    layer = DRAWING[name](generator=seeded())
    torch.save(layer, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    torch.testing.assert_close(copy.deepcopy(layer)(x), again(x), rtol=0, atol=0)
    torch.testing.assert_close(layer(x), DRAWING[name](generator=seeded())(x), rtol=0, atol=0)
    both = torch.stack((x, x))
    for randomness in ("same", "different"):
        first, second = torch.vmap(layer, randomness=randomness)(both)
        assert torch.equal(first, second) is (randomness == "same")
    with pytest.raises(RuntimeError, match="randomness"):
        torch.vmap(layer)(both)
    assert DRAWING[name]().to("meta")(x.to("meta")).shape == layer(x).shape


@pytest.mark.parametrize("name", DRAWING)
def test_a_program_draws_anew_at_each_call(name: str) -> None:
    torch.compiler.reset()
    x, layer = torch.randn(2, 3, 8, 8), DRAWING[name]()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    exported = torch.export.export(layer, (x,)).module()
    for program in (compiled, exported):
        assert not torch.equal(program(x), program(x))
