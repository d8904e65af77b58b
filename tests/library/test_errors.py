"""Bad input: one message that names the argument, what was expected and what came."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import adapool
from adapool import AdaPool2d, pool

X = torch.ones(2, 3, 8, 8)
Y = torch.ones(2, 3, 4, 4)

CASES: list[tuple[type[Exception], list[str], Callable[[], Any]]] = [
    (ValueError, ["unknown method 'sotfpool'", "did you mean 'softpool'", "known: max, avg"],
     lambda: pool(X, "sotfpool", 2)),
    (ValueError, ["method", "'s3' is a layer", "adapool.LEARNED['s3'](rank, channels, kernel_size)"],
     lambda: pool(X, "s3", 2)),
    (ValueError, ["kernel_size", "at most the padded input", "8 + 2 * 0", "got 9"], lambda: pool(X, "avg", 9)),
    (ValueError, ["kernel_size", "positive", "got 0"], lambda: pool(X, "avg", 0)),
    (ValueError, ["kernel_size", "positive", "-2"], lambda: pool(X, "avg", (2, -2))),
    (ValueError, ["kernel_size", "2 ints", "(1, 2, 3)"], lambda: AdaPool2d((1, 2, 3))),
    (TypeError, ["kernel_size", "2.5"], lambda: pool(X, "avg", 2.5)),
    (TypeError, ["kernel_size", "True"], lambda: pool(X, "avg", True)),
    (ValueError, ["stride", "positive", "got 0"], lambda: pool(X, "avg", 2, 0)),
    (ValueError, ["stride", "positive", "got -1"], lambda: pool(X, "avg", 2, -1)),
    (ValueError, ["padding", "half of kernel_size", "(2, 2)"], lambda: pool(X, "avg", 2, 2, 2)),
    (ValueError, ["padding", "non-negative", "-1"], lambda: pool(X, "avg", 2, 2, -1)),
    (ValueError, ["x", "1, 2 or 3 spatial axes", "(2, 3)"], lambda: pool(torch.ones(2, 3), "avg", 2)),
    (ValueError, ["x", "4 axes", "(8,)"], lambda: adapool.adapool2d(torch.ones(8))),
    (ValueError, ["x", "4 axes", "(1, 2, 3, 4, 5)"], lambda: adapool.adapool2d(torch.ones(1, 2, 3, 4, 5))),
    (ValueError, ["x", "at least 1", "(2, 3, 0, 8)"], lambda: pool(torch.ones(2, 3, 0, 8), "avg", 1)),
    (TypeError, ["x", "floating point", "int64"], lambda: pool(torch.ones(1, 1, 4, 4).long(), "max", 2)),
    (TypeError, ["x", "floating point", "complex64"],
     lambda: pool(torch.ones(1, 1, 4, 4).to(torch.complex64), "max", 2)),
    (TypeError, ["x", "Tensor", "list"], lambda: pool([1.0], "max", 2)),
    (ValueError, ["beta", "(3, 4, 4)", "(3, 1, 1)", "got (5,)"], lambda: adapool.adapool2d(X, torch.ones(5))),
    (ValueError, ["beta", "meta", "cpu"], lambda: adapool.adapool2d(X, torch.ones(3, 1, 1, device="meta"))),
    (TypeError, ["beta", "floating point", "int64"], lambda: adapool.adapool2d(X, torch.ones(1).long())),
    (TypeError, ["beta", "number or a Tensor", "str"], lambda: adapool.adapool2d(X, "half")),
    (ValueError, ["beta", "finite", "nan"], lambda: adapool.adapool2d(X, float("nan"))),
    (ValueError, ["beta", "[0, 1]", "1.5"], lambda: AdaPool2d(2, beta=1.5)),
    (TypeError, ["beta", "shape", "(0, 1)"], lambda: AdaPool2d(2, beta=(0, 1))),
    (TypeError, ["beta", "shape", "'ab'"], lambda: AdaPool2d(2, beta="ab")),
    (ValueError, ["constraint", "'clamp', 'sigmoid'", "'relu'"], lambda: AdaPool2d(2, constraint="relu")),
    (ValueError, ["beta_init", "'half', 'released'", "'zero'"], lambda: AdaPool2d(2, beta_init="zero")),
    (ValueError, ["p", "at least 1.0", "0.5"], lambda: pool(X, "lp", 2, p=0.5)),
    (ValueError, ["p", "at least 1.0", "nan"], lambda: pool(X, "lp", 2, p=torch.tensor(float("nan")))),
    (ValueError, ["p", "at least 1.0", "inf"], lambda: pool(X, "power", 2, p=torch.tensor(float("inf")))),
    (ValueError, ["p", "in [1,", "inf"], lambda: adapool.PowerPool2d(2, p=float("inf"))),
    (ValueError, ["guide", "finite", "-1.79"], lambda: pool(X, "dpp", 2, guide=-sys.float_info.max)),
    (ValueError, ["beta", "finite", "1000"], lambda: pool(X, "ada", 2, beta=10**400)),
    (TypeError, ["beta", "dense tensor", "sparse_coo"],
     lambda: pool(X, "ada", 2, beta=torch.ones(3, 1, 1).to_sparse())),
    (TypeError, ["logits", "dense tensor", "sparse_coo"], lambda: pool(X, "lip", 2, logits=X.to_sparse())),
    (TypeError, ["generator", "torch.Generator", "5"], lambda: pool(X, "stochastic", 2, generator=5)),
    (ValueError, ["kernel_size", "1 to 3 ints", "()"], lambda: pool(X, "avg", ())),
    (ValueError, ["kernel_size", "1 to 3 ints", "()"], lambda: adapool.Pool("avg", ())),
    (ValueError, ["output_size", "1 to 3 ints", "()"], lambda: adapool.adaptive_pool(X, "avg", ())),
    (ValueError, ["output_size", "1 to 3 ints", "()"], lambda: adapool.AdaptivePool("avg", ())),
    (ValueError, ["output_size", "1 to 3 ints", "(2, 2, 2, 2)"],
     lambda: adapool.adaptive_pool(torch.ones(1, 1, 4, 4, 4, 4), "avg", (2, 2, 2, 2))),
    (ValueError, ["x", "1, 2 or 3 spatial axes", "(3, 5)"], lambda: adapool.adaptive_pool(X[0, :, 0, :5], "avg", 2)),
    (ValueError, ["x", "1, 2 or 3 spatial axes", "(3, 5)"],
     lambda: adapool.fractional_pool(X[0, :, 0, :5], "avg", 2, output_size=1)),
    (ValueError, ["y", "1, 2 or 3 spatial axes", "(3, 4)"], lambda: adapool.unpool(Y[0, :, 0], X, "avg", 2)),
    (ValueError, ["y", "1, 2 or 3 spatial axes", "(1, 1, 2, 2, 2, 2)"],
     lambda: adapool.unpool_weights(torch.ones(1, 1, 2, 2, 2, 2), Y, 2)),
    (ValueError, ["y", "as many axes as guide", "3 and 4"], lambda: adapool.unpool(Y[0], X[:1], "avg", (2, 2))),
    (TypeError, ["normalize", "a bool", "'no'"], lambda: adapool.unpool(Y, X, "avg", 2, normalize="no")),
    (TypeError, ["output_size", "2 ints", "(8.0, 8.0)"],
     lambda: adapool.unpool_weights(Y, torch.ones(2, 3, 4, 4, 4), 2, output_size=(8.0, 8.0))),
    (TypeError, ["output_size", "2 ints", "got 5"], lambda: adapool.adaunpool2d(Y, X, output_size=5)),
    (TypeError, ["weights", "floating point", "float8"],
     lambda: adapool.unpool_weights(Y, torch.ones(2, 3, 4, 4, 4).to(torch.float8_e4m3fn), 2)),
    (TypeError, ["interpolate", "a bool", "'no'"], lambda: adapool.adaunpool2d(Y, X, "no")),
    (ValueError, ["beta", "(3, 4, 4)", "got (7,)"], lambda: adapool.adaunpool2d(Y, (X, X, torch.ones(7)))),
    (TypeError, ["beta", "number or a Tensor", "bool"], lambda: adapool.adaunpool2d(Y, (X, X, True))),
    (ValueError, ["beta", "finite", "nan"], lambda: adapool.adaunpool2d(Y, (X, X, float("nan")))),
    (TypeError, ["indices", "Tensor", "list"], lambda: adapool.max_unpool(Y, [1], 2)),
    (TypeError, ["u", "Tensor", "list"], lambda: adapool.S3Pool2d(2)(X, u=[1])),
    (TypeError, ["gamma", "'ada' takes beta"], lambda: pool(X, "ada", 2, gamma=1)),
    (TypeError, ["beta", "'avg' takes no operands"], lambda: pool(X, "avg", 2, beta=1)),
    (ValueError, ["logits", "x's shape (2, 3, 8, 8)", "(2, 3, 4, 4)"], lambda: pool(X, "lip", 2, logits=Y)),
    (TypeError, ["logits", "floating point", "complex64"],
     lambda: pool(X, "lip", 2, logits=X * 1j, implementation="plain")),
    (TypeError, ["beta", "float64, float32", "float8_e4m3fn"],
     lambda: pool(X, "ada", 2, beta=torch.ones(1).to(torch.float8_e4m3fn))),
    (TypeError, ["logits", "floating point", "int64"], lambda: pool(X, "lip", 2, logits=X.long())),
    (ValueError, ["gradient", "'exact', 'detached'", "'none'"], lambda: pool(X, "ada", 2, gradient="none")),
    (ValueError, ["gradient", "'max' has no weights"], lambda: pool(X, "max", 2, gradient="detached")),
    (ValueError, ["similarity", "'channel'", "'vector'"], lambda: pool(X, "avg", 2, similarity="vector")),
    (ValueError, ["implementation", "'auto', 'native', 'plain'", "'cuda'"],
     lambda: pool(X, "avg", 2, implementation="cuda")),
    (ValueError, ["implementation", "no compiled kernel", "'vector'"],
     lambda: pool(X, "ada", 2, implementation="native", similarity="vector")),
    (ValueError, ["method", "weights or indices", "'sum'"], lambda: adapool.pool_with_extra(X, "sum", 2)),
    (ValueError, ["method", "weights", "'max'"], lambda: adapool.unpool(Y, X, "max", 2)),
    (ValueError, ["y", "(2, 3, 4, 4)", "(2, 3, 8, 8)"], lambda: adapool.unpool(X, X, "ada", 2)),
    (ValueError, ["y", "float32", "float64"], lambda: adapool.unpool(Y.double(), X, "ada", 2)),
    (ValueError, ["weights", "(2, 3, 4, 4, 4)", "(2, 3, 4, 4, 9)"],
     lambda: adapool.unpool_weights(Y, torch.ones(2, 3, 4, 4, 9), 2)),
    (ValueError, ["output_size", "pool to (4, 4)", "(8, 8)", "(11, 8)"],
     lambda: adapool.unpool_weights(Y, torch.ones(2, 3, 4, 4, 4), 2, output_size=(11, 8))),
    (ValueError, ["mask", "(2, 3, 8, 8)", "(2, 3, 9, 9)"], lambda: adapool.adaunpool2d(Y, torch.ones(2, 3, 9, 9))),
    (TypeError, ["mask", "(mask_edscw, mask_em, beta)"], lambda: adapool.adaunpool2d(Y, (X, X))),
    (ValueError, ["kernel_size", "interpolate=False"], lambda: adapool.adaunpool2d(Y, X, interpolate=False)),
    (ValueError, ["indices", "int64", "float32"], lambda: adapool.max_unpool(Y, Y, 2)),
    (ValueError, ["indices", "plane of 64", "99"], lambda: adapool.max_unpool(Y, torch.full((2, 3, 4, 4), 99), 2)),
    (ValueError, ["output_size", "within a stride of (8, 8)", "(20, 8)"],
     lambda: adapool.max_unpool(Y, torch.zeros(2, 3, 4, 4).long(), 2, output_size=(20, 8))),
    (ValueError, ["output_size", "at least 1", "(0, 0)", "padding (1, 1)"],
     lambda: adapool.MaxUnpool2d(2, 1, 1)(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1).long())),
    (ValueError, ["output_size", "at least 1", "(0, 0)"],
     lambda: adapool.unpool_weights(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1, 4), 2, 1, 1)),
    (TypeError, ["kernel_size", "2 ints", "None"],
     lambda: adapool.unpool_weights(Y, torch.ones(2, 3, 4, 4, 4), (2, None))),
    (TypeError, ["kernel_size", "2 ints", "None"], lambda: adapool.MaxUnpool2d((2, None))(Y, Y.long())),
    (TypeError, ["kernel_size", "full=True", "None"], lambda: adapool.DPPPool(2, 3, None, full=True)),
    (ValueError, ["stride", "below 2**63", "9223372036854775808"], lambda: pool(X, "avg", 2, 2**63)),
    (ValueError, ["kernel_size", "below 2**63"], lambda: pool(X, "avg", (2, 2**64))),
    (ValueError, ["padding", "expected 0", "takes an axis whole"], lambda: pool(X, "avg", (2, None), padding=1)),
    (TypeError, ["ceil_mode", "bool", "1"], lambda: pool(X, "avg", 2, 2, 0, 1)),
    (ValueError, ["p", "at least 1.0", "0"], lambda: pool(X, "lp", 2, p=torch.zeros(1))),
    (TypeError, ["x", "float64, float32, float16 or bfloat16", "float8_e4m3fn"],
     lambda: pool(X.to(torch.float8_e4m3fn), "avg", 2)),
    (TypeError, ["x", "floating point", "complex64"], lambda: pool(X.to(torch.complex64), "avg", 2)),
    (TypeError, ["x", "dense", "sparse_coo"], lambda: pool(X.to_sparse(), "avg", 2)),
    (TypeError, ["x", "dense", "_mkldnn"], lambda: pool(X.to_mkldnn(), "avg", 2)),
    (TypeError, ["x", "dense", "nested"], lambda: pool(torch.nested.nested_tensor([X[0], X[1]]), "avg", 2)),
    (TypeError, ["y", "dense", "sparse_coo"], lambda: adapool.unpool(Y.to_sparse(), X, "ada", 2)),
    (TypeError, ["guide", "dense", "sparse_coo"], lambda: adapool.unpool(Y, X.to_sparse(), "ada", 2)),
    # What a constructor can know, it says.
    (TypeError, ["delta", "'ada' takes beta"], lambda: AdaPool2d(2, delta=(4, 4))),
    (TypeError, ["paddng", "did you mean 'padding'"], lambda: AdaPool2d(2, paddng=1)),
    (TypeError, ["graident", "did you mean 'gradient'"], lambda: adapool.SoftPool2d(2, graident="detached")),
    (TypeError, ["betta", "did you mean 'beta'"], lambda: pool(X, "ada", 2, betta=0.5)),
    (ValueError, ["implementation", "'auto', 'native', 'plain'", "'cuda'"],
     lambda: AdaPool2d(2, implementation="cuda")),
    (TypeError, ["logits", "floating point", "complex64"],
     lambda: pool(X, "lip", 2, logits=X * 1j, implementation="plain")),
    (TypeError, ["beta", "float64, float32", "float8_e4m3fn"],
     lambda: pool(X, "ada", 2, beta=torch.ones(1).to(torch.float8_e4m3fn))),
    (TypeError, ["logits", "floating point", "int64"], lambda: pool(X, "lip", 2, logits=X.long())),
    (ValueError, ["gradient", "'exact', 'detached'", "'none'"], lambda: adapool.Pool("ada", 2, gradient="none")),
    (ValueError, ["gradient", "'max' has no weights"], lambda: adapool.Pool("max", 2, gradient="detached")),
    (ValueError, ["similarity", "'vector'"], lambda: adapool.EMPool2d(2, similarity="vector")),
    (TypeError, ["beta", "number or a Tensor", "str"], lambda: adapool.Pool("ada", 2, beta="half")),
    (ValueError, ["p", "at least 1.0", "0.5"], lambda: adapool.Pool("lp", 2, p=0.5)),
    (ValueError, ["padding", "non-negative", "-1"], lambda: AdaPool2d(None, padding=-1)),
    (ValueError, ["padding", "expected 0", "1"], lambda: adapool.EMPool2d(None, padding=1)),
    (ValueError, ["kernel_size", "positive", "-1"], lambda: adapool.Pool("avg", -1)),
    (ValueError, ["stride", "positive", "0"], lambda: adapool.Pool("avg", 2, 0)),
    (ValueError, ["kernel_size", "positive", "-1"], lambda: adapool.AdaUnpool2d(kernel_size=-1)),
    (ValueError, ["stride", "positive", "0"], lambda: adapool.AdaUnpool2d(stride=0)),
    (ValueError, ["padding", "non-negative", "-2"], lambda: adapool.AdaUnpool2d(padding=-2)),
    (TypeError, ["force_inplace", "bool", "2", "padding="], lambda: adapool.SoftPool2d(5, 1, 2)),
    (TypeError, ["force_inplace", "bool", "1", "padding="], lambda: adapool.soft_pool2d(X, 3, 2, 1)),
    (TypeError, ["return_mask", "bool", "1", "padding="], lambda: adapool.EMPool2d(3, 2, 1)),
    (TypeError, ["return_mask", "bool", "1", "padding="], lambda: adapool.idwpool2d(X, 3, 2, 1)),
    (TypeError, ["return_mask", "bool", "1"], lambda: adapool.adapool2d(X, 0.5, 3, 2, 1)),
    (TypeError, ["beta_trainable", "bool", "1"], lambda: AdaPool2d(2, 0.5, 2, 1)),
    (ValueError, ["channels", "positive int", "0"], lambda: adapool.LIPPool(2, 0)),
    (ValueError, ["rank", "1, 2 or 3", "4"], lambda: adapool.DPPPool(4, 3)),
]  # fmt: skip


@pytest.mark.parametrize("implementation", ["auto", "plain"])
def test_whole_numbers_of_any_kind_are_sizes(implementation: str) -> None:
    expected = pool(X, "avg", 2, 2, 1, implementation="plain")
    sizes = [(np.int64(2), np.int32(1)), (torch.tensor(2), torch.tensor(1))]
    sizes += [((two, two), (one, one)) for two, one in sizes]
    for two, one in sizes:
        torch.testing.assert_close(pool(X, "avg", two, two, one, implementation=implementation), expected)
        torch.testing.assert_close(adapool.Pool("avg", two, two, one)(X), expected)


@pytest.mark.parametrize("implementation", ["auto", "plain"])
def test_the_longest_stride_gives_one_cell(implementation: str) -> None:
    for ceil_mode in (False, True):
        y = pool(X, "avg", 2, 2**63 - 1, ceil_mode=ceil_mode, implementation=implementation)
        assert y.shape == (2, 3, 1, 1)


@pytest.mark.parametrize("implementation", ["auto", "plain"])
@pytest.mark.parametrize("name", adapool.names())
def test_none_takes_an_axis_whole(name: str, implementation: str) -> None:
    x, given = torch.randn(2, 3, 5, 7), {u: torch.rand(2, 3, 3, 1) for u in adapool.get(name).takes("random")}
    rows = pool(x, name, (3, 7), (1, 7), implementation="plain", **given)
    torch.testing.assert_close(pool(x, name, (3, None), (1, 4), implementation=implementation, **given), rows)
    given = {u: torch.rand(2, 3, 1, 1) for u in given}
    torch.testing.assert_close(
        pool(x, name, None, implementation=implementation, **given),
        pool(x, name, (5, 7), implementation="plain", **given),
    )


def test_what_was_right_for_one_is_not_taken_for_another() -> None:
    pool(X, "avg", 1, 1)
    for kernel, stride in ((True, 1), (1.0, 1), (1, True), (1, 1.0)):
        with pytest.raises(TypeError, match="expected an int or 2 ints"):
            pool(X, "avg", kernel, stride)
    pool(X, "avg", (2, 2), (1, 1), (1, 1))
    for window in (((2.0, 2.0), (1, 1)), ((2, 2), (True, True)), ((2, 2), (1, 1), (1.0, 1.0)), ((2, 2), (1, True))):
        with pytest.raises(TypeError, match="expected an int or 2 ints"):
            pool(X, "avg", *window)
    with pytest.raises(TypeError, match="floating point dtype"):
        pool(X.long(), "avg", 1, 1)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("kind", "words", "call"), CASES, ids=[" ".join(c[1][:2]) for c in CASES])
def test_message_names_argument_expectation_and_what_came(kind, words, call) -> None:
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message and len(message) < 400
    for word in words:
        assert word in message
