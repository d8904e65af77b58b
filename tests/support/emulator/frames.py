"""Windows and shapes by what they ask of kernels, and how tensors lie in memory. Knows no method."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adapool.window import Window

Frame = tuple[Window, tuple[int, ...]]
CHANNELS = (1, 2, 3, 4, 8, 16, 17)


def _widths(pick: random.Random, least: int) -> int:
    """Whole rows of 16 bytes in every dtype, even, odd."""
    return max(least, pick.choice((16, 24, 32, 2 * pick.randint(3, 13), 2 * pick.randint(3, 13) + 1)))


def _frame(pick: random.Random, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
           spatial: Sequence[int], ceil_mode: bool, most: int = 3) -> Frame:  # fmt: skip
    whole = [max(n, k - 2 * p) for n, k, p in zip(spatial, kernel, padding, strict=True)]
    batch = 0 if pick.random() < 0.03 else pick.randint(1, most)
    return Window.make(len(whole), kernel, stride, padding, ceil_mode), (batch, pick.choice(CHANNELS), *whole)


def apart(pick: random.Random) -> Frame:
    kernel = pick.choice(((2, 2), (2, 2), (3, 3), (2, 3), (4, 4), (1, 2)))
    padding = [pick.choice((0, 0, 1)) if k > 1 else 0 for k in kernel]
    return _frame(pick, kernel, kernel, padding, (pick.randint(2, 9), _widths(pick, 3)), pick.random() < 0.5)


def overlap(pick: random.Random) -> Frame:
    kernel, stride = pick.choice((((3, 3), 2), ((3, 3), 2), ((3, 3), 1), ((2, 2), 1), ((5, 5), 2), ((3, 5), 3)))
    padding = [pick.choice((0, k // 2)) for k in kernel]
    spatial = pick.choice(((pick.randint(3, 8), _widths(pick, 3)), (pick.randint(3, 8), _widths(pick, 3)), (21, 40)))
    return _frame(pick, kernel, (stride, stride), padding, spatial, pick.random() < 0.7)


def gaps(pick: random.Random) -> Frame:
    kernel = pick.choice(((2, 2), (1, 2), (2, 1), (3, 3)))
    stride = [k + pick.choice((1, 2)) for k in kernel]
    padding = [pick.choice((0, k // 2)) for k in kernel]
    return _frame(pick, kernel, stride, padding, (pick.randint(3, 9), _widths(pick, 3)), pick.random() < 0.5)


def far(pick: random.Random) -> Frame:
    """So far apart that places ask for their window, instead of windows for their places."""
    kernel = pick.choice(((1, 1), (2, 1), (2, 2)))
    return _frame(pick, kernel, (24, 20), [pick.choice((0, k // 2)) for k in kernel], (30, 45), pick.random() < 0.5, 2)


def line(pick: random.Random) -> Frame:
    k = pick.choice((2, 3, 4, 5, 8))
    stride = pick.choice((1, 2, k, k + 1))
    return _frame(pick, (k,), (stride,), (pick.randint(0, k // 2),), (pick.randint(1, 60),), pick.random() < 0.5)


def solid(pick: random.Random) -> Frame:
    kernel = pick.choice(((2, 2, 2), (2, 2, 2), (3, 3, 3), (1, 2, 3), (2, 1, 2)))
    stride = kernel if pick.random() < 0.4 else [pick.choice((1, 2)) for _ in kernel]
    padding = [pick.randint(0, k // 2) for k in kernel]
    spatial = [pick.randint(2, 5), pick.randint(2, 5), pick.randint(3, 9)]
    return _frame(pick, kernel, stride, padding, spatial, pick.random() < 0.5, 2)


def whole(pick: random.Random) -> Frame:
    """One window of everything: in registers, of a part of a warp, of a warp, of a block."""
    spatial = pick.choice(((2, 3), (4, 4), (7, 7), (13, 17), (20, 32), (64, 66)))
    if spatial[0] > 20:
        return Window.make(2, spatial, 1), (1, pick.choice((1, 2, 5)), *spatial)
    return Window.make(2, spatial, 1), (pick.randint(1, 3), pick.choice(CHANNELS), *spatial)


def large(pick: random.Random) -> Frame:
    kernel, stride, padding, spatial = pick.choice((
        ((9, 9), (4, 4), (4, 4), (14, 13)), ((9, 9), (9, 9), (0, 0), (18, 27)), ((9, 9), (9, 9), (4, 4), (14, 20)),
        ((31, 31), (1, 1), (0, 0), (32, 33)), ((8, 8), (8, 8), (0, 0), (17, 19)), ((11, 5), (3, 7), (5, 0), (15, 13)),
        ((9, 6), (2, 1), (4, 3), (20, 30)),  # many: a thread for each
    ))  # fmt: skip
    return Window.make(2, kernel, stride, padding, pick.random() < 0.5), (
        pick.randint(1, 2),
        pick.choice((1, 3, 5, 8)),
        *spatial,
    )


def many(pick: random.Random) -> Frame:
    """More images than a device runs at once, so that threads walk them."""
    kernel, stride = pick.choice(((2, 2), (3, 2)))
    return Window.make(2, kernel, stride, kernel // 2 - 1), (9, pick.choice((8, 6, 5)), 32, 64)


FRAMES: dict[str, Callable[[random.Random], Frame]] = {
    "apart": apart, "overlap": overlap, "gaps": gaps, "far": far, "line": line, "solid": solid, "whole": whole,
    "large": large, "many": many,
}  # fmt: skip


def placed(t: Tensor, layout: str, offset: int = 0) -> Tensor:
    """A copy of `t [N, C, ...]` that begins `offset` elements behind an allocation and ends with it.

    Layouts: nchw, last (channels last), turned (neither).
    """
    order = list(range(t.dim()))
    if t.dim() > 2 and layout != "nchw":
        order = [0, *order[2:], 1] if layout == "last" else order[::-1]
    room = torch.empty(offset + t.numel(), dtype=t.dtype)[offset:].view([t.shape[d] for d in order])
    return room.copy_(t.permute(order)).permute([order.index(d) for d in range(t.dim())])
