"""What only a CUDA device can show: streams, graph capture, a second device, sizes beyond 2^31, the CPU's answers."""

from __future__ import annotations

import pytest
import torch

from adapool.functional import pool
from adapool.unpooling import unpool
from tests.support.native_places import laid_out, need

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WINDOWS = [
    (2, 2), (3, 3), (3, 2), (2, 1), (3, 1), (4, 4), (4, 2), (5, 5), (5, 3), (5, 2), (6, 6), (6, 3), (7, 7), (7, 4),
    (7, 2),
]  # fmt: skip
# Of what rounding the result to the type costs, and of the arithmetic before it; relative to the largest number there.
ROUNDING = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
VALUES = {torch.float32: 2e-6, torch.float16: 2e-5, torch.bfloat16: 3e-4}
SLOPES = {torch.float32: 4e-6, torch.float16: 6e-5, torch.bfloat16: 1.2e-3}

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _cuda() -> None:
    need("cuda")


@pytest.mark.parametrize("method", ["ada", "edscw", "softpool", "idw", "dpp", "lip", "max", "avg", "lp_abs"])
@pytest.mark.parametrize("last", [False, True])
def test_cpu_and_cuda_agree(method: str, last: bool) -> None:
    x = laid_out(torch.randn(4, 32, 57, 61), last)
    found = []
    for device in ("cpu", "cuda"):
        leaf = x.to(device).requires_grad_()
        y = pool(leaf, method, 3, 2, 1, implementation="native")
        (dx,) = torch.autograd.grad(y.sin().sum(), leaf)
        found.append((y.cpu(), dx.cpu()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-5)
    slack = 1e-2 if method in ("idw", "edscw", "ada") else 1e-4  # near-cancelling means are ill-conditioned
    assert (found[1][1] - found[0][1]).abs().quantile(0.999) <= slack


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fast_kernels_on_the_device(window: tuple[int, int], dtype: torch.dtype) -> None:
    """Shapes that fill a device, of every kind of tile, against the row in float64; twice, for the same bits."""
    k, s = window
    for last, (c, h, w) in ((False, (12, 65, 64)), (False, (5, 40, 61)), (True, (64, 33, 40)), (True, (3, 64, 57))):
        x = laid_out((torch.randn(6, c, h, w, device="cuda").abs() + 0.1).to(dtype), last)
        oh, ow = (h - k) // s + 1, (w - k) // s + 1
        for shape in ((oh, ow), (c, 1, 1), ()):
            beta = torch.rand(shape, device="cuda")
            found, grad = [], torch.randn(6, c, oh, ow, device="cuda").to(dtype)
            for _ in range(2):
                leaves = [x.detach().requires_grad_(), beta.detach().requires_grad_()]
                y = pool(leaves[0], "ada", k, s, beta=leaves[1], implementation="native")
                found.append([y, *torch.autograd.grad(y, leaves, grad)])
            assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
            exact = [x.double().requires_grad_(), beta.double().requires_grad_()]
            want = pool(exact[0], "ada", k, s, beta=exact[1], implementation="plain")
            truth = [want, *torch.autograd.grad(want, exact, grad.double())]
            for got, true, own in zip(found[0], truth, (VALUES, SLOPES, SLOPES), strict=True):
                bound = (2 * ROUNDING[dtype] + 20 * own[dtype]) * max(1.0, float(true.detach().abs().max()))
                assert float((got.double() - true).detach().abs().max()) <= bound, (window, dtype, last, shape)


def test_other_stream() -> None:
    x = torch.randn(8, 64, 112, 112, device="cuda")
    want = pool(x, "ada", 2, implementation="native")
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # a kernel on the default stream would run before this write
        late = x * 1
        got = pool(late, "ada", 2, implementation="native")
    stream.synchronize()
    assert torch.equal(got, want)


def test_graph_capture() -> None:
    x = torch.randn(4, 16, 56, 56, device="cuda")
    beta = torch.rand(28, 28, device="cuda")

    def step() -> tuple[torch.Tensor, ...]:
        leaves = x.detach().requires_grad_(), beta.detach().requires_grad_()  # first used on this very stream
        y = pool(leaves[0], "ada", 2, beta=leaves[1], implementation="native")
        return (y, *torch.autograd.grad(y, leaves, torch.ones_like(y)))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    x.copy_(torch.randn_like(x))
    graph.replay()
    for got, want in zip(captured, step(), strict=True):
        assert torch.equal(got, want)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one device")
def test_second_device() -> None:
    x = torch.randn(2, 3, 8, 8, device="cuda:1")
    assert pool(x, "ada", 2, implementation="native").device == x.device
    torch.testing.assert_close(pool(x, "ada", 2, implementation="native").cpu(), pool(x.cpu(), "ada", 2))


def test_more_than_2_31_elements() -> None:
    free = torch.cuda.mem_get_info()[0]
    if free < 24 << 30:
        pytest.skip("needs 24 GB of device memory")
    x = torch.zeros(2, 1, 33000, 33000, dtype=torch.bfloat16, device="cuda")
    assert x.numel() > 1 << 31
    x[1, 0, -2:, -2:] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    x.requires_grad_()
    y = pool(x, "softpool", 2, implementation="native")
    torch.testing.assert_close(y[1, 0, -1, -1].float().cpu(), torch.tensor(3.4927), rtol=1e-2, atol=0)
    (dx,) = torch.autograd.grad(y[1, 0, -1, -1], x)
    corner = dx[1, 0, -2:, -2:].float()
    torch.testing.assert_close(corner.sum().cpu(), torch.tensor(1.0), rtol=2e-2, atol=0)
    assert not dx[0].any() and not dx[1, 0, :-2].any()


def test_unpool_and_empty() -> None:
    guide, y = torch.randn(2, 3, 9, 9, device="cuda"), torch.randn(2, 3, 4, 4, device="cuda")
    got = unpool(y, guide, "ada", (3, 3), (2, 2), implementation="native")
    want = unpool(y.double(), guide.double(), "ada", (3, 3), (2, 2), implementation="plain")
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)
    assert pool(torch.empty(0, 3, 8, 8, device="cuda"), "ada", 2, implementation="native").shape == (0, 3, 4, 4)
