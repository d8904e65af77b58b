"""Layers with parameters under every transform of torch, as functions of their input and their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as fwd
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from adapool import LEARNED, AdaptiveAdaPool2d, GatedPool, LIPPool, MixedPool2d, PowerPool2d
from adapool.sampled import Sampled

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch has no batching rule for unfold's adjoint
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ALIKE = ("lip_bottleneck", "dpp_full_asym", "sdpp", "sdpp_asym", "sdpp_full_asym")  # nothing that another has not
LAYERS: dict[str, Callable[[], torch.nn.Module]] = {
    **{name: lambda name=name: LEARNED[name](2, 2, 2, 2, 0) for name in LEARNED if name not in ALIKE},  # type: ignore[misc]
    "lip_bottleneck of 4": lambda: LIPPool(2, 2, bottleneck=4),
    "gated, overlapping": lambda: GatedPool(2, 2, 3, 2, 1, per_channel=True),
    "power": lambda: PowerPool2d(2, (2, 1, 1)),
    "mixed": lambda: MixedPool2d(2, (2, 1, 1), constraint="sigmoid"),
    "adaptive ada": lambda: AdaptiveAdaPool2d((2, 3), (2, 3)),
}
Function = Callable[..., Tensor]
Args = tuple[Tensor, ...]


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def case(name: str) -> tuple[Function, Args]:
    """The layer in training as a function of x and its parameters, which are away from their symmetric starts."""
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    names = [label for label, _ in layer.named_parameters()]
    start = [p.detach() + 0.2 * values(*p.shape, seed=seed) for seed, p in enumerate(layer.parameters())]
    drawn = [torch.rand(layer.uniforms((4, 6)))] if isinstance(layer, Sampled) else []

    def call(x: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, given, strict=True)), (x, *drawn))

    return call, (values(2, 2, 4, 6, seed=9), *start)


def number(f: Function) -> Function:
    return lambda *args: f(*args).square().sum()


def every(args: Args) -> tuple[int, ...]:
    return tuple(range(len(args)))


def trained(f: Function, args: Args) -> Args:
    leaves = [t.detach().clone().requires_grad_() for t in args]
    return torch.autograd.grad(number(f)(*leaves), leaves, materialize_grads=True)


def directions(args: Args) -> Args:
    return tuple(values(*t.shape, seed=50 + seed) for seed, t in enumerate(args))


def along(slopes: Args, args: Args) -> Tensor:
    """The change of the number along `directions`, of its gradient."""
    return torch.stack([(s * d).sum() for s, d in zip(slopes, directions(args), strict=True)]).sum()


def numeric(f: Function, args: Args) -> Tensor:
    ends = [number(f)(*(t + h * d for t, d in zip(args, directions(args), strict=True))) for h in (1e-6, -1e-6)]
    return (ends[0] - ends[1]) / 2e-6


def dual(f: Function, args: Args) -> Tensor:
    with fwd.dual_level():
        made = [fwd.make_dual(t, d) for t, d in zip(args, directions(args), strict=True)]
        return fwd.unpack_dual(number(f)(*made)).tangent


def mapped(f: Function, args: Args) -> Any:
    """Two samples with parameters of their own, one after the other and at once."""
    two = [torch.stack((t, 0.9 * t), -1) for t in args]
    each = [trained(f, tuple(t[..., i] for t in two)) for i in range(2)]
    at_once = torch.vmap(torch.func.grad(number(f), every(args)), in_dims=-1)(*two)
    torch.testing.assert_close(torch.vmap(f, in_dims=-1)(*two)[1], f(*(t[..., 1] for t in two)))
    return [torch.stack(pair) for pair in zip(*each, strict=True)], at_once


def recomputed(f: Function, args: Args, reentrant: bool) -> Any:
    leaves = [t.detach().clone().requires_grad_() for t in args]
    checkpoint(f, *leaves, use_reentrant=reentrant).square().sum().backward()
    return [leaf.grad for leaf in leaves]


def laid_out(f: Function, args: Args) -> Any:
    x = args[0].contiguous(memory_format=torch.channels_last)
    rest = [torch.stack((t, t), -1)[..., 0] for t in args[1:]]
    return trained(f, (x, *rest))


FIRST: dict[str, Callable[[Function, Args], Any]] = {
    "differences": lambda f, a: (numeric(f, a), along(trained(f, a), a)),
    "dual level": lambda f, a: (dual(f, a), along(trained(f, a), a)),
    "jvp": lambda f, a: (torch.func.jvp(number(f), a, directions(a))[1], along(trained(f, a), a)),
    "grad": lambda f, a: (torch.func.grad(number(f), every(a))(*a), trained(f, a)),
    "vmap and vmap of grad": mapped,
    "functionalize": lambda f, a: (torch.func.functionalize(f)(*a), f(*a)),
    "checkpoint": lambda f, a: (recomputed(f, a, False), list(trained(f, a))),
    "reentrant checkpoint": lambda f, a: (recomputed(f, a, True), list(trained(f, a))),
    "strides": lambda f, a: (laid_out(f, a), trained(f, a)),
    "jacobians": lambda f, a: (
        torch.func.jacrev(lambda x: f(x, *a[1:]))(a[0]), torch.func.jacfwd(lambda x: f(x, *a[1:]))(a[0]),
    ),
}  # fmt: skip


def unless_refused(words: str, call: Callable[[], Any]) -> Any:
    """What it gives, or None where it raises an error with these words."""
    try:
        return call()
    except RuntimeError as error:
        if words not in str(error):
            raise
        return None


@pytest.mark.parametrize("transform", FIRST)
@pytest.mark.parametrize("name", LAYERS)
def test_every_transform_gives_the_same_derivative(name: str, transform: str) -> None:
    slack = {"rtol": 1e-5, "atol": 1e-5} if transform == "differences" else {}
    torch.testing.assert_close(*FIRST[transform](*case(name)), **slack)


@pytest.mark.parametrize("name", LAYERS)
def test_a_second_derivative_is_right_or_refused(name: str) -> None:
    f, args = case(name)
    slope = torch.func.grad(number(f), every(args))
    along_grad = unless_refused("first derivatives only", lambda: torch.func.jvp(slope, args, directions(args))[1])
    if along_grad is None:
        return
    ahead, behind = (
        trained(f, tuple(t + h * d for t, d in zip(args, directions(args), strict=True))) for h in (1e-5, -1e-5)
    )
    for found, up, down in zip(along_grad, ahead, behind, strict=True):
        torch.testing.assert_close(found, (up - down) / 2e-5, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_changed_in_place_after_forward_is_right_or_refused(name: str) -> None:
    f, args = case(name)
    for changed in every(args):
        leaves = [t.detach().clone().requires_grad_() for t in args]
        given = [leaf * 1 for leaf in leaves]
        number_then = f(*given).square().sum()
        given[changed].add_(1)
        slopes = lambda: torch.autograd.grad(number_then, leaves, materialize_grads=True)  # noqa: B023, E731
        found = unless_refused("inplace", slopes)
        assert found is None or all(map(torch.allclose, found, trained(f, args)))
