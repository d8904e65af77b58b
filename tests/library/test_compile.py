"""torch.compile without graph breaks, export, autocast, vmap and data-parallel use."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

import adapool
from adapool import AdaPool2d, names, pool


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch.compiler.reset()


@pytest.mark.parametrize("name", names())
def test_fullgraph(name: str) -> None:
    operands = {u: torch.rand(2, 3, 4, 4) for u in adapool.get(name).takes("random")}

    def loss(x: torch.Tensor) -> torch.Tensor:
        return pool(x, name, 3, 2, 1, **operands).square().sum()

    x = torch.randn(2, 3, 8, 8).requires_grad_()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), loss(x))
    (ours,), (expected,) = torch.autograd.grad(compiled(x), x), torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(ours, expected)


def test_layers_and_inverse_fullgraph() -> None:
    layer = AdaPool2d(2, beta=(3, 1, 1))

    def round_trip(x: torch.Tensor) -> torch.Tensor:
        return adapool.unpool(layer(x), x, "ada", 2, beta=layer.share())

    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(torch.compile(round_trip, fullgraph=True, backend="aot_eager")(x), round_trip(x))


def test_export() -> None:
    layer, x = AdaPool2d(2, beta=(3, 1, 1)), torch.randn(2, 3, 8, 8)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_jit_trace_bakes_in_no_size_and_no_call_keeps_a_tensor_alive() -> None:
    x, beta, other = torch.randn(1, 2, 4, 4), torch.rand(2, 1, 1), torch.randn(2, 3, 6, 8)
    pool(x, "ada", 2, beta=beta)
    traced = torch.jit.trace(lambda x: pool(x, "ada", 2), x)
    torch.testing.assert_close(traced(other), pool(other, "ada", 2))
    kept = [weakref.ref(t) for t in (x, beta, other)]
    del x, beta, other, traced
    gc.collect()
    assert [ref() for ref in kept] == [None] * 3


def test_autocast_keeps_half_inputs_and_float_beta() -> None:
    layer, conv = AdaPool2d(2, beta=(4, 1, 1)), torch.nn.Conv2d(3, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(conv(torch.randn(2, 3, 10, 10)))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.beta.grad is not None and layer.beta.grad.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch has no batching rule for unfold's adjoint
def test_vmap_and_vmap_of_grad() -> None:
    x = torch.randn(4, 2, 3, 8, 8)
    one = lambda v: pool(v, "ada", 2)  # noqa: E731
    torch.testing.assert_close(torch.vmap(one)(x), torch.stack([one(v) for v in x]))
    slope = torch.func.grad(lambda v: one(v).square().sum())
    torch.testing.assert_close(torch.vmap(slope)(x), torch.stack([slope(v) for v in x]))
    none = x[:0]
    assert torch.vmap(one)(none).shape == (0, 2, 3, 4, 4) and torch.vmap(slope)(none).shape == none.shape


def test_vmap_of_max_unpool_in_any_layout() -> None:
    y, indices = torch.nn.functional.max_pool2d(torch.randn(6, 4, 6, 6), 2, return_indices=True)
    parts = [t.reshape(3, 2, 4, 3, 3) for t in (y, indices)]
    back = lambda y, i: adapool.max_unpool2d(y, i, 2, output_size=(6, 6))  # noqa: E731
    expected = torch.stack([back(*part) for part in zip(*parts, strict=True)])
    torch.testing.assert_close(torch.vmap(back, (3, 3))(*(t.movedim(0, 3) for t in parts)), expected)


@pytest.mark.skipif(not adapool.native.LOADED, reason="no compiled operators")
def test_a_batch_of_gradients_from_the_old_vmap_is_refused_in_one_sentence() -> None:
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    batch = torch.eye(4).reshape(4, 1, 1, 2, 2)
    for y in (pool(x, "ada", 2), adapool.unpool(pool(x, "ada", 2).detach(), x, "ada", 2)[..., :2, :2]):
        with pytest.raises(RuntimeError, match=r"no batch of gradients from is_grads_batched=True.*torch.func"):
            torch.autograd.grad(y, x, batch, is_grads_batched=True)
    row = torch.autograd.grad(pool(x, "ada", 2, implementation="plain"), x, batch, is_grads_batched=True)[0]
    _, pullback = torch.func.vjp(lambda x: pool(x, "ada", 2), x)
    torch.testing.assert_close(torch.vmap(pullback)(batch)[0], row)
