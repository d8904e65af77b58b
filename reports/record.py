"""The one schema: a record is one case x one metric, with raw samples in SI units, status and method of measurement.

Stdlib only and quick to import; knows nothing of torch, of files, or of statistics made from records.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
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
        _check_coordinates(self)
        _check_probe(self)
        _check_outcome(self)
        _check_origin(self)

    @property
    def key(self) -> Key:
        return Key(self.case, self.probe, self.metric, self.clock, self.protocol, self.image)

    def to_json(self) -> str:
        """One line of strict JSON (no NaN, ASCII only, no newline)."""
        try:
            return json.dumps({name: getattr(self, name) for name in FIELDS}, allow_nan=False, separators=(",", ":"))
        except (
            TypeError,
            ValueError,
        ) as error:  # every other field is checked, so it is measurement's content
            raise ValueError(f"measurement: expected finite JSON values, got {self.measurement!r} ({error})") from None

    @classmethod
    def from_json(cls, line: Line) -> Record:
        """Reads one line; ValueError names the field. Unknown fields are left out, a newer schema is an error."""
        try:
            data = json.loads(line, parse_constant=_no_constant)
        except ValueError as error:
            raise ValueError(f"record: expected one JSON object, got {line[:60]!r}... ({error})") from None
        if not isinstance(data, dict):
            raise ValueError(f"record: expected one JSON object, got {type(data).__name__}")
        schema = data.get("schema")
        if type(schema) is not int or schema < 1:
            raise ValueError(f"schema: expected a whole number from 1 on, got {schema!r}")
        if schema > SCHEMA:
            raise ValueError(
                f"schema: expected at most {SCHEMA}, got {schema}: this record was written by a newer version"
            )
        try:
            return cls(**{name: data[name] for name in FIELDS})
        except KeyError as missing:
            raise ValueError(f"{missing.args[0]}: expected a value, got none: the field is missing") from None


def unit(probe: str, case: str) -> str:
    """The key of the plan's case that gave a record; of retention one case gives the records of all photographs."""
    return f"{probe}:{'/'.join(case.split('/')[: 6 if probe == 'retention' else 7])}"


FIELDS = tuple(field.name for field in fields(Record))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _fault(field: str, expected: str, got: object) -> ValueError:
    return ValueError(f"{field}: expected {expected}, got {got!r}")


def _check_coordinates(r: Record) -> None:
    if type(r.schema) is not int or r.schema < 1:
        raise _fault("schema", "a whole number from 1 on", r.schema)
    for name in ("case", "method", "dtype", "device"):
        _text(name, getattr(r, name))
    _one_of("implementation", r.implementation, IMPLEMENTATIONS)
    _one_of("direction", r.direction, DIRECTIONS)
    _one_of("layout", r.layout, LAYOUTS)
    for name, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("shape", 0)):
        _ints(name, getattr(r, name), least)
    if not len(r.kernel) == len(r.stride) == len(r.padding):
        raise _fault("stride, padding", f"{len(r.kernel)} numbers each, as kernel has", (r.stride, r.padding))
    if type(r.ceil_mode) is not bool:
        raise _fault("ceil_mode", "true or false", r.ceil_mode)


def _check_probe(r: Record) -> None:
    _one_of("probe", r.probe, tuple(METRICS))
    _one_of("metric", r.metric, tuple(METRICS[r.probe]))
    if r.unit != METRICS[r.probe][r.metric]:
        raise _fault("unit", f"{METRICS[r.probe][r.metric]!r} for {r.metric}", r.unit)
    if r.probe != "network" or r.clock is not None:
        _only_for(r, "clock", r.clock, "network" if r.probe == "network" else "latency", CLOCKS)
    _only_for(r, "protocol", r.protocol, "retention", PROTOCOLS)
    if r.probe != "retention":
        if r.image is not None:
            raise _fault("image", f"null for probe {r.probe}", r.image)
        return
    _text("image", r.image)
    if r.image is not None and ("/" in r.image or "\\" in r.image):
        raise _fault("image", "a name without a path", r.image)


def _check_outcome(r: Record) -> None:
    _one_of("status", r.status, STATUSES)
    if r.status == "ok":
        if r.reason is not None:
            raise _fault("reason", "null for status ok", r.reason)
        if type(r.value) not in (int, float) or not math.isfinite(r.value or 0):
            raise _fault("value", "a finite number for status ok", r.value)
    else:
        _text("reason", r.reason)
        for name in ("value", "samples", "kept"):
            if getattr(r, name) is not None:
                raise _fault(name, f"null for status {r.status}", getattr(r, name))
    if (r.samples is None) != (r.kept is None):
        raise _fault("samples, kept", "both lists or both null", (r.samples, r.kept))
    if r.samples is not None and r.kept is not None and r.value is not None:
        _check_samples(r.samples, r.kept, r.value)
    if r.stop is not None:
        _one_of("stop", r.stop, STOPS)


def _check_samples(samples: list[float], kept: list[bool], value: float) -> None:
    if type(samples) is not list or not set(map(type, samples)) <= {int, float}:
        raise _fault("samples", "a list of numbers", samples)
    if not math.isfinite(sum(samples)):
        raise _fault("samples", "finite numbers", samples)
    if type(kept) is not list or not set(map(type, kept)) <= {bool}:
        raise _fault("kept", "a list of true or false", kept)
    if len(samples) != len(kept):
        raise _fault("kept", f"{len(samples)} flags, one per sample", f"{len(kept)} flags")
    if True not in kept:
        raise _fault("kept", "at least one kept sample for status ok", kept)
    median = statistics.median([x for x, keep in zip(samples, kept, strict=True) if keep])
    if not math.isclose(value, median, rel_tol=1e-6):
        raise _fault("value", f"the median of the kept samples, {median!r}", value)


def _check_origin(r: Record) -> None:
    if type(r.measurement) is not dict or not all(type(key) is str for key in r.measurement):
        raise _fault("measurement", "a dict with text keys", r.measurement)
    if type(r.warnings) is not list:
        raise _fault("warnings", "a list of texts", r.warnings)
    for warning in r.warnings:
        _text("warnings", warning)
    for name in ("machine", "version", "command"):
        _text(name, getattr(r, name))
    if r.commit is not None:
        _text("commit", r.commit)
    if r.dirty is not None and type(r.dirty) is not bool:
        raise _fault("dirty", "true, false or null", r.dirty)
    if r.bytes is not None and (type(r.bytes) is not int or r.bytes < 0):
        raise _fault("bytes", "a whole number from 0 on, or null", r.bytes)
    try:
        # 3.10 does not read a final Z
        offset = datetime.fromisoformat(r.time.replace("Z", "+00:00")).utcoffset()
    except (AttributeError, TypeError, ValueError):
        raise _fault("time", "an ISO date and time", r.time) from None
    if offset != timedelta(0):
        raise _fault("time", "UTC, with its offset (+00:00 or Z)", r.time)


def _text(field: str, value: object) -> None:
    if type(value) is not str or not value or "\n" in value or "\r" in value:
        raise _fault(field, "one line of text", value)


def _one_of(field: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise _fault(field, "one of " + ", ".join(known), value)


def _only_for(r: Record, field: str, value: str | None, probe: str, known: tuple[str, ...]) -> None:
    if r.probe == probe:
        _one_of(field, value, known)
    elif value is not None:
        raise _fault(field, f"null for probe {r.probe}", value)


def _ints(field: str, value: object, least: int) -> None:
    if type(value) is not list or not all(type(item) is int and item >= least for item in value):
        raise _fault(field, f"a list of whole numbers from {least} on", value)
