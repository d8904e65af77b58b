"""Adaptive, fractional and dilated pooling under derivatives, transforms and programs, in 16 bits, beside a NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import adapool
from adapool import AdaptivePool, FractionalPool, Pool, adaptive_pool, fractional_pool, pool
from tests.support.problems import values

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch has no batching rule for unfold's adjoint
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
FORMS: dict[str, Callable[..., Tensor]] = {
    "adaptive": lambda x, name, **more: adaptive_pool(x, name, (3, 4), **more),
    "fractional": lambda x, name, **more: fractional_pool(
        x, name, 2, (3, 4), samples=torch.tensor([0.3, 0.8]).expand(*x.shape[:2], 2), **more
    ),
    "dilated": lambda x, name, **more: pool(x, name, (2, 3), 2, 1, dilation=2, **more),
}


def operands(name: str, cells: Sequence[int], x: Tensor) -> dict[str, Tensor]:
    if name == "lip":
        return {"logits": values(*x.shape, seed=3)}
    return {"beta": values(cells[1], 1, 1, seed=3).sigmoid()} if name == "ada" else {}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["avg", "ada", "lip", "dpp"])
def test_gradcheck(form: str, name: str) -> None:
    x, call = values(1, 1, 4, 5), FORMS[form]
    given = operands(name, call(x, "avg").shape, x)
    leaves = [t.clone().requires_grad_() for t in (x, *given.values())]
    assert torch.autograd.gradcheck(lambda x, *more: call(x, name, **dict(zip(given, more, strict=True))), leaves)
    if name not in ("max", "avg", "lp_abs"):
        weights = torch.autograd.grad(call(x := leaves[0], name, gradient="detached").sum(), x)[0]
        assert (weights.sum() - call(x, "avg").numel()).abs() < 1e-9


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["ada", "max", "lip"])
def test_transforms(form: str, name: str) -> None:
    x, call = values(3, 2, 7, 6), FORMS[form]

    def one(sample: Tensor) -> Tensor:
        return call(sample[None], name)[0]

    expected = call(x, name)
    torch.testing.assert_close(torch.vmap(one)(x), expected)
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(call(leaf, name).square().sum(), leaf)
    torch.testing.assert_close(torch.func.grad(lambda x: call(x, name).square().sum())(x), grad)
    torch.testing.assert_close(torch.vmap(torch.func.grad(lambda s: one(s).square().sum()))(x), grad)
    tangent = values(3, 2, 7, 6, seed=5)
    slope = torch.func.jvp(lambda x: call(x, name), (x,), (tangent,))[1]
    torch.testing.assert_close((slope * expected * 2).sum(), (grad * tangent).sum())
    second = torch.func.jvp(torch.func.grad(lambda x: call(x, name).square().sum()), (x,), (tangent,))[1]
    assert second.isfinite().all()  # of rows alone, so nothing is refused


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled(dynamic: bool) -> None:
    torch.compiler.reset()
    x = values(3, 2, 7, 6)
    chosen = (FORMS["adaptive"], EVEN) if dynamic else (FORMS["fractional"], FORMS["dilated"], EVEN)
    every = lambda x: [call(x, "max") for call in chosen]  # noqa: E731
    torch.testing.assert_close(torch.compile(every, backend="aot_eager", fullgraph=True, dynamic=dynamic)(x), every(x))


def EVEN(x: Tensor, name: str, **more: Any) -> Tensor:
    """Sizes that divide 7 x 6, and most others not."""
    return adaptive_pool(x, name, (7, 3), **more)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("form", ["even", "whole", "dilated"])
def test_exported_and_traced_programs_serve_other_sizes(form: str) -> None:
    calls = {**FORMS, "even": EVEN, "whole": lambda x, name: adaptive_pool(x, name, 1)}

    class Model(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return calls[form](x, "ada")

    x, other = values(3, 2, 7, 6).float(), values(4, 2, 11, 18).float()
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=6, max=64), 3: torch.export.Dim("w", min=6, max=64)}
    program = torch.export.export(Model(), (x,), dynamic_shapes={"x": sizes})
    traced = torch.jit.trace(Model(), (x,), check_trace=False)
    for found in (program.module(), traced):
        for sample in (x, other):
            torch.testing.assert_close(found(sample), Model()(sample))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [n for n in adapool.names() if n != "lp" and not adapool.get(n).takes("random")])
def test_what_lies_outside_a_region_does_not_reach_it(form: str, name: str) -> None:
    """A NaN at the plane's start, which short regions could be filled up with, stays in its own regions."""
    x = values(1, 1, 7, 6).float().requires_grad_()
    spoiled = x.detach().clone()
    spoiled[0, 0, 0, 0] = torch.nan
    spoiled.requires_grad_()
    y, expected = FORMS[form](spoiled, name)[..., 1:, 1:], FORMS[form](x, name)[..., 1:, 1:]
    torch.testing.assert_close(y, expected)
    found, wanted = (torch.autograd.grad(v.sum(), of)[0][..., 3:, 2:] for v, of in ((y, spoiled), (expected, x)))
    torch.testing.assert_close(found, wanted)


def test_layers_are_traced_by_fx() -> None:
    x = values(2, 3, 7, 6).float()
    fixed = torch.rand(2, 3, 2)
    for layer in (
        AdaptivePool("ada", 3), FractionalPool("ada", 2, 3, samples=fixed), Pool("idw", 2, dilation=2, measure="huber"),
    ):  # fmt: skip
        traced = torch.fx.symbolic_trace(torch.nn.Sequential(layer))
        torch.testing.assert_close(traced(x), layer(x), rtol=0, atol=0)


def test_sixteen_bits_and_layouts() -> None:
    x = values(2, 3, 7, 6)
    for call in FORMS.values():
        for dtype in (torch.float16, torch.bfloat16):
            y = call(x.to(dtype), "ada")
            assert y.dtype == dtype
            torch.testing.assert_close(y.double(), call(x.to(dtype).double(), "ada"), rtol=2.0**-8, atol=1e-3)
        torch.testing.assert_close(call(x.to(memory_format=torch.channels_last), "ada"), call(x, "ada"))
        assert call(x[:0], "ada").shape[0] == 0
