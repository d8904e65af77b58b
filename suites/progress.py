"""Where a run stands: a bar with ETA on a terminal, plain lines elsewhere. Knows counts and words only."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, TextIO

LINE_SECONDS = 5.0


class Progress:
    """Counts units of work of all devices; safe to use from several threads. What is left to do, in seconds, is told to
    it, since cases differ by a thousand times.
    """

    def __init__(self, total: int, stream: TextIO | None = None, parallel: bool = False) -> None:
        self.total, self.done, self.bad = total, 0, 0
        self._parallel = parallel
        self._left: dict[str, float] = {}
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._start = self._said = time.monotonic()
        self._bar: Any = None
        if self._stream.isatty() or "ipykernel" in sys.modules:  # a notebook shows a bar, too
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, file=self._stream, unit="case", smoothing=0.05, dynamic_ncols=True,
                bar_format="{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} · {elapsed}{postfix} · {desc}",
            )  # fmt: skip

    def current(self, words: str) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.set_description_str(words, refresh=False)

    def expect(self, device: str, seconds: float) -> None:
        """What the device will still take."""
        with self._lock:
            self._left[device] = max(0.0, seconds)
            if self._bar is not None:
                self._bar.set_postfix_str(f"about {self._remaining():.0f} s left", refresh=False)

    def _remaining(self) -> float:
        return (max if self._parallel else sum)(self._left.values()) if self._left else 0.0

    def step(self, bad: bool = False) -> None:
        with self._lock:
            self.done += 1
            self.bad += bad
            if self._bar is not None:
                self._bar.update(1)
            elif time.monotonic() - self._said >= LINE_SECONDS or self.done == self.total:
                self._said = time.monotonic()
                self._line()

    def _line(self) -> None:
        elapsed = time.monotonic() - self._start
        left = self._remaining() if self.done < self.total else 0.0
        faults = f", {self.bad} not ok" if self.bad else ""
        words = f"{self.done}/{self.total} cases{faults}, {elapsed:.0f} s, about {left:.0f} s left"
        print(words, file=self._stream, flush=True)

    def more(self, count: int) -> None:
        """Work that is found on the way."""
        with self._lock:
            self.total += count
            if self._bar is not None:
                self._bar.total = self.total
                self._bar.refresh()

    def say(self, words: str) -> None:
        """A line of its own."""
        with self._lock:
            if self._bar is not None:
                self._bar.write(words, file=self._stream)
            else:
                print(words, file=self._stream, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
