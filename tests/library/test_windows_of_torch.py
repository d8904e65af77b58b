"""Window shapes: whatever torch's max and average pooling allow gives the same shape here, and the same values."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from adapool import SoftPool2d, pool

SHAPES = [
    (n, k, s, p, ceil)
    for n, k, s, p, ceil in itertools.product(range(1, 8), range(1, 7), range(1, 4), range(4), (False, True))
    if 2 * p <= k
]


@pytest.mark.parametrize("implementation", ["auto", "plain"])
def test_every_shape_that_torch_allows(implementation: str) -> None:
    """Also a kernel beyond the input, which ceil_mode allows (GoogLeNet on small images)."""
    allowed = 0
    for n, k, s, p, ceil in SHAPES:
        x = torch.arange(1.0, n + 1).reshape(1, 1, n)
        try:
            expected = F.max_pool1d(x, k, s, p, ceil_mode=ceil)
        except RuntimeError:
            with pytest.raises(ValueError, match="kernel_size: expected at most the padded input"):
                pool(x, "max", (k,), s, p, ceil, implementation=implementation)
            continue
        allowed += 1
        torch.testing.assert_close(pool(x, "max", (k,), s, p, ceil, implementation=implementation), expected)
        mean = F.avg_pool1d(x, k, s, p, ceil, count_include_pad=False)
        torch.testing.assert_close(pool(x, "avg", (k,), s, p, ceil, implementation=implementation), mean)
    assert allowed > 500, allowed


@pytest.mark.parametrize("implementation", ["auto", "plain"])
def test_a_window_larger_than_its_input_has_gradients_and_weights(implementation: str) -> None:
    for size, kernel, stride in ((2, 3, 2), (1, 2, 2)):
        x = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)
        layer = SoftPool2d(kernel, stride, ceil_mode=True, implementation=implementation)
        assert layer(x).shape == (2, 3, 1, 1)
        torch.testing.assert_close(layer(x), SoftPool2d(size)(x))
        (found,) = torch.autograd.grad(layer(x).sum(), x)
        torch.testing.assert_close(found, torch.autograd.grad(SoftPool2d(size)(x).sum(), x)[0])
