"""What adaptive, fractional and dilated pooling refuse: one sentence that names the argument and what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import adapool
from adapool import AdaptivePool, FractionalPool, Pool, adaptive_pool, fractional_pool, pool

X = torch.ones(2, 3, 7, 6)
CASES: list[tuple[type[Exception], list[str], Callable[[], Any]]] = [
    (ValueError, ["implementation", "no compiled kernel for regions of unequal sizes", "'plain'"],
     lambda: adaptive_pool(X, "ada", 3, implementation="native")),
    (ValueError, ["implementation", "no compiled kernel for fractional regions"],
     lambda: fractional_pool(X, "ada", 2, 3, implementation="native")),
    (ValueError, ["implementation", "no compiled kernel for dilation (2, 2)"],
     lambda: pool(X, "max", 2, dilation=2, implementation="native")),
    (ValueError, ["output_size", "positive", "0"], lambda: adaptive_pool(X, "avg", 0)),
    (ValueError, ["x", "5 axes", "(2, 3)"], lambda: AdaptivePool("avg", (1, 2, 3))(X[..., 0, 0])),
    (TypeError, ["output_size", "int", "2.5"], lambda: adaptive_pool(X, "avg", 2.5)),
    (TypeError, ["gamma", "'ada' takes beta"], lambda: adaptive_pool(X, "ada", 3, gamma=1)),
    (ValueError, ["beta", "(3, 3, 3)", "(4, 4)"], lambda: adaptive_pool(X, "ada", 3, beta=torch.ones(4, 4))),
    (ValueError, ["method", "weights or indices", "'sum'"], lambda: adaptive_pool(X, "sum", 3, return_extra=True)),
    (ValueError, ["similarity", "'vector'"], lambda: adaptive_pool(X, "avg", 3, similarity="vector")),
    (TypeError, ["padding", "'avg' takes no operands"], lambda: AdaptivePool("avg", 3, padding=1)),
    (TypeError, ["dilation", "'avg' takes no operands"], lambda: AdaptivePool("avg", 3, dilation=2)),
    (ValueError, ["output_size", "it or output_ratio", "None and None"], lambda: fractional_pool(X, "avg", 2)),
    (ValueError, ["output_size", "it or output_ratio"], lambda: FractionalPool("avg", 2, 3, 0.5)),
    (ValueError, ["output_ratio", "between 0 and 1", "1.5"], lambda: FractionalPool("avg", 2, output_ratio=1.5)),
    (ValueError, ["output_size", "1 to 5 cells on spatial axis 1", "got 6"], lambda: fractional_pool(X, "avg", 2, 6)),
    (ValueError, ["output_ratio", "1 to 3 cells", "got 0"], lambda: fractional_pool(X, "avg", 5, output_ratio=0.1)),
    (TypeError, ["kernel_size", "int", "None"], lambda: fractional_pool(X, "avg", None, 3)),
    (ValueError, ["samples", "(2, 3, 2)", "(2, 2)"], lambda: fractional_pool(X, "avg", 2, 3, samples=torch.ones(2, 2))),
    (ValueError, ["samples", "(2, 3, 2)", "(3, 2)"], lambda: fractional_pool(X, "avg", 2, 3, samples=torch.ones(3, 2))),
    (TypeError, ["samples", "floating point", "0.5"], lambda: fractional_pool(X, "avg", 2, 3, samples=0.5)),
    (ValueError, ["dilation", "positive", "0"], lambda: pool(X, "max", 2, dilation=0)),
    (ValueError, ["dilation", "2 ints", "(1, 2, 3)"], lambda: adapool.AdaPool2d(2, dilation=(1, 2, 3))),
    (ValueError, ["kernel_size", "at most the padded input, 7", "got 9, with dilation 8"],
     lambda: pool(X, "max", 2, dilation=8)),
    (ValueError, ["padding", "half of kernel_size (2, 2), (3, 3) with dilation (2, 2)", "(2, 2)"],
     lambda: pool(X, "max", 2, 1, 2, dilation=2)),
    (ValueError, ["return_mask", "dilation", "(2, 2)"],
     lambda: adapool.adapool2d(X, 0.5, 2, return_mask=True, dilation=2)),
    (TypeError, ["dilaton", "did you mean 'dilation'"], lambda: Pool("max", 2, dilaton=2)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "call"), CASES, ids=[" ".join(c[1][:2]) for c in CASES])
def test_messages(kind: type[Exception], words: list[str], call: Callable[[], Any]) -> None:
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message and len(message) < 400
    for word in words:
        assert word in message
