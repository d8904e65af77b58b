"""From a finding to its record: names, units, origin, command. The one place in suites that knows the schema.

Torch-free.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from reports.record import METRICS, Record, unit
from suites.case import Case
from suites.finding import Finding
from suites.machine import private

FIRST_METRIC = {"latency": "time", "memory": "peak_bytes", "energy": "energy", "retention": "psnr", "network": "step"}


@dataclass(frozen=True)
class Origin:
    """What every record of one device's share of a run says of where it comes from."""

    device: str
    machine: str
    source: dict[str, Any]  # version, commit, dirty: of the code that ran
    seed: int
    note: dict[str, Any] = field(default_factory=dict)  # what every record's measurement says besides


def unit_of(record: Record) -> str:
    """The key of the case that gave this record (`Case.key`)."""
    return unit(record.probe, record.case)


def make(case: Case, finding: dict[str, Any], origin: Origin) -> Record:
    """The record of one finding (as a dict, since it came through a pipe)."""
    metric, status, reason = finding["metric"], finding["status"], finding["reason"]
    value, samples, kept, stop = finding["value"], None, None, None
    if status == "ok" and finding["samples"] is not None:
        samples, kept = finding["samples"]["values"], finding["samples"]["kept"]
        stop = finding["samples"]["stop"]
        good = [sample for sample, keep in zip(samples, kept, strict=True) if keep]
        value = statistics.median(good) if good else None
    if status == "ok" and (value is None or not math.isfinite(value)):
        status, reason = "failed", f"the measurement gave {value}"
    if status != "ok":
        value = samples = kept = stop = None
    shape = tuple(finding["shape"] or case.shape)
    name = case.name
    if case.probe == "retention":
        name = "/".join((*case.name.split("/")[:6], "x".join(map(str, shape)), finding["protocol"], finding["image"]))
    how = dict(finding["how"])
    return Record(
        case=name, method=case.method, implementation=case.implementation, direction=case.direction,
        kernel=list(case.kernel), stride=list(case.stride), padding=list(case.padding), ceil_mode=case.ceil_mode,
        shape=list(shape), dtype=case.dtype, layout=case.layout, device=origin.device, probe=case.probe, metric=metric,
        unit=METRICS[case.probe][metric], clock=finding["clock"], protocol=finding["protocol"], image=finding["image"],
        status=status, reason=None if reason is None else private(reason)[:500] or "no reason given",
        value=value, samples=samples, kept=kept, stop=stop,
        measurement={**_finite(how), **origin.note, "seed": origin.seed},
        warnings=list(dict.fromkeys(finding["warnings"])), machine=origin.machine,
        commit=origin.source["commit"], dirty=origin.source["dirty"], version=origin.source["version"],
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=case.command(origin.device, origin.seed), bytes=case.bytes if case.probe == "latency" else None,
    )  # fmt: skip


def ended(case: Case, status: str, reason: str) -> list[dict[str, Any]]:
    """The findings of a case that gave none: one per clock, else one."""
    clocks: Iterable[str | None] = case.clocks if case.probe == "latency" else (None,)
    of: Any = {"protocol": "P1", "image": "all"} if case.probe == "retention" else {}
    metric = FIRST_METRIC[case.probe]
    return [asdict(Finding(metric, status=status, reason=reason, clock=clock, **of)) for clock in clocks]


def _finite(value: Any) -> Any:
    """JSON has no NaN: None stands for it."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
