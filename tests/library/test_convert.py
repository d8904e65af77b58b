"""A model with its pools exchanged: what by what, and that the rest stays as it was."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import adapool
from adapool import convert, parameter_groups, pool, revert
from suites.networks import NETWORKS, resnet18

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def transformers_resnet() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 3}
    model: nn.Module = transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes))
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: NETWORKS[name](classes=3, width=4) for name in NETWORKS if name != "resnet50"},  # type: ignore[misc]
    "transformers": transformers_resnet,
}


def image(name: str) -> Tensor:
    return (
        torch.randn(4, 3, 16, 32, 32) if name == "c3d" else torch.randn(4, 3, 64, 64)
    )  # so that each has several taps to pool


def logits(model: nn.Module, x: Tensor) -> Tensor:
    y = model(x)
    found: Tensor = getattr(y, "logits", y)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_converted_network_learns_with_every_beta(name: str) -> None:
    torch.manual_seed(0)
    model, x = MODELS[name](), image(name)
    before, keys = logits(model.eval(), x), set(model.state_dict())
    report = convert(model.train(), "ada", strided=True, global_pools=True)
    assert report.replaced and not report.left, report
    after = logits(model, x)
    assert after.shape == before.shape
    assert keys <= set(model.state_dict()), "names of what stays"
    betas = {name: p for name, p in model.named_parameters() if name.endswith("beta")}
    assert len(betas) == len(report.replaced) and all(p.numel() > 1 for p in betas.values())
    target = torch.arange(4).remainder(3) if after.dim() == 2 else (x[:, 0] > 0).long()
    optimizer = torch.optim.Adam(parameter_groups(model), 1e-2, weight_decay=1e-4)
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(logits(model, x), target)
        optimizer.zero_grad()
        loss.backward()
        for beta, value in betas.items():
            assert value.grad is not None and value.grad.abs().sum() > 0, beta
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], losses


@pytest.mark.parametrize("name", MODELS)
def test_the_same_method_computes_the_same(name: str) -> None:
    """Max pools become our max; then averages without padding become our avg, and no output moves by 1e-6."""
    torch.manual_seed(1)
    model, x = MODELS[name]().eval(), image(name)
    before = logits(model, x)
    average = tuple(getattr(nn, f"{kind}AvgPool{rank}d") for kind in ("", "Adaptive") for rank in (1, 2, 3))
    maximum = tuple(getattr(nn, f"MaxPool{rank}d") for rank in (1, 2, 3))
    convert(model, "max", [kind for kind in maximum if any(isinstance(m, kind) for m in model.modules())])
    torch.testing.assert_close(logits(model, x), before, rtol=0, atol=0)
    kinds = [kind for kind in average if any(isinstance(m, kind) for m in model.modules())]
    if kinds:
        assert convert(model, "avg", kinds, global_pools=True).replaced
        assert (logits(model, x) - before).abs().max() <= 1e-6


@pytest.mark.parametrize("method", ["max", "ada"])
def test_a_dilation_stays(method: str) -> None:
    x, pool = torch.randn(1, 2, 9, 9), nn.MaxPool2d(2, 2, 1, dilation=(2, 1))
    model = nn.Sequential(pool)
    (place,) = convert(model, method).replaced
    assert place.note.endswith("its dilation has no compiled kernel")
    expected = pool(x) if method == "max" else adapool.pool(x, "ada", 2, 2, 1, dilation=(2, 1))
    torch.testing.assert_close(model(x), expected)
    placed = adapool.LazyAdaPool2d(2, "place", 2, padding=1, dilation=(2, 1))
    torch.testing.assert_close(placed(x), adapool.pool(x, "ada", 2, 2, 1, dilation=(2, 1)))
    assert placed.beta.shape == (5, 5)
    with pytest.raises(ValueError, match=r"has dilation=\(2, 1\), which lip_simplified does not take"):
        convert(nn.Sequential(pool), "lip_simplified", example=x)


class SameForward(nn.MaxPool2d):
    pass


def test_padding_that_a_mean_counts() -> None:
    model = nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False))
    with pytest.raises(ValueError, match=r"got none"):
        convert(nn.Sequential(model[0]), "avg")
    x = torch.randn(1, 2, 9, 9)
    expected = model[1](x)
    assert [place.name for place in convert(model, "avg").left] == ["0"]
    torch.testing.assert_close(model[1](x), expected)
    (place,) = convert(model, "softpool").replaced
    assert place.note == "its mean counted padded zeros, which are excluded now"
    torch.testing.assert_close(model[0](x), pool(x, "softpool", 3, 2, 1))
    assert convert(nn.Sequential(SameForward(2)), "max").replaced, "a subclass that computes the same"


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_window_stays(rank: int) -> None:
    for kind in (f"MaxPool{rank}d", f"AvgPool{rank}d"):
        model = nn.Sequential(getattr(nn, kind)(3, 2, 1, ceil_mode=True))
        x = torch.randn(2, 3, *(8, 9, 10)[:rank])
        model.eval()
        convert(model, "edscw")
        torch.testing.assert_close(model(x), pool(x, "edscw", (3,) * rank, 2, 1, True))
        assert not model[0].training


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_strided_convolution_keeps_its_cells(rank: int) -> None:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    for size in (7, 8, 11):
        for kernel, padding, dilation in ((1, 0, 1), (3, 1, 1), (3, 0, 2), (4, 1, 1)):
            conv = kind(2, 3, kernel, 2, padding, dilation)
            model, x = nn.Sequential(conv), torch.randn(1, 2, *(size,) * rank)
            cells, weight = conv(x).shape, conv.weight
            convert(model, "softpool", strided=True)
            assert model(x).shape == cells and set(model.state_dict()) == {"0.weight", "0.bias"}
            every = kind(2, 3, kernel, 1, padding, dilation)
            every.load_state_dict(conv.state_dict())
            torch.testing.assert_close(model(x), pool(every(x), "softpool", (2,) * rank, ceil_mode=True))
            assert revert(model) == ("0",) and model[0] is conv and conv.weight is weight and conv.stride == (2,) * rank
    big = nn.Sequential(kind(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"with stride 1 it would take 4(x4)* times the work"):
        convert(big, strided=True)


def test_device_dtype_and_mode_are_those_of_the_place() -> None:
    model = resnet18(width=4).double().eval()
    convert(model, "ada")
    assert model[0][2].beta.dtype == torch.float64 and not model[0][2].training
    with torch.device("meta"):
        model = resnet18(width=4)
    for method in ("ada", "lip_simplified"):
        convert(model, method)
        assert all(p.is_meta for p in model.parameters())
        assert model(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 10)
        revert(model)
    convert(model, "stochastic")
    assert model[0][2].training and not model.eval()[0][2].training


@pytest.mark.parametrize("method", adapool.LEARNED)
def test_learned_methods_take_their_channels(method: str) -> None:
    model = NETWORKS["unet"](width=4)
    convert(model, method)
    model(torch.randn(1, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert revert(model) == ("pool.0", "pool.1", "pool.2")


def test_copies_go_back_and_keep_what_was_learned() -> None:
    model = resnet18(width=4)
    state = copy.deepcopy(model.state_dict())
    convert(model, "ada", strided=True)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    x = torch.randn(2, 3, 32, 32)
    for other in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
        torch.testing.assert_close(other.eval()(x), model.eval()(x))
        with torch.no_grad():
            other[0][0][0].weight.mul_(2)
        other.double()
        assert len(revert(other)) == 8 and set(other.state_dict()) == set(state)
        torch.testing.assert_close(other[0][0][0].weight, 2 * state["0.0.0.weight"].double())
        assert other[0][0][0].stride == (2, 2) and not other[0][0][0].training
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and all(key.endswith("beta") for key in missing.missing_keys)
    with pytest.raises(ValueError, match=r"^model: expected one that adapool.convert has changed"):
        revert(other)


def test_beta_stays_a_share_and_is_not_decayed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.MaxPool2d(2))
    convert(model, "ada", constraint="clamp")
    others, operands = parameter_groups(model)
    assert operands["params"] == [model[1].beta] and operands["weight_decay"] == 0.0 and len(others["params"]) == 2
    optimizer = torch.optim.SGD([others, operands], 50.0, weight_decay=0.5)
    for _ in range(20):
        x = torch.randn(4, 1, 8, 8)
        optimizer.zero_grad()
        (model(x) * torch.randn(4, 4, 4, 4)).sum().backward()
        model[0].weight.grad = None
        optimizer.step()
        assert (model[1].share() >= 0).all() and (model[1].share() <= 1).all()
    convert(model := nn.Sequential(nn.MaxPool2d(2)), "softpool")
    assert [list(group) for group in parameter_groups(model)] == [["params"]]
