"""An inverse is judged by what rounding can do to it: a guide whose window mean cancels excuses that, and no more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adapool import functional, native, unpooling
from suites import verify
from suites.case import Case
from suites.subject import Unavailable
from suites.subjects import build
from suites.timed import Expected, Timed

DTYPES = ("float32", "bfloat16", "float16")
CPU = torch.device("cpu")
K, CHANNELS, ACROSS = 3, 8, 150


def cancelling(dtype: str) -> Tensor:
    """Windows 3x3 whose mean is 1e-7 to 1 of the largest tap, with a tap of about the mean's size in each."""
    g = torch.Generator().manual_seed(3)
    count = (CHANNELS * ACROSS, 1)
    x = torch.randn(CHANNELS * ACROSS, K * K, generator=g, dtype=torch.float64)
    mean = 10 ** (torch.rand(count, generator=g, dtype=torch.float64) * 7 - 7) * x[:, 2:3].sign()
    near = mean * 10 ** (0.4 * torch.randn(count, generator=g, dtype=torch.float64))
    x = torch.cat([near, x[:, 1:]], 1)
    x[:, 1] -= x.sum(1) - K * K * mean[:, 0]
    return x.reshape(CHANNELS, ACROSS, K, K).transpose(1, 2).reshape(1, CHANNELS, K, -1).to(getattr(torch, dtype))


def problem(dtype: str, implementation: str, stride: int = K) -> tuple[Timed, Expected]:
    guide = cancelling(dtype)
    case = Case(
        "latency", "adaunpool_guide", implementation, "inverse", (K, K), (K, stride), (0, 0), False,
        tuple(guide.shape), dtype, "nchw", ("hot",),
    )  # fmt: skip
    try:
        timed = Timed(build(case, CPU, 0), case, 0)
    except Unavailable as why:
        pytest.skip(str(why))
    timed.inputs[1].copy_(guide)
    timed.inputs[0].copy_(functional.pool(guide, "ada", K, (K, stride), implementation="plain"))
    return timed, timed.expected(timed.state())


@pytest.mark.parametrize("stride", [3, 2])
@pytest.mark.parametrize("implementation", ["native", "plain"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_rounds_is_right(dtype: str, implementation: str, stride: int) -> None:
    timed, want = problem(dtype, implementation, stride)
    fault, error = verify.compare(timed.case, timed(), want)
    assert fault is None and error is not None and error < 0.7
    if dtype == "float32" and (implementation == "plain" or native.status()["cpu"] == "ok"):
        blind = Expected(want.values, want.moves, want.scale)
        fault, _ = verify.compare(timed.case, timed(), blind)
        assert fault is not None  # without the allowance the row itself would be wrong


def means(guide: Tensor) -> tuple[Tensor, Tensor]:
    """Each window's mean, exact, and its largest tap, at the windows' places."""
    x = guide.double()
    largest = torch.nn.functional.max_pool2d(x.abs(), K)
    return torch.nn.functional.avg_pool2d(x, K), largest


def wrong(timed: Timed, means: Tensor) -> Tensor:
    """The inverse with other means than the guide's own."""
    y, guide = (t.double() for t in timed.inputs)
    m, y = (t.repeat_interleave(K, 2).repeat_interleave(K, 3) for t in (means, y))
    dice = (2 * (guide * m).abs() / (guide * guide + m * m)).nan_to_num(nan=0.0)
    share = [t.exp() / torch.nn.functional.avg_pool2d(t.exp(), K).repeat_interleave(K, 2).repeat_interleave(K, 3)
             for t in (dice, guide)]  # fmt: skip
    return (y * (share[0] + share[1]) / 2).to(timed.inputs[0].dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_that_is_wrong_is_found(dtype: str) -> None:
    timed, want = problem(dtype, "plain")
    mean, largest = means(timed.inputs[1])
    draw = torch.Generator().manual_seed(5)
    noise = torch.rand(mean.shape, generator=draw, dtype=torch.float64) * 2 - 1
    assert verify.compare(timed.case, (wrong(timed, mean),), want)[0] is None
    assert verify.compare(timed.case, (wrong(timed, mean + 2.0**-24 * noise * largest),), want)[0] is None
    cut = mean.masked_fill(mean.abs() < 1e-4 * largest, 0.0)
    rough = mean + 2.0**-12 * noise * largest  # as if summed in float16
    for means_ in (cut, rough, mean.abs() + 1e-3 * largest, torch.zeros_like(mean)):
        fault, _ = verify.compare(timed.case, (wrong(timed, means_),), want)
        assert fault is not None and "differ from the definition" in fault


@pytest.mark.parametrize("dtype", DTYPES)
def test_whatever_the_mean_is_the_weights_are_bounded(dtype: str) -> None:
    """Where all of the mean is rounding, a wrong scale is still one, and a lost last row too."""
    timed, want = problem(dtype, "plain")
    y, guide = timed.inputs
    right = unpooling.unpool(y, guide, "ada", K, implementation="plain")
    lost = right.clone()
    lost[:, :, -1] = 0
    for planted in (unpooling.unpool(y, guide, "ada", K, normalize=False, implementation="plain"), lost, 1.02 * right):
        assert verify.compare(timed.case, (planted,), want)[0] is not None
