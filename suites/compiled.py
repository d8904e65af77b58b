"""torch.compile of a row in several forms, of which the one that runs faster is kept. Knows nothing of methods."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch._functorch import config

from suites.span import synchronize

TRIES = 5
WARM_UP = 2


class Best:
    """Compiles every form on the first call, times a few calls of each, and stays with the fastest.

    What is timed is what the case measures: forward, backward or both. One at a time in a process: torch's setting for
    graphs that are kept belongs to the process, and is read when the backward runs.
    """

    def __init__(self, forms: dict[str, Callable[..., Tensor]], direction: str) -> None:
        config.donated_buffer = direction != "backward"  # there the graph is kept, and what it holds with it
        self.forms = {name: torch.compile(form, fullgraph=True, dynamic=False) for name, form in forms.items()}
        self.direction = direction
        self.seconds: dict[str, float] = {}
        self._kept: Callable[..., Tensor] | None = None

    @property
    def form(self) -> str | None:
        return min(self.seconds, key=self.seconds.__getitem__) if self.seconds else None

    def facts(self) -> dict[str, object]:
        """For the record: which form was kept, and what each took when they were compared."""
        return {"form": self.form, "forms_s": {name: round(s, 9) for name, s in self.seconds.items()}}

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self._kept is None:
            for name, form in self.forms.items():
                self.seconds[name] = self._best(form, inputs)
            assert self.form is not None
            self._kept = self.forms[self.form]
        return self._kept(*inputs)

    def _best(self, form: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> float:
        """The shortest of a few calls, compiling excluded."""
        leaves = [tensor for tensor in inputs if tensor.requires_grad]
        differentiated = self.direction in ("backward", "both") and leaves and torch.is_grad_enabled()
        best = float("inf")
        for attempt in range(WARM_UP + TRIES):
            start = _now(inputs[0].device)
            y = form(*inputs)
            if differentiated:
                grad = torch.ones_like(y)
                start = _now(inputs[0].device) if self.direction == "backward" else start
                torch.autograd.grad(y, leaves, grad)
            seconds = _now(inputs[0].device) - start
            if attempt >= WARM_UP:
                best = min(best, seconds)
        return best


def _now(device: torch.device) -> float:
    """The time at which everything asked of the device is done."""
    synchronize(device)
    return time.perf_counter()
