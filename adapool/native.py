"""The compiled operators as functions of a window: which there are, and one call for each.

The calls here trust their arguments; `functional` has checked them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adapool import native_library
from adapool.native_gradients import (
    POOL,
    UNPOOL,
    below_autograd,
    differentiates,
    is_transformed,
    pool_of,
    unpool_of,
)
from adapool.native_library import DTYPES, LOADED, METHODS, TENSOR, Operands, encode, status
from adapool.registry import find
from adapool.window import Window

if LOADED:
    from adapool import native_rules as _rules  # noqa: F401  (shapes and vmap of the operators)

__all__ = ["DTYPES", "METHODS", "TENSOR", "has_kernel", "pool", "status", "supports", "unpool", "unpool_masks"]


def has_kernel(method: str, dtype: torch.dtype, device: str) -> bool:
    """Whether a compiled kernel exists for this method, dtype and type of device.

    A person's own method is compiled when this first asks for it, seconds of a C++ compiler or of NVRTC, and held
    against its row; what is wrong with it raises.
    """
    entry = find(method)
    if entry is None or entry.kernel is None:
        return native_library.has_kernel(method, dtype, device)
    from adapool import native_own  # which few need

    return native_own.has_kernel(method, dtype, device)


def supports(method: str, x: Tensor) -> bool:
    """`has_kernel` for the dtype and device of `x`."""
    return has_kernel(method, x.dtype, x.device.type)


def pool(
    x: Tensor, method: str, window: Window, operands: Operands, want_extra: bool, detached: bool
) -> tuple[Tensor, Tensor]:
    """Pool `x [N, C, *spatial]`; differentiable in x and in tensor operands. And, empty unless wanted, weights
    `[N, C, *out, taps]` or flat plane indices `[N, C, *out]`, constants for autograd.
    """
    tensors, constants = encode(operands)
    frame = (method, window.kernel, window.stride, window.padding, window.ceil_mode, constants)
    found: tuple[Tensor, Tensor]
    if is_transformed():
        found = POOL(x, tensors, *frame, want_extra, detached)
    elif differentiates(x, *tensors):
        found = pool_of((frame, want_extra, detached), x, *tensors)
    else:
        found = below_autograd(POOL, x, tensors, *frame, want_extra)
    return found


def unpool(y: Tensor, guide: Tensor, method: str, window: Window, operands: Operands, normalize: bool) -> Tensor:
    """Spread `y` by the weights that `method` has on the guide; differentiable in y, guide and tensor operands."""
    tensors, constants = encode(operands)
    return _unpool(y, guide, method, (), window, constants, normalize, tensors)


def unpool_masks(y: Tensor, weights: Tensor, window: Window, output_size: Sequence[int], normalize: bool) -> Tensor:
    """Spread `y` by weights `[N, C, *out, taps]`, to the smallest size without one; differentiable in both."""
    return _unpool(y, weights, "weights", output_size, window, [], normalize, [])


def _unpool(
    y: Tensor,
    guide: Tensor,
    method: str,
    size: Sequence[int],
    window: Window,
    constants: list[float],
    normalize: bool,
    tensors: list[Tensor],
) -> Tensor:
    frame = (window.kernel, window.stride, window.padding, window.ceil_mode, constants, normalize)
    out: Tensor
    if is_transformed():
        out = UNPOOL(y, guide, tensors, method, size, *frame)
    elif differentiates(y, guide, *tensors):
        out = unpool_of((method, tuple(size), frame), y, guide, *tensors)
    else:
        out = below_autograd(UNPOOL, y, guide, tensors, method, size, *frame)
    return out
