"""The fast CPU kernels: against the rows in float64, against the generic loops, bit by bit.

The instruction set and the generic loops are chosen when the library loads, so other choices run in child processes.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adapool.functional import pool
from adapool.unpooling import unpool
from tests.support.fast_oracle import (
    BLENDS,
    DTYPES,
    METHODS,
    OWN,
    PLACE,
    ROWS,
    WEIGHTLESS,
    WINDOWS,
    beta_shapes,
    fast_here,
    gradients,
    hold_to_the_row,
    incoming,
    leaf,
    operand,
    place,
)

CHOICES = {"best": {}, "avx2": {"ADAPOOL_ISA": "avx2"}, "generic": {"ADAPOOL_FAST": "0"}}
HUGE, TINY = 3e38, 1e-42
HARD = [
    [0.0] * 4, [7.3] * 4, [-0.0, 0.0, -0.0, 0.0], [1e30] * 4, [HUGE, HUGE, -HUGE, 1.0], [-HUGE] * 4, [TINY] * 4,
    [TINY, -TINY, 0.0, 2 * TINY], [1.0, -1.0, 0.0, 0.0], [1.0, -1.0, 1e-25, 0.0], [1e13, 1.0, -1e13, 2.0],
    [1e-30, 2e-30, -3e-30, 4e-30], [90.0] * 4, [-110.0] * 4, [1e3, -1e3, 5.0, 6.0], [3.0, -200.0, 2.0, -1e6],
    [float("nan"), 1.0, 2.0, 3.0], [float("inf"), 1.0, 2.0, 3.0], [-float("inf"), 0.0, 0.0, 0.0],
    [float("inf"), -float("inf"), 0.0, 0.0], [0.0, 0.0, 0.0, float("nan")], [0.1, 0.1, 0.1, 0.1],
]  # fmt: skip

pytestmark = pytest.mark.skipif(not fast_here(), reason="no compiled library, or a processor without AVX2")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(METHODS), st.sampled_from(WINDOWS), st.sampled_from(DTYPES), st.booleans(),
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 34), st.integers(1, 80)),
    st.integers(0, 10), st.sampled_from(["exact", "detached"]), st.integers(0, 5), st.integers(0, 10**6),
)  # fmt: skip
def test_against_the_row(
    method: str, window: tuple[int, int], dtype: torch.dtype, channels_last: bool, size: tuple[int, int, int, int],
    shape: int, how: str, offset: int, seed: int,
) -> None:  # fmt: skip
    k, s = window
    n, c, h, w = size[0], size[1], max(size[2], k), max(size[3], k)
    torch.manual_seed(seed)
    x = place(torch.randn(n, c, h, w).to(dtype), channels_last, offset)
    beta: Any = torch.rand(beta_shapes(c, (h - k) // s + 1, (w - k) // s + 1, n)[shape])
    hold_to_the_row(x, method, window, beta, how, seed)


def hard_plane(window: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Each hard set of values as a window of its own, repeated over its taps, between windows of ordinary ones."""
    k, s = window
    x = torch.randn(1, 1, k, 4 * s * len(HARD) + 64, generator=torch.Generator().manual_seed(3)).to(dtype)
    for number, values in enumerate(HARD):
        taps = torch.tensor([values[i % 4] for i in range(k * k)], dtype=torch.float64).to(dtype).reshape(k, k)
        x[0, 0, :, 4 * s * number + 8 * s : 4 * s * number + 8 * s + k] = taps
    return x


def largest(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Largest finite magnitude of each window."""
    return torch.nn.functional.max_pool2d(x.double().nan_to_num(0, 0, 0).abs(), *window)


def answers() -> dict[str, list[Tensor]]:
    """What one choice of kernels computes on fixed problems."""
    found = {}
    for method in (*METHODS[:-1], "lp"):  # power_sum is power but for a factor
        least = 1e-6 if method == "power" else 0.0  # what smaller taps count as
        for window in WINDOWS:
            for channels_last, c in ((False, 2), (True, 3), (True, 6), (True, 11), (True, 21), (True, 29)):
                torch.manual_seed(17)
                x = place(torch.randn(2, c, 15, 41), channels_last)
                out = (15 - window[0]) // window[1] + 1, (41 - window[0]) // window[1] + 1
                found[f"random {method} {window} {c}"] = gradients(x, method, window, torch.rand(out), "exact", 5)
            for dtype in DTYPES:
                # lanes: cells, channels of two cells, channels, planes
                for channels, last in ((1, False), (12, True), (17, True), (32, False)):
                    x = place(hard_plane(window, dtype).expand(1, channels, -1, -1), last)
                    y, dx = gradients(x, method, window, 0.3, "exact", 5)
                    found[f"hard {method} {window} {dtype} {channels}"] = [y, dx, largest(x, window).clamp(min=least)]
        for kernel in ROWS:
            torch.manual_seed(17)
            x = torch.randn(2, 3, *(4, 6, 41)[-len(kernel) :])
            beta = torch.rand(41 // kernel[-1])
            found[f"random {method} {kernel}"] = gradients(x, method, (kernel, kernel), beta, "exact", 5)
        x = torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(1))
        y = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(2))
        if method not in WEIGHTLESS:
            found[f"unpool {method}"] = [unpool(y, x, method, 2, implementation="native")]
    return found


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Tensor]]]:
    folder = tmp_path_factory.mktemp("answers")
    children = {}
    for name, environment in CHOICES.items():
        command = [sys.executable, "-m", "tests.native.test_fast", str(folder / name)]
        root = Path(__file__).parents[2]
        children[name] = subprocess.Popen(command, cwd=root, env={**os.environ, **environment})
    for name, child in children.items():
        assert child.wait(timeout=120) == 0, name
    return {name: torch.load(folder / name) for name in CHOICES}


@pytest.mark.parametrize("choice", ["best", "avx2"])
def test_agrees_with_the_generic_loops(choices: Any, choice: str) -> None:
    for name, generic in choices["generic"].items():
        hard = name.startswith("hard")
        for what, got, want in zip(("y", "dx"), choices[choice][name], generic, strict=False):
            assert got.isnan().equal(want.isnan()), (name, what)
            a, b = got.double().nan_to_num(0), want.double().nan_to_num(0)
            if not hard:
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=f"{name} {what}")
            elif what == "y":  # window by window: their sizes differ by 10^80
                taps = {"sum": 49, "lp": 7, "lp_abs": 7}.get(name.split()[1], 1)
                assert ((a - b).abs() <= 2e-6 * taps * generic[2] + 2 * PLACE[got.dtype] * b.abs() + 1e-40).all(), name


def test_the_fast_kernels_did_run(choices: Any) -> None:
    """Other exponentials, other bits: a choice that agrees everywhere with the generic loops took them."""
    for name, generic in choices["generic"].items():
        if name.startswith("random") and name.split()[1] in OWN:
            for choice in ("best", "avx2"):
                for a, b in zip(choices[choice][name], generic, strict=True):
                    assert not a.equal(b), f"{name}: {choice} ran the generic loops"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", BLENDS)
def test_hard_windows(method: str, dtype: torch.dtype) -> None:
    for window in WINDOWS:
        x = hard_plane(window, dtype)
        y = pool(x, method, *window, implementation="native")
        want = pool(x.double(), method, *window, implementation="plain")
        finite = torch.isfinite(x.unfold(2, window[0], window[1]).unfold(3, window[0], window[1])).all(-1).all(-1)
        assert torch.isfinite(y[finite & want.abs().lt(torch.finfo(dtype).max)]).all()
        assert y[~finite].isnan().all()
        bound = PLACE[dtype] * want.abs() + 2e-6 * largest(x, window) + torch.finfo(dtype).smallest_normal * 2**-9
        assert ((y.double() - want).abs() <= bound)[finite & y.isfinite()].all(), window


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("method", ["lp", "lp_abs"])
def test_powers_of_either_sign(method: str, p: float) -> None:
    """lp of an odd p cancels, of a broken one is NaN where a tap is negative; zero windows have no gradient."""
    torch.manual_seed(int(10 * p))
    precision = 1e-2 if method == "lp" and p % 2 == 1 else 1e-5
    for window, c in itertools.product([(2, 2), (3, 2), (3, 1), (5, 5)], (2, 33)):
        x = place(torch.randn(2, c, 14, 41), channels_last=c == 33)
        x = torch.where(torch.rand_like(x) < 0.3, 0.0, x)
        x[1] = x[1].abs()
        x[:, :, :, -9:] = 0
        leaves = [leaf(x), leaf(x.double())]
        powers = [leaf(torch.full((c, 1, 1), p, dtype=v.dtype)) for v in leaves]
        ys = [pool(leaves[i], method, *window, p=powers[i], implementation=("native", "plain")[i]) for i in range(2)]
        got, want = ([y, *torch.autograd.grad(y.sum(), [a, b])] for y, a, b in zip(ys, leaves, powers, strict=True))
        for name, a, b in zip(("y", "dx", "dp"), got, want, strict=True):
            assert a.isnan().equal(b.isnan()), name
            steep = b.nan_to_num(0).abs().max()
            assert ((a - b).nan_to_num(0).abs() <= precision * steep).all(), (name, window)


@pytest.mark.parametrize("value", [7.3, -0.1, 1e30, 3e38, 1e-40, 90.0, 0.0])
def test_constant_regions_come_back_exactly(value: float) -> None:
    for method in BLENDS:
        for window in WINDOWS:
            for c, channels_last in ((1, False), (3, True), (9, True), (19, True)):
                x = place(torch.full((1, c, 9, 37), value), channels_last)
                y = pool(x, method, *window, implementation="native")
                assert y.eq(torch.tensor(value)).all(), (method, window, c)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [3, 4, 10, 24])
def test_bits_do_not_depend_on_threads_or_batch(channels: int, channels_last: bool) -> None:
    before = torch.get_num_threads()
    try:
        for window, padding in [*((w, 0) for w in WINDOWS), ((3, 2), 1), ((3, 3), 1)]:
            out = (60 + 2 * padding - window[0]) // window[1] + 1
            for dtype in (torch.float32, torch.float16):
                torch.manual_seed(0)
                x = place(torch.randn(3, channels, 60, 60).to(dtype), channels_last)
                for shape in ((1,), (channels, 1, 1), (out, out), (3, 1, out, out)):
                    beta = torch.rand(shape)
                    found = []
                    for threads in (1, 2, 5):
                        torch.set_num_threads(threads)
                        found.append(gradients(x, "ada", window, beta, "exact", 1, padding=padding))
                    assert all(a.equal(b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
                    alone = leaf(x[1:2])
                    own = beta[1:2] if beta.dim() == 4 else beta
                    y = pool(alone, "ada", *window, padding, implementation="native", beta=own)
                    assert y.equal(found[0][0][1:2])
                    grad = incoming(found[0][0].shape, dtype, 1)
                    assert torch.autograd.grad(y, alone, grad[1:2])[0].equal(found[0][1][1:2])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(0, 3), (2, 0), (0, 0)])
def test_nothing_to_pool(size: tuple[int, int], channels_last: bool) -> None:
    for method in METHODS:
        for window in WINDOWS:
            x = place(torch.randn(*size, 9, 40), channels_last)
            beta = torch.tensor(0.5)
            y, dx, *more = gradients(x, method, window, beta, "exact", 1)
            assert y.shape[:2] == size and dx.shape == x.shape and all(d == 0 for d in more)


@pytest.mark.parametrize("channels_last", [False, True])
def test_part_of_a_tensor_in_place(channels_last: bool) -> None:
    """One image of a batch, or some channels of it: an axis of one place may have any stride."""
    torch.manual_seed(2)
    whole = place(torch.randn(3, 64, 12, 14), channels_last)
    for x in (whole[1:2], whole[1:2, :, :, 2:9] if channels_last else whole[1:2, 16:32]):
        for window in WINDOWS:
            y = pool(x, "ada", *window, implementation="native")
            want = pool(x.double(), "ada", *window, implementation="plain")
            torch.testing.assert_close(y.double(), want, rtol=1e-5, atol=1e-5)


def test_gradients_of_any_strides() -> None:
    """`y.sum().backward()` sends an expanded gradient, others a transposed one."""
    x = torch.randn(2, 3, 20, 30)
    for window in WINDOWS:
        leaves = [leaf(x), leaf(x.double())]
        ys = [pool(leaves[i], "ada", *window, implementation=("native", "plain")[i]) for i in range(2)]
        odd = torch.randn(*ys[0].shape[:2], ys[0].shape[3], ys[0].shape[2]).transpose(2, 3)
        for grad in (torch.ones(()).expand(ys[0].shape), odd):
            got = torch.autograd.grad(ys[0], leaves[0], grad, retain_graph=True)[0]
            want = torch.autograd.grad(ys[1], leaves[1], grad.double(), retain_graph=True)[0]
            torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)


def of_each_slab(x: Tensor, method: str, window: tuple[int, int], operands: dict[str, Any]) -> Tensor:
    """[N, C, D, H, W] pooled one D at a time."""
    slabs = []
    for i in range(x.shape[2]):
        its = {
            name: v.expand(*x.shape[:3], 1, 1)[:, :, i] if isinstance(v, Tensor) else v for name, v in operands.items()
        }
        slabs.append(pool(x[:, :, i], method, *window, **its))
    return torch.stack(slabs, 2)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "c", "d"), [(2, 3, 4), (1, 20, 2), (2, 1, 3), (1, 1, 2)])
def test_windows_of_one_slab(method: str, channels_last: bool, n: int, c: int, d: int) -> None:
    """What a video network pools in space alone, whatever beta varies with, is what each slab is on its own."""
    torch.manual_seed(4)
    x = torch.rand(n, c, d, 9, 21) + 0.1
    x = x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x
    shapes = [(), (c, 1, 1, 1), (d, 1, 1), (c, d, 1, 1), (n, 1, 1, 1, 1), (n, c, d, 1, 1)]
    for (k, s), shape in itertools.product([(2, 2), (3, 2), (4, 4)], shapes):
        beta = torch.rand(shape)
        got = gradients(x, method, ((1, k, k), (1, s, s)), beta, "exact", 5)
        own, operands = leaf(x), operand(method, beta)
        y = of_each_slab(own, method, (k, s), operands)
        leaves = [own, *(v for v in operands.values() if isinstance(v, Tensor))]
        want = [y, *torch.autograd.grad(y, leaves, incoming(y.shape, x.dtype, 5))]
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    torch.save(answers(), sys.argv[1])
