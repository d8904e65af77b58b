"""The one schema: a record is one case x one metric, with raw samples in SI units, status and method of measurement.

Stdlib only and quick to import; knows nothing of torch, of files, or of statistics made from records.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

SCHEMA = 1
STATUSES = ("ok", "skipped", "failed", "timeout", "oom", "incorrect")
IMPLEMENTATIONS = ("native", "plain", "compiled", "torch", "released", "own", "copy")
DIRECTIONS = ("forward", "backward", "both", "inverse", "none")
LAYOUTS = ("nchw", "channels_last")
CLOCKS = ("cold", "hot", "graph", "host")
PROTOCOLS = ("P1", "P2", "P3")
STOPS = ("precise", "budget", "max samples")
METRICS = {  # probe -> metric -> unit; a new metric is one entry here
    "latency": {"time": "s"},
    "memory": {"peak_bytes": "B", "saved_bytes": "B"},
    "energy": {"energy": "J"},
    "retention": {"psnr": "dB", "ssim": "1", "side_bytes": "B"},
    "kernels": {"first_call": "s"},
    "task": {"accuracy": "1", "miou": "1", "psnr": "dB", "ssim": "1", "step": "s"},  # a trained network
    "network": {
        "forward": "s", "step": "s", "pools": "s", "peak_bytes": "B", "saved_bytes": "B", "parameters": "1",
        "energy": "J",
    },
}  # fmt: skip

Line = str | bytes  # named here because Record has a field called bytes


class Key(NamedTuple):
    """What tells one measurement of a run from every other; the key of --resume and of joins."""

    case: str
    probe: str
    metric: str
    clock: str | None
    protocol: str | None
    image: str | None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measurement, or the reason why there is none.

    `value` is None unless `status` is "ok"; for a sampled metric it is the median of the kept samples. Everything else
    that a reader may want (intervals, GB/s, ratios) is computed on reading.

    >>> Record.from_json('{"schema": 99}')
    Traceback (most recent call last):
    ...
    ValueError: schema: expected at most 1, got 99: this record was written by a newer version
    """

    schema: int = SCHEMA
    case: str
    method: str
    implementation: str
    direction: str
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    ceil_mode: bool
    shape: list[int]
    dtype: str
    layout: str
    device: str
    probe: str
    metric: str
    unit: str
    clock: str | None
    protocol: str | None
    image: str | None
    status: str
    reason: str | None
    value: float | None
    samples: list[float] | None
    kept: list[bool] | None
    stop: str | None
    measurement: dict[str, Any]
    warnings: list[str]
    machine: str
    commit: str | None
    dirty: bool | None
    version: str
    time: str
    command: str
    bytes: int | None

    def __post_init__(self) -> None:
        refuse(self, _CHECKS)
        refuse(self, _asked(self.probe, self.status))
        if self.unit != METRICS[self.probe][self.metric]:
            raise fault("unit", f"{METRICS[self.probe][self.metric]!r} for {self.metric}", self.unit)
        if not len(self.kernel) == len(self.stride) == len(self.padding):
            wanted = f"{len(self.kernel)} numbers each, as kernel has"
            raise fault("stride, padding", wanted, (self.stride, self.padding))
        if (self.samples is None) != (self.kept is None):
            raise fault("samples, kept", "both lists or both null", (self.samples, self.kept))
        if self.samples is not None and self.kept is not None and self.value is not None:
            _check_samples(self.samples, self.kept, self.value)

    @property
    def key(self) -> Key:
        return Key(self.case, self.probe, self.metric, self.clock, self.protocol, self.image)

    def to_json(self) -> str:
        """One line of strict JSON (no NaN, ASCII only, no newline)."""
        try:
            return json.dumps({name: getattr(self, name) for name in FIELDS}, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:  # every other field is checked, so it is measurement's content
            raise ValueError(f"measurement: expected finite JSON values, got {self.measurement!r} ({error})") from None

    @classmethod
    def from_json(cls, line: Line) -> Record:
        """Reads one line; ValueError names the field. Unknown fields are left out, a newer schema is an error."""
        data = parsed(line, "record", SCHEMA)
        try:
            return cls(**{name: data[name] for name in FIELDS})
        except KeyError as missing:
            raise ValueError(f"{missing.args[0]}: expected a value, got none: the field is missing") from None


def parsed(line: Line, what: str, newest: int) -> dict[str, Any]:
    """The object that a line holds; ValueError where it is none, or of a schema that is none or newer than `newest`."""
    try:
        data = json.loads(line, parse_constant=_no_constant)
    except ValueError as error:
        raise ValueError(f"{what}: expected one JSON object, got {line[:60]!r}... ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"{what}: expected one JSON object, got {type(data).__name__}")
    schema = data.get("schema")
    if type(schema) is not int or schema < 1:
        raise ValueError(f"schema: expected a whole number from 1 on, got {schema!r}")
    if schema > newest:
        raise ValueError(f"schema: expected at most {newest}, got {schema}: this {what} was written by a newer version")
    return data


def unit(probe: str, case: str) -> str:
    """The key of the plan's case that gave a record; of retention one case gives the records of all photographs."""
    return f"{probe}:{'/'.join(case.split('/')[: 6 if probe == 'retention' else 7])}"


FIELDS = tuple(field.name for field in fields(Record))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


Check = tuple[str, Callable[[Any], bool]]  # what is expected, and whether a value is that


def refuse(owner: object, checks: Mapping[str, Check]) -> None:
    """ValueError names the first field that is not what is expected of it."""
    for name, (expected, holds) in checks.items():
        if not holds(getattr(owner, name)):
            raise fault(name, expected, getattr(owner, name))


def fault(field: str, expected: str, got: object) -> ValueError:
    return ValueError(f"{field}: expected {expected}, got {got!r}")


def one_of(known: Collection[str]) -> Check:
    words = tuple(known)  # a list in place of a word is not among them, and in a set it would be a TypeError
    return f"one of {', '.join(words)}", lambda value: value in words


def whole(least: int) -> Check:
    return f"a whole number from {least} on", lambda value: type(value) is int and value >= least


def or_null(check: Check) -> Check:
    expected, holds = check
    return f"{expected}, or null", lambda value: value is None or holds(value)


def list_of(check: Check) -> Check:
    expected, holds = check
    return f"a list, each {expected}", lambda value: type(value) is list and all(map(holds, value))


def null(where: str) -> Check:
    return f"null for {where}", lambda value: value is None


def _is_line(value: Any) -> bool:
    return type(value) is str and value != "" and "\n" not in value and "\r" not in value


def _is_name(value: Any) -> bool:
    return _is_line(value) and "/" not in value and "\\" not in value


def is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_in_utc(value: Any) -> bool:
    try:
        # 3.10 does not read a final Z
        return datetime.fromisoformat(value.replace("Z", "+00:00")).utcoffset() == timedelta(0)
    except (AttributeError, TypeError, ValueError):
        return False


LINE: Check = "one line of text", _is_line
FLAG: Check = "true or false", lambda value: type(value) is bool
_CHECKS = {
    "schema": whole(1),
    **dict.fromkeys(("case", "method", "dtype", "device", "machine", "version", "command"), LINE),
    "implementation": one_of(IMPLEMENTATIONS), "direction": one_of(DIRECTIONS), "layout": one_of(LAYOUTS),
    "kernel": list_of(whole(1)), "stride": list_of(whole(1)), "padding": list_of(whole(0)), "shape": list_of(whole(0)),
    "ceil_mode": FLAG, "probe": one_of(METRICS), "status": one_of(STATUSES), "stop": or_null(one_of(STOPS)),
    "measurement": ("a dict with text keys", lambda value: type(value) is dict and set(map(type, value)) <= {str}),
    "warnings": list_of(LINE),
    "commit": or_null(LINE), "dirty": or_null(FLAG), "bytes": or_null(whole(0)),
    "time": ("an ISO date and time in UTC, with its offset (+00:00 or Z)", _is_in_utc),
}  # fmt: skip


@cache
def _asked(probe: str, status: str) -> dict[str, Check]:
    """What its probe and its status ask of a record besides."""
    none, missing = null(f"probe {probe}"), null(f"status {status}")
    checks = {"metric": one_of(METRICS[probe]), "clock": none, "protocol": none, "image": none}
    if probe in ("latency", "network"):
        checks["clock"] = one_of(CLOCKS) if probe == "latency" else or_null(one_of(CLOCKS))
    if probe == "retention":
        checks |= {"protocol": one_of(PROTOCOLS), "image": ("a name without a path", _is_name)}
    if status == "ok":
        return {**checks, "reason": missing, "value": ("a finite number for status ok", is_finite)}
    return {**checks, "reason": LINE, **dict.fromkeys(("value", "samples", "kept"), missing)}


def _check_samples(samples: list[float], kept: list[bool], value: float) -> None:
    if type(samples) is not list or not set(map(type, samples)) <= {int, float}:
        raise fault("samples", "a list of numbers", samples)
    if not math.isfinite(sum(samples)):
        raise fault("samples", "finite numbers", samples)
    if type(kept) is not list or not set(map(type, kept)) <= {bool}:
        raise fault("kept", "a list of true or false", kept)
    if len(samples) != len(kept):
        raise fault("kept", f"{len(samples)} flags, one per sample", f"{len(kept)} flags")
    if True not in kept:
        raise fault("kept", "at least one kept sample for status ok", kept)
    median = statistics.median([x for x, keep in zip(samples, kept, strict=True) if keep])
    if not math.isclose(value, median, rel_tol=1e-6):
        raise fault("value", f"the median of the kept samples, {median!r}", value)
