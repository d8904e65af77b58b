"""NVML through nvidia-ml-py: every question may be unsupported, and then the answer is None. Changes no setting.

Knows GPUs by UUID; nothing of torch, cases or records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from suites.axes import UsageError

THROTTLES = {  # bits of nvmlDeviceGetCurrentClocksEventReasons that slow a measurement down
    0x4: "power cap", 0x8: "hardware slowdown", 0x20: "thermal (software)", 0x40: "thermal (hardware)",
    0x80: "power brake", 0x10: "sync boost",
}  # fmt: skip


class Lost(RuntimeError):
    """The GPU is gone."""


@dataclass(frozen=True)
class Gpu:
    """A GPU, or an instance of one (MIG), as NVML lists it."""

    uuid: str
    index: int
    name: str


@contextmanager
def session() -> Iterator[Any]:
    """The pynvml module, initialised; None when there is no NVML here."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        yield None
        return
    try:
        yield pynvml
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def why_none() -> str:
    """What was looked for, when there is no GPU."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except ImportError:
        return "the package nvidia-ml-py is not installed"
    except Exception as error:
        return f"NVML (libnvidia-ml.so.1 of the NVIDIA driver) says: {error}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"NVML lists {count} GPUs; CUDA_VISIBLE_DEVICES is " + ("not set" if visible is None else repr(visible))


def ask(nvml: Any, function: str, *args: Any) -> Any:
    """The answer, or None when the device does not support the question; Lost when the device is gone."""
    try:
        return getattr(nvml, function)(*args)
    except nvml.NVMLError as error:
        if getattr(error, "value", None) == nvml.NVML_ERROR_GPU_IS_LOST:
            raise Lost("the GPU is lost (NVML_ERROR_GPU_IS_LOST)") from None
        return None
    except (AttributeError, UnicodeDecodeError):
        return None


def listed() -> list[Gpu]:
    """Every GPU that NVML lists and CUDA_VISIBLE_DEVICES allows, MIG instances in place of their parents."""
    with session() as nvml:
        if nvml is None:
            return []
        found = []
        for index in range(ask(nvml, "nvmlDeviceGetCount") or 0):
            try:
                handle = ask(nvml, "nvmlDeviceGetHandleByIndex", index)
                uuid = ask(nvml, "nvmlDeviceGetUUID", handle) if handle is not None else None
                if uuid is None:
                    continue
                name = str(ask(nvml, "nvmlDeviceGetName", handle) or "GPU")
                found += _instances(nvml, handle, index) or [Gpu(str(uuid), index, name)]
            except Lost:
                continue
    return allowed(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _instances(nvml: Any, handle: Any, index: int) -> list[Gpu]:
    mode = ask(nvml, "nvmlDeviceGetMigMode", handle)
    if not mode or mode[0] != 1:
        return []
    found = []
    for number in range(ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        part = ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
        uuid = ask(nvml, "nvmlDeviceGetUUID", part) if part is not None else None
        if uuid is not None:
            found.append(Gpu(str(uuid), index, str(ask(nvml, "nvmlDeviceGetName", part) or "MIG instance")))
    return found


def allowed(gpus: list[Gpu], visible: str | None) -> list[Gpu]:
    """What CUDA_VISIBLE_DEVICES leaves, in its order; as in CUDA, the first entry that names nothing ends the list."""
    if visible is None:
        return gpus
    found: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        match = [g for g in gpus if (entry.isdigit() and g.index == int(entry)) or (entry and g.uuid.startswith(entry))]
        if not match or match[0] in found:
            break
        found.append(match[0])
    return found


def chosen(asked: str) -> list[Gpu]:
    """The GPUs of `--gpu`: all, indices among those visible, or UUIDs; UsageError saying what was looked for."""
    gpus = listed()
    if not gpus:
        raise UsageError(f"gpu: expected a GPU, found none: {why_none()}")
    if asked == "all":
        return gpus
    found = []
    for entry in (part.strip() for part in asked.split(",")):
        if entry.isdigit():
            match = gpus[int(entry) : int(entry) + 1]
        else:
            match = [g for g in gpus if entry and g.uuid.lower().startswith(entry.lower())]
        if len(match) != 1:
            known = ", ".join(f"{i} = {g.uuid} ({g.name})" for i, g in enumerate(gpus))
            raise UsageError(f"gpu: expected all, an index or a UUID of {known}; got {entry!r}")
        found += match
    return list(dict.fromkeys(found))


class Watch:
    """One GPU's state, read before and after a block of measurements."""

    def __init__(self, nvml: Any, uuid: str) -> None:
        self.nvml = nvml
        self.handle = ask(nvml, "nvmlDeviceGetHandleByUUID", uuid)
        if self.handle is None:
            raise Lost(f"NVML does not find {uuid}")

    def _ask(self, function: str, *args: Any) -> Any:
        return ask(self.nvml, function, self.handle, *args)

    def facts(self) -> dict[str, Any]:
        """What does not change during a run."""
        memory, mode = self._ask("nvmlDeviceGetMemoryInfo"), self._ask("nvmlDeviceGetMigMode")
        ecc = self._ask("nvmlDeviceGetEccMode")
        limit = self._ask("nvmlDeviceGetPowerManagementLimit")
        return {
            "name": self._ask("nvmlDeviceGetName"),
            "uuid": self._ask("nvmlDeviceGetUUID"),
            "driver": ask(self.nvml, "nvmlSystemGetDriverVersion"),
            "cuda_driver": ask(self.nvml, "nvmlSystemGetCudaDriverVersion"),
            "memory_bytes": getattr(memory, "total", None),
            "max_sm_clock_hz": _scaled(self._ask("nvmlDeviceGetMaxClockInfo", 1), 1_000_000),
            "max_memory_clock_hz": _scaled(self._ask("nvmlDeviceGetMaxClockInfo", 2), 1_000_000),
            "power_limit_w": None if limit is None else limit / 1000,
            "ecc": None if not ecc else bool(ecc[0]),
            "mig": None if not mode else bool(mode[0]),
        }

    def state(self) -> dict[str, Any]:
        """What changes: clocks, temperature, throttle reasons, other processes."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        others = self._ask("nvmlDeviceGetComputeRunningProcesses")
        return {
            "sm_clock_hz": _scaled(self._ask("nvmlDeviceGetClockInfo", 1), 1_000_000),
            "memory_clock_hz": _scaled(self._ask("nvmlDeviceGetClockInfo", 2), 1_000_000),
            "temperature_c": self._ask("nvmlDeviceGetTemperature", 0),
            "throttle": None if reasons is None else [text for bit, text in THROTTLES.items() if reasons & bit],
            "other_processes": None if others is None else sum(p.pid != os.getpid() for p in others),
        }

    def joules(self) -> float | None:
        """Energy since the driver was loaded; None where the GPU does not count it."""
        joules: float | None = _scaled(self._ask("nvmlDeviceGetTotalEnergyConsumption"), 1e-3)
        return joules


def _scaled(value: Any, factor: float) -> Any:
    return None if value is None else value * factor


def warnings(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """What a reader must know of the GPU's state around a block."""
    said = []
    reasons = {reason for state in (before, after) if state for reason in state.get("throttle") or ()}
    if reasons:
        said.append("throttled: " + ", ".join(sorted(reasons)))
    if any(state and state.get("other_processes") for state in (before, after)):
        said.append("shared device")
    return said
