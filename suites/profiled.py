"""Runs one case again for a profiler: `python -m suites.profiled CASE`, CASE being its name as records have it.

Builds its tensors and warms up; then the timed call between cudaProfilerStart and cudaProfilerStop, each call in an
NVTX range that names the case, or under torch.profiler. Knows no profiler's output.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from suites import first_call, inspector
from suites.case import Case
from suites.nvtx import named
from suites.span import synchronize
from suites.subject import Unavailable
from suites.subjects import build
from suites.timed import Timed

WARM_UP = 3
PRIVATE = ("host_name", "traceName")  # of a trace


def options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m suites.profiled", description=__doc__)
    parser.add_argument("case", metavar="CASE", help="such as ada/native/forward/float32/nchw/k2s2p0/4x64x56x56")
    parser.add_argument("--own", help="where one's own operator is: path.py:name, or entry:name")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: as torch has them")
    parser.add_argument("--trace", type=Path, help="run under torch.profiler, whose trace goes here")
    parser.add_argument("--launches", type=Path, help="the library's words for the case's kernels go here, as JSON")
    return parser.parse_args(words)


def run(case: Case, device: torch.device, seed: int, calls: int, trace: Path | None = None) -> None:
    """Warm up, then `calls` calls where a profiler sees them."""
    timed = Timed(build(case, device, seed), case, seed)
    for _ in range(WARM_UP):
        timed()
    synchronize(device)
    with _watched(device, trace) as ranged:
        for _ in range(calls):
            with ranged(case.name):
                timed()
        synchronize(device)


@contextlib.contextmanager
def _watched(device: torch.device, trace: Path | None) -> Iterator[Callable[[str], Any]]:
    """Where a profiler looks; gives what makes a named range in its picture."""
    if trace is not None:
        from torch.profiler import ProfilerActivity, profile, record_function

        kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
        with profile(activities=kinds) as seen:
            yield record_function
        _export(seen, trace)
    elif device.type == "cuda":
        torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
        yield named
        torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
    else:
        yield contextlib.nullcontext


def _export(seen: Any, path: Path) -> None:
    """The trace, compressed, without what names a machine or a folder."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "trace.json")
        seen.export_chrome_trace(str(raw))
        kept = {name: value for name, value in json.loads(raw.read_bytes()).items() if name not in PRIVATE}
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump(kept, file)


def told(case: Case, multiprocessors: int) -> list[tuple[str, int]]:
    """The library's words for the kernels of one call, and the threads of their blocks, in the order of launches."""
    if case.implementation != "native":
        return []
    launched = (launch for call in first_call.measured(case) for launch in inspector.launches(call, multiprocessors))
    return [(name, threads) for name, threads, _, _ in launched]


def main() -> None:
    asked = options()
    try:
        case = Case.named(asked.case, own=asked.own)
    except ValueError as error:
        sys.exit(f"profiled: {error}")
    device = torch.device(asked.device)
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("profiled: torch sees no CUDA device; --device cpu is the other choice")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(case, device, asked.seed, asked.calls, asked.trace)
        except Unavailable as reason:
            sys.exit(f"profiled: {reason}")
    if asked.launches is not None and device.type == "cuda":
        count = torch.cuda.get_device_properties(0).multi_processor_count
        asked.launches.write_text(json.dumps(told(case, count)))


if __name__ == "__main__":
    main()
