"""pytest-benchmark's table and JSON from the engine's own samples, bit for bit, by its public API alone.

A timer that reads 0, s1, 0, s2, ... makes a round of nothing last s1, then s2. Knows records; nothing of torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from suites import machine


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


def benchmark_json(folder: Path) -> str | None:
    """Write the run's benchmark.json by replaying it through pytest-benchmark; what went wrong, or None."""
    suites = Path(__file__).parent
    words = [sys.executable, "-m", "pytest", str(suites), "--replay", str(folder.resolve())]
    words += ["-q", "-p", "no:cacheprovider"]
    words += [f"--benchmark-json={folder.resolve() / 'benchmark.json'}", "--benchmark-quiet", "--rootdir", str(suites)]
    words += ["-c", os.devnull, "--no-header", "--tb=line"]
    environment = {**os.environ, "PYTHONPATH": str(machine.ROOT), "PYTEST_ADDOPTS": ""}
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=300, env=environment, cwd=suites.parent
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if (folder / "benchmark.json").is_file():
        return None
    if "no benchmarks have been run" in done.stdout + done.stderr:
        return "no time was measured, and pytest-benchmark has room for nothing else"
    return machine.private((done.stdout + done.stderr)[-300:]) or f"pytest exited with {done.returncode}"
