"""Programs made of a net train as the net does: exported, traced, stacked, checkpointed, compiled backward."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adapool import AdaPool2d, SoftPool2d
from tests.support.native_places import need

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # compiled autograd looks at every input's
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


@pytest.fixture(autouse=True)
def _compiled() -> None:
    need("cpu")
    torch.compiler.reset()


class Net(nn.Module):
    def __init__(self, implementation: str = "native") -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.ada = AdaPool2d(2, beta=(2, 1, 1), implementation=implementation)
        self.soft = SoftPool2d(2, implementation=implementation)

    def forward(self, x: Tensor) -> Tensor:
        return self.soft(self.ada(self.conv(x)))


def gradients(module: Any, x: Tensor) -> list[Tensor]:
    parameters = list(module.parameters())
    return list(torch.autograd.grad(module(x).square().sum(), parameters))


def saved_program(program: torch.export.ExportedProgram) -> Any:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return torch.export.load(buffer).module()


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_trains(strict: bool) -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    program = torch.export.export(net, (x,), strict=strict)
    for module in (program.module(), saved_program(program)):
        torch.testing.assert_close(gradients(module, x), gradients(net, x))


@pytest.mark.parametrize("gradient", [False, True])
def test_a_traced_program_trains(gradient: bool) -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    with torch.set_grad_enabled(gradient):
        traced = torch.jit.trace(net, x)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    for module in (traced, torch.jit.load(buffer)):
        torch.testing.assert_close(gradients(module, x), gradients(net, x))


def test_an_ensemble_of_stacked_states_trains() -> None:
    nets, x = [Net() for _ in range(3)], torch.randn(2, 1, 8, 8)
    parameters, buffers = torch.func.stack_module_state(nets)  # type: ignore[arg-type]
    base = copy.deepcopy(nets[0]).to("meta")

    def one(parameters: Any, buffers: Any) -> Tensor:
        return torch.func.functional_call(base, (parameters, buffers), (x,)).square().sum()

    torch.vmap(one)(parameters, buffers).sum().backward()
    expected = [gradients(net, x) for net in nets]
    for i, name in enumerate(dict(nets[0].named_parameters())):
        torch.testing.assert_close(parameters[name].grad, torch.stack([grads[i] for grads in expected]))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed(reentrant: bool) -> None:
    net = Net()
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    expected = torch.autograd.grad(net(x).square().sum(), x)[0]
    checkpoint(net, x, use_reentrant=reentrant).square().sum().backward()
    torch.testing.assert_close(x.grad, expected)


def test_compiled_autograd() -> None:
    net, x = Net(), torch.randn(2, 1, 8, 8)
    expected = gradients(net, x)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager", fullgraph=True)):
        net(x).square().sum().backward()
    torch.testing.assert_close([p.grad for p in net.parameters()], expected)
