"""Pooling functions under the names of the papers and of the released AdaPool, SoftPool and LIP packages.

Thin: one definition serves all ranks; the work is in `functional` and `unpooling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from adapool.arguments import cell_operand, check_flag, deferred, make_batched
from adapool.functional import pool_with_extra, run
from adapool.region import per_tap
from adapool.registry import get
from adapool.unpooling import max_unpool, unpool_weights
from adapool.window import Ints, Sizes, Window

PADDING_HINT = "; the third argument is a flag, as in the released package: give padding=..."
Masks = Tensor | tuple[Tensor, Tensor, "Tensor | float"]


def _kernel(x: Tensor, rank: int, kernel_size: Sizes, dilation: Ints = 1) -> tuple[int, ...]:
    """The kernel that a mask is laid out by."""
    make_batched(x, rank)
    window = Window.make(rank, kernel_size, dilation=dilation)
    if window.dilation:
        raise ValueError(
            f"return_mask: expected False with a dilation, got {window.dilation}; adapool.pool_with_extra has weights"
        )
    return window.at(x.shape[-rank:]).kernel


def tile(weights: Tensor, kernel: Sequence[int]) -> Tensor:
    """Weights `(..., *out, taps)` laid out as the released masks, `(..., out_1 k_1, out_2 k_2, ...)`."""
    rank = len(kernel)
    lead, out = weights.shape[: -rank - 1], weights.shape[-rank - 1 : -1]
    at = len(lead)
    order = [*range(at), *(axis for r in range(rank) for axis in (at + r, at + rank + r))]
    grid = weights.reshape(*lead, *out, *kernel).permute(order)
    return grid.reshape(*lead, *(o * k for o, k in zip(out, kernel, strict=True)))


def untile(mask: Tensor, kernel: Sequence[int]) -> Tensor:
    """Inverse of `tile`."""
    rank = len(kernel)
    lead, at = mask.shape[:-rank], mask.dim() - rank
    out = [n // k for n, k in zip(mask.shape[-rank:], kernel, strict=True)]
    grid = mask.reshape(*lead, *(n for pair in zip(out, kernel, strict=True) for n in pair))
    order = [*range(at), *(at + 2 * r for r in range(rank)), *(at + 2 * r + 1 for r in range(rank))]
    return grid.permute(order).flatten(-rank)


def _pool_by_name(rank: int, name: str, method: str) -> Callable[..., Any]:
    entry = get(method)

    def named(
        x: Tensor,
        kernel_size: Sizes = 2,
        stride: Ints | None = None,
        return_mask: bool = False,
        native: bool = False,
        **options: Any,
    ) -> Any:
        check_flag("return_mask", return_mask, PADDING_HINT)
        if not return_mask:
            return run(x, rank, method, False, {}, kernel_size, stride, **options)[0]
        if not isinstance(x, Tensor):
            return deferred(named, "x", x, kernel_size, stride, return_mask, native, **options)
        kernel = _kernel(x, rank, kernel_size, options.get("dilation", 1))
        y, weights = pool_with_extra(x, method, kernel, stride, **options)
        return y, tile(weights, kernel)

    named.__name__ = named.__qualname__ = f"{name}{rank}d"
    named.__doc__ = f"""{entry.title}, {rank}-D: `{entry.formula}`.

    x `(N, C, *spatial)` or `(C, *spatial)`; `kernel_size=None` pools the whole extent. With `return_mask` also the
    weights, laid out as `(N, C, out_1 k_1, ...)`. `native` belongs to the released signature and changes nothing:
    the compiled kernel runs wherever there is one. Further keywords are `pool`'s: padding, ceil_mode, gradient, ...
    Raises ValueError or TypeError naming the argument. Source: {entry.source}.

    >>> {name}{rank}d(torch.ones(1, 1, {", ".join("4" * rank)}), 4).flatten()
    tensor([1.])
    """
    return named


def _adapool(rank: int) -> Callable[..., Any]:
    def adapool(
        x: Tensor,
        beta: Tensor | float = 0.5,
        kernel_size: Sizes = 2,
        stride: Ints | None = None,
        return_mask: bool = False,
        native: bool = False,
        **options: Any,
    ) -> Any:
        check_flag("return_mask", return_mask)
        if not isinstance(x, Tensor):
            return deferred(adapool, "x", x, beta, kernel_size, stride, return_mask, native, **options)
        y = run(x, rank, "ada", False, {"beta": beta}, kernel_size, stride, **options)[0]
        if not return_mask:
            return y
        kernel = _kernel(x, rank, kernel_size, options.get("dilation", 1))
        options.pop("gradient", None)  # weights are constants either way
        dice, soft = (
            tile(pool_with_extra(x.detach(), method, kernel, stride, **_similarity(options, method))[1], kernel)
            for method in ("edscw", "softpool")
        )
        return y, (dice, soft, beta)

    adapool.__name__ = adapool.__qualname__ = f"adapool{rank}d"
    adapool.__doc__ = f"""Adaptive exponential pooling, {rank}-D: `y = beta eDSCW(x) + (1 - beta) eM(x)`.

    x `(N, C, *spatial)` or `(C, *spatial)`; beta a number or a tensor that broadcasts to `(C, *out)`;
    `kernel_size=None` pools the whole extent. With `return_mask` also `(mask_edscw, mask_em, beta)`, the argument
    of `adaunpool`, each mask `(N, C, out_1 k_1, ...)`. `native` belongs to the released signature and changes
    nothing. Further keywords are `pool`'s: padding, ceil_mode, gradient, similarity, implementation. Raises
    ValueError or TypeError naming the argument. Source: Stergiou & Poppe 2021 (arXiv 2111.00772).

    >>> adapool{rank}d(torch.arange(2.0 ** {rank}).reshape(1, 1, {", ".join("2" * rank)}), beta=0.5).shape
    torch.Size([1, 1, {", ".join("1" * rank)}])
    """
    return adapool


def _similarity(options: dict[str, Any], method: str) -> dict[str, Any]:
    """`options` less those of similarity where the method has none."""
    return {k: v for k, v in options.items() if k not in ("similarity", "measure") or get(method).measures}


def _adaunpool(rank: int) -> Callable[..., Tensor]:
    def adaunpool(
        x: Tensor,
        mask: Masks,
        interpolate: bool = True,
        kernel_size: Sizes = None,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        output_size: Sequence[int] | None = None,
        normalize: bool = True,
    ) -> Tensor:
        if not isinstance(x, Tensor):
            return deferred(
                adaunpool, "x", x, mask, interpolate, kernel_size, stride, padding, ceil_mode, output_size, normalize
            )
        check_flag("interpolate", interpolate)
        x, added = make_batched(x, rank)
        masks: tuple[Any, ...] = mask if isinstance(mask, tuple) else (mask,)
        if len(masks) not in (1, 3) or not all(isinstance(m, Tensor) for m in masks[:2]):
            raise TypeError("mask: expected a Tensor or the tuple (mask_edscw, mask_em, beta) of return_mask=True")
        grids = [m.unsqueeze(0) if added and isinstance(m, Tensor) and m.dim() == rank + 1 else m for m in masks]
        size = tuple(grids[0].shape[-rank:])
        if not interpolate:  # x is already at the mask's size, one value repeated over each region
            if kernel_size is None:
                raise ValueError("kernel_size: expected sizes with interpolate=False, got None")
            for axis, k in enumerate(Window.make(rank, kernel_size).kernel, start=2):
                x = x.movedim(axis, 0)[::k].movedim(0, axis)
        if kernel_size is None:
            kernel_size = tuple(max(1, n // o) for n, o in zip(size, x.shape[-rank:], strict=True))
        kernel = Window.make(rank, kernel_size).kernel
        expected = tuple(o * k for o, k in zip(x.shape[-rank:], kernel, strict=True))
        for grid in grids[:2]:
            shape = tuple(grid.shape) if isinstance(grid, Tensor) else ()
            if shape[-rank:] != expected or shape[:-rank] not in ((x.shape[0], x.shape[1]), (x.shape[0], 1)):
                raise ValueError(
                    f"mask: expected shape {(*x.shape[:2], *expected)} for x {tuple(x.shape)} and kernel {kernel}, "
                    f"got {shape}"
                )
        weights = untile(grids[0], kernel)
        if len(grids) == 3:
            share = per_tap(cell_operand(get("ada").operands[0], grids[2], x, tuple(x.shape)))
            share = share.to(weights.dtype) if isinstance(share, Tensor) else share
            weights = share * weights + (1 - share) * untile(grids[1], kernel)
        weights = weights.expand(x.shape[0], weights.shape[1], *weights.shape[2:])
        out = unpool_weights(
            x, weights, kernel, stride, padding, ceil_mode, output_size=output_size, normalize=normalize
        )
        return out.squeeze(0) if added else out

    adaunpool.__name__ = adaunpool.__qualname__ = f"adaunpool{rank}d"
    adaunpool.__doc__ = f"""Inverse of adaptive pooling from masks, {rank}-D: `out_i = N y w_i`.

    `mask` is what `adapool{rank}d(return_mask=True)` returned (`w = beta mask_edscw + (1 - beta) mask_em`) or one
    tensor of weights, `(N, C, out_1 k_1, ...)` or `(N, 1, ...)`. kernel_size is read off the shapes unless given;
    with overlap, padding or a remainder give stride, padding and `output_size` as pooling had them. Overlapping
    regions are averaged. `normalize=False` is the released form without the factor N, which darkens by 1/N.
    `interpolate=False`: x is already spread to the mask's size. Raises ValueError or TypeError naming the argument.
    Source: the released code of Stergiou & Poppe 2021 (the paper gives the equation as an image).

    >>> y, mask = adapool{rank}d(torch.ones(1, 1, {", ".join("2" * rank)}), return_mask=True)
    >>> adaunpool{rank}d(y, mask).flatten()[0]
    tensor(1.)
    """
    return adaunpool


def adaunpool(x: Tensor, mask: Masks, interpolate: bool = True, **options: Any) -> Tensor:
    """`adaunpool1d`, `2d` or `3d` by the shapes of `x` and its mask: the released signature.

    `x (N, C, *out)`, or `(C, *out)` where the mask's first two sizes are not N and C of such an `x`.

    >>> y, mask = adapool2d(torch.ones(1, 1, 4, 4), return_mask=True)
    >>> adaunpool(y, mask).shape
    torch.Size([1, 1, 4, 4])
    """
    if not isinstance(x, Tensor):
        return deferred(adaunpool, "x", x, mask, interpolate, **options)
    first = mask[0] if isinstance(mask, tuple) and mask else mask
    lead = tuple(first.shape[:2]) if isinstance(first, Tensor) else ()
    batched = lead in (tuple(x.shape[:2]), (*x.shape[:1], 1))
    rank = x.dim() - (2 if batched or x.dim() == 5 else 1)
    by_rank = {1: adaunpool1d, 2: adaunpool2d, 3: adaunpool3d}
    if rank not in by_rank:
        raise ValueError(f"x: expected a Tensor (N, C, *out) with 1 to 3 spatial axes, got shape {tuple(x.shape)}")
    return by_rank[rank](x, mask, interpolate, **options)


def _max_pool(rank: int) -> Callable[..., Any]:
    def named(
        x: Tensor,
        kernel_size: Sizes,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        return_indices: bool = False,
        dilation: Ints = 1,
    ) -> Any:
        y, indices = run(x, rank, "max", return_indices, {}, kernel_size, stride, padding, ceil_mode, dilation=dilation)
        return (y, indices) if return_indices else y

    named.__name__ = named.__qualname__ = f"max_pool{rank}d"
    named.__doc__ = f"torch.nn.functional.max_pool{rank}d for any floating dtype, with `(y, indices)` on request."
    return named


def _max_unpool(rank: int) -> Callable[..., Tensor]:
    def named(
        x: Tensor,
        indices: Tensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        kernel = Window.make(rank, kernel_size).kernel
        return max_unpool(x, indices, kernel, stride, padding, output_size=output_size)

    named.__name__ = named.__qualname__ = f"max_unpool{rank}d"
    named.__doc__ = f"torch.nn.functional.max_unpool{rank}d, deterministic where indices repeat: the last region wins."
    return named


def lip2d(x: Tensor, logit: Tensor, kernel: Ints = 3, stride: Ints = 2, padding: Ints = 1) -> Tensor:
    """Local importance pooling under its released name: `pool(x, "lip", kernel, stride, padding, logits=logit)`.

    logit of x's shape, or of one channel for all.

    >>> lip2d(torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)).shape
    torch.Size([1, 3, 2, 2])
    """
    if isinstance(logit, Tensor) and isinstance(x, Tensor) and logit.dim() == x.dim() and logit.shape[-3] == 1:
        logit = logit.expand(*logit.shape[:-3], x.shape[-3], *logit.shape[-2:])
    return run(x, 2, "lip", False, {"logits": logit}, kernel, stride, padding)[0]


def _soft_pool(rank: int) -> Callable[..., Tensor]:
    def soft_pool(
        x: Tensor,
        kernel_size: Sizes = 2,
        stride: Ints | None = None,
        force_inplace: bool = False,
        **options: Any,
    ) -> Tensor:
        check_flag("force_inplace", force_inplace, PADDING_HINT)
        return run(x, rank, "softpool", False, {}, kernel_size, stride, **options)[0]

    soft_pool.__name__ = soft_pool.__qualname__ = f"soft_pool{rank}d"
    soft_pool.__doc__ = f"""`empool{rank}d` under SoftPool's released name; `force_inplace` changes nothing.

    The released package computes this on a GPU alone. Its CPU and `force_inplace` path is another function, weights
    summed over channels: `pool(x, "lip", kernel_size, stride, logits=x.logsumexp(1, keepdim=True).expand_as(x))`, in
    later versions with `.clamp(min=0)`.

    >>> soft_pool{rank}d(torch.ones(1, 1, {", ".join("4" * rank)}), 4).flatten()
    tensor([1.])
    """
    return soft_pool


adapool1d, adapool2d, adapool3d = (_adapool(rank) for rank in (1, 2, 3))
adaunpool1d, adaunpool2d, adaunpool3d = (_adaunpool(rank) for rank in (1, 2, 3))
edscwpool1d, edscwpool2d, edscwpool3d = (_pool_by_name(rank, "edscwpool", "edscw") for rank in (1, 2, 3))
empool1d, empool2d, empool3d = (_pool_by_name(rank, "empool", "softpool") for rank in (1, 2, 3))
idwpool1d, idwpool2d, idwpool3d = (_pool_by_name(rank, "idwpool", "idw") for rank in (1, 2, 3))
soft_pool1d, soft_pool2d, soft_pool3d = (_soft_pool(rank) for rank in (1, 2, 3))
max_pool1d, max_pool2d, max_pool3d = (_max_pool(rank) for rank in (1, 2, 3))
max_unpool1d, max_unpool2d, max_unpool3d = (_max_unpool(rank) for rank in (1, 2, 3))
