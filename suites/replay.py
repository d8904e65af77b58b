"""pytest-benchmark's table and JSON from the engine's own samples, bit for bit, by its public API alone.

A timer that reads 0, s1, 0, s2, ... makes a round of nothing last s1, then s2. Knows records; nothing of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class ReplayTimer:
    """Called twice a round by pytest-benchmark: start, end."""

    def __init__(self) -> None:
        self._times: Iterator[float] = iter(())

    def load(self, samples: Sequence[float]) -> None:
        self._times = iter([time for sample in samples for time in (0.0, sample)])

    def __call__(self) -> float:
        return next(self._times)


TIMER = ReplayTimer()


def nothing() -> None:
    """What a replayed round runs."""
