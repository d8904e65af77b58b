"""A subject slowed down by a known fraction, inside the timed window: what the gate's self-test has to find."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from suites.case import Case
from suites.span import Span
from suites.subject import Subject
from suites.timed import Outputs, Timed

CYCLES = 1_000_000


class Slowed(Timed):
    """The subject, then a wait that is a fraction of what the subject has just taken."""

    def __init__(self, subject: Subject, case: Case, seed: int, fraction: float) -> None:
        self.fraction = fraction
        self.cycles: int | None = None  # of the wait on a GPU, once they are known
        super().__init__(subject, case, seed)

    def __call__(self) -> Outputs:
        begin = time.perf_counter()
        outputs = super().__call__()
        if self.inputs[0].device.type == "cuda":
            self._queue()
            return outputs
        now = time.perf_counter()
        end = now + self.fraction * (now - begin)
        while time.perf_counter() < end:
            pass
        return outputs

    def _queue(self) -> None:
        """The wait as a kernel behind the subject's: what the clocks see is the device's time."""
        if self.cycles is None:
            self.cycles = 0  # while the subject alone is timed
            self.cycles = int(self.fraction * device_seconds(self) / device_seconds(lambda: sleep(CYCLES)) * CYCLES)
        if self.cycles:
            sleep(self.cycles)


def sleep(cycles: int) -> None:
    """A kernel that waits."""
    cuda: Any = torch.cuda
    cuda._sleep(cycles)


def device_seconds(call: Callable[[], object], calls: int = 20) -> float:
    call()
    with Span() as span:
        for _ in range(calls):
            call()
    return span.seconds() / calls
