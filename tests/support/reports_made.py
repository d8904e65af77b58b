"""Realistic runs for the report's tests, made of true Records: many methods, kernels, holes and warnings."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from reports import store
from reports.record import METRICS, Record

METHODS = (
    "max",
    "avg",
    "sum",
    "lp",
    "lp_abs",
    "stochastic",
    "stochastic_eval",
    "softpool",
    "edscw",
    "idw",
    "ada",
    "dpp",
    "dpp_asym",
    "lip",
    "lip_bottleneck",
    "dpp_full",
)
KERNELS = ((2, 2), (3, 3), (3, 2), (5, 5), (7, 7))
COST = {name: 1 + 0.35 * place for place, name in enumerate(METHODS)}
EVIL = 'ümlaut <script>alert("1")</script> & $x_{1$ \u2028'
GPU = "GPU-0f0f0f0f-0000-1111-2222-333344445555"
DEVICES = {
    "cpu-1": {"name": "Example CPU, 2 cores", "kind": "cpu", "threads": 2, "governor": None},
    GPU: {"name": "Example GPU 80GB", "kind": "cuda", "l2_bytes": 50 << 20, "driver": "590.1"},
}


def make(**changes: Any) -> Record:
    """A record of the named probe with everything that is not given filled in."""
    probe = changes.get("probe", "latency")
    metric = changes.get("metric", next(iter(METRICS[probe])))
    kernel = changes.get("kernel", [2, 2])
    fields: dict[str, Any] = {
        "method": "ada",
        "implementation": "native",
        "direction": "none" if probe == "retention" else "forward",
        "kernel": kernel,
        "stride": list(kernel),
        "padding": [0] * len(kernel),
        "ceil_mode": False,
        "shape": [4, 64, 112, 112],
        "dtype": "float32",
        "layout": "nchw",
        "device": "cpu",
        "probe": probe,
        "metric": metric,
        "unit": METRICS[probe][metric],
        "clock": "cold" if probe == "latency" else None,
        "protocol": "P1" if probe == "retention" else None,
        "image": "cat" if probe == "retention" else None,
        "status": "ok",
        "reason": None,
        "value": None,
        "samples": None,
        "kept": None,
        "stop": None,
        "measurement": {"threads": 2, "flush_bytes": 64 << 20, "warm_up": 3, "verified": True, "budget_s": 0.25},
        "warnings": [],
        "machine": "cpu-1",
        "commit": "0123abc",
        "dirty": False,
        "version": "0.1.0",
        "time": "2025-01-02T03:04:05+00:00",
        "bytes": None,
    }
    fields.update(changes)
    if fields["samples"] is not None and fields["kept"] is None:
        fields["kept"] = [True] * len(fields["samples"])
    if fields["samples"] is not None and fields["value"] is None:
        fields["value"] = median(x for x, keep in zip(fields["samples"], fields["kept"], strict=True) if keep)
    if fields["status"] != "ok":
        fields["reason"] = fields["reason"] or "it did not work"
    fields.setdefault("case", case(fields))
    fields.setdefault("command", f"python runner.py bench --method {fields['method']} --kernel {_sizes(fields)[0]}")
    return Record(**fields)


def _sizes(fields: dict[str, Any]) -> list[str]:
    return ["x".join(map(str, fields[name])) for name in ("kernel", "stride", "padding")]


def case(fields: dict[str, Any]) -> str:
    window = "".join(f"{letter}{size}" for letter, size in zip("ksp", _sizes(fields), strict=True))
    parts = [fields[name] for name in ("method", "implementation", "direction", "dtype", "layout")]
    protocol = [fields["protocol"]] if fields["protocol"] else []
    return "/".join([*parts, window, "x".join(map(str, fields["shape"])), *protocol])


def timed(seed: random.Random, typical: float, **changes: Any) -> Record:
    """A latency record with 30 samples around a typical time, a few of them slow, some discarded."""
    samples = [typical * math.exp(abs(seed.gauss(0, 0.03))) for _ in range(30)]
    kept = [seed.random() > 0.04 for _ in samples]
    kept[0] = True
    return make(samples=samples, kept=kept, stop="precise", **changes)


def records(seed: int = 0, methods: tuple[str, ...] = METHODS, slower: float = 1.0) -> Iterator[Record]:
    """A default-profile run: about two thousand records on a CPU, with failures, warnings and skipped energy."""
    dice = random.Random(seed)
    for shape in ([4, 64, 112, 112], [1, 256, 56, 56]):
        elements = math.prod(shape)
        at = {"method": "copy", "implementation": "copy", "direction": "none", "kernel": [1, 1]}
        yield timed(dice, elements * 1.1e-9, **at, shape=shape, bytes=8 * elements)
        for method in methods:
            for k, s in KERNELS:
                yield from _case(dice, method, k, s, shape, slower)
    for method in methods:
        for k, s in KERNELS:
            why = {"status": "skipped", "reason": "NVML is not there (no NVIDIA driver)"}
            yield make(probe="energy", method=method, kernel=[k, k], stride=[s, s], **why)
            for image in ("cat", "astronaut", "coffee"):
                yield from _retention(dice, method, k, s, image)


def _case(dice: random.Random, method: str, k: int, s: int, shape: list[int], slower: float) -> Iterator[Record]:
    elements = math.prod(shape)
    traffic = round(4 * elements * (1 + 1 / s**2))
    for implementation in ("native", "plain", "torch"):
        if implementation == "torch" and method not in ("max", "avg", "lp"):
            continue
        if implementation == "native" and method in ("lip_bottleneck", "dpp_full"):
            continue
        for direction in ("forward", "backward"):
            at: dict[str, Any] = {"method": method, "implementation": implementation, "direction": direction}
            at |= {"kernel": [k, k], "stride": [s, s], "shape": shape, "bytes": traffic}
            factor = {"native": 1.0, "torch": 0.9, "plain": 2.5 + k / 3}[implementation]
            factor *= {"forward": 1.0, "backward": 1.8}[direction] * slower
            typical = elements * 1e-9 * COST[method] * factor * (1 + 3 / k)
            if method == "stochastic" and direction == "backward" and k == 5:
                yield make(**at, status="failed", reason=EVIL)
            elif method == "edscw" and k == 7 and implementation == "plain":
                yield make(**at, status="oom", reason="needed 3.1 GB, 2.0 GB were free")
            elif method == "idw" and k == 3 and implementation == "native":
                yield make(**at, status="incorrect", reason="largest error 3.1e-02 at [0, 3, 1, 1], allowed 1.0e-06")
            else:
                yield timed(dice, typical, **at, warnings=["throttled"] if dice.random() < 0.05 else [])
            if direction == "forward":
                peak = 4 * elements * (1 + k * k * (implementation == "plain"))
                yield make(**at, probe="memory", metric="peak_bytes", value=peak)
                yield make(**at, probe="memory", metric="saved_bytes", value=4 * elements)


def _retention(dice: random.Random, method: str, k: int, s: int, image: str) -> Iterator[Record]:
    psnr = 36 - 1.8 * k + (0.7 * METHODS.index(method)) % 5 + {"cat": 2, "astronaut": 0, "coffee": -2}[image]
    at: dict[str, Any] = {"probe": "retention", "method": method, "kernel": [k, k], "stride": [s, s]}
    at |= {"image": image, "shape": [3, 300, 451]}
    for protocol in ("P1", "P2", *(["P3"] if method in ("max", "ada") else [])):
        yield make(**at, metric="psnr", protocol=protocol, value=psnr + dice.random())
        yield make(**at, metric="ssim", protocol=protocol, value=1 - math.exp(-psnr / 12))


def write(run: Path, seed: int = 0, devices: tuple[str, ...] = ("cpu-1",), **more: Any) -> Path:
    """A run folder with the records above for each device."""
    run.mkdir(parents=True)
    lines = []
    for number, key in enumerate(devices):
        device = "cpu" if key.startswith("cpu") else key
        where = {"machine": key, "device": device}
        lines += [Record(**{**vars(r), **where}).to_json() for r in records(seed + number, **more)]
    (run / store.RECORDS).write_text("".join(line + "\n" for line in lines))  # one sync for all keeps the tests quick
    run_facts = {"seed": seed, "torch": "2.13.0", "python": "3.11.9"}
    store.write_machine(run, {"run": run_facts, "devices": {key: DEVICES[key] for key in devices}})
    return run
