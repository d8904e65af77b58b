"""Interleaved passes of two builds on one device: one fresh process a pass, ABBA order, every record kept.

The harness is the caller's; only adapool comes from the builds. Knows no statistics and no verdicts.
"""

from __future__ import annotations

import contextlib
import io
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from reports import store
from reports.record import Record
from suites import machine, setting
from suites.axes import Axes, UsageError
from suites.builds import Build
from suites.case import Case
from suites.engine import Device, Here, Run
from suites.progress import Progress

SIDES = ("base", "head")
ROUNDS = 2  # a case is measured so often in a pass, far apart: a neighbour rarely hits it twice
REPEATED = ("latency", "energy", "network")  # probes whose numbers vary from pass to pass
FOLDER = "passes"
TIMEOUT = 60.0  # seconds
SMOKE = Axes(
    profile="smoke", methods=("ada", "edscw", "softpool", "idw", "lp", "max", "avg", "dpp"), kernels=("2", "3s2"),
    shapes=("1x32x56x56",), directions=("forward", "backward"), probes=("latency", "memory"),
)  # fmt: skip


class Broken(RuntimeError):
    """A side cannot be measured at all."""


class Held(Here):
    """This machine, whose device is the experiment's from its first pass to its last; without a worker it is over."""

    shared = True
    starts = 1

    def held(self, device: Device, say: Callable[[str], object], stopped: Callable[[], bool]) -> Any:
        return contextlib.nullcontext()


@dataclass
class Experiment:
    """Two builds, one device, the cases; writes one run folder a pass under `out`/passes."""

    out: Path
    builds: Mapping[str, Build]
    cases: Sequence[Case]
    device: str = "cpu"
    kind: str = "cpu"
    seconds: float = 0.1  # of sampling, per clock and round
    seed: int = 0
    images: int = 1
    slow: Mapping[str, float] = field(default_factory=dict)  # case key -> injected fraction, in head
    say: Callable[[str], object] = print
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    spent: list[float] = field(default_factory=list)

    def pairs(self, stage: str, count: int, cases: Sequence[Case]) -> None:
        """`count` pairs of passes in ABBA order; which side begins is drawn for every two pairs."""
        draw = random.Random(f"{self.seed}/{stage}")
        first = 0
        for pair in range(count):
            chosen = cases if pair == 0 else [case for case in cases if case.probe in REPEATED]
            if not chosen:
                return
            first = draw.randrange(2) if pair % 2 == 0 else 1 - first
            for place, side in enumerate((SIDES[first], SIDES[1 - first])):
                left = (2 * (count - pair) - place) * (self.spent[-1] if self.spent else 0.0)
                told = f", about {left:.0f} s left" if left else ""
                self.say(f"{stage} pass {2 * pair + place + 1} of {2 * count}, {side}{told}")
                self.one(stage, pair, side, chosen)

    def one(self, stage: str, pair: int, side: str, cases: Sequence[Case]) -> None:
        """One pass: a fresh process of one side, all cases in a shuffled order, sampled ones in every round."""
        begin = time.monotonic()
        draw = random.Random(f"{self.seed}/{stage}/{pair}/{side}")
        order: list[Case] = []
        for turn in range(ROUNDS):
            some = [case for case in cases if turn == 0 or case.probe in ("latency", "network")]
            draw.shuffle(some)
            order += some
        with store.Writer(self.out / FOLDER / f"{stage}-{pair:02d}-{side}") as writer:
            progress, axes, source = Progress(len(order), io.StringIO()), Axes(seed=self.seed), self.builds[side].source
            run = Run(writer, progress, axes, source, self._learned, set(), TIMEOUT)
            tally = run.go([self._device(side, order)], parallel=False)
        if run.gone or run.stop.is_set():
            why = run.gone[0][2] if run.gone else tally.disk or tally.faults[-1]
            raise Broken(f"{side} ({self.builds[side].name}): {why}")
        self.spent.append(time.monotonic() - begin)

    def _device(self, side: str, cases: Sequence[Case]) -> Device:
        environment = setting.environment(self.device, self.kind, self._threads)
        return Device(self.device, self.kind, tuple(cases), self.setup(side), environment, Held(), even=self.seconds)

    def _learned(self, facts: dict[str, Any]) -> str:
        key = machine.key(facts)
        self.facts[key] = facts
        return key

    def setup(self, side: str) -> dict[str, Any]:
        folder = self.builds[side].folder
        usual = setting.setup(self.device, self.kind, Axes(seed=self.seed), None, self._threads)
        build, slow = None if folder is None else str(folder), dict(self.slow) if side == "head" else {}
        return {**usual, "images": self.images, "build": build, "slow": slow}

    @property
    def _threads(self) -> int | None:
        return 1 if self.kind == "cpu" else None  # one, so that a neighbour finds another core


def cases(axes: Axes, device: str, kind: str, builds: Mapping[str, Build], enough: int = 6) -> list[Case]:
    """The cases of a comparison: native kernels where a side has them, else plain rows; and torch's own as controls."""
    from suites import session

    def planned(**changes: Any) -> list[Case]:
        return session.cases(replace(axes, **changes), [(device, kind)])[device]

    compiled = any("native" in build.parts for build in builds.values())
    wanted = axes.implementations or (("native" if compiled else "plain"), "torch", "copy")
    if axes.network is not None:
        wanted = tuple(name for name in dict.fromkeys((*wanted, "torch")) if name != "copy")  # as it was: the control
        return planned(implementations=wanted)
    if kind == "cpu" and not axes.clocks:  # a flush takes longer than most calls, and leaves few samples
        axes = replace(axes, clocks=("hot",))
    if not axes.implementations and axes.profile != "smoke" and compiled:
        wanted = ("plain", *wanted)
    found = planned(implementations=wanted)
    controls = [case for case in found if case.implementation == "torch" and case.probe == "latency"]
    if len(controls) < enough and any(case.probe in REPEATED for case in found):
        found += planned(
            methods=("avg", "max"), implementations=("torch",), directions=("forward", "backward"), probes=("latency",)
        )
    unique = {case.key: case for case in found}
    if all(case.implementation in ("torch", "copy") for case in unique.values()):
        raise UsageError("plan: the axes leave nothing to compare but torch's own operators")
    return list(unique.values())


def passes(out: Path) -> Iterator[tuple[str, int, str, tuple[Record, ...]]]:
    """(side, pair, stage, records) of every pass in a folder, in order of the pairs."""
    for folder in sorted((out / FOLDER).iterdir()):
        stage, pair, side = folder.name.split("-")
        yield side, int(pair), stage, tuple(store.read(folder))


def merge(experiment: Experiment) -> None:
    """Each side as one run folder: the samples of all its passes together, for reports and pytest-benchmark."""
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    for side in SIDES:
        held: dict[Any, list[Record]] = {}
        for of, _, _, found in passes(experiment.out):
            for record in found if of == side else ():
                held.setdefault(record.key, []).append(record)
        store.append(experiment.out / side, [_together(group) for group in held.values()])
        source = {name: experiment.builds[side].source[name] for name in ("version", "commit", "dirty")}
        run = {
            **source, "time": made,
            "seed": experiment.seed, "build": experiment.builds[side].name, "parts": experiment.builds[side].parts,
            "command": machine.private(" ".join(["runner.py", *sys.argv[1:]])), "cases": len(held),
        }  # fmt: skip
        store.write_machine(experiment.out / side, {"run": run, "devices": experiment.facts})


def _together(group: Sequence[Record]) -> Record:
    """One record of many: a fault where there is one, else all samples."""
    for record in group:
        if record.status != "ok":
            return record
    first = group[0]
    if first.samples is None:
        return first
    samples = [value for record in group for value in record.samples or []]
    kept = [flag for record in group for flag in record.kept or []]
    value = median(v for v, keep in zip(samples, kept, strict=True) if keep)
    how = {**first.measurement, "blocks": len(group)}
    return replace(first, samples=samples, kept=kept, value=value, measurement=how)
