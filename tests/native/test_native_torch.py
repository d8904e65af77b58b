"""The compiled operators as citizens of torch: opcheck, compile, export, vmap, autocast, errors, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adapool import native
from adapool.functional import pool
from adapool.window import Window
from tests.support.native_places import laid_out, need

WINDOW = ([2, 2], [2, 2], [0, 0], False)


@pytest.fixture(autouse=True)
def _compiled() -> None:
    need("cpu")


def inputs() -> list[Tensor]:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return [x, laid_out(x, True), x.transpose(2, 3)[:, :, 1:], torch.randn(2, 8, 3, 8).transpose(1, 2)]


def check(op: Any, *args: Any) -> None:
    assert set(torch.library.opcheck(op, args).values()) == {"SUCCESS"}


def test_opcheck() -> None:
    ops, beta, tensor = torch.ops.adapool, torch.rand(1, 4), [native.TENSOR]
    for x in inputs():
        for extra in (False, True):
            check(ops.pool.default, x, [], "softpool", *WINDOW, [], extra)
            check(ops.pool.default, x, [], "max", [3, 3], [2, 2], [1, 1], True, [], extra)
        y = ops.pool(x, [beta], "ada", *WINDOW, tensor, False)[0]
        for wants in ([1, 1], [0, 1], [1, 0]):
            check(ops.pool_backward.default, torch.randn_like(y), x, [beta], "ada", *WINDOW, tensor, False, wants)
        logits = torch.randn_like(x)
        check(ops.pool_backward.default, torch.randn_like(y), x, [logits], "lip", *WINDOW, tensor, False, [1, 1])
        size = list(x.shape[2:])
        check(ops.unpool.default, y, x, [beta], "ada", size, *WINDOW, tensor, True)
        check(ops.unpool_backward.default, x * 2, y, x, [beta], "ada", *WINDOW, tensor, True, [1, 1, 1])
        weights = torch.rand(*y.shape, 4)
        check(ops.unpool.default, y, weights, [], "weights", size, *WINDOW, [], True)
        check(ops.unpool_backward.default, x * 2, y, weights, [], "weights", *WINDOW, [], True, [1, 1])
    check(ops.pool.default, torch.randn(2, 9, 3).transpose(1, 2), [], "idw", [2], [2], [0], False, [], True)


def loss(x: Tensor, beta: Tensor) -> Tensor:
    return pool(x, "ada", 2, beta=beta, implementation="native").square().sum()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_without_graph_breaks(backend: str) -> None:
    torch.compiler.reset()
    x, beta = torch.randn(2, 3, 8, 8, requires_grad=True), torch.rand(4, 4, requires_grad=True)
    value = torch.compile(loss, fullgraph=True, backend=backend)(x, beta)
    torch.testing.assert_close(value, loss(x, beta))
    torch.testing.assert_close(torch.autograd.grad(value, (x, beta)), torch.autograd.grad(loss(x, beta), (x, beta)))


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.beta = torch.nn.Parameter(torch.rand(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return pool(x, "ada", 2, beta=self.beta, implementation="native")


def test_export() -> None:
    net, x = Net(), torch.randn(2, 3, 8, 8)
    program = torch.export.export(net, (x,))
    assert any("adapool.pool" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x), net(x))


def test_vmap_and_grad() -> None:
    x, beta = torch.randn(5, 2, 3, 8, 8), torch.rand(5, 4, 4)
    both = torch.func.grad(loss, argnums=(0, 1))
    for dims, args in (((0, 0), (x, beta)), ((0, None), (x, beta[0])), ((1, None), (x.movedim(0, 1), beta[0]))):
        found = torch.func.vmap(both, in_dims=dims)(*args)
        true = [both(x[i], beta[i] if dims[1] == 0 else beta[0]) for i in range(5)]
        torch.testing.assert_close(found[0], torch.stack([t[0] for t in true]))
        torch.testing.assert_close(found[1], torch.stack([t[1] for t in true]))
    window = Window((2, 2), (2, 2), (0, 0))
    guide, y = torch.randn(5, 1, 2, 8, 8), torch.randn(5, 1, 2, 4, 4)
    found = torch.func.vmap(lambda y, g: native.unpool(y, g, "softpool", window, [], True))(y, guide)
    torch.testing.assert_close(
        found, torch.stack([native.unpool(a, b, "softpool", window, [], True) for a, b in zip(y, guide, strict=True)])
    )


def test_second_derivative_says_so() -> None:
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(pool(x, "softpool", 2, implementation="native").square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"first derivatives only.*implementation='plain'"):
        grad.sum().backward()


def test_mixed_dtypes_under_autocast() -> None:
    beta, conv = torch.full((1,), 0.5, requires_grad=True), torch.nn.Conv2d(3, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = pool(conv(torch.randn(1, 3, 10, 10)), "ada", 2, beta=beta, implementation="native")
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert beta.grad is not None and beta.grad.dtype == torch.float32


def test_only_x_is_saved_and_nothing_is_copied(tmp_path: Path) -> None:
    """Memory of a forward and backward pass: the output, the gradients, and under 4 MB of partial sums."""
    for last in (False, True):
        x = laid_out(torch.randn(4, 32, 56, 56), last).requires_grad_()
        beta = torch.rand(28, 28, requires_grad=True)
        saved: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
            y = pool(x, "ada", 2, beta=beta, implementation="native")
        assert {t.data_ptr() for t in saved} <= {x.data_ptr(), beta.data_ptr()}
        grad = laid_out(torch.ones_like(y), last)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as trace:
            torch.autograd.grad(y, (x, beta), grad)
        path = tmp_path / "trace.json"
        trace.export_chrome_trace(str(path))
        events = [e["args"] for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
        allocated = sum(e["Bytes"] for e in events if e["Bytes"] > 0)
        assert allocated <= 4 * x.numel() + 4 * beta.numel() + (4 << 20), f"{allocated} bytes for {4 * x.numel()}"


def test_switched_off() -> None:
    script = (
        "import adapool, torch; from adapool import native; print(native.status()); "
        "print(adapool.pool(torch.ones(1, 1, 2), 'ada', 2))"
    )

    run = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "ADAPOOL_NATIVE": "0"}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.count("switched off by ADAPOOL_NATIVE=0") == 2
    with tempfile.TemporaryDirectory() as empty:
        run = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "ADAPOOL_LIBRARY_DIR": empty},
            cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert "not built" in run.stdout and "tensor([[[1.]]])" in run.stdout


def test_the_second_fence() -> None:
    """Calls past Python's checks end in an error, never in memory of others."""
    x, op = torch.randn(1, 1, 4, 4), torch.ops.adapool.pool
    with pytest.raises(RuntimeError):
        op(x, [], "sotf", *WINDOW, [], False)
    with pytest.raises(RuntimeError):
        op(x, [], "softpool", [9, 9], [1, 1], [0, 0], False, [], False)
    with pytest.raises(RuntimeError):
        op(x, [torch.rand(3, 3)], "ada", *WINDOW, [native.TENSOR], False)
    with pytest.raises(RuntimeError):
        op(x, [], "ada", *WINDOW, [], False)
    with pytest.raises(RuntimeError):
        op(x.long(), [], "max", *WINDOW, [], False)
    with pytest.raises(RuntimeError):
        torch.ops.adapool.unpool(x, torch.rand(1, 1, 4, 4, 4), [], "weights", [], [2, 2], [2], [0, 0], False, [], True)
    with pytest.raises(RuntimeError):
        torch.ops.adapool.unpool(
            x, torch.rand(1, 1, 4, 4, 4), [], "weights", [], [-1, 2], [1, 2], [0, 0], False, [], True
        )
    with pytest.raises(RuntimeError):
        op(x, [], "avg", [2**63 - 1, 2], [1, 1], [2**62, 0], True, [], False)
    back, weights = torch.ops.adapool.unpool_backward, torch.rand(2, 2, 2, 2, 4)
    y, right = torch.randn(2, 2, 2, 2), (2, 2, 4, 4)
    assert back(torch.randn(right), y, weights, [], "weights", *WINDOW, [], True, [1, 1])[0].shape == y.shape
    for wrong in ((1, 2, 4, 4), (2, 1, 4, 4), (2, 2, 4), (2, 2, 4, 4, 4)):
        with pytest.raises(RuntimeError):
            back(torch.randn(wrong), y, weights, [], "weights", *WINDOW, [], True, [1, 1])
    with pytest.raises(RuntimeError, match="method: max has no weights"):
        back(torch.randn(right), y, torch.randn(right), [], "max", *WINDOW, [], True, [1, 1])
