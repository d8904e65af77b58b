"""The compiled operators against the plain rows in float64, on every device that has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adapool import native
from adapool.functional import pool, pool_with_extra
from adapool.registry import get
from adapool.unpooling import unpool_weights
from tests.support.native_places import DEVICES, laid_out, need, tensors_of
from tests.support.problems import DTYPES, IDW, METHODS, TOLERANCE, Problem


def close(got: Tensor, want: Tensor, tolerance: float, what: str) -> None:
    assert got.shape == want.shape, what
    if not want.numel():
        return
    want = want.detach()
    worst = (got.detach().cpu().double() - want.cpu().double()).abs().nan_to_num(torch.inf).max()
    assert worst <= tolerance * max(1.0, float(want.abs().max())), f"{what}: off by {worst:.3g}"


def test_the_lists_of_methods_agree() -> None:
    """What the library says of itself is what its sources list, and each of them has a row."""
    source = (Path(__file__).parents[2] / "csrc" / "math" / "methods.h").read_text()
    compiled = re.findall(r"^  X\((\w+), \w+\)", source, re.MULTILINE)
    assert set(compiled) == native.METHODS == set(METHODS) and all(get(name) for name in compiled)
    assert len(compiled) == len(set(compiled))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_forward_backward_and_extras(method: str, dtype: torch.dtype, device: str) -> None:
    need(device)
    for seed in range(8):
        one = Problem(1000 + seed, method, dtype, seed % 2 == 1)
        modes = ("exact", "detached") if one.entry.extra == "weights" else ("exact",)
        for mode in modes:
            x, operands = tensors_of(one, device)
            want_x, want_operands = one.leaves()
            y = pool(x, method, *one.options(), implementation="native", gradient=mode, **operands)
            want = pool(want_x, method, *one.options(), implementation="plain", gradient=mode, **want_operands)
            assert y.dtype == dtype
            close(y, want, one.slack * TOLERANCE[dtype], f"{one.names} y")
            grad = torch.linspace(-1, 1, want.numel(), dtype=torch.float64).reshape(want.shape).to(dtype)
            leaves = [n for n, v in operands.items() if isinstance(v, Tensor) and v.requires_grad]
            found = torch.autograd.grad(y, [x, *(operands[n] for n in leaves)], grad.to(device), allow_unused=True)
            truth = torch.autograd.grad(
                want, [want_x, *(want_operands[n] for n in leaves)], grad.double(), allow_unused=True
            )
            for name, got, true in zip(["x", *leaves], found, truth, strict=True):
                if true is None:
                    assert got is None or not got.any()
                    continue
                assert got is not None
                close(got, true, max(one.slack * TOLERANCE[dtype], TOLERANCE[got.dtype]), f"{one.names} {mode} d{name}")
        if one.entry.extra:
            x, operands = tensors_of(one, device)
            extra = pool_with_extra(x, method, *one.options(), implementation="native", **operands)[1]
            want_x, want_operands = one.leaves()
            true = pool_with_extra(want_x, method, *one.options(), implementation="plain", **want_operands)[1]
            close(extra, true, one.slack * TOLERANCE[dtype], f"{one.names} extra")
            assert not extra.requires_grad


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("shape", "window", "dtype", "last"), [
    ((1, 19, 90, 100), ((3, 5), (2, 4), 1), torch.float32, False),  # many blocks, cut across overlaps
    ((2, 2, 30, 700), ((4, 3), (4, 2), 1), torch.float32, False),  # few channels: packs along rows
    ((1, 1, 40_011), (3, 2, 1), torch.float32, False),  # and rows that are cut
    ((1, 1, 12, 300), (3, 1, 1), torch.float16, False),  # whose lanes lie side by side, in another type
    ((1, 9, 200, 210), ((200, 210), 1, 0), torch.float32, False),  # a region beyond any buffer
    ((1, 16, 190, 190), ((190, 190), 1, 0), torch.bfloat16, True),
], ids=["blocks", "rows", "long rows", "rows in 16 bits", "global", "global in 16 bits"])  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
def test_sizes_beyond_one_block(
    method: str, shape: tuple[int, ...], window: tuple[Any, ...], dtype: torch.dtype, last: bool, device: str
) -> None:
    need(device)
    whole = window[0] == shape[2:]
    if method in IDW and whole:
        pytest.skip("of so many taps, one is within rounding of the mean")
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(shape, generator=generator)
    if method in IDW:  # no tap near a mean
        x = x.sign() * (1 + x.abs() / 20)
    x = laid_out(x.to(device, dtype), last).requires_grad_()
    entry, cells = get(method), pool(x, "sum", *window).shape
    given: dict[str, Any] = {
        n: laid_out(torch.randn(shape, generator=generator).to(device, dtype), last).requires_grad_()
        for n in entry.takes("input")
    }
    given |= {n: torch.rand(cells, generator=generator).to(device) for n in entry.takes("random")}
    grad = torch.randn(cells, generator=generator)
    if whole:  # else each tap's part of it would be below the tolerance
        grad *= x[0, 0].numel()
    grad = grad.to(device, dtype)
    y = pool(x, method, *window, implementation="native", **given)
    wide = x.detach().cpu().double().requires_grad_()
    wide_given = {n: v.detach().cpu().double().requires_grad_(v.requires_grad) for n, v in given.items()}
    want = pool(wide, method, *window, implementation="plain", **wide_given)
    if entry.takes("random"):  # where u falls on the edge of a tap, rounding decides
        same = (y.cpu().double() - want).abs() < 1e-6
        assert same.double().mean() > 0.99
        y, want, grad = y * same.to(device), want * same, grad * same.to(device)
    rounded = 0 if dtype == torch.float32 else TOLERANCE[dtype]
    close(y, want, max(1e-5, rounded), "y")
    leaves = [n for n, v in given.items() if v.requires_grad]
    found = torch.autograd.grad(y, [x, *(given[n] for n in leaves)], grad)
    truth = torch.autograd.grad(want, [wide, *(wide_given[n] for n in leaves)], grad.cpu().double())
    for name, got, true in zip(["x", *leaves], found, truth, strict=True):
        # idw: by its largest gap over its smallest, which Huber's distance squares
        close(got, true, max({"idw": 2e-4, "idw_huber": 1e-3}.get(method, 2e-5), rounded), f"d{name}")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unpool_from_guide_and_from_weights(dtype: torch.dtype, device: str) -> None:
    need(device)
    for number, method in enumerate(m for m in METHODS if Problem(0, m, dtype, False).entry.extra == "weights"):
        one = Problem(2000 + number, method, dtype, number % 2 == 1)
        x, operands = tensors_of(one, device)
        y = torch.rand(one.cells, dtype=torch.float64).to(device, dtype).requires_grad_()
        out = native.unpool(y, x, method, one.window, list(operands.values()), True)
        weights = pool_with_extra(x, method, *one.options(), implementation="plain", **operands)[1]
        again = unpool_weights(
            y, weights.to(torch.promote_types(dtype, torch.float32)), *one.options(), output_size=one.shape[2:],
            implementation="native",
        )  # fmt: skip
        close(out, again, 4 * one.slack * TOLERANCE[dtype], f"{one.names} guide against weights")
        assert out.shape == x.shape and out.dtype == dtype
        if y.numel():
            grads = torch.autograd.grad(out.double().sum(), [y, x])
            same = torch.autograd.grad(again.double().sum(), y)[0]
            close(grads[0], same, 4 * one.slack * TOLERANCE[dtype], f"{one.names} dy")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_constant_region_comes_back(method: str, device: str) -> None:
    """normalize=True restores a constant image exactly to rounding; padding and ceil_mode included."""
    need(device)
    one = Problem(3, method, torch.float32, False)
    if one.entry.extra != "weights" or one.entry.takes("input"):
        pytest.skip("no weights of its own")
    x = torch.full((1, 2, 7, 7), 3.0, device=device)
    operands: dict[str, Any] = {spec.name: spec.default for spec in one.entry.operands}
    window = (3, 2, 1, True)
    y = pool(x, method, *window, implementation="native", **operands)
    from adapool.unpooling import unpool

    back = unpool(
        y, x, method, *window, implementation="native", **{n: v for n, v in operands.items() if v is not None}
    )
    torch.testing.assert_close(back, x, rtol=1e-6, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_memory_formats_are_kept(rank: int, device: str) -> None:
    need(device)
    x = torch.randn(2, 5, *(6,) * rank, device=device)
    for last in (False, True):
        given = laid_out(x, last).requires_grad_()
        y = pool(given, "ada", 2, implementation="native")
        (dx,) = torch.autograd.grad(y.sum(), given)
        for t in (y, dx):
            assert laid_out(t, last).stride() == t.stride(), "the output's layout is the input's"
        torch.testing.assert_close(y.contiguous(), pool(x, "ada", 2, implementation="native"))
    odd = torch.randn(5, *(6,) * rank, 2, device=device).movedim(-1, 0)
    torch.testing.assert_close(
        pool(odd, "edscw", 2, implementation="native"), pool(odd.contiguous(), "edscw", 2, implementation="native")
    )
    expanded = torch.randn(1, 1, *(6,) * rank, device=device).expand(2, 5, *(6,) * rank)
    assert pool(expanded, "max", 2, implementation="native").shape == (2, 5, *(3,) * rank)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_bitwise_alike(method: str, device: str) -> None:
    """From run to run, for any number of threads, and batched as unbatched."""
    need(device)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(3, 19, 33, 41, generator=generator).abs() + 0.1
    one = Problem(1, method, torch.float32, False)
    operands: dict[str, Any] = {}
    for spec in one.entry.operands:
        shape = x.shape if spec.kind == "input" else (3, 19, 16, 20) if spec.kind == "random" else (19, 1, 1)
        operands[spec.name] = (torch.rand(shape, generator=generator) + (spec.kind != "random")).to(device)

    def run(x: Tensor, operands: dict[str, Tensor]) -> list[Tensor]:
        x = x.to(device).requires_grad_()
        leaves = {n: v.detach().clone().requires_grad_(n not in one.entry.takes("random")) for n, v in operands.items()}
        y = pool(x, method, (3, 3), 2, implementation="native", **leaves)
        return [y, *torch.autograd.grad(y.sin().sum(), [x, *(v for v in leaves.values() if v.requires_grad)])]

    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            runs.append(run(x, operands))
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))
    single = {n: v[1:2] if v.dim() == 4 else v for n, v in operands.items()}
    y, dx = run(x[1:2], single)[:2]
    assert torch.equal(y, runs[0][0][1:2])
    assert torch.equal(dx, runs[0][1][1:2])


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_laundered(device: str) -> None:
    """A NaN or an inf in a region shows in its cell and its gradient, and nowhere else."""
    need(device)
    for bad in (torch.nan, torch.inf, -torch.inf):
        for method in ("softpool", "edscw", "idw", "ada"):
            x = torch.rand(1, 1, 4, 6, device=device)
            x[0, 0, 0, 1] = bad
            x.requires_grad_()
            y = pool(x, method, 2, implementation="native")
            (dx,) = torch.autograd.grad(y.sum(), x)
            assert y[0, 0].isnan().tolist() == [[True, False, False], [False, False, False]], (method, bad)
            assert dx[0, 0].isnan().sum() == 4, (method, bad)
    x = torch.tensor([[[1.0, torch.nan, 3.0, 2.0, 5.0, 5.0]]], device=device)
    y, index = pool_with_extra(x, "max", 2, implementation="native")
    assert y[0, 0, 0].isnan() and index.tolist() == [[[1, 2, 4]]]


@pytest.mark.skipif(not native.LOADED, reason="no compiled library")
@pytest.mark.parametrize("bits", [0x7FC00001, -0x3FFFFF])  # the last ones of its fraction, which no operation sets
def test_a_nan_of_any_bits_stays_one(bits: int) -> None:
    odd = torch.zeros(1, 16, 8, 8)
    odd.view(torch.int32)[..., 0, 0] = bits
    assert pool(torch.rand_like(odd), "lip", (4, 2), implementation="native", logits=odd).isnan().sum() == 16
    _, weights = pool_with_extra(odd, "softpool", (4, 2), implementation="native")
    assert weights.isnan().all(-1).sum() == 16
