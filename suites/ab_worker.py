"""A worker of one side of an A/B run: the caller's harness over another build's adapool, slowed down on request.

Started as `python -m suites.ab_worker`; speaks as `suites.worker` does, whose setup it reads two words more from:
`build` (a folder with adapool, or null) and `slow` (case key -> fraction of its time that is added by a busy wait).
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

CYCLES = 1_000_000
LIBRARY = "libadapool_native.so"


def enter(build: str) -> None:
    """Make `import adapool` find the build, whatever editable install this Python may have.

    RuntimeError when it found another, or when the build has a library and that is not the one that was loaded.
    """
    finders: list[Any] = list(sys.meta_path)
    sys.meta_path[:] = [f for f in finders if f is PathFinder or f.find_spec("adapool", None) is None]
    sys.path.insert(0, build)
    from adapool import native

    if not Path(native.__file__).resolve().is_relative_to(Path(build).resolve()):
        raise RuntimeError("adapool came from another place than the build")
    library, state = Path(build, "adapool", LIBRARY).resolve(), native.status()["cpu"]
    if library.is_file() and state != "ok" and os.environ.get("ADAPOOL_NATIVE") != "0":
        raise RuntimeError(f"the build's compiled operators cannot be measured: {state}")
    if state == "ok" and loaded() != {library}:
        raise RuntimeError("the compiled operators came from another place than the build")


def loaded() -> set[Path]:
    """The libraries of compiled operators in this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line.split(maxsplit=5)[5]).resolve() for line in lines if line.endswith(f"/{LIBRARY}")}


def slow_down(slow: dict[str, float]) -> None:
    """Put a busy wait inside the timed window of the cases named."""
    from suites import latency
    from suites.timed import Outputs, Timed

    class Slowed(Timed):
        """The subject, then a wait that is a fraction of what the subject has just taken."""

        def __call__(self) -> Outputs:
            begin = time.perf_counter()
            outputs = super().__call__()
            if self.inputs[0].device.type == "cuda":
                self._queue()
                return outputs
            now = time.perf_counter()
            end = now + fraction * (now - begin)
            while time.perf_counter() < end:
                pass
            return outputs

        def _queue(self) -> None:
            """The wait as a kernel behind the subject's: what the clocks see is the device's time."""
            if not hasattr(self, "cycles"):
                self.cycles = 0
                self.cycles = int(fraction * device_seconds(self) / device_seconds(lambda: sleep(CYCLES)) * CYCLES)
            if self.cycles:
                sleep(self.cycles)

    plain, fraction = Timed, 0.0

    def choose(subject: Any, case: Any, seed: int) -> Timed:
        nonlocal fraction
        fraction = slow.get(case.key, 0.0)
        return Slowed(subject, case, seed) if fraction else plain(subject, case, seed)

    vars(latency)["Timed"] = choose  # what the probe calls to make its subject


def sleep(cycles: int) -> None:
    """A kernel that waits."""
    import torch

    cuda: Any = torch.cuda
    cuda._sleep(cycles)


def device_seconds(call: Callable[[], object], calls: int = 20) -> float:
    import torch

    cuda: Any = torch.cuda
    begin, end = (cuda.Event(enable_timing=True) for _ in range(2))
    call()
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    cuda.synchronize()
    return float(begin.elapsed_time(end)) * 1e-3 / calls


def main() -> None:
    line = sys.stdin.readline()
    setup = json.loads(line)
    from suites import worker

    try:
        if setup["build"] is not None:
            enter(setup["build"])
        slow_down(setup["slow"])
    except Exception as error:
        with os.fdopen(setup["answers"], "w") as out:
            out.write(json.dumps({"fault": f"{type(error).__name__}: {error}"}) + "\n")
        return
    sys.stdin = _Again(line, sys.stdin)
    worker.main()


class _Again(io.TextIOBase):
    """A stream whose first line is read once more."""

    def __init__(self, line: str, rest: Any) -> None:
        self.lines, self.rest = [line], rest

    def __iter__(self) -> Any:
        yield from self.lines
        yield from self.rest


if __name__ == "__main__":
    main()
