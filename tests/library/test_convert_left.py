"""What a conversion sees of a model, what it replaces, leaves or refuses, and how it says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapool import AdaPool2d, Pool, convert
from suites.networks import densenet, resnet18

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


class Twice(nn.Module):
    """One pool of two calls on other channels, one under two names, and a pooling function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.twice, self.one = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.other = self.one

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.second(self.twice(self.first(x))))
        return F.max_pool2d(self.other(self.one(x)), 2)


class Asks(Twice):
    """Two inputs, so that no image can be guessed."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x + y)


class Branches(Asks):
    """No symbol can answer what this asks."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x, y) if y.sum() > 0 else x


@pytest.mark.parametrize("kind", [Twice, Asks])
def test_a_pool_of_two_calls_and_a_function(kind: type[nn.Module]) -> None:
    model = kind()
    report = convert(model, "ada")
    places = {place.name: place for place in report.replaced}
    assert set(places) == {"twice", "one", "other"}
    assert "its 2 calls share one beta, a scalar" in places["twice"].note
    assert model.twice.beta.shape == (1,) and model.one.beta is not model.other.beta  # type: ignore[union-attr]
    assert "the model calls max_pool2d: no module, so it stays" in str(report)
    x = torch.randn(2, 3, 32, 32)
    assert model(*(x,) * (1 if kind is Twice else 2)).shape == (2, 8, 1, 1)
    assert {tuple(p.shape) for n, p in model.named_parameters() if "beta" in n} == {(1,), (8, 1, 1)}


def test_what_no_forward_shows_is_said_and_an_example_shows_it() -> None:
    report = convert(Branches(), "softpool")
    assert "functions and repeated calls were not looked for (torch.fx: symbolically traced variables" in str(report)
    x = torch.ones(1, 3, 32, 32)
    for example in ((x, x), {"x": x, "y": x}):
        model = Branches()
        report = convert(model, "ada", beta="place", example=example)
        notes = {place.name: place.note for place in report.replaced}
        assert "calls max_pool2d" in str(report) and "share one beta, a scalar" in notes["twice"]
        assert notes["one"] == notes["other"] == "beta takes its shape from the first input, one for each place"
        model(x, x)
        assert model.one.beta.shape == (4, 4) and model.other.beta.shape == (2, 2)  # type: ignore[union-attr]


def test_calls_of_like_shapes_share_a_beta_of_that_shape() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), *[nn.MaxPool2d(3, 1, 1)] * 3)
    names = [place.name for place in convert(model, "ada").replaced]
    assert names == ["1", "2", "3"] and len({id(m) for m in model.children()}) == 4
    again = nn.Module()
    again.pool, again.conv = nn.MaxPool2d(3, 1, 1), nn.Conv2d(3, 4, 1)
    again.forward = lambda x: again.pool(again.pool(again.conv(x)))  # type: ignore[method-assign,operator]
    (place,) = convert(again, "ada").replaced
    assert place.note == "its 2 calls share one beta" and again.pool.beta.shape == (4, 1, 1)  # type: ignore[union-attr]


class OwnPool(nn.MaxPool2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 2)


class HousePool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2, ::2]


LEFT: list[tuple[nn.Module, str]] = [
    (nn.MaxPool2d(2, return_indices=True), "its indices are used"),
    (nn.AvgPool2d(2, divisor_override=3), "divisor_override=3 and no mean"),
    (nn.AdaptiveAvgPool2d(1), "global_pools=True replaces it"),
    (nn.AdaptiveAvgPool2d((1, None)), "adaptive_pools=True replaces it"),
    (nn.AdaptiveMaxPool2d(7), "adaptive_pools=True replaces it"),
    (nn.AdaptiveMaxPool2d(7, return_indices=True), "its indices are used"),
    (nn.AvgPool2d(16), "global_pools=True replaces it"),  # as seen of an image of 32
    (nn.LPPool2d(2, 2), "none of torch.nn's max and average pools"),
    (nn.FractionalMaxPool2d(2, 4), "none of torch.nn's"),
    (OwnPool(2), "a forward of its own"),
    (HousePool(), "none of torch.nn's"),
    (AdaPool2d(2), "is adapool's already"),
]


@pytest.mark.parametrize(("module", "reason"), LEFT, ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "")
def test_what_is_left_says_why(module: nn.Module, reason: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2), module)
    report = convert(model, "softpool", example=torch.ones(1, 1, 32, 32))
    (left,) = report.left
    assert left.name == "2" and reason in left.note and reason in str(report) and model[2] is module
    with pytest.raises(ValueError, match=r"^model: expected pools to replace, got none\n(.*\n)+.*" + reason):
        convert(model, "softpool", "2", example=torch.ones(1, 1, 32, 32))


def test_where() -> None:
    def of(where: Any, **more: Any) -> list[str]:
        return [place.name for place in convert(densenet(width=4), "softpool", where, **more).replaced]

    assert of(None) == ["0.2", "4.3", "8.3"]
    assert of("*.3") == of(nn.AvgPool2d) == of(["4.*", "8.*"]) == ["4.3", "8.3"]
    assert of([nn.AvgPool2d, "0.2"]) == ["0.2", "4.3", "8.3"]
    assert of(nn.Conv2d, strided=True) == ["0.0.0"]
    with pytest.raises(ValueError, match=r"^where: expected what fits a pool \(0.2, 4.3, 8.3, 14.0\), got 'stem'$"):
        of(["*.3", "stem"])
    with pytest.raises(TypeError, match=r"^where: expected names as globs or classes, got 3$"):
        of([3])


def test_what_a_learned_method_does_not_take() -> None:
    with pytest.raises(ValueError, match=r"needs one number of channels; none is known, so give example="):
        convert(Branches(), "lip_simplified")
    with pytest.raises(ValueError, match=r"0.2: MaxPool2d.*; lift does not take it \(stride: expected"):
        convert(resnet18(width=4), "lift")
    assert convert(resnet18(width=4), "dpp_full", strided=True).replaced
    dilated = nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2, dilation=2))
    with pytest.raises(ValueError, match=r"has dilation=2, which gated does not take"):
        convert(dilated, "gated")
    with pytest.raises(ValueError, match=r"needs ceil_mode, which sdpp does not have"):
        convert(resnet18(width=4), "sdpp", nn.Conv2d, strided=True)


def test_nothing_is_changed_where_an_argument_is_wrong() -> None:
    model = resnet18(width=4)
    for wrong, message in (
        ({"method": "sotfpool"}, "unknown method 'sotfpool'; did you mean 'softpool'"),
        ({"kernel_size": 2}, "kernel_size: expected none, as a pool keeps its own"),
        ({"beta": "plane"}, "beta: expected one of 'channel', 'place', 'scalar', got 'plane'"),
        ({"beta": 2.0}, "beta: expected a value in"),
        ({"method": "softpool", "beta": 0.5}, "beta: method 'softpool' takes no operands"),
        ({"method": "lip_simplified", "beta": 0.5}, "beta: expected none"),
        ({"strided": 1}, "strided: expected a bool, got 1"),
        ({"gradient": "none"}, "gradient: expected one of"),
        ({"padding": 1}, "padding: expected none"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            convert(model, **wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^model: expected a torch.nn.Module, got function"):
        convert(resnet18)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^model: expected a module with pools in it, got a pool itself, MaxPool2d"):
        convert(nn.MaxPool2d(2))
    for wrapped in (nn.DataParallel(model), nn.Sequential(torch.jit.script(nn.Linear(1, 1)))):
        with pytest.raises(ValueError, match=r"^model: expected one before it is wrapped or scripted, got"):
            convert(wrapped)
    assert not any(isinstance(module, (AdaPool2d, Pool)) for module in model.modules())
