"""Pools to a given size exchanged: torch's cells stay, whether the size divides the input's or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import adapool
from adapool import convert, revert

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_an_adaptive_pool_keeps_its_cells(rank: int) -> None:
    """Sizes that divide the input's and that do not, one for all axes or one for each."""
    sizes: list[Any] = [4, 3, (3, None, 5)[-rank:] if rank > 1 else 5]
    x = torch.randn(2, 3, *(8, 9, 12)[-rank:])
    for kind, method in (("Avg", "avg"), ("Max", "max")):
        for size in sizes:
            model = nn.Sequential(getattr(nn, f"Adaptive{kind}Pool{rank}d")(size))
            expected = model(x)
            assert convert(model, method, adaptive_pools=True).replaced
            torch.testing.assert_close(model(x), expected)
            assert revert(model) == ("0",)
            (place,) = convert(model, "ada", adaptive_pools=True, example=x).replaced
            assert place.note == "a size that does not divide the input's has no compiled kernel"
            assert model[0].beta.shape == (3, *(1,) * rank)
            torch.testing.assert_close(model(x), adapool.adaptive_pool(x, "ada", size, beta=0.5))


def test_beta_of_an_adaptive_pool() -> None:
    def made(size: Any, example: Any = None, **more: Any) -> Any:
        model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(size))
        convert(model, "ada", adaptive_pools=True, example=example, **more)
        return model[1]

    x = torch.ones(1, 1, 9, 8)
    assert made(3).beta.shape == (2, 1, 1) and made(3, beta="scalar").beta.shape == (1,)
    assert made((3, 2), beta="place").beta.shape == (3, 2) and made((3, None), x, beta="place").beta.shape == (3, 8)
    model = nn.Sequential(made((3, 2), beta="place"))
    for size in ((9, 8), (5, 7)):
        (y,) = torch.autograd.grad(model(torch.randn(1, 2, *size)).square().sum(), [model[0].beta])
        assert y.shape == (3, 2) and y.abs().min() > 0
    with pytest.raises(ValueError, match=r"beta has one value for each place, whose number is not known, so give exam"):
        made((3, None), beta="place")
    with pytest.raises(ValueError, match=r"pools to a given size, which lip_simplified does not"):
        convert(nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(3)), "lip_simplified", adaptive_pools=True)
    report = convert(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.MaxPool2d(2)), "ada", adaptive_pools=True)
    assert [place.name for place in report.left] == ["0"], "a global pool is asked for by its own word"
