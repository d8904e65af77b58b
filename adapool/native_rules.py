"""What PyTorch must know of the compiled operators besides running them: shapes, strides and batching.

Imported by native.py where the operators are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from adapool.native_library import given_as_tensors
from adapool.registry import get
from adapool.window import Window

Rule = Callable[..., Any]


def _shape_of(operator: str) -> Callable[[Rule], Rule]:
    """`@_shape_of(name)`: the shape function of an operator. (torch's own decorators have no types.)"""

    def register(rule: Rule) -> Rule:
        torch.library.register_fake(f"adapool::{operator}")(rule)
        return rule

    return register


def _vmap_of(operator: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        torch.library.register_vmap(f"adapool::{operator}", rule)
        return rule

    return register


_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _channels_last(x: Tensor) -> bool:
    """As is_channels_last in csrc/check.h, where a contiguous tensor is not channels_last."""
    if x.is_contiguous():
        return False
    if x.dim() in _FORMATS:
        return x.is_contiguous(memory_format=_FORMATS[x.dim()])
    expected = 1
    for d in (1, 2, 0):
        if x.shape[d] != 1:
            if x.stride(d) != expected:
                return False
            expected *= x.shape[d]
    return True


def _empty(shape: Sequence[int], like: Tensor, channels_last: bool, dtype: torch.dtype | None = None) -> Tensor:
    """As allocate in csrc/check.h."""
    dtype = dtype or like.dtype
    if not channels_last:
        return torch.empty(tuple(shape), dtype=dtype, device=like.device)
    if len(shape) in _FORMATS:
        return torch.empty(tuple(shape), dtype=dtype, device=like.device, memory_format=_FORMATS[len(shape)])
    n, c, size = shape
    flat = torch.empty((n, c, 1, size), dtype=dtype, device=like.device, memory_format=torch.channels_last)
    return flat.squeeze(2)


def _window(kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil_mode: bool) -> Window:
    return Window(tuple(kernel), tuple(stride), tuple(padding), ceil_mode)


@_shape_of("pool")
def _pool(
    x: Tensor,
    operands: list[Tensor],
    method: str,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    constants: list[float],
    want_extra: bool,
    detached: bool = False,
) -> tuple[Tensor, Tensor]:
    window = _window(kernel, stride, padding, ceil_mode).at(x.shape[2:])
    cells = (*x.shape[:2], *window.output(x.shape[2:]))
    last, indexed = _channels_last(x), get(method).extra == "indices"
    dtype = torch.int64 if indexed else torch.promote_types(x.dtype, torch.float32)
    y = _empty(cells, x, last)
    if not want_extra:
        return y, _empty((0,), x, False, dtype)
    return y, _empty(cells if indexed else (*cells, window.taps), x, indexed and last, dtype)


def _like_x(method: str, constants: Sequence[float]) -> list[bool]:
    """Of each tensor among the operands, whether it is read under the window and so lies as x does."""
    return [spec.kind == "input" for spec in given_as_tensors(method, constants)] if method != "weights" else []


def _operand_grads(
    x: Tensor, operands: list[Tensor], method: str, constants: Sequence[float], wants: Sequence[int]
) -> list[Tensor]:
    return [
        _empty(t.shape if wanted else (0,), t, bool(wanted) and inputs and _channels_last(x))
        for t, wanted, inputs in zip(operands, wants, _like_x(method, constants), strict=True)
    ]


@_shape_of("pool_backward")
def _pool_backward(
    grad: Tensor,
    x: Tensor,
    operands: list[Tensor],
    method: str,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    constants: list[float],
    detached: bool,
    wants: list[int],
) -> list[Tensor]:
    dx = _empty(x.shape, x, _channels_last(x)) if wants[0] else _empty((0,), x, False)
    return [dx, *_operand_grads(x, operands, method, constants, wants[1:])]


@_shape_of("unpool")
def _unpool(
    y: Tensor,
    guide: Tensor,
    operands: list[Tensor],
    method: str,
    size: list[int],
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    constants: list[float],
    normalize: bool,
) -> Tensor:
    if len(size) == 0:
        smallest = _window(kernel, stride, padding, ceil_mode).default_unpooled
        size = list(smallest(y.shape[2:]) if method == "weights" else guide.shape[2:])
    return _empty((*y.shape[:2], *size), y, _channels_last(y if method == "weights" else guide))


@_shape_of("unpool_backward")
def _unpool_backward(
    grad: Tensor,
    y: Tensor,
    guide: Tensor,
    operands: list[Tensor],
    method: str,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    constants: list[float],
    normalize: bool,
    wants: list[int],
) -> list[Tensor]:
    masks = method == "weights"
    dy = _empty(y.shape, y, _channels_last(y if masks else guide)) if wants[0] else _empty((0,), y, False)
    dguide = _empty(guide.shape, guide, not masks and _channels_last(guide)) if wants[1] else _empty((0,), guide, False)
    return [dy, dguide, *_operand_grads(guide, operands, method, constants, wants[2:])]


# vmap: the mapped axis is folded into the batch. Operands then get a batch axis of their own, so that their
# gradients come back per sample.


def _fold(t: Tensor, dim: int | None, size: int) -> Tensor:
    """[N, ...] or, mapped over `dim`, [size, N, ...] as [size * N, ...]."""
    t = t.unsqueeze(0).expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
    return t.reshape(size * t.shape[1], *t.shape[2:])


def _fold_operand(t: Tensor, dim: int | None, size: int, batch: int, rank: int) -> Tensor:
    """An operand that broadcasts to `rank` axes as [size * batch, ...] of just that many."""
    t = t.unsqueeze(0).expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
    t = t.reshape(size, *(1,) * (rank - t.dim() + 1), *t.shape[1:])
    return t.expand(size, batch, *t.shape[2:]).reshape(size * batch, *t.shape[2:])


def _unfold(t: Tensor, size: int, batch: int) -> Tensor:
    return t.reshape(size, batch, *t.shape[1:])


def _batch(t: Tensor, dim: int | None) -> int:
    """Of each of the mapped samples, of which there may be none."""
    return t.shape[1 if dim == 0 else 0]


def _operand_shape(t: Tensor, dim: int | None) -> list[int]:
    return [n for d, n in enumerate(t.shape) if d != dim]


def _fold_all(
    operands: list[Tensor], dims: Sequence[int | None], size: int, batch: int, rank: int, like_x: Sequence[bool]
) -> list[Tensor]:
    return [
        _fold(t, d, size) if inputs else _fold_operand(t, d, size, batch, rank)
        for t, d, inputs in zip(operands, dims, like_x, strict=True)
    ]


def _unfold_grads(
    grads: list[Tensor], operands: list[Tensor], dims: Sequence[int | None], wants: Sequence[int], size: int, batch: int
) -> list[Tensor]:
    """Per-sample gradients in the operands' own shapes; the batch axis they were given is summed away."""
    found = []
    for grad, t, dim, wanted in zip(grads, operands, dims, wants, strict=True):
        shape = _operand_shape(t, dim)
        if wanted:
            each = _unfold(grad, size, batch)
            has_batch = len(shape) == each.dim() - 1 and shape[0] == each.shape[1]
            found.append((each if has_batch else each.sum(1)).reshape(size, *shape))
        else:
            found.append(grad.new_empty((size, 0)))
    return found


@_vmap_of("pool")
def _pool_vmap(info: Any, dims: Any, x: Tensor, operands: list[Tensor], method: str, *rest: Any) -> Any:
    size = info.batch_size
    flat, batch = _fold(x, dims[0], size), _batch(x, dims[0])
    folded = _fold_all(operands, dims[1], size, batch, flat.dim(), _like_x(method, rest[4]))
    y, extra = torch.ops.adapool.pool(flat, folded, method, *rest)
    want_extra = rest[5]  # and not the last: an argument that has its default is left away
    y = _unfold(y, size, batch)
    return (y, _unfold(extra, size, batch) if want_extra else extra), (0, 0 if want_extra else None)


@_vmap_of("pool_backward")
def _pool_backward_vmap(
    info: Any, dims: Any, grad: Tensor, x: Tensor, operands: list[Tensor], method: str, *rest: Any
) -> Any:
    size, wants = info.batch_size, rest[-1]
    flat, batch = _fold(x, dims[1], size), _batch(x, dims[1])
    folded = _fold_all(operands, dims[2], size, batch, flat.dim(), _like_x(method, rest[4]))
    dx, *others = torch.ops.adapool.pool_backward(_fold(grad, dims[0], size), flat, folded, method, *rest)
    dx = _unfold(dx, size, batch) if wants[0] else dx.new_empty((size, 0))
    grads = [dx, *_unfold_grads(others, operands, dims[2], wants[1:], size, batch)]
    return grads, [0] * len(grads)


@_vmap_of("unpool")
def _unpool_vmap(
    info: Any, dims: Any, y: Tensor, guide: Tensor, operands: list[Tensor], method: str, *rest: Any
) -> Any:
    size = info.batch_size
    flat, batch = _fold(y, dims[0], size), _batch(y, dims[0])
    folded = _fold_all(operands, dims[2], size, batch, flat.dim(), _like_x(method, rest[5]))
    out = torch.ops.adapool.unpool(flat, _fold(guide, dims[1], size), folded, method, *rest)
    return _unfold(out, size, batch), 0


@_vmap_of("unpool_backward")
def _unpool_backward_vmap(
    info: Any, dims: Any, grad: Tensor, y: Tensor, guide: Tensor, operands: list[Tensor], method: str, *rest: Any
) -> Any:
    size, wants = info.batch_size, rest[-1]
    flat, batch = _fold(y, dims[1], size), _batch(y, dims[1])
    folded = _fold_all(operands, dims[3], size, batch, flat.dim(), _like_x(method, rest[4]))
    found = torch.ops.adapool.unpool_backward(
        _fold(grad, dims[0], size), flat, _fold(guide, dims[2], size), folded, method, *rest
    )
    first = [
        _unfold(t, size, batch) if wanted else t.new_empty((size, 0))
        for t, wanted in zip(found[:2], wants[:2], strict=True)
    ]
    grads = [*first, *_unfold_grads(found[2:], operands, dims[3], wants[2:], size, batch)]
    return grads, [0] * len(grads)
