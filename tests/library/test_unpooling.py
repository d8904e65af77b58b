"""Inverses: constant regions, formulas, overlap, remainders, gradients, shared indices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import adapool
from adapool import max_unpool, names, pool, pool_with_extra, unpool, unpool_weights
from tests.support import oracle

WEIGHTED = [name for name in names() if adapool.get(name).extra == "weights"]
WINDOWS = [
    pytest.param((2, 2), (2, 2), (0, 0), False, id="k2s2"),
    pytest.param((3, 3), (2, 2), (1, 1), False, id="overlap-padded"),
    pytest.param((2, 2), (3, 3), (0, 0), False, id="gaps"),
    pytest.param((3, 2), (2, 3), (1, 0), True, id="ragged"),
]


def sample(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), WINDOWS)
@pytest.mark.parametrize("normalize", [True, False])
def test_formula_place_by_place(kernel, stride, padding, ceil_mode, normalize: bool) -> None:
    x = sample(2, 3, 7, 8)
    y = sample(*pool(x, "ada", kernel, stride, padding, ceil_mode).shape, seed=1)
    _, weights = pool_with_extra(x, "ada", kernel, stride, padding, ceil_mode)
    out = unpool(y, x, "ada", kernel, stride, padding, ceil_mode, normalize=normalize)
    stored = unpool_weights(y, weights, kernel, stride, padding, ceil_mode, output_size=(7, 8), normalize=normalize)
    torch.testing.assert_close(out, stored)
    total, count = torch.zeros(7, 8).double(), torch.zeros(7, 8)
    for cell, taps in oracle.regions((7, 8), kernel, stride, padding, ceil_mode):
        a = [x[1, 2][t].item() for t in taps]
        dice, soft = 0.5 * oracle.edscw(a), 0.5 * oracle.softpool(a)
        assert dice + soft == pytest.approx(pool(x, "ada", kernel, stride, padding, ceil_mode)[1, 2][cell].item())
        real = [w for w in weights[1, 2][cell].tolist() if w > 0]
        assert sum(real) == pytest.approx(1) and len(real) == len(taps)
        for tap, w in zip(taps, real, strict=True):
            total[tap] += y[1, 2][cell] * w * (len(taps) if normalize else 1)
            count[tap] += 1
    expected = total / count.clamp(min=1) if normalize else total
    torch.testing.assert_close(out[1, 2], expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", WEIGHTED)
def test_constant_comes_back_exactly(name: str, rank: int) -> None:
    x = torch.full((1, 2, *(6,) * rank), 0.7)
    y = pool(x, name, 3, 1)
    torch.testing.assert_close(unpool(y, x, name, 3, 1), x, rtol=1e-6, atol=0)
    dark = unpool(pool(x, name, 2), x, name, 2, normalize=False)
    torch.testing.assert_close(dark, x / 2**rank, rtol=1e-6, atol=0)


def test_a_methods_own_guide_goes_beside_the_guide() -> None:
    x = sample(1, 2, 6, 6)
    guide = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    y = pool(x, "dpp", 2, guide=guide)
    own, default = unpool(y, x, "dpp", 2, guide=guide), unpool(y, x, "dpp", 2)
    assert not torch.allclose(own, default)
    weights = pool_with_extra(x, "dpp", 2, guide=guide)[1]
    torch.testing.assert_close(own, unpool_weights(y, weights, 2))


def test_places_in_no_region_are_zero() -> None:
    x = sample(1, 1, 8, 8)
    out = unpool(pool(x, "ada", 2, 3), x, "ada", 2, 3)
    assert (out[..., 2::3, :] == 0).all() and (out[..., :, 2::3] == 0).all() and (out[..., 0, 0] != 0).all()


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), WINDOWS)
def test_gradients_reach_everything(kernel, stride, padding, ceil_mode) -> None:
    x = sample(1, 2, 5, 6).requires_grad_()
    beta = torch.tensor([[[0.3]], [[0.6]]], dtype=torch.float64, requires_grad=True)
    y = sample(*pool(x, "ada", kernel, stride, padding, ceil_mode).shape, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda y, x, beta: unpool(y, x, "ada", kernel, stride, padding, ceil_mode, beta=beta), (y, x, beta)
    )
    weights = pool_with_extra(x, "ada", kernel, stride, padding, ceil_mode)[1].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda y, w: unpool_weights(y, w, kernel, stride, padding, ceil_mode, output_size=(5, 6)), (y, weights)
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_released_names_round_trip(rank: int) -> None:
    x = sample(2, 3, *(8, 6, 4)[:rank])
    call = lambda name: getattr(adapool, f"{name}{rank}d")  # noqa: E731
    beta = sample(3, *(1,) * rank, seed=3).sigmoid()
    y, masks = call("adapool")(x, beta, 2, return_mask=True)
    torch.testing.assert_close(call("adaunpool")(y, masks), unpool(y, x, "ada", 2, beta=beta))
    torch.testing.assert_close(adapool.adaunpool(y, masks), call("AdaUnpool")()(y, masks))
    spread = torch.nn.functional.interpolate(y, scale_factor=2, mode="nearest")
    torch.testing.assert_close(
        call("adaunpool")(spread, masks, interpolate=False, kernel_size=2), call("adaunpool")(y, masks)
    )
    torch.testing.assert_close(
        call("adaunpool")(y[0], (*(m[0] for m in masks[:2]), beta)), call("adaunpool")(y, masks)[0]
    )
    overlapping, masks = call("adapool")(x, 0.5, 3, 2, True, padding=1)
    restored = call("adaunpool")(overlapping, masks, stride=2, padding=1, output_size=x.shape[2:])
    torch.testing.assert_close(restored, unpool(overlapping, x, "ada", 3, 2, 1))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool_is_torchs(rank: int) -> None:
    for x, size in ((sample(2, 3, *(8, 6, 4)[:rank]), None), (sample(2, 3, *(7, 6, 5)[:rank]), (7, 6, 5)[:rank])):
        y, indices = getattr(adapool, f"max_pool{rank}d")(x, 2, return_indices=True)
        ours = getattr(adapool, f"max_unpool{rank}d")(y, indices, 2, output_size=size)
        torchs = getattr(torch.nn.functional, f"max_unpool{rank}d")(y, indices, 2, output_size=size)
        assert torch.equal(ours, torchs)
        assert torch.equal(getattr(adapool, f"MaxUnpool{rank}d")(2)(y, indices, size), torchs)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch has no batching rule for scatter_reduce
def test_max_unpool_of_one_sample_at_a_time() -> None:
    x = sample(3, 2, 6, 5).requires_grad_()
    back = lambda x: max_unpool(*pool_with_extra(x, "max", 2), 2, output_size=(6, 5))  # noqa: E731
    one = lambda x: back(x[None])[0]  # noqa: E731
    torch.testing.assert_close(torch.vmap(one)(x), back(x))
    slope = torch.vmap(torch.func.grad(lambda x: one(x).square().sum()))(x)
    torch.testing.assert_close(slope, torch.autograd.grad(back(x).square().sum(), x)[0])
    y, indices = pool_with_extra(x, "max", 2)
    with pytest.raises(RuntimeError, match="out of bounds"):
        torch.vmap(lambda y, indices: max_unpool(y[None], indices[None] + 99, 2))(y, indices)


def test_max_unpool_with_shared_indices_keeps_the_last() -> None:
    y = torch.tensor([[[1.0, 2.0, 3.0]]], requires_grad=True)
    indices = torch.tensor([[[1, 1, 3]]])
    out = max_unpool(y, indices, 2, 1)
    assert out.tolist() == [[[0.0, 2.0, 0.0, 3.0]]]
    (grad,) = torch.autograd.grad(out.sum(), y)
    assert grad.tolist() == [[[0.0, 1.0, 1.0]]]


def test_empty_and_unbatched() -> None:
    x = sample(2, 3, 4, 4)
    y = pool(x, "ada", 2)
    torch.testing.assert_close(unpool(y[0], x[0], "ada", (2, 2)), unpool(y, x, "ada", 2)[0])
    assert unpool(y[:0], x[:0], "ada", 2).shape == (0, 3, 4, 4)
    y, indices = adapool.max_pool2d(x[:0], 2, return_indices=True)
    assert max_unpool(y, indices, 2).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_released_signature_without_a_batch_axis(rank: int) -> None:
    x = torch.randn(3, *(4, 6, 8)[:rank])
    pooling = getattr(adapool, f"adapool{rank}d")
    expected = adapool.adaunpool(*pooling(x.unsqueeze(0), return_mask=True)).squeeze(0)
    y, mask = pooling(x, return_mask=True)
    torch.testing.assert_close(adapool.adaunpool(y, mask), expected)


@pytest.mark.parametrize(
    ("shape", "format"), [((2, 8, 6, 6), torch.channels_last), ((2, 4, 4, 4, 4), torch.channels_last_3d)]
)
def test_max_unpooling_keeps_channels_last(shape: tuple[int, ...], format: torch.memory_format) -> None:
    rank = len(shape) - 2
    x = torch.randn(shape).to(memory_format=format)
    y, indices = getattr(adapool, f"max_pool{rank}d")(x, 2, return_indices=True)
    restored = getattr(adapool, f"max_unpool{rank}d")(y, indices, 2)
    assert restored.is_contiguous(memory_format=format)
    assert adapool.max_unpool(y.contiguous(), indices, (2,) * rank).is_contiguous()
    torch.testing.assert_close(restored, adapool.max_unpool(y.contiguous(), indices, (2,) * rank))


def test_the_smallest_size_is_the_default_of_stored_weights() -> None:
    y, weights = adapool.pool_with_extra(torch.randn(2, 3, 7, 9), "ada", 3, 2, 1)
    given = adapool.unpool_weights(y, weights, 3, 2, 1, output_size=(7, 9))
    for implementation in ("auto", "plain"):
        found = adapool.unpool_weights(y, weights, 3, 2, 1, implementation=implementation)
        torch.testing.assert_close(found, given)
