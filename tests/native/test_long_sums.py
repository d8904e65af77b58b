"""Long windows: what is summed over 10^4 taps and more keeps its digits in float32 and in 16 bits.

The truth is the plain row in float64 on the same (rounded) inputs. Inputs repeat three numbers, because then rounding
errors have one sign and add up; bounds are relative to the largest number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import adapool
from adapool import names, pool
from tests.support.native_places import DEVICES, laid_out, need

BOUND = 2e-6
SUMMED = [name for name in names() if adapool.get(name).extra != "indices"]  # the others choose a tap


@dataclass
class Case:
    shape: tuple[int, ...]
    kernel: int | tuple[int, ...] | None = None
    channels_last: bool = False
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "2-D": Case((1, 1, 1024, 1024)),
    "1-D": Case((1, 1, 1 << 20)),
    "3-D": Case((1, 1, 32, 64, 96)),
    "channels last": Case((1, 3, 360, 360), channels_last=True),
    "padding": Case((1, 1, 300, 300), 301, options={"stride": 150, "padding": 150}),
}


def repeated(shape: tuple[int, ...], *numbers: float) -> Tensor:
    count = torch.Size(shape).numel()
    return torch.tensor(numbers).repeat(count // len(numbers) + 1)[:count].reshape(shape)


def error(found: Tensor, truth: Tensor) -> float:
    return float((found.double() - truth).abs().max() / truth.abs().max())


def both(x: Tensor, method: str, case: Case, truth: str = "plain") -> list[tuple[Tensor, Tensor]]:
    """The cells and the gradient of x, compiled in the dtype of x and true in float64."""
    found = []
    for given, implementation in ((x, "native"), (x.double(), truth)):
        leaf = given.clone().requires_grad_()
        logits = repeated(case.shape, 0.3, -0.9, 0.1, 1.3).to(leaf)
        operands = dict.fromkeys(adapool.get(method).takes("input"), logits)
        y = pool(leaf, method, case.kernel, implementation=implementation, **case.options, **operands)
        found.append((y.detach().cpu(), torch.autograd.grad(y, leaf, torch.ones_like(y))[0].cpu()))
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", SUMMED)
def test_float32_over_many_taps(method: str, name: str, device: str) -> None:
    need(device)
    case = CASES[name]
    x = laid_out(repeated(case.shape, 0.1, 0.13, 0.7), case.channels_last).to(device)
    (y, slope), (want, slope_wanted) = both(x, method, case)
    assert error(y, want) <= BOUND, f"forward: {error(y, want):.1e}"
    assert error(slope, slope_wanted) <= BOUND, f"gradient: {error(slope, slope_wanted):.1e}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("method", "dtype", "bound"), [
    ("avg", torch.float16, 2.0**-11), ("avg", torch.bfloat16, 2.0**-8),
    ("avg", torch.float32, BOUND), ("sum", torch.float32, BOUND),
], ids=str)  # fmt: skip
def test_constants_over_sixteen_million_taps(method: str, dtype: torch.dtype, bound: float, device: str) -> None:
    need(device)
    x = torch.full((1, 1, 4096, 4096), 0.1, dtype=dtype, device=device)
    want = x[0, 0, 0, 0].double().cpu() * (x.numel() if method == "sum" else 1)
    assert error(pool(x, method, None, implementation="native").cpu(), want) <= bound


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", [
    Case((1, 1, 64, 64), 41, options={"stride": 1, "padding": 20}),
    Case((1, 8, 56, 56), 41, options={"stride": 1, "padding": 20}),
    Case((1, 2, 15, 15, 15), 11, options={"stride": 1, "padding": 5}),
], ids=["row", "channels", "3-D"])  # fmt: skip
@pytest.mark.parametrize("method", ["avg", "softpool"])
def test_gradients_of_many_overlapping_windows(method: str, case: Case, device: str) -> None:
    """Against the compiled operators in float64, because rows on so many taps take seconds."""
    need(device)
    (_, slope), (_, want) = both(torch.full(case.shape, 0.1, device=device), method, case, "native")
    assert error(slope, want) <= BOUND, f"{error(slope, want):.1e}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["avg", "softpool", "edscw", "dpp"])
def test_unpooling_sums_gradients_of_many_taps(method: str, device: str) -> None:
    """The gradients of y and of the guide, through `unpool`, and of y through stored weights."""
    need(device)
    shape = (1, 1, 400, 400)
    found = []
    for dtype, implementation in ((torch.float32, "native"), (torch.float64, "plain")):
        guide = repeated(shape, 0.1, 0.13, 0.7).to(device, dtype).requires_grad_()
        grad = repeated(shape, 0.3, 0.7, 0.9, 1.3, 0.1).to(device, dtype)
        y = torch.full((1, 1, 1, 1), 0.7, device=device, dtype=dtype, requires_grad=True)
        out = adapool.unpool(y, guide, method, shape[2:], implementation=implementation)
        leaves = (y,) if method == "avg" else (y, guide)  # whose weights do not depend on the guide
        found.append([g.cpu() for g in torch.autograd.grad(out, leaves, grad)])
        weights = adapool.pool_with_extra(guide.detach(), method, shape[2:], implementation=implementation)[1]
        out = adapool.unpool_weights(y, weights, shape[2:], implementation=implementation)
        found[-1].append(torch.autograd.grad(out, y, grad)[0].cpu())
    for one, want in zip(*found, strict=True):
        assert error(one, want) <= BOUND, f"{error(one, want):.1e}"


@pytest.mark.parametrize("device", DEVICES)
def test_stochastic_draws_the_tap_where_the_mass_is(device: str) -> None:
    need(device)
    x = torch.full((1, 1, 1024, 1024), 0.1)
    for u in (0.001, 0.3, 0.7, 0.999):
        _, index = adapool.pool_with_extra(
            x.to(device), "stochastic", None, u=torch.tensor([[[[u]]]], device=device), implementation="native"
        )
        assert abs(index.item() / x.numel() - u) <= BOUND
