"""Inverses: unpooling from given weights, from a guide whose weights are recomputed, and from indices.

Knows nothing of how a method computes its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor
from torch._subclasses import FakeTensor

from adapool import native, plain
from adapool.arguments import (
    check_choices,
    check_dtype,
    check_flag,
    check_operands,
    check_tensor,
    deferred,
    make_batched,
    rank_of,
    with_batch,
)
from adapool.functional import Implementation, Measure, Similarity, uses_native
from adapool.native_gradients import is_transformed
from adapool.registry import get
from adapool.window import WHOLE, Ints, Sizes, Window


def unpool(
    y: Tensor,
    guide: Tensor,
    /,
    method: str,
    kernel_size: Sizes,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    *,
    normalize: bool = True,
    implementation: Implementation = "auto",
    similarity: Similarity = "channel",
    measure: Measure | None = None,
    **operands: Any,
) -> Tensor:
    """Spread `y` back over the regions of `guide`, by the weights `method` has on the guide.

    `out_i = (1 / c_i) sum_R N_R w_Ri y_R` over the `c_i` regions R that hold place i, N_R the real taps of R: a
    constant region comes back exactly. `normalize=False` is the released form `sum_R w_Ri y_R`, which darkens an
    image to 1/N. Places in no region are 0.

    Shape: y `(N, C, *out)`, guide `(N, C, *spatial)` with `*out` its pooled size; result like guide. No weights are
    stored; gradients reach y, guide and operands. Raises ValueError for a method without weights.

    >>> unpool(torch.ones(1, 1, 1), torch.tensor([[[1.0, 3.0]]]), "softpool", 2)
    tensor([[[0.2384, 1.7616]]])
    """
    entry = get(method)
    if entry.extra != "weights":
        raise ValueError(f"method: expected one with weights, got {method!r}")
    if not isinstance(y, Tensor):
        out: Tensor = deferred(
            unpool, "y", y, guide, method, kernel_size, stride, padding, ceil_mode,
            normalize=normalize, implementation=implementation, similarity=similarity, measure=measure, **operands,
        )  # fmt: skip
        return out
    check_flag("normalize", normalize)
    check_choices(entry, "exact", similarity, measure)
    entry = entry.comparing(similarity, measure)
    rank = rank_of("kernel_size", kernel_size, y.shape, "y")
    window = Window.make(rank, kernel_size, stride, padding, ceil_mode)
    y, added = make_batched(y, rank, "y")
    guide, alike = make_batched(guide, rank, "guide")
    if added != alike:
        raise ValueError(f"y: expected as many axes as guide, got {y.dim() - added} and {guide.dim() - alike}")
    cells = (*guide.shape[:2], *window.output(guide.shape[2:]))
    if y.shape != cells:
        raise ValueError(f"y: expected the guide's pooled shape {cells}, got {tuple(y.shape)}")
    if y.dtype != guide.dtype or y.device != guide.device:
        raise ValueError(f"y: expected {guide.dtype} on {guide.device} like guide, got {y.dtype} on {y.device}")
    operands = with_batch(operands, rank + 1) if added else operands
    found = check_operands(entry, operands, guide, cells, None)
    if uses_native(implementation, entry, guide.dtype, guide.device):
        out = native.unpool(y, guide, entry.name, window, list(found.values()), normalize)
    else:
        out = plain.unpool(entry, y, guide, window, found, normalize)
    return out.squeeze(0) if added else out


def sized_window(rank: int, kernel_size: Ints, stride: Ints | None, padding: Ints, ceil_mode: bool = False) -> Window:
    """A window whose sizes are all given, for there is no input to read one off."""
    window = Window.make(rank, kernel_size, stride, padding, ceil_mode)
    if WHOLE in window.kernel:
        raise TypeError(f"kernel_size: expected an int or {rank} ints, got {kernel_size!r}")
    return window


def _asked(output_size: Sequence[int] | None, window: Window, y: Tensor) -> tuple[int, ...]:
    """The sizes that were asked for, else the smallest that pool to those of y. In a trace they may be tensors."""
    if output_size is None:
        return window.default_unpooled(y.shape[2:])
    if (
        isinstance(output_size, str)
        or not isinstance(output_size, Sequence)
        or any(isinstance(n, (bool, float)) or not hasattr(n, "__index__") for n in output_size)
    ):
        raise TypeError(f"output_size: expected {window.rank} ints, got {output_size!r}")
    return tuple(output_size)


def _check_room(spatial: Sequence[int], y: Tensor, window: Window) -> None:
    if any(n < 1 for n in spatial):
        raise ValueError(
            f"output_size: expected sizes of at least 1, got {tuple(spatial)} (kernel {window.kernel}, stride "
            f"{window.stride} and padding {window.padding} leave {window.default_unpooled(y.shape[2:])} of y "
            f"{tuple(y.shape[2:])})"
        )


def unpool_weights(
    y: Tensor,
    weights: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    *,
    output_size: Sequence[int] | None = None,
    normalize: bool = True,
    implementation: Implementation = "auto",
) -> Tensor:
    """Spread `y` by weights that `pool_with_extra` gave; the formula is `unpool`'s.

    Shape: y `(N, C, *out)`, weights `(N, C, *out, taps)` or `(N, 1, *out, taps)`. `output_size` is needed where the
    stride does not divide the pooled input; by default it is the smallest size that pools to `*out`.

    >>> unpool_weights(torch.ones(1, 1, 1), torch.tensor([[[[0.25, 0.75]]]]), 2)
    tensor([[[0.5000, 1.5000]]])
    """
    if not isinstance(y, Tensor):
        out: Tensor = deferred(
            unpool_weights, "y", y, weights, kernel_size, stride, padding, ceil_mode,
            output_size=output_size, normalize=normalize, implementation=implementation,
        )  # fmt: skip
        return out
    rank = rank_of("kernel_size", kernel_size, y.shape, "y")
    check_flag("normalize", normalize)
    window = sized_window(rank, kernel_size, stride, padding, ceil_mode)
    y, added = make_batched(y, rank, "y")
    check_tensor("weights", weights)
    check_dtype("weights", weights.dtype)
    weights = weights.unsqueeze(0) if added else weights
    allowed = ((*y.shape, window.taps), (y.shape[0], 1, *y.shape[2:], window.taps))
    if tuple(weights.shape) not in allowed:
        raise ValueError(f"weights: expected shape {allowed[0]} or {allowed[1]}, got {tuple(weights.shape)}")
    if weights.device != y.device:
        raise ValueError(f"weights: expected a tensor on {y.device} like y, got one on {weights.device}")
    spatial = _asked(output_size, window, y)
    _check_room(spatial, y, window)
    window.check_unpooled(spatial, y.shape[2:])
    weights = weights.expand(*allowed[0])
    if uses_native(implementation, get("avg"), y.dtype, y.device):
        out = native.unpool_masks(y, weights, window, () if output_size is None else spatial, normalize)
    else:
        out = plain.spread(y, weights, window, spatial, normalize)
    return out.squeeze(0) if added else out


def max_unpool(
    y: Tensor,
    indices: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    *,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put every value back at its index, zeros elsewhere: the inverse of pooling by a chosen tap.

    Shape: y and indices `(N, C, *out)`, indices counted within the output plane; result `(N, C, *output_size)`,
    by default `(out - 1) stride - 2 padding + kernel`. Where regions share an index the last one wins, in every run,
    and only that one receives the gradient. Source: torch.nn.MaxUnpool2d.

    >>> max_unpool(torch.tensor([[[5.0]]]), torch.tensor([[[1]]]), 2)
    tensor([[[0., 5.]]])
    """
    if not isinstance(y, Tensor):
        out: Tensor = deferred(max_unpool, "y", y, indices, kernel_size, stride, padding, output_size=output_size)
        return out
    rank = rank_of("kernel_size", kernel_size, y.shape, "y")
    window = sized_window(rank, kernel_size, stride, padding)
    y, added = make_batched(y, rank, "y")
    check_tensor("indices", indices)
    indices = indices.unsqueeze(0) if added else indices
    if indices.dtype != torch.int64 or indices.shape != y.shape or indices.device != y.device:
        raise ValueError(
            f"indices: expected int64 of y's shape {tuple(y.shape)} on {y.device}, "
            f"got {indices.dtype} {tuple(indices.shape)} on {indices.device}"
        )
    least = window.default_unpooled(y.shape[2:])
    spatial = _asked(output_size, window, y)
    near = len(spatial) == rank and all(abs(n - m) < s for n, m, s in zip(spatial, least, window.stride, strict=True))
    if not near:
        raise ValueError(f"output_size: expected {rank} sizes within a stride of {least}, got {spatial}")
    _check_room(spatial, y, window)
    flat, places = y.flatten(2), indices.flatten(2)
    size = torch.Size(spatial).numel()
    known = not (is_transformed() or places.is_meta or isinstance(places, FakeTensor))
    if places.numel() and known and (places.min() < 0 or places.max() >= size):
        raise ValueError(f"indices: expected places in a plane of {size}, got {int(places.min())}..{int(places.max())}")
    order = torch.arange(flat.shape[-1], device=y.device).expand_as(places)
    blank = torch.full((*y.shape[:2], size), -1, device=y.device)
    last = blank.scatter_reduce(-1, places, order, "amax").gather(-1, places) == order
    out = flat.new_zeros((*y.shape[:2], size)).scatter_add(-1, places, torch.where(last, flat, 0.0))
    out = out.reshape(*y.shape[:2], *spatial)
    last_format = {4: torch.channels_last, 5: torch.channels_last_3d}.get(y.dim())
    mapped = is_batchedtensor(y)  # which tells no layout
    if last_format is not None and not mapped and not y.is_contiguous() and y.is_contiguous(memory_format=last_format):
        out = out.contiguous(memory_format=last_format)  # as torch.nn.functional.max_unpool2d keeps it
    return out.squeeze(0) if added else out
