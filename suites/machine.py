"""What a run ran on: CPU and software. No host name, no user name, no absolute path: reports get published.

Every fact may be missing and is None then. Imports torch only for `software` and `device`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parent.parent
BUSY = 0.1  # from this share of the CPUs on, others disturb a measurement
FLUSHED = 64 * 1024**2  # bytes that are read at least before a cold sample
LEAST = 0.3  # seconds of all CPUs together, counted in hundredths, below which a share says nothing
_PATH = re.compile(r"(?<![\w.:/])(?:/[\w.+@~-]+)+/([\w.+@~-]+)")


def private(words: str) -> str:
    """One line without absolute paths, host name or user name."""
    line = _PATH.sub(r"\1", " ".join(words.split()))
    for secret in (platform.node(), os.environ.get("USER", ""), os.environ.get("LOGNAME", "")):
        if len(secret) > 3 and secret not in ("root", "python", "user"):
            line = re.sub(rf"\b{re.escape(secret)}\b", "…", line)
    return line


def cores() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of torch's inside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device(kind: str) -> torch.device:
    """The device of this kind that a process measures; RuntimeError where torch sees none."""
    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} sees no CUDA device (built for CUDA {torch.version.cuda})")
    return torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")


def cpu() -> dict[str, Any]:
    return {
        "name": _cpu_name(),
        "kind": "cpu",
        "cores": cores(),
        "architecture": platform.machine(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        **caches(),
        "memory_bytes": _memory(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def caches() -> dict[str, int | None]:
    return {"l2_bytes": _cache(2), "l3_bytes": _cache(3)}


def key(facts: dict[str, Any]) -> str:
    """A device's entry in machine.json: its UUID, or the CPU's name with a digest of what else tells it apart."""
    if facts.get("uuid"):
        return str(facts["uuid"])
    told = {name: facts.get(name) for name in ("name", "cores", "architecture", "l3_bytes", "memory_bytes")}
    told |= {"node": facts["node"]} if "node" in facts else {}  # one of several that differ in nothing else
    digest = hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()[:6]
    return f"cpu-{re.sub(r'[^a-z0-9]+', '-', str(facts.get('name')).lower()).strip('-')}-{digest}"


def software() -> dict[str, Any]:
    """Versions that can move a number; torch must be importable."""
    import torch

    from adapool import native

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "nvrtc": _nvrtc(),
        "system": platform.system(),
        "kernel": platform.release(),
        "tuned": tuned(),
        "native": {name: private(text) for name, text in native.status().items()},
    }


def tuned() -> bool:
    """Whether the launches of CUDA kernels are those that trials on the device found: ADAPOOL_TUNE=1."""
    return os.environ.get("ADAPOOL_TUNE") == "1"


def identity() -> str | None:
    """Tells this machine from others for as long as it is up, and says nothing else of it."""
    started = _read("/proc/sys/kernel/random/boot_id")
    return hashlib.sha256(started.encode()).hexdigest()[:6] if started else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip() or None
    except OSError:
        return None


def _cpu_name() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine() or "CPU"


def _cache(level: int) -> int | None:
    for index in range(8):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        if _read(f"{folder}/level") == str(level):
            size = re.fullmatch(r"(\d+)([KM]?)", _read(f"{folder}/size") or "")
            return int(size[1]) * {"": 1, "K": 1024, "M": 1024**2}[size[2]] if size else None
    return None


def _memory() -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _nvrtc() -> str | None:
    """The version of the compiler that makes the CUDA kernels; None without CUDA, or without it."""
    import torch

    from suites import inspector

    try:
        return None if torch.version.cuda is None else inspector.nvrtc()[1]
    except inspector.Missing:
        return None


def work() -> tuple[float, float, float] | None:
    """Seconds that all processes, all CPUs and this process have spent: running, passing, running."""
    fields = (_read("/proc/stat") or "").partition("\n")[0].split()[1:9]
    if len(fields) < 8:
        return None
    passed = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    idle = passed[3] + passed[4]  # waiting for a disk counts as idle
    return sum(passed) - idle, sum(passed), time.process_time()


def others(before: tuple[float, ...] | None, after: tuple[float, ...] | None) -> float | None:
    """The share of the machine's CPUs that others used meanwhile; None where that was too short, or is unknown."""
    if before is None or after is None or after[1] - before[1] < LEAST:
        return None
    busy, passed, own = (b - a for a, b in zip(before, after, strict=True))
    return round(min(1.0, max(0.0, (busy - own) / passed)), 3)


def flush_bytes(facts: Mapping[str, Any]) -> int:
    """What has to be read to push everything else out of the cache: twice its size, FLUSHED at least."""
    return int(max(2 * (facts.get("l3_bytes") or facts.get("l2_bytes") or 0), FLUSHED))
