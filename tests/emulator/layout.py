"""How tensors lie in memory, as requests say it: [N, C, *spatial] padded to three spatial axes."""

from __future__ import annotations

from torch import Tensor


def memory_of(t: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
    """`t [N, C, ...]` in a layout, and the flat memory behind it."""
    if channels_last:
        laid = t.movedim(1, -1).contiguous()
        return laid.movedim(-1, 1), laid.flatten()
    return t.contiguous(), t.contiguous().flatten()


def five(strides: tuple[int, ...]) -> list[int]:
    """Strides of [N, C, *spatial] as (n, c, d0, d1, d2)."""
    return [*strides[:2], *(0,) * (5 - len(strides)), *strides[2:]]


def three(values: tuple[int, ...], fill: int) -> list[int]:
    return [*(fill,) * (3 - len(values)), *values]
