"""The faults of the released AdaPool, each as a regression test, and its names, signatures and state."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from torch import Tensor

import adapool
from adapool import AdaPool1d, AdaPool2d, AdaPool3d, AdaUnpool2d, pool
from tests.support import oracle


def sample(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "k", "s"), [(56, 3, 2), (14, 3, 1), (15, 2, 2), (17, 5, 3)])
def test_fault_1_output_size_and_overlap(size: int, k: int, s: int) -> None:
    x = sample(1, 1, size, size).double()
    y = adapool.edscwpool2d(x, k, s)
    assert y.shape[-1] == (size - k) // s + 1
    for cell, taps in list(oracle.regions((size, size), (k, k), (s, s), (0, 0), False))[::7]:
        assert y[0, 0][cell].item() == pytest.approx(oracle.edscw([x[0, 0][t].item() for t in taps]), rel=1e-12)


def test_fault_2_three_dimensions() -> None:
    x = sample(1, 2, 4, 6, 8).double()
    y = adapool.adapool3d(x, 0.25, (2, 3, 2))
    for cell, taps in oracle.regions((4, 6, 8), (2, 3, 2), (2, 3, 2), (0, 0, 0), False):
        a = [x[0, 1][t].item() for t in taps]
        assert y[0, 1][cell].item() == pytest.approx(0.25 * oracle.edscw(a) + 0.75 * oracle.softpool(a), rel=1e-12)


def test_faults_3_and_4_masks_per_batch_and_channel_and_non_square() -> None:
    x = sample(3, 4, 6, 9).double()
    y, (dice, soft, beta) = adapool.adapool2d(x, 0.5, (2, 3), return_mask=True)
    assert dice.shape == soft.shape == x.shape and beta == 0.5
    for mask in (dice, soft):
        sums = pool(mask, "sum", (2, 3))
        torch.testing.assert_close(sums, torch.ones_like(sums))
    torch.testing.assert_close(pool(x * (0.5 * dice + 0.5 * soft), "sum", (2, 3)), y)


def test_fault_5_beta_has_its_gradient_and_stays_in_bounds() -> None:
    x = sample(2, 3, 8, 8)
    for shape in ((1,), (1, 1), (4, 4), (3, 1, 1), (3, 4, 4)):
        layer = AdaPool2d(2, beta=shape)
        layer(x).square().sum().backward()
        assert layer.beta.grad is not None and layer.beta.grad.shape == shape
        assert layer.beta.grad.abs().min() > 0


def test_fault_6_softmax_is_shifted() -> None:
    for value in (90.0, -110.0, 1e4):
        assert adapool.empool2d(torch.full((1, 1, 2, 2), value)).item() == value


def test_fault_7_dice_of_zero_and_half() -> None:
    assert adapool.edscwpool2d(torch.zeros(1, 1, 2, 2)).item() == 0
    for value in (1e-4, 300.0):
        x = torch.tensor([1.0, 2.0, 1.5, 1.2]).mul(value).half().reshape(1, 1, 2, 2)
        y = adapool.edscwpool2d(x)
        assert y.item() == pytest.approx(oracle.edscw(x.flatten().tolist()), rel=1e-3)


def test_fault_8_idw_of_a_constant() -> None:
    x = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    y = adapool.idwpool2d(x)
    y.sum().backward()
    assert y.item() == 3 and torch.equal(x.grad, torch.full_like(x, 0.25))


def test_fault_9_nan_survives() -> None:
    x = torch.ones(1, 1, 2, 2)
    x[0, 0, 0, 0] = float("nan")
    assert adapool.adapool2d(x).isnan().all()


def test_fault_10_the_callers_tensor_is_untouched() -> None:
    x = sample(3, 8, 8)
    before = x.clone()
    y = adapool.adapool2d(x)
    assert torch.equal(x, before) and x.shape == (3, 8, 8) and y.shape == (3, 4, 4)


def test_fault_11_non_contiguous_gradient_and_channels_last() -> None:
    x = sample(2, 4, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    adapool.adapool2d(x).sum().backward()  # the gradient of sum() is expanded, stride 0
    plain = x.detach().contiguous().requires_grad_()
    adapool.adapool2d(plain).sum().backward()
    torch.testing.assert_close(x.grad, plain.grad)


def test_fault_12_untrainable_beta_and_its_range() -> None:
    layer = AdaPool2d(2, beta=0.25, beta_trainable=False)
    assert not list(layer.parameters()) and "beta" in layer.state_dict()
    trained = AdaPool2d(2, beta=(1,))
    with torch.no_grad():
        trained.beta.fill_(1.7)
    x = sample(1, 1, 4, 4)
    torch.testing.assert_close(trained(x), adapool.edscwpool2d(x))
    trained.project_()
    assert trained.beta.item() == 1
    sigmoid = AdaPool2d(2, beta=0.25, constraint="sigmoid")
    torch.testing.assert_close(sigmoid(x), adapool.adapool2d(x, 0.25))


def test_fault_13_unpooling_can_be_constructed_and_a_single_mask_counts() -> None:
    x = sample(2, 3, 8, 8).abs()
    y, masks = AdaPool2d(2, return_mask=True)(x)
    assert AdaUnpool2d()(y, masks).shape == x.shape
    y, mask = adapool.edscwpool2d(x, return_mask=True)
    restored = adapool.adaunpool(y, mask)
    assert not torch.allclose(restored, y.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(pool(restored, "avg", 2), y)


def test_fault_14_layers_share_nothing() -> None:
    layer, x = AdaPool2d(2, return_mask=True), [sample(1, 2, 8, 8, seed=s) for s in range(8)]
    expected = [layer(v)[1][0] for v in x]
    found: list[Tensor | None] = [None] * 8

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = layer(x[i])[1][0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_fault_15_layers_copy_and_pickle() -> None:
    layer = AdaPool2d(2, beta=(3, 1, 1))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        x = sample(1, 3, 4, 4)
        assert torch.equal(twin(x), layer(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_fault_16_every_dtype_on_the_cpu(dtype: torch.dtype) -> None:
    x = sample(1, 2, 4, 4).to(dtype)
    assert AdaPool2d(2)(x).dtype == dtype


def test_released_signatures() -> None:
    x1, x2, x3 = sample(1, 2, 8), sample(1, 2, 8, 8), sample(1, 2, 8, 8, 8)
    assert AdaPool1d(kernel_size=8, beta=(1))(x1).shape == (1, 2, 1)
    assert AdaPool2d(kernel_size=2, stride=2, beta=(1, 1))(x2).shape == (1, 2, 4, 4)
    assert AdaPool3d(2, (1, 1, 1), None, True, False, "cpu", torch.float32, False)(x3).shape == (1, 2, 4, 4, 4)
    for rank, x in ((1, x1), (2, x2), (3, x3)):
        call = lambda name, rank=rank: getattr(adapool, f"{name}{rank}d")  # noqa: E731
        beta = torch.rand(1)
        torch.testing.assert_close(
            call("adapool")(x, beta, 2, None, False, False),
            beta * call("edscwpool")(x, 2, None, False) + (1 - beta) * call("empool")(x, 2),
        )
        torch.testing.assert_close(call("soft_pool")(x, 2, None, True), call("EMPool")(2)(x))
        torch.testing.assert_close(call("SoftPool")(2, None, False)(x), call("empool")(x))
        torch.testing.assert_close(call("IDWPool")(2, 2, False)(x), call("idwpool")(x, 2, 2))
        torch.testing.assert_close(call("EDSCWPool")(2, return_mask=True)(x), call("edscwpool")(x, 2, None, True))
    assert adapool.lip2d(x2, x2).shape == (1, 2, 4, 4)


def test_state_dict_of_the_released_package_loads() -> None:
    layer = AdaPool2d(2, beta=(4, 4))
    layer.load_state_dict({"beta": torch.rand(4, 4)})
    assert list(layer.state_dict()) == ["beta"]


def test_released_start_of_beta() -> None:
    torch.manual_seed(0)
    beta = AdaPool2d(2, beta=(100, 100), beta_init="released").beta
    assert (beta == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (beta == 1).float().mean().item() == pytest.approx(0.16, abs=0.02)


def test_detached_is_the_released_gradient() -> None:
    x = sample(1, 1, 2, 2).double().requires_grad_()
    for method in ("softpool", "edscw", "idw"):
        y, weights = adapool.pool_with_extra(x, method, 2, gradient="detached")
        for pooled in (y, pool(x, method, 2, gradient="detached")):
            (grad,) = torch.autograd.grad(pooled, x)
            torch.testing.assert_close(grad.flatten(), weights.flatten())
    beta = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    exact = torch.autograd.grad(pool(x, "ada", 2, beta=beta), beta)
    detached = torch.autograd.grad(pool(x, "ada", 2, beta=beta, gradient="detached"), beta)
    torch.testing.assert_close(detached, exact)


def test_vector_similarity_golden() -> None:
    x = torch.tensor([[1.0, 2, 0, 1], [0.0, 1, 3, 1]], dtype=torch.float64).unsqueeze(0)
    vector = pool(x, "edscw", 4, similarity="vector").flatten().tolist()
    channel = pool(x, "edscw", 4).flatten().tolist()
    assert vector == pytest.approx([1.05156, 1.23799], abs=1e-5)
    assert channel == pytest.approx([1.14148, 1.36791], abs=1e-5)
    for method in ("edscw", "idw", "ada"):
        assert torch.autograd.gradcheck(
            lambda v, method=method: pool(v, method, 3, 2, similarity="vector"),
            (torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True),),
        )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_softpool_as_its_cpu_path_computes_it(rank: int) -> None:
    """`sum_i E_i x_i / sum_i E_i` with `E_i = sum_c exp(x_ci)`, by the recipe that the README gives; not SoftPool."""
    x = torch.randn(2, 5, *(6,) * rank, dtype=torch.float64)
    average = getattr(torch.nn.functional, f"avg_pool{rank}d")
    mass = x.exp().sum(1, keepdim=True)
    expected = average(x * mass, 3, 1) / average(mass, 3, 1)
    kernel = (3,) * rank
    found = adapool.pool(x, "lip", kernel, 1, logits=x.logsumexp(1, keepdim=True).expand_as(x))
    torch.testing.assert_close(found, expected)
    assert (found - adapool.pool(x, "softpool", kernel, 1)).abs().max() > 0.1
