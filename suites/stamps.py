"""When modules begin and end within a call: of a forward and its backward, by hooks. Knows no case and no network."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import torch
from torch import nn

from suites.span import event


class Stamps:
    """Moments before and after a module's forward and backward: of the host's clock, or events of a GPU's stream."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.clear()

    def clear(self) -> None:
        self.taken: dict[str, list[Any]] = defaultdict(list)

    def around(self, name: str, module: nn.Module) -> list[Any]:
        def stamp(*_: Any) -> None:
            self.taken[name].append(self._now())

        return [
            module.register_forward_pre_hook(stamp), module.register_forward_hook(stamp),
            module.register_full_backward_pre_hook(stamp), module.register_full_backward_hook(stamp),
        ]  # fmt: skip

    def _now(self) -> Any:
        return event() if self.cuda else time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """By module, from each first stamp to its second."""
        if self.cuda:
            torch.cuda.synchronize()
        found = {}
        for name, taken in self.taken.items():
            pairs = zip(taken[::2], taken[1::2], strict=True)
            found[name] = sum(a.elapsed_time(b) / 1e3 if self.cuda else b - a for a, b in pairs)
        return found
