"""Code and weights of the released packages: import lines, calls seen in public code, state_dicts by published keys."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import adapool
from adapool import AdaPool2d, DPPPool, LIPPool, SimplifiedLIP, SoftPool2d, convert_state_dict
from suites import released
from suites.subject import Unavailable
from tests.support.problems import values


def test_calls_seen_in_public_code() -> None:
    x = values(2, 3, 8, 6)
    torch.testing.assert_close(adapool.soft_pool2d(x, [4, 1]), adapool.pool(x, "softpool", (4, 1)))
    torch.testing.assert_close(adapool.soft_pool2d(x, kernel_size=[x.size(2), 1]).shape, torch.Size((2, 3, 1, 6)))
    cube = values(1, 2, 8, 8, 8)
    expected = adapool.pool(cube, "softpool", (4, 2, 2), (2, 2, 2))
    torch.testing.assert_close(adapool.SoftPool3d((4, 2, 2), (2, 2, 2))(cube), expected)
    torch.testing.assert_close(adapool.SoftPool3d(kernel_size=(4, 2, 2), stride=(2, 2, 2))(cube), expected)
    layer = adapool.AdaPool2d(kernel_size=2, stride=2, beta=(4, 3), dtype=x.dtype, device=x.get_device())
    torch.testing.assert_close(layer(x), adapool.pool(x, "ada", 2, beta=0.5))
    predictors = values(2, 5, 7).float()
    for beta in (1, (1), (1,)):
        layer = adapool.AdaPool1d(kernel_size=7, beta=beta)
        torch.testing.assert_close(layer(predictors), adapool.pool(predictors, "ada", (7,), beta=0.5))


@pytest.mark.parametrize("channels", [3, 1])
def test_lip2d_as_released(channels: int) -> None:
    x, logit = values(2, 3, 8, 6), values(2, channels, 8, 6, seed=1)
    for window in ({}, {"kernel": 2, "stride": 2, "padding": 0}):
        torch.testing.assert_close(adapool.lip2d(x, logit, **window), lip2d(x, logit, **window))
    torch.testing.assert_close(adapool.lip2d(x[0], logit[0]), lip2d(x, logit)[0])


def lip2d(x: Tensor, logit: Tensor, kernel: int = 3, stride: int = 2, padding: int = 1) -> Tensor:
    """Its definition, of two average poolings; where zero padding drops out of both."""
    weight = logit.exp()
    above, below = (F.avg_pool2d(v, kernel, stride, padding) for v in (x * weight, weight))
    return above / below


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 12 * torch.sigmoid(x)


def trunk(channels: int, width: int, names: tuple[str, ...]) -> dict[str, nn.Module]:
    """The logit network under the names that a release gave it."""
    norm = {c: nn.InstanceNorm2d(c, affine=True) for c in (channels, width)}
    parts: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm[channels], Gate()]
    if len(names) > 3:
        parts = [
            nn.Conv2d(channels, width, 1, bias=False), norm[width], nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.InstanceNorm2d(width, affine=True), nn.ReLU(),
            nn.Conv2d(width, channels, 1, bias=False), norm[channels], Gate(),
        ]  # fmt: skip
    return dict(zip(names, parts, strict=True))


class ReleasedLIP(nn.Module):
    def __init__(self, window: tuple[int, int, int], parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.window, self.logit = window, nn.Sequential(OrderedDict(parts))

    def forward(self, x: Tensor) -> Tensor:
        return lip2d(x, self.logit(x), *self.window)


class ReleasedDPP(nn.Module):
    """The PyTorch form: w = t^exp(Lambda) + exp(Alpha), per channel or one for all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pospowbias = nn.ParameterDict({"Lambda": torch.zeros(channels), "Alpha": torch.zeros(channels)})

    def forward(self, x: Tensor) -> Tensor:
        detail = (x - F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)) ** 2 + 1e-3
        share = detail / F.interpolate(F.avg_pool2d(detail, 2), scale_factor=2)
        power, bias = (self.pospowbias[name].exp().reshape(1, -1, 1, 1) for name in ("Lambda", "Alpha"))
        weight = share**power + bias
        return F.avg_pool2d(x * weight, 2) / F.avg_pool2d(weight, 2)


class ReleasedAda(nn.Module):
    """beta is clamped where it is used."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return adapool.adapool2d(x, self.beta.clamp(0, 1))


SIMPLE, DENSE = ("conv", "bn", "gate"), ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2", "conv3", "bn3", "gate")
PAIRS: dict[str, tuple[Any, Any]] = {
    "SimplifiedLIP": (lambda: ReleasedLIP((3, 2, 1), trunk(3, 8, SIMPLE)), lambda: SimplifiedLIP(3)),
    "SimplifiedLIP of DenseNet": (
        lambda: ReleasedLIP((3, 2, 1), trunk(3, 8, ("conv1", "bn1", "gate"))), lambda: SimplifiedLIP(3),
    ),
    "unnamed SimplifiedLIP": (
        lambda: ReleasedLIP((3, 2, 1), trunk(3, 8, ("0", "1", "2"))), lambda: SimplifiedLIP(3),
    ),
    "BottleneckLIP": (
        lambda: ReleasedLIP((2, 2, 0), trunk(3, 8, DENSE)), lambda: LIPPool(2, 3, 2, 2, 0, bottleneck=8),
    ),
    "DPP": (lambda: ReleasedDPP(3), lambda: DPPPool(2, 3)),
    "DPP with one lambda": (lambda: ReleasedDPP(1), lambda: DPPPool(2, 3)),
    "AdaPool (1, 1)": (lambda: ReleasedAda((1, 1)), lambda: AdaPool2d(2)),
    "AdaPool (oH, oW)": (lambda: ReleasedAda((4, 3)), lambda: AdaPool2d(2, beta=(4, 3))),
    "AdaPool as a logit": (
        lambda: ReleasedAda((1, 1)), lambda: AdaPool2d(2, beta=(1, 1), constraint="sigmoid"),
    ),
    "SoftPool": (nn.Identity, lambda: SoftPool2d(2)),
}  # fmt: skip


def network(pool: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(2, 3, 3, padding=1), pool=pool))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_released_network_s_file_gives_the_same_network_here(pair: str, wrapped: bool, tmp_path: Path) -> None:
    there, here = (network(make()).double() for make in PAIRS[pair])
    torch.manual_seed(0)
    for parameter in there.parameters():
        nn.init.normal_(parameter, 0.2)
    state: dict[str, Any] = dict(there.state_dict())
    if wrapped:  # as a training script with DataParallel leaves it
        state = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(state, tmp_path / "released.pth")
    converted = convert_state_dict(torch.load(tmp_path / "released.pth", weights_only=True), here)
    here.load_state_dict(converted)
    x = values(2, 2, 8, 6)
    expected = there(x)
    if pair == "SoftPool":
        expected = adapool.pool(expected, "softpool", 2)
    slack = 2e-5 if "logit" in pair else 1e-9  # a logit comes no nearer to an end than 1e-6
    torch.testing.assert_close(here(x), expected, rtol=0, atol=slack)


def test_a_beta_outside_its_interval_is_the_released_clamp_of_it() -> None:
    layer = AdaPool2d(2, beta=(1, 1))
    layer.load_state_dict(convert_state_dict({"beta": torch.tensor([[1.5]])}, layer))
    x = values(1, 1, 4, 4).float()
    torch.testing.assert_close(layer(x), adapool.pool(x, "edscw", 2))


def test_what_does_not_fit_is_said() -> None:
    net = network(LIPPool(2, 3, bottleneck=8))
    with pytest.raises(ValueError, match=r"state_dict: .*'postprocessing.conv.weight', whose layers share one"):
        convert_state_dict({"pool.postprocessing.conv.weight": torch.zeros(3, 8, 1, 1)}, net)
    with pytest.raises(TypeError, match="state_dict: expected a mapping of names to tensors, got list"):
        convert_state_dict([1], net)  # type: ignore[arg-type]
    wrong = convert_state_dict({"beta": torch.zeros(4, 4)}, layer := AdaPool2d(2, beta=(3, 1, 1)))
    with pytest.raises(RuntimeError, match="size mismatch for beta"):
        layer.load_state_dict(wrong)
    kept = {"conv.weight": torch.zeros(3, 2, 3, 3), "head.logit.conv1.weight": torch.ones(1)}
    assert convert_state_dict(kept, network(AdaPool2d(2))).keys() == kept.keys()


@pytest.fixture
def _no_aliases() -> Iterator[None]:
    """None before and none after."""
    released_names = ("adaPool", "SoftPool", "adapool_cuda", "softpool_cuda")
    for here in (True, False):
        for name in [name for name in sys.modules if name.split(".")[0] in released_names]:
            del sys.modules[name]
        if here:
            yield


CODE = """
import torch, adapool
adapool.install_aliases(); adapool.install_aliases()
import adapool_cuda, softpool_cuda
from adaPool import adapool1d, AdaPool2d, EDSCWPool3d, EJVSWPool2d, adaunpool, AdaUnpool2d, idwpool2d
from adaPool.idea import EMPool1d
import adaPool.idea, SoftPool
from SoftPool import soft_pool2d, SoftPool3d
"""


@pytest.mark.usefixtures("_no_aliases")
def test_aliases_serve_code_that_cannot_be_edited() -> None:
    found: dict[str, Any] = {}
    exec(CODE, found)
    for name in ("AdaPool2d", "EDSCWPool3d", "EMPool1d", "adaunpool", "soft_pool2d", "SoftPool3d"):
        assert found[name] is getattr(adapool, name)
    assert found["EJVSWPool2d"] is adapool.EDSCWPool2d
    with pytest.raises(AttributeError, match="adapool_cuda is adapool under another name and has no 'forward_2d'"):
        found["adapool_cuda"].forward_2d()
    with pytest.raises(AttributeError, match=r"SoftPool .* no 'soft_pool4d'; it has soft_pool1d, soft_pool2d"):
        found["SoftPool"].soft_pool4d()


@pytest.mark.usefixtures("_no_aliases")
def test_aliases_take_no_imported_package_s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    other = type(sys)("SoftPool")
    other.__file__ = "elsewhere/SoftPool/__init__.py"
    monkeypatch.setitem(sys.modules, "SoftPool", other)
    with pytest.raises(ImportError, match="SoftPool: expected none to be imported yet, got elsewhere/SoftPool"):
        adapool.install_aliases()
    assert "adaPool" not in sys.modules and sys.modules["SoftPool"] is other


@pytest.mark.usefixtures("_no_aliases")
def test_aliases_are_never_measured() -> None:
    adapool.install_aliases()
    with pytest.raises(Unavailable, match="adaPool is adapool under another name"):
        released.find("ada", 2)
    with pytest.raises(Unavailable, match="SoftPool is adapool under another name"):
        released.find("softpool", 3)
    for path in Path(released.__file__).parents[1].glob("*/*.py"):
        if path.parent.name in ("suites", "reports", "gate"):
            assert "install_aliases" not in path.read_text(), path
