"""Programs for every size of input: what rounds up, what keeps a ratio, and what draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adapool
from adapool import pool, unpool

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
SIZES = (6, 7, 8, 9, 10, 11)


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 4, 0), (5, 3, 2)], ids=str)
@pytest.mark.parametrize("name", ["max", "avg", "ada"])
def test_jit_traced_rows_round_up_at_every_size(name: str, window: tuple[int, int, int]) -> None:
    def net(x: Tensor) -> Tensor:
        return pool(x, name, *window, True, implementation="plain")

    traced = torch.jit.trace(net, torch.randn(1, 2, 9, 9))
    for n in SIZES:
        x = torch.randn(2, 2, n, n + 1)
        torch.testing.assert_close(traced(x), net(x))


def test_jit_traced_inverse_and_ratio_at_every_size() -> None:
    def there_and_back(x: Tensor) -> Tensor:
        window: Any = (3, 2, 1, True)
        y = pool(x, "edscw", *window, similarity="vector")
        return unpool(y, x, "edscw", *window, similarity="vector")

    traced = torch.jit.trace(there_and_back, torch.randn(1, 2, 7, 7))
    by_ratio = torch.jit.trace(adapool.FractionalPool("avg", 2, output_ratio=0.29), torch.randn(1, 2, 8, 8))
    for n in SIZES:
        x = torch.randn(2, 2, n, n + 1)
        torch.testing.assert_close(traced(x), there_and_back(x))
    for n in (10, 60, 100):  # 100 * 0.29 is below 29
        assert by_ratio(torch.randn(1, 2, n, n)).shape[2:] == (int(n * 0.29),) * 2


@pytest.mark.parametrize(
    "layer",
    [adapool.StochasticPool2d(2), adapool.S3Pool2d(2), adapool.MixedPool2d(2, draw="region"),
     adapool.FractionalPool("ada", 2, output_size=3), adapool.StochasticDPPPool(2, 3)],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_compiled_draws_for_every_size(layer: nn.Module) -> None:
    torch.compiler.reset()
    compiled = torch.compile(layer, dynamic=True, fullgraph=True, backend="aot_eager")
    for n in (8, 12):
        x = torch.randn(2, 3, n, n)
        assert compiled(x).shape == layer(x).shape
