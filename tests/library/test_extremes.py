"""Numbers at the edge: taps that weigh nothing, operands of 16 bits, powers that would overflow."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import adapool
from adapool import AdaPool2d, native, pool

IMPLEMENTATIONS = [
    pytest.param("native", marks=pytest.mark.skipif(not native.LOADED, reason="no compiled operators")),
    "plain",
]
MASKED: list[tuple[str, dict[str, Any]]] = [
    ("lip", {"logits": (0.0, 0.0, 0.0, -1e9)}),
    ("stochastic_eval", {}),
    ("dpp_asym", {"lam": 8.0, "alpha": 0.0}),
]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("huge", [-1e6, -1e9, -3e38, torch.finfo(torch.bfloat16).min])
@pytest.mark.parametrize(("name", "given"), MASKED, ids=[name for name, _ in MASKED])
def test_a_huge_tap_that_weighs_nothing_takes_no_digits(name: str, given, huge: float, implementation: str) -> None:
    """As masks with the lowest number of a type make them; the value is that of float64."""
    x = torch.tensor([[[1.0, 2.0, 0.003, huge]]])
    found = []
    for dtype in (torch.float32, torch.float64):
        logits = {k: torch.tensor([[v]], dtype=dtype) for k, v in given.items() if k == "logits"}
        leaf = x.to(dtype, copy=True).requires_grad_()
        y = pool(leaf, name, 4, implementation=implementation, **given | logits)
        found.append((y.detach().double(), torch.autograd.grad(y, leaf)[0].double()))
    (y, grad), (exact, slope) = found
    torch.testing.assert_close(y, exact, rtol=1e-5, atol=0)
    assert 0 < exact.item() < 2
    torch.testing.assert_close(grad[..., :3], slope[..., :3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "operand"), [("ada", "beta"), ("mixed", "alpha")])
def test_an_operand_of_16_bits_is_summed_in_32(name: str, operand: str, dtype, implementation: str) -> None:
    x = (torch.rand(1, 2, 256, 256, generator=torch.Generator().manual_seed(0)) + 3).to(dtype)
    share = torch.tensor([0.3], dtype=dtype)
    grads = []
    for wide in (dtype, torch.float32):
        given = share.to(wide).requires_grad_()
        y = pool(x, name, 2, implementation=implementation, **{operand: given})
        grads.append(torch.autograd.grad(y.sum(dtype=torch.float32), given)[0].float())
    torch.testing.assert_close(grads[0], grads[1], rtol=torch.finfo(dtype).eps, atol=0)
    constant, small = torch.full((1, 1, 2, 2), 1000.0), torch.tensor([0.003], dtype=dtype)
    assert pool(constant, name, 2, implementation=implementation, **{operand: small}).item() == 1000


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_an_unpooling_share_of_16_bits_is_no_coarser(implementation: str) -> None:
    x = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    y, (dice, soft, _) = adapool.adapool2d(x, return_mask=True, implementation=implementation)
    share = torch.tensor([0.3]).bfloat16()
    assert torch.equal(adapool.adaunpool2d(y, (dice, soft, share)), adapool.adaunpool2d(y, (dice, soft, share.float())))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("lam", [60.0, 300.0, 1e4])
@pytest.mark.parametrize("name", ["dpp", "dpp_asym"])
def test_a_large_lam_overflows_nothing(name: str, lam: float, alpha: float, implementation: str) -> None:
    spike = torch.zeros(1, 1, 7, 7)
    spike[..., 3, 2] = 1
    assert pool(spike, name, 7, lam=lam, alpha=alpha, implementation=implementation).item() == pytest.approx(1)
    flat = torch.full((1, 1, 7, 7), 2.0)
    assert pool(flat, name, 7, lam=lam, alpha=alpha, implementation=implementation).item() == 2


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gradients_of_a_large_lam_are_those_of_double(implementation: str) -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
        lam, alpha = (torch.tensor([v], dtype=dtype, requires_grad=True) for v in (130.0, 0.7))
        way = implementation if dtype == torch.float32 else "plain"
        y = pool(x, "dpp", 4, lam=lam, alpha=alpha, implementation=way)
        grads = torch.autograd.grad((y * torch.arange(1, 9).reshape(y.shape)).sum(), (x, lam, alpha))
        found.append([t.double() for t in (y.detach(), *grads)])
    for t, exact in zip(*found, strict=True):
        torch.testing.assert_close(t, exact, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("p", [1.001, 1.01, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("name", ["lp", "lp_abs"])
def test_a_zero_has_no_slope_in_a_norm_above_one(name: str, p: float, implementation: str) -> None:
    x = torch.tensor([0.0, 1.0, 2.0, 3.0] * 16).reshape(1, 1, 8, 8).requires_grad_()
    for window in ((2,), (3, 2, 1)):
        grad = torch.autograd.grad(pool(x, name, *window, p=p, implementation=implementation).sum(), x)[0]
        assert (grad[x == 0] == 0).all()
        assert (grad[x == 3] > 0).all()


def test_sums_of_huge_numbers_have_finite_gradients_on_the_plain_row() -> None:
    x = torch.full((1, 1, 2, 2), 3e38, requires_grad=True)
    for name in ("edscw", "softpool", "ada", "stochastic_eval"):
        y = pool(x, name, 2, implementation="plain")
        assert torch.autograd.grad(y, x, torch.full_like(y, 4.0))[0].isfinite().all(), name


@pytest.mark.parametrize("implementation", ["auto", "plain"])
@pytest.mark.parametrize("kernel", [(2**32, 2**31), 2**40, (2**62, 2)])
def test_a_window_of_more_taps_than_can_be_counted_is_refused(kernel, implementation: str) -> None:
    x, padding = torch.ones(1, 1, 8, 8), tuple(k // 2 for k in kernel) if isinstance(kernel, tuple) else kernel // 2
    for name in ("ada", "max"):
        with pytest.raises(ValueError, match=r"kernel_size: expected fewer than 2\*\*63 taps, got"):
            pool(x, name, kernel, 1, padding, implementation=implementation)
    if native.LOADED:  # a program calls the operator itself
        with pytest.raises(RuntimeError, match=r"expected fewer than 2\*\*63 taps"):
            torch.ops.adapool.pool(x, [], "softpool", [2**32, 2**32], [1, 1], [2**31, 2**31], False, [], False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_share_of_one_has_a_finite_logit(dtype: torch.dtype) -> None:
    layer = AdaPool2d(2, beta=1.0, dtype=dtype, constraint="sigmoid")
    assert layer.beta.isfinite().all() and layer.share() > 0.99
