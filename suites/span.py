"""When a GPU is done, and how long it took by events of the current stream. Knows nothing of what is timed."""

from __future__ import annotations

from typing import Any

import torch


def synchronize(device: torch.device) -> None:
    """Waits for all that was asked of the device; a CPU has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def event() -> Any:
    """A moment of the current stream, from when it is reached."""
    made: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    made.record()
    return made


class Span:
    """`with Span() as span:` stands around what is queued; what that takes is asked for behind it."""

    def __enter__(self) -> Span:
        self.start = event()
        return self

    def __exit__(self, *_: object) -> None:
        self.end = event()

    def seconds(self) -> float:
        """Waits until all of it is done."""
        self.end.synchronize()
        return float(self.start.elapsed_time(self.end)) / 1e3
