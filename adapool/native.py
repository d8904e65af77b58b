"""The compiled operators, when their libraries are there."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def supports(method: str, x: Tensor) -> bool:
    """Whether a compiled kernel exists for this method, device and dtype."""
    return False


def status() -> dict[str, str]:
    """One line for each device: "ok", or why there is no library."""
    return {"cpu": "not built", "cuda": "not built"}


def pool(*args: Any) -> Tensor:
    raise RuntimeError("not built")


pool_extra: Any = pool
unpool: Any = pool
unpool_masks: Any = pool
