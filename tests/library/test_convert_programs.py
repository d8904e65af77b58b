"""A converted model under what torch does with models: compile, export, ONNX, AMP, checkpoint, DDP, fx, lazy shapes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import onnxruntime
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from adapool import AdaPool2d, LazyAdaPool1d, LazyAdaPool2d, convert, parameter_groups, revert
from suites.networks import resnet18

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


class Net(nn.Module):
    """A strided convolution, a max pool and a global pool, as a residual network has."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x).flatten(1))
        return found


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    torch.compiler.reset()
    model = Net()
    convert(model, "ada", strided=True, global_pools=True)
    return model


X = torch.randn(2, 3, 17, 16)


def gradients(module: Any, x: Tensor = X) -> list[Tensor]:
    return list(torch.autograd.grad(module(x).square().sum(), list(module.parameters())))


def test_compiled_without_a_graph_break(net: Net) -> None:
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), net(X))
    torch.testing.assert_close(gradients(compiled), gradients(net))


def test_one_that_is_compiled_already_is_compiled_again() -> None:
    torch.compiler.reset()
    model = Net()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    compiled(X)
    convert(compiled, "softpool", strided=True)  # type: ignore[arg-type]
    torch.testing.assert_close(compiled(X), model(X))
    expected = Net()
    expected.load_state_dict(model.state_dict())
    assert (compiled(X) - expected(X)).abs().max() > 1e-4


@pytest.mark.parametrize("strict", [False, True])
def test_exported_with_open_sizes(net: Net, strict: bool) -> None:
    sizes = ({0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(net, (X,), dynamic_shapes=sizes, strict=strict).module()
    for x in (X, torch.randn(3, 3, 24, 12)):
        torch.testing.assert_close(program(x), net(x))
    torch.testing.assert_close(gradients(program), gradients(net))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_onnx(net: Net) -> None:
    program = torch.onnx.export(net.eval(), (X,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (found,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(X), rtol=1e-4, atol=1e-5)


def test_autocast_checkpoint_and_fx(net: Net) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        y = net(X)
    assert y.dtype == torch.bfloat16
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in net.parameters())
    expected = torch.autograd.grad(net(X).square().sum(), list(net.parameters()))
    found = torch.autograd.grad(checkpoint(net, X, use_reentrant=False).square().sum(), list(net.parameters()))
    torch.testing.assert_close(found, expected)
    graph = torch.fx.symbolic_trace(net)
    torch.testing.assert_close(graph(X), net(X))
    torch.testing.assert_close(gradients(graph), list(expected))


def test_a_traced_graph_is_converted_too() -> None:
    model = Net()
    graph = torch.fx.symbolic_trace(model)
    assert len(convert(graph, "softpool", strided=True).replaced) == 2
    assert len(convert(model, "softpool", strided=True).replaced) == 2
    torch.testing.assert_close(graph(X), model(X))


@pytest.fixture
def gloo(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("gloo")
def test_distributed(net: Net) -> None:
    expected = gradients(net)
    wrapped = DistributedDataParallel(net)
    wrapped(X).square().sum().backward()
    torch.testing.assert_close([p.grad for p in net.parameters()], expected)
    with pytest.raises(ValueError, match=r"^model: expected one before it is wrapped or scripted, got DistributedData"):
        convert(wrapped)
    lazy = Net()
    convert(lazy, "ada", beta="place")
    with pytest.raises(RuntimeError, match=r"uninitialized parameters"):
        DistributedDataParallel(lazy)


def lazy_net(**more: Any) -> Net:
    model = Net()
    convert(model, "ada", beta="place", **more)
    assert isinstance(model.body[2], LazyAdaPool2d)
    return model


def test_a_lazy_beta_waits_for_a_forward_and_is_refused_before() -> None:
    model = lazy_net(strided=True, beta_init="released", constraint="sigmoid", where="body.*")
    with pytest.raises(ValueError, match=r"^model: expected known shapes, got body.0.pool.beta, body.2.beta without"):
        parameter_groups(model)
    with pytest.raises(ValueError, match=r"uninitialized parameter"):
        torch.export.export(model, (X,))
    copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    for one in (model, copied):
        one.half().float()
        one(X)
        pool = one.body[2]
        assert (
            type(pool) is AdaPool2d and pool.beta.shape == (5, 4) and ((pool.share() >= 0) & (pool.share() <= 1)).all()
        )
        assert all(p.abs().sum() > 0 for p in gradients(one))
        assert torch.export.export(one, (X,)).module()(X).shape == (2, 2)
        assert revert(one) == ("body.0", "body.2")


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_an_optimizer_that_was_there_before_learns_a_lazy_beta(kind: Any) -> None:
    """It holds the same Parameter, which has no state before its first gradient."""
    model = lazy_net()
    optimizer = kind(model.parameters(), 0.1)
    optimizer.step()
    assert nn.parameter.is_lazy(model.body[2].beta)
    with pytest.raises(ValueError, match=r"uninitialized parameter"):
        torch.optim.Adagrad(model.parameters())  # whose state is made with it
    for _ in range(2):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        optimizer.step()
    assert model.body[2].beta is optimizer.param_groups[0]["params"][2]
    moved = (model.body[2].beta != 0.5).double().mean()
    assert moved > 0.5, "the gradient of one may be 0"


def test_a_lazy_beta_is_compiled_and_loaded() -> None:
    torch.compiler.reset()
    model = lazy_net()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert compiled(X).shape == (2, 2) and model.body[2].beta.shape == (5, 4)
    with torch.no_grad():
        model.body[2].beta.fill_(0.25)
    other = lazy_net()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(X), model(X))
    assert (other.body[2].beta == 0.25).all()


def test_lazy_layers() -> None:
    layer = LazyAdaPool1d(3, "place", 2, False, padding=1, constraint="sigmoid")
    assert "beta=one per place" in repr(layer)
    layer(torch.ones(2, 7))
    assert layer.beta.shape == (4,) and not list(layer.parameters()) and layer.share().unique().item() == 0.5
    with pytest.raises(ValueError, match=r"^per: expected one of 'channel', 'place', got 'cell'$"):
        LazyAdaPool2d(2, "cell")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^x: expected 4 axes"):
        LazyAdaPool2d(2)(torch.ones(4))
    with pytest.raises(TypeError, match=r"^x: expected a Tensor, got Proxy$"):
        torch.fx.symbolic_trace(nn.Sequential(LazyAdaPool2d(2)))


def test_a_residual_network_without_values() -> None:
    with torch.device("meta"):
        model = resnet18(width=8)
    convert(model, "ada", beta="place", strided=True, example=torch.empty(1, 3, 64, 64, device="meta"))
    assert model[0][2].beta.shape == (16, 16) and model[0][2].beta.is_meta
    model.to_empty(device="cpu")
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 10)
