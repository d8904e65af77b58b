"""Learned pooling: where it starts, what it becomes in its limits, gradients to every parameter, any rank."""

from __future__ import annotations

import contextlib

import pytest
import torch

from adapool import LEARNED, DPPPool, LIPPool, pool
from adapool.learned import local_mean


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", LEARNED)
def test_shapes_and_gradients(name: str, rank: int) -> None:
    torch.manual_seed(0)
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (2, 1, 0), (3, 3, 0), (5, 2, 2)):
        layer = None
        with contextlib.suppress(ValueError):  # of what takes no such window; two by two all of them do
            layer = LEARNED[name](rank, 3, kernel, stride, padding)
        if layer is None:
            assert (kernel, stride) != (2, 2)
            continue
        for parameter in layer.parameters():  # away from symmetric starts
            torch.nn.init.normal_(parameter, std=0.3)
        x = torch.randn(2, 3, *(8, 7 - (name == "lift"), 6)[:rank]).requires_grad_()
        y = layer(x)
        assert y.shape == pool(x, "avg", kernel, stride, padding).shape
        y.square().sum().backward()
        assert x.grad is not None and x.grad.isfinite().all()
        for label, parameter in layer.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, label


@pytest.mark.parametrize("bottleneck", [None, 16])
def test_lip_starts_as_average_pooling(bottleneck: int | None) -> None:
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(LIPPool(2, 3, bottleneck=bottleneck)(x), pool(x, "avg", 3, 2, 1))


def test_lip_identities() -> None:
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(pool(x, "lip", 2, logits=torch.zeros_like(x)), pool(x, "avg", 2))
    torch.testing.assert_close(pool(x, "lip", 2, logits=x), pool(x, "softpool", 2))
    torch.testing.assert_close(pool(x, "lip", 2, logits=1e4 * x), pool(x, "max", 2))


def test_lip_in_half_does_not_overflow() -> None:
    layer = LIPPool(2, 2).half()
    torch.nn.init.constant_(layer.logits[-2].bias, 50.0)  # every logit at its ceiling of 12
    assert layer(torch.ones(1, 2, 8, 8).half()).isfinite().all()


def test_dpp_limits() -> None:
    x = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(pool(x, "dpp", 2, lam=0.0), pool(x, "avg", 2))
    torch.testing.assert_close(pool(x, "dpp", 2, alpha=1e9), pool(x, "avg", 2))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("rank", "kernel", "stride", "padding"), [(1, 2, 2, 0), (2, 2, 2, 0), (2, 3, 2, 1), (3, 2, 2, 0)]
)
def test_dpp_guide_is_centred_on_the_window(rank: int, kernel: int, stride: int, padding: int, symmetric: bool) -> None:
    layer = DPPPool(rank, 2, kernel, stride, padding, full=True, symmetric=symmetric)
    x = torch.randn(1, 2, *(8,) * rank)
    padded = torch.nn.functional.pad(x, (padding + 4, padding + 4) * rank)
    guide = local_mean(x, layer.filter, layer.bias, layer.window)
    centre = (kernel - 1) // 2
    for cell in range(guide.shape[-1]):
        start = cell * stride + centre - 1 + 4
        block = padded[(..., *(slice(start, start + 3),) * rank)]
        found = guide[(0, slice(None), *(cell,) * rank)]
        torch.testing.assert_close(found, block.flatten(2).mean(-1)[0])


def test_dpp_gradcheck() -> None:
    layer = DPPPool(2, 2, full=True).double()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    parameters = dict(layer.named_parameters())
    assert torch.autograd.gradcheck(
        lambda x, *p: torch.func.functional_call(layer, dict(zip(parameters, p, strict=True)), (x,)),
        (x, *parameters.values()),
    )
