"""Graphs of a call: what is traced holds no size or number of the call that made it, or one sentence says why not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

import adapool
from adapool import AdaPool2d, AdaUnpool2d, DPPPool, LIPPool, MaxUnpool2d, Pool, names, pool, unpool
from tests.support.problems import of_each_kind

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
FIXED = [name for name in names() if not adapool.get(name).takes("random")]
KINDS = of_each_kind(FIXED)  # of a kernel a graph sees no more; the plain row of each it sees whole
IMPLEMENTATIONS = ["auto", "plain"]
Net = Callable[..., Any]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch.compiler.reset()


class Call(nn.Module):
    """A function as a module, which the exporters ask for."""

    def __init__(self, f: Net) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.f(x)
        return found


def round_trip(x: Tensor) -> Tensor:
    y, mask = adapool.adapool2d(x, return_mask=True)
    return adapool.adaunpool2d(y, mask, kernel_size=2)


INVERSES: dict[str, Net] = {
    "masks": round_trip,
    "guide": lambda x: unpool(pool(x, "ada", 2), x, "ada", 2),
    "the whole guide": lambda x: unpool(pool(x, "ada", None), x, "ada", None),
}
OTHER = torch.randn(3, 3, 6, 10)


@pytest.mark.parametrize(
    ("name", "kernel", "implementation"),
    [
        *((name, kernel, "auto") for name in KINDS for kernel in (None, (2, None), 2)),
        *((name, kernel, "plain") for name in FIXED for kernel in ((None, (2, None), 2) if name in KINDS else (2,))),
    ],
)
def test_exported_with_dynamic_sizes(name: str, kernel: Any, implementation: str) -> None:
    net = Call(lambda x: pool(x, name, kernel, implementation=implementation))
    dynamic = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(net, (torch.randn(2, 3, 8, 8),), dynamic_shapes=(dynamic,))
    torch.testing.assert_close(program.module()(OTHER), net(OTHER))


@pytest.mark.parametrize("name", INVERSES)
def test_inverses_with_dynamic_sizes(name: str) -> None:
    net = Call(INVERSES[name])
    dynamic = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(net, (torch.randn(2, 3, 8, 8),), dynamic_shapes=(dynamic,))
    torch.testing.assert_close(program.module()(OTHER), net(OTHER))
    traced = torch.jit.trace(net, torch.randn(2, 3, 8, 8))
    torch.testing.assert_close(traced(OTHER), net(OTHER))
    compiled = torch.compile(net, dynamic=True, fullgraph=True, backend="aot_eager")
    for x in (torch.randn(1, 3, 4, 4), OTHER):
        torch.testing.assert_close(compiled(x), net(x))


@pytest.mark.parametrize("kernel", [None, (None, 2), 2])
@pytest.mark.parametrize("name", FIXED)
def test_jit_traced(name: str, kernel: Any) -> None:
    net = Call(lambda x: pool(x, name, kernel))
    torch.testing.assert_close(torch.jit.trace(net, torch.randn(2, 3, 8, 8))(OTHER), net(OTHER))


def test_jit_traced_with_parameters() -> None:
    """As nn.AvgPool2d: torch's own check of a trace passes, with gradients and without."""
    for layer in (AdaPool2d(2), AdaPool2d(None), LIPPool(2, 1), DPPPool(2, 1), nn.AvgPool2d(2)):
        net, x = nn.Sequential(nn.Conv2d(1, 1, 1), layer), torch.randn(2, 1, 8, 8)
        for gradient in (False, True):
            with torch.set_grad_enabled(gradient):
                torch.testing.assert_close(torch.jit.trace(net, x)(x[:1]), net(x[:1]))


@pytest.mark.parametrize("name", ["ada", "softpool", "avg", "max"])
def test_legacy_onnx_of_global_pooling(name: str) -> None:
    net, buffer = Call(lambda x: pool(x, name, None)), io.BytesIO()
    sizes = {"x": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(
        net, (torch.randn(2, 3, 8, 8),), buffer, dynamo=False, input_names=["x"], dynamic_axes=sizes, opset_version=18
    )
    session = onnxruntime.InferenceSession(buffer.getvalue())
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"x": OTHER.numpy()})[0]), net(OTHER))


@pytest.mark.parametrize(
    ("name", "implementation"), [*((n, "auto") for n in KINDS), *((n, "plain") for n in ("max", "ada"))]
)
def test_compiled_with_dynamic_sizes(name: str, implementation: str) -> None:
    net = lambda x: pool(x, name, 2, implementation=implementation)  # noqa: E731
    compiled = torch.compile(net, dynamic=True, fullgraph=True, backend="aot_eager")
    for x in (torch.randn(2, 3, 8, 8), OTHER, torch.randn(1, 2, 7, 9)):
        torch.testing.assert_close(compiled(x), net(x))


@pytest.mark.parametrize("layer", [AdaPool2d(2, beta=(3, 1, 1)), DPPPool(2, 3, full=True)], ids=["ada", "dpp"])
def test_compiled_with_dynamic_sizes_and_numbers_of_each_channel(layer: nn.Module) -> None:
    """The number of channels is a symbol, too, which the operand's shape is compared with."""
    compiled = torch.compile(layer, dynamic=True, fullgraph=True, backend="aot_eager")
    for x in (torch.randn(2, 3, 8, 8), OTHER):
        torch.testing.assert_close(compiled(x), layer(x))


def test_compiled_restoring_from_masks() -> None:
    net = lambda x: adapool.adaunpool(*adapool.adapool2d(x, return_mask=True))  # noqa: E731
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(OTHER), net(OTHER))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("name", "operand", "least"), [("ada", "beta", 0), ("lp_abs", "p", 1), ("dpp", "lam", 0)])
def test_a_number_that_changes_is_compiled_twice_at_most(
    name: str, operand: str, least: int, implementation: str
) -> None:
    """Once as a constant, once for all others; over a dozen would end in torch's limit."""
    seen: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.append(graph)
        return graph

    def net(x: Tensor, value: float) -> Tensor:
        given: Any = {operand: value}
        return pool(x, name, 2, implementation=implementation, **given)  # type: ignore[arg-type]

    compiled = torch.compile(net, fullgraph=True, backend=backend)
    for step in range(1, 13):
        torch.testing.assert_close(compiled(OTHER.abs(), least + step / 20), net(OTHER.abs(), least + step / 20))
    assert len(seen) <= 2


def known(layer: nn.Module) -> nn.Module:
    """A lazy layer that has seen an input, as it has to before anyone traces it."""
    layer(OTHER)
    return layer


LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: Pool(name, 2) for name in FIXED},  # type: ignore[misc]
    **{name: getattr(adapool, name) for name in adapool.__all__ if name.endswith("Pool2d") and name != "S3Pool2d"},
    "AdaptiveAdaPool2d": lambda: adapool.AdaptiveAdaPool2d(3),
    "AdaptivePool": lambda: adapool.AdaptivePool("ada", (3, 4)),
    "LazyAdaPool2d": lambda: known(adapool.LazyAdaPool2d()),
    "AdaPool2d(None)": lambda: AdaPool2d(None),
    "masks": lambda: nn.Sequential(AdaPool2d(2, return_mask=True), Restored()),
    "released masks": lambda: nn.Sequential(adapool.EDSCWPool2d(None, return_mask=True), First()),
    "LIPPool": lambda: LIPPool(2, 3),
    "DPPPool": lambda: DPPPool(2, 3, full=True),
    "GatedPool": lambda: adapool.GatedPool(2, 3),
    "indices": lambda: nn.Sequential(nn.MaxPool2d(2, return_indices=True), Unmaxed()),
}


class Restored(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = AdaUnpool2d()

    def forward(self, pair: Any) -> Any:
        y, mask = pair
        return self.layer(y, mask)


class Unmaxed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = MaxUnpool2d(2)

    def forward(self, pair: Any) -> Any:
        y, indices = pair
        return self.layer(y, indices)


class First(nn.Module):
    def forward(self, pair: Any) -> Any:
        return pair[0]


@pytest.mark.parametrize("name", LAYERS)
def test_fx_symbolic_trace(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), LAYERS[name]()).eval()
    graph = torch.fx.symbolic_trace(net)
    graph.recompile()
    torch.testing.assert_close(graph(OTHER), net(OTHER))


def test_fx_of_what_draws_for_the_size_it_meets_is_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match="x: expected a Tensor, got Proxy"):
        torch.fx.symbolic_trace(nn.Sequential(adapool.S3Pool2d()))
    with pytest.raises(TypeError, match="x: expected a Tensor, got Proxy"):
        torch.fx.symbolic_trace(adapool.MixedPool2d(2, draw="region").train())


def test_fx_of_functions() -> None:
    for f in (
        lambda x: pool(x, "avg", 2),
        lambda x: adapool.adapool2d(x, 0.3),
        lambda x: adapool.soft_pool2d(x, 3, 2, padding=1),
        lambda x: adapool.pool_with_extra(x, "ada", 2)[1],
        lambda x: unpool(pool(x, "ada", 2), x, "ada", 2),
        round_trip,
        lambda x: adapool.empool2d(x, None, return_mask=True)[1],
    ):
        torch.testing.assert_close(torch.fx.symbolic_trace(f)(OTHER), f(OTHER))


@pytest.mark.parametrize("name", ["AdaPool2d", "SoftPool2d", "AdaUnpool2d", "LIPPool", "DPPPool"])
def test_script_is_refused_in_one_sentence(name: str) -> None:
    layer: nn.Module = getattr(adapool, name)(2, 3) if name in ("LIPPool", "DPPPool") else getattr(adapool, name)()
    for module in (layer, nn.Sequential(nn.Conv2d(3, 3, 1), layer)):
        with pytest.raises(
            NotImplementedError, match=r"^" + name + r": torch.jit.script is not supported; use torch"
        ) as e:
            torch.jit.script(module)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", names())
def test_shapes_without_values(name: str) -> None:
    expected = pool(torch.randn(2, 3, 9, 9), name, 3, 2, 1).shape
    for implementation in ("auto", "plain"):
        layer = Pool(name, 3, 2, 1, implementation=implementation)
        assert layer(torch.empty(2, 3, 9, 9, device="meta")).shape == expected
        with FakeTensorMode():
            assert layer(torch.empty(2, 3, 9, 9)).shape == expected


def test_layers_without_values() -> None:
    x = torch.empty(2, 3, 8, 8, device="meta")
    assert AdaPool2d(2, device="meta")(x).shape == (2, 3, 4, 4)
    with torch.device("meta"):
        assert AdaPool2d(2, beta=(3, 1, 1), beta_init="released")(x).shape == (2, 3, 4, 4)
        assert AdaPool2d(2, beta=torch.empty(3, 1, 1), constraint="sigmoid").beta.is_meta
    assert nn.utils.skip_init(AdaPool2d, 2, beta=(3, 1, 1)).beta.shape == (3, 1, 1)
    index = torch.zeros(2, 3, 4, 4, dtype=torch.long, device="meta")
    assert adapool.max_unpool2d(torch.empty(2, 3, 4, 4, device="meta"), index, 2).shape == (2, 3, 8, 8)
    with FakeTensorMode():
        layer = AdaPool2d(2, beta=torch.rand(3, 1, 1), return_mask=True)
        y, mask = layer(torch.empty(2, 3, 8, 8))
        assert AdaUnpool2d()(y, mask).shape == (2, 3, 8, 8)
        assert MaxUnpool2d(2)(y, torch.zeros(2, 3, 4, 4, dtype=torch.long)).shape == (2, 3, 8, 8)
        assert pool(torch.empty(2, 3, 8, 8), "lp", 2, p=torch.ones(1)).shape == (2, 3, 4, 4)


SHARDED = """
import os, torch, torch.distributed as dist
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh
from adapool import pool
dist.init_process_group("gloo", init_method="file://" + os.environ["STORE"], rank=0, world_size=1)
x = distribute_tensor(torch.ones(2, 1, 4, 4), init_device_mesh("cpu", (1,)), [Shard(0)])
for implementation in ("auto", "plain"):
    try:
        pool(x, "softpool", 2, implementation=implementation)
    except NotImplementedError as error:
        print(str(error).count("\\n"), error)
os._exit(0)
"""


def test_a_sharded_tensor_is_refused_in_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "STORE": str(tmp_path / "store")}
    child = subprocess.run(
        [sys.executable, "-u", "-c", SHARDED], cwd=Path(__file__).parents[2], env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = child.stdout.splitlines()
    assert len(lines) == 2, child.stdout + child.stderr
    assert all(line.startswith("0 ") and "does not have a sharding strategy" in line for line in lines)
