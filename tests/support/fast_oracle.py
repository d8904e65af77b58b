"""What the tests of the fast CPU kernels share: tensors in any layout, results of the operators, rows in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapool import native
from adapool.functional import pool

WINDOWS = [(2, 2), (3, 3), (3, 2), (4, 4), (5, 5), (7, 7), (3, 1)]
ROWS = [(2,), (3,), (1, 2), (1, 3), (2, 1), (1, 1, 2), (2, 2, 2)]  # windows that abut and are not square
BLENDS = ("ada", "edscw", "softpool")
OWN = (*BLENDS, "power", "lp_abs")  # with arithmetic of their own; the others compute with their structs
METHODS = (*OWN, "max", "avg", "sum", "idw", "mixed", "power_sum")
WEIGHTLESS = ("max", "sum", "power", "power_sum", "lp_abs", "lp", "mixed")  # they have no weights to hold fixed
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
PLACE = {dtype: torch.finfo(dtype).eps / 2 for dtype in DTYPES}  # half a unit in the last place, at most


def fast_here() -> bool:
    """Whether this processor has fast kernels at all."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return native.status()["cpu"] == "ok" and all(f" {flag}" in flags for flag in ("avx2", "fma", "f16c"))


def place(x: Tensor, channels_last: bool, offset: int = 0) -> Tensor:
    """A copy of `x` in a layout, its storage `offset` elements away from where an allocation starts."""
    inner = range(2, x.dim())
    order = (0, *inner, 1) if channels_last else (0, 1, *inner)
    back = [order.index(axis) for axis in range(x.dim())]
    room = torch.empty(offset + x.numel(), dtype=x.dtype)[offset:]
    return room.view([x.shape[d] for d in order]).copy_(x.permute(order)).permute(back)


def leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()


def gradients(
    x: Tensor, method: str, window: tuple[Any, Any], beta: Any, how: str, seed: int, **frame: Any
) -> list[Tensor]:
    """y, dx and, where beta is a tensor, dbeta of the compiled operator."""
    how = "exact" if method in WEIGHTLESS else how
    x, operands = leaf(x), operand(method, beta)
    y = pool(x, method, *window, implementation="native", gradient=how, **frame, **operands)
    leaves = [x, *(v for v in operands.values() if isinstance(v, Tensor))]
    return [y.detach(), *torch.autograd.grad(y, leaves, incoming(y.shape, x.dtype, seed))]


def operand(method: str, share: Any) -> dict[str, Any]:
    """The method's only operand, a leaf where it is a tensor, from shares in [0, 1]; none if it has none."""
    name = {"ada": "beta", "mixed": "alpha", **dict.fromkeys(("power", "power_sum", "lp_abs", "lp"), "p")}.get(method)
    value = 2.0 if method == "lp" else 1 + 4 * share if name == "p" else share
    return {} if name is None else {name: leaf(value) if isinstance(value, Tensor) else value}


def incoming(shape: torch.Size, dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def beta_shapes(c: int, h: int, w: int, n: int) -> list[tuple[int, ...]]:
    return [(), (1,), (c, 1, 1), (h, w), (c, h, w), (w,), (h, 1), (n, 1, 1, 1), (n, c, h, w), (c, 1, w), (n, 1, h, w)]


def hold_to_the_row(
    x: Tensor, method: str, window: tuple[Any, Any], beta: Tensor, how: str, seed: int, **frame: Any
) -> None:
    got = gradients(x, method, window, beta, how, seed, **frame)
    how = "exact" if method in WEIGHTLESS else how
    x64, dtype = leaf(x.double()), x.dtype
    operands = {name: leaf(value.double()) for name, value in operand(method, beta).items()}
    y = pool(x64, method, *window, implementation="plain", gradient=how, **frame, **operands)
    want = [y.detach(), *torch.autograd.grad(y, [x64, *operands.values()], incoming(y.shape, dtype, seed).double())]
    means = pool(x64.detach(), "avg", *window, implementation="plain", **frame)
    top, mean = float(torch.cat([x64.detach().flatten(), want[0].flatten()]).abs().max()), float(means.abs().min())
    own = PLACE[dtype] if dtype != torch.float32 else 0.0
    steep = float(want[1].abs().max())
    bounds = [own * top + 2e-6 * top, own * steep + 4e-6 * max(1.0, steep) * (1 + top / (mean + 1e-9))]
    bounds[1] *= 4 if method == "idw" else 1  # the nearer a tap is to the mean, the less of their difference is right
    bounds += [4e-6 * (top + float(want[-1].abs().max()))] * (len(got) - 2)
    for name, a, b, bound in zip(("y", "dx", "dbeta"), got, want, bounds, strict=False):
        assert a.shape == b.shape
        worst = float((a.double() - b).abs().max())
        assert worst <= bound, f"d{name}: off by {worst:.3g}, allowed {bound:.3g}"
