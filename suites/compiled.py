"""torch.compile of a row in several forms, of which the one that runs faster is kept. Knows nothing of methods."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

TRIES = 5


class Best:
    """Compiles every form on the first call, times a few calls of each, and stays with the fastest."""

    def __init__(self, forms: dict[str, Callable[..., Tensor]]) -> None:
        self.forms = {name: torch.compile(form, fullgraph=True, dynamic=False) for name, form in forms.items()}
        self.seconds: dict[str, float] = {}
        self._kept: Callable[..., Tensor] | None = None

    @property
    def form(self) -> str | None:
        return min(self.seconds, key=self.seconds.__getitem__) if self.seconds else None

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self._kept is None:
            for name, form in self.forms.items():
                self.seconds[name] = _seconds(form, inputs)
            assert self.form is not None
            self._kept = self.forms[self.form]
        return self._kept(*inputs)


def _seconds(form: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> float:
    """The shortest of a few calls, compiling excluded."""
    device = inputs[0].device
    best = float("inf")
    for attempt in range(TRIES + 2):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        form(*inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if attempt >= 2:
            best = min(best, time.perf_counter() - start)
    return best
