"""Beta of a layer that a step has left outside [0, 1]: it finds its way back, under every transform."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adapool import AdaPool2d, parameter_groups

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its forward mode


def gradient(layer: AdaPool2d, x: Tensor, sign: float) -> Tensor:
    (found,) = torch.autograd.grad(sign * layer(x).sum(), layer.beta)
    return found


def test_the_gradient_outside_goes_on_where_descent_leads_back() -> None:
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    layer = AdaPool2d(2, beta=0.5)
    inside = gradient(layer, x, 1.0)
    assert inside.abs() > 0.1
    for value, back in ((1.5, 1.0), (-0.5, -1.0)):
        with torch.no_grad():
            layer.beta.fill_(value)
        sign = back * float(inside.sign())
        torch.testing.assert_close(gradient(layer, x, sign), sign * inside)
        assert gradient(layer, x, -sign) == 0
    for value in (0.0, 1.0):  # at both ends a step may go either way
        with torch.no_grad():
            layer.beta.fill_(value)
        torch.testing.assert_close(gradient(layer, x, 1.0), inside)
        torch.testing.assert_close(gradient(layer, x, -1.0), -inside)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_far_outside_is_undone(compiled: bool) -> None:
    torch.compiler.reset()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 4, 8, 8, generator=generator)
    layer = AdaPool2d(2, beta=(4, 1, 1))
    target = AdaPool2d(2, beta=torch.full((4, 1, 1), 0.25))(x).detach()
    forward: Any = torch.compile(layer, backend="aot_eager", fullgraph=True) if compiled else layer
    step = torch.optim.SGD(layer.parameters(), 1e3)
    for rate in (1e3, 1e3, *[2.0] * 200):
        step.param_groups[0]["lr"] = rate
        step.zero_grad()
        (forward(x) - target).square().mean().backward()
        step.step()
    assert (layer.share() - 0.25).abs().max() < 0.1, layer.beta.flatten()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_an_ensemble_brings_every_beta_back_as_its_members_alone() -> None:
    """vmap over betas, of which those outside [0, 1] keep the gradient that leads back."""
    layer, x = AdaPool2d(2, beta=(3, 1, 1)).double(), torch.randn(2, 3, 6, 6).double()
    betas = torch.tensor([1.4, -0.3, 0.5]).double().reshape(1, 3, 1, 1).repeat(2, 1, 1, 1)

    def call(beta: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"beta": beta}, (x,)).sin().sum()

    for sign in (1, -1):
        alone = betas.clone().requires_grad_()
        torch.stack([call(beta) for beta in alone]).sum().mul(sign).backward()
        mapped = betas.clone().requires_grad_()
        torch.vmap(call)(mapped).sum().mul(sign).backward()
        torch.testing.assert_close(mapped.grad, alone.grad)
        found = torch.func.grad(lambda b, sign=sign: torch.vmap(call)(b).sum() * sign)(betas)
        torch.testing.assert_close(found, alone.grad)
    assert alone.grad is not None and (alone.grad != 0).any(0).flatten()[2]


def test_what_a_parametrization_computes_is_not_moved_and_not_decayed() -> None:
    layer = AdaPool2d(2, beta=(3, 1, 1))
    torch.nn.utils.parametrize.register_parametrization(layer, "beta", torch.nn.Sigmoid())
    with pytest.raises(ValueError, match="beta: expected a parameter or a buffer to move"):
        layer.project_()
    others, operands = parameter_groups(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), layer))
    assert len(others["params"]) == 2 and operands["params"] == [layer.parametrizations.beta.original]


def test_transforms_of_a_layer() -> None:
    layer, x = AdaPool2d(2, beta=torch.tensor([0.2, 0.9]).reshape(2, 1, 1)).double(), torch.randn(3, 2, 4, 4).double()
    share = {"beta": layer.beta.detach().clone()}

    def loss(state: dict[str, Tensor], x: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(layer, state, (x,)).square().sum()
        return found

    expected = torch.autograd.grad(layer(x).square().sum(), layer.beta)[0]
    torch.testing.assert_close(torch.func.grad(loss)(share, x)["beta"], expected)
    each = torch.vmap(torch.func.grad(loss), (None, 0))(share, x[:, None])["beta"]
    torch.testing.assert_close(each.sum(0), expected)
    slope = torch.func.jvp(lambda b: loss({"beta": b}, x), (share["beta"],), (torch.ones_like(expected),))[1]
    torch.testing.assert_close(slope, expected.sum())
    compiled = torch.compile(torch.func.grad(loss), backend="aot_eager")
    torch.testing.assert_close(compiled(share, x)["beta"], expected)
