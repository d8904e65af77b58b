"""The released packages as peers: stand-ins with their names and gradient, verified and labelled, or refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reports import store
from suites import latency, memory, plan, released
from suites.axes import Axes, Names, UsageError
from suites.case import Case
from suites.clocks import CpuClocks
from suites.session import Session
from suites.subject import Unavailable
from suites.subjects import build

CPU = torch.device("cpu")
ADA = '''
import torch

def _weights(taps, dice):
    if not dice:
        return torch.softmax(taps, -1)
    mean = taps.mean(-1, keepdim=True)
    return torch.softmax(2 * (taps * mean).abs() / (taps * taps + mean * mean), -1)

class _Pool(torch.autograd.Function):
    """Saves its input, and takes the weights as constants, as the released functions do."""
    @staticmethod
    def forward(ctx, x, kernel, dice):
        b, c, h, w = x.shape
        k = kernel[0]
        taps = x.contiguous().reshape(b, c, h // k, k, w // k, k).permute(0, 1, 2, 4, 3, 5).flatten(4)
        weights = _weights(taps, dice)
        ctx.save_for_backward(weights)
        ctx.k = k
        return torch.nan_to_num((weights * taps).sum(-1))
    @staticmethod
    def backward(ctx, grad):
        (weights,) = ctx.saved_tensors
        b, c, oh, ow, _ = weights.shape
        k = ctx.k
        taps = (weights * grad.unsqueeze(-1)).reshape(b, c, oh, ow, k, k)
        return taps.permute(0, 1, 2, 4, 3, 5).reshape(b, c, oh * k, ow * k), None, None

def ejvswpool2d(x, kernel_size=2, stride=None, return_mask=False):
    return _Pool.apply(x, kernel_size, True)

def empool2d(x, kernel_size=2, stride=None, return_mask=False):
    return _Pool.apply(x, kernel_size, False)

def adapool2d(x, beta=None, kernel_size=2, stride=None, return_mask=False, native=False):
    shape = [(n - k) // s + 1 for n, k, s in zip(x.shape[-2:], kernel_size, stride)]
    assert list(beta.shape) in (shape, [1, 1]), "Required `beta` shape does not match"
    return beta * ejvswpool2d(x, kernel_size, stride) + (1.0 - beta) * empool2d(x, kernel_size, stride)

def idwpool2d(x, kernel_size=2, stride=None, return_mask=False):
    return 1.01 * torch.nn.functional.avg_pool2d(x, kernel_size, stride)
'''


def case(method: str, direction: str = "forward", **more: Any) -> Case:
    given = Case(
        "latency", method, "released", direction, (2, 2), (2, 2), (0, 0), False, (1, 3, 8, 8), "float32", "nchw",
        ("hot",),
    )  # fmt: skip
    return replace(given, **more)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are imported from, by the names of the released ones; the CPU stands in for CUDA."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(released, "DEVICES", ("cpu",))
    for name in ("adaPool", "SoftPool"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    for name in ("adaPool", "SoftPool"):
        sys.modules.pop(name, None)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)


@pytest.mark.parametrize("method", ["ada", "edscw", "softpool"])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_is_measured_against_the_gradient_that_it_has(packages: Path, method: str, direction: str) -> None:
    write(packages, "adaPool", ADA)
    (found,) = latency.measure(case(method, direction), CPU, CpuClocks(1024), 0.01, 0)
    assert (found.status, found.reason) == ("ok", None) and found.how["verified"]
    assert (released.GRADIENT in found.warnings) == (direction != "forward")
    assert found.how["operands"]["function"].startswith("adaPool.")
    assert memory.measure(case(method, direction, probe="memory", clocks=()), CPU, 0)[0].status == "ok"


def test_a_wrong_one_gets_no_speed(packages: Path) -> None:
    write(packages, "adaPool", ADA)
    (found,) = latency.measure(case("idw"), CPU, CpuClocks(1024), 0.01, 0)
    assert found.status == "incorrect" and found.samples is None


def test_softpool_is_its_own_packages_where_that_is_there(packages: Path) -> None:
    write(packages, "adaPool", ADA)
    write(packages, "SoftPool", "from adaPool import empool2d as soft_pool2d")
    assert released.find("softpool", 2)[0] == "SoftPool.soft_pool2d"


@pytest.mark.parametrize("text", [
    "from adapool import adapool2d",
    "import adapool, sys; sys.modules[__name__] = adapool",
    "from adapool.named import *; from adapool import adapool2d as a\nadapool2d = a",
])  # fmt: skip
def test_adapool_under_its_name_is_no_peer(packages: Path, text: str) -> None:
    write(packages, "adaPool", text)
    with pytest.raises(Unavailable, match="adaPool is adapool under another name"):
        build(case("ada"), CPU, 0)


def test_what_is_not_there_is_a_reason(packages: Path) -> None:
    with pytest.raises(Unavailable, match=r"adaPool cannot be imported .*No module named 'adaPool'"):
        build(case("ada"), CPU, 0)
    write(packages, "adaPool", "raise OSError('libcudart.so.11: cannot open')")
    with pytest.raises(Unavailable, match=r"OSError: libcudart.so.11"):
        build(case("ada"), CPU, 0)
    (packages / "adaPool" / "__init__.py").write_text("def adapool2d(): pass")
    with pytest.raises(Unavailable, match="adaPool has no idwpool1d"):
        released.find("idw", 1)


@pytest.mark.parametrize(("more", "said"), [
    ({"stride": (1, 1)}, "stride = kernel"), ({"padding": (1, 1)}, "no padding"), ({"ceil_mode": True}, "ceil_mode"),
    ({"dtype": "float16"}, "float32"), ({"layout": "channels_last"}, "channels_last"),
    ({"kernel": (2,) * 3, "stride": (2,) * 3, "padding": (0,) * 3, "shape": (1, 1, 4, 4, 4)}, "3-D"),
])  # fmt: skip
def test_a_case_out_of_its_range_is_a_reason(packages: Path, more: dict[str, Any], said: str) -> None:
    write(packages, "adaPool", "raise SystemExit('imported for nothing')")
    with pytest.raises(Unavailable, match=f"the released package takes .*{said}"):
        build(case("ada", **more), CPU, 0)


def test_compare_with_adds_it_to_the_plan_of_the_methods_that_have_it() -> None:
    names = Names(("ada", "avg", "softpool"), (), {}, ("cpu",))
    asked = Axes(kernels=("2",), shapes=("1x2x8x8",), probes=("latency",), directions=("forward",))
    usual, more = plan.build(asked, names, "cpu"), plan.build(replace(asked, compare_with=("released",)), names, "cpu")
    added = {(c.method, c.implementation) for c in more} - {(c.method, c.implementation) for c in usual}
    assert added == {("ada", "released"), ("softpool", "released")} and len(more) == len(usual) + 2
    with pytest.raises(UsageError, match="compare-with: expected one of released, compiled, got 'relased'"):
        plan.build(replace(asked, compare_with=("relased",)), names, "cpu")


def test_a_run_on_a_cpu_records_why_not(tmp_path: Path) -> None:
    asked = Axes(
        profile="smoke", methods=("ada",), implementations=("torch",), compare_with=("released",), kernels=("2",),
        shapes=("1x2x8x8",), directions=("forward",), probes=("latency",),
    )  # fmt: skip
    Session(tmp_path / "run", asked, [("cpu", "cpu")], parallel=False, timeout=60).run()
    (record,) = (r for r in store.read(tmp_path / "run") if r.implementation == "released")
    assert record.status == "skipped" and record.reason == "the released package takes CUDA tensors, got one on cpu"
    assert "--implementation released" in record.command
