"""Leaving eager PyTorch: ONNX, Inductor, AOTInductor packages, and replicas that train together."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import adapool
from adapool import AdaPool2d, names, native, pool
from tests.support.native_places import need

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's exporter and its friends, not ours
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Row(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return pool(x, self.name, 3, 2, 1)


@pytest.mark.parametrize("name", [name for name in names() if not adapool.get(name).takes("random")])
def test_onnx(name: str) -> None:
    x = torch.randn(2, 3, 8, 8)
    program = torch.onnx.export(Row(name).eval(), (x,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), Row(name)(x))


class Back(nn.Module):
    """Spreads what it gets over regions that no argument has the size of: a package gives None for an empty list."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.guide = nn.Parameter(torch.randn(2, 3, size, size))

    def forward(self, y: Tensor) -> Tensor:
        return adapool.unpool(y, self.guide, "ada", 2)


def test_inductor_forward_and_backward() -> None:
    layer, x = AdaPool2d(2, beta=(3, 1, 1)), torch.randn(2, 3, 8, 8)
    compiled = torch.compile(lambda x: layer(x.relu()).square().sum(), fullgraph=True)
    compiled(x).backward()
    found = layer.beta.grad
    layer.beta.grad = None
    layer(x.relu()).square().sum().backward()
    torch.testing.assert_close(found, layer.beta.grad)


def test_aotinductor_package(tmp_path: Path) -> None:
    net, x = nn.Sequential(AdaPool2d(2, beta=(3, 1, 1)), Back(8)).requires_grad_(False), torch.randn(2, 3, 8, 8)
    program = torch.export.export(net, (x,))
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "layer.pt2"))
    torch.testing.assert_close(torch._inductor.aoti_load_package(package)(x), net(x))


# What programs that people have saved call, as it was first released.
WINDOW = "int[] kernel, int[] stride, int[] padding, bool ceil_mode, float[] constants"
SCHEMAS = [
    f"adapool::pool(Tensor x, Tensor[] operands, str method, {WINDOW}, bool want_extra, bool detached=False)"
    " -> (Tensor, Tensor)",
    f"adapool::pool_backward(Tensor grad, Tensor x, Tensor[] operands, str method, {WINDOW}, bool detached,"
    " int[] wants) -> Tensor[]",
    f"adapool::unpool(Tensor y, Tensor guide, Tensor[] operands, str method, int[] size, {WINDOW}, bool normalize)"
    " -> Tensor",
    f"adapool::unpool_backward(Tensor grad, Tensor y, Tensor guide, Tensor[] operands, str method, {WINDOW},"
    " bool normalize, int[] wants) -> Tensor[]",
]
OPERANDS = {
    "lp": ["p"], "lp_abs": ["p"], "power": ["p"], "power_sum": ["p"], "mixed": ["alpha"], "stochastic": ["u"],
    "ada": ["beta"], "dpp": ["guide", "lam", "alpha"], "dpp_asym": ["guide", "lam", "alpha"], "lip": ["logits"],
    "max": [], "avg": [], "sum": [], "stochastic_eval": [], "softpool": [], "edscw": [], "idw": [], "idw_huber": [],
}  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda text: text.partition("(")[0])
def test_a_saved_program_finds_its_operator(schema: str) -> None:
    """A schema may grow at its end alone, by arguments that have defaults."""
    need("cpu")
    saved = torch._C.parse_schema(schema)
    today = torch._C._get_schema(saved.name, "")
    assert today.is_backward_compatible_with(saved), today
    assert [a.name for a in today.arguments][: len(saved.arguments)] == [a.name for a in saved.arguments]


def test_a_saved_program_finds_its_method_with_the_same_operands() -> None:
    """It keeps a number or a tensor for each, in their order; and two numbers that are marks."""
    for name, operands in OPERANDS.items():
        assert [spec.name for spec in adapool.get(name).operands] == operands, name
        assert name in native.METHODS or not native.LOADED
    assert sys.float_info.max == native.TENSOR
    assert OPERANDS.keys() >= native.METHODS, "a new method's operands stay as they are from here on"


def train_replicas(store: Path) -> None:
    """In a process of its own: beside what other tests leave running, a process group once stood still for ever."""
    faulthandler.dump_traceback_later(120, exit=True)
    layer, x = AdaPool2d(2, beta=(3, 1, 1)), torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(nn.DataParallel(layer)(x), layer(x))
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    nn.parallel.DistributedDataParallel(layer)(x).sum().backward()
    expected = torch.autograd.grad(adapool.adapool2d(x, layer.beta).sum(), layer.beta)[0]
    torch.testing.assert_close(layer.beta.grad, expected)
    print("the gradients agree", flush=True)
    os._exit(0)


def test_replicas(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.library.test_export", str(tmp_path / "store")]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo")}
    root = Path(__file__).parents[2]
    child = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert child.stdout.endswith("the gradients agree\n"), child.stdout + child.stderr


if __name__ == "__main__":
    train_replicas(Path(sys.argv[1]))
