"""One run from request to folder: who is measured on what, the run folder, resuming, stopping, and the verdict.

Torch-free but for asking adapool which methods there are.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from reports import store
from suites import chosen, fit, images, machine, nvml, plan, provenance, records, setting, shard
from suites.axes import Axes, UsageError, names
from suites.case import of_json, public
from suites.engine import Device, Run
from suites.fleet import Fleet, connect
from suites.progress import Progress
from suites.tally import Tally

RESUME = ".resume.json"  # what --resume needs, paths of this machine included: not for publishing


def targets(cpu: bool, gpu: str | None = None) -> list[tuple[str, str]]:
    """(device id, kind) of every device meant: of neither the GPUs there are, else the CPU. UsageError when a GPU is
    asked for that is not there.
    """
    if gpu is not None:
        found = [(one.uuid, "cuda") for one in nvml.chosen(gpu)]
        return [*found, ("cpu", "cpu")] if cpu else found
    return [("cpu", "cpu")] if cpu else [(one.uuid, "cuda") for one in nvml.listed()] or [("cpu", "cpu")]


def cases(axes: Axes, devices: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    """The plan of every device, or the share of it that the axes name."""
    kinds = dict(devices)
    return {device: shard.share(part, axes, kinds[device]) for device, part in whole(axes, devices).items()}


def whole(axes: Axes, devices: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    """The plan of every device before it is shared out. UsageError also for photographs that are not there."""
    known, asked = names(axes.methods)
    axes = replace(axes, methods=asked)
    try:
        found: dict[str, list[Any]] = {device: plan.build(axes, known, kind) for device, kind in devices}
        found = chosen.only(found, axes.cases)
        if any(case.probe == "retention" for part in found.values() for case in part):
            images.photos(axes.images, axes.preset.images)
    except ValueError as error:
        raise error if isinstance(error, UsageError) else UsageError(str(error)) from None
    return found


def fitted(
    axes: Axes, devices: Sequence[tuple[str, str]]
) -> tuple[dict[str, list[Any]], dict[str, list[Any]], dict[str, str]]:
    """By device: the cases that are measured, those that are left out for want of time, and that in words."""
    kinds = dict(devices)
    fits = {device: fit.fitted(part, axes, kinds[device]) for device, part in cases(axes, devices).items()}
    said = {device: fit.words(each, axes, kinds[device]) for device, each in fits.items()}
    return {d: f.cases for d, f in fits.items()}, {d: f.left for d, f in fits.items()}, said


def fresh_folder(out: str | None) -> Path:
    """The new run's folder; UsageError when it exists or cannot be written."""
    stamp = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    folder = Path(out) if out else Path("results") / stamp
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"out: expected a folder that does not exist yet, got {str(folder)!r}; continue that run with "
            f"--resume {folder}, or choose another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        why = f"expected a folder that can be written, got {str(folder)!r} ({error.strerror})"
        raise UsageError(f"out: {why}") from None
    return folder


class Session:
    """A run in its folder: started anew, or continued where its records end."""

    def __init__(
        self, folder: Path, axes: Axes, devices: Sequence[tuple[str, str]], *, parallel: bool = False,
        timeout: float = 60.0, fleet: Fleet | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.axes, self.devices = folder, axes, list(devices)
        self.parallel, self.timeout, self.fleet = parallel, timeout, fleet
        provenance.check()
        self.source = provenance.source()
        self.entries: dict[str, Any] = {}
        self.spent: dict[str, dict[str, float]] = {}  # seconds by device and part, of all turns of a resumed run
        self._lock = threading.Lock()
        self.command = machine.private(" ".join(["runner.py", *sys.argv[1:]]))
        self.began = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.plan, self.left, self.said = fitted(axes, devices)

    @classmethod
    def fresh(cls, out: str | None, axes: Axes, devices: Sequence[tuple[str, str]], **how: Any) -> Session:
        """A new run; where nothing can be measured, UsageError before there is a folder."""
        run = cls(Path(), axes, devices, **how)
        run.folder = fresh_folder(out)
        return run

    @classmethod
    def resumed(cls, folder: Path, timeout: float, ray: str | None = None) -> Session:
        """The run of `folder` again, with its own axes and devices; UsageError when it is no run.

        `ray` is the cluster's address where that is another than before.
        """
        if not (folder / RESUME).is_file():
            raise UsageError(f"resume: expected the folder of a run, got {str(folder)!r} without {RESUME}")
        try:
            held = json.loads((folder / RESUME).read_bytes())
            axes, devices, parallel = of_json(Axes, held["axes"]), held["devices"], held["parallel"]
            began = held["time"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"resume: {folder / RESUME} cannot be read ({type(error).__name__}: {error})") from None
        if ray is not None and held.get("ray") is None:
            raise UsageError(f"ray: expected a run that was started with --ray, got {str(folder)!r}")
        fleet = connect(ray or held["ray"]) if held.get("ray") else None
        session = cls(folder, axes, [tuple(d) for d in devices], parallel=parallel, timeout=timeout, fleet=fleet)
        session.began = began
        if (folder / store.MACHINE).is_file():
            known = store.read_machine(folder)
            session.entries, session.spent = known["devices"], known["run"].get("spent", {})
            session.command = known["run"].get("command", session.command)  # what was asked, not to go on with it
        return session

    def run(self) -> Tally:
        """Measure what has no record yet. KeyboardInterrupt passes through, with everything measured on disk."""
        try:
            with store.Writer(self.folder) as writer, terminable():
                return self._drive(writer)
        except store.RunLocked as error:
            raise UsageError(f"out: {error}") from None
        except store.Unwritable as error:
            raise UsageError(f"resume: {error}") from None
        finally:
            if self.fleet is not None:
                self.fleet.close()

    def _drive(self, writer: store.Writer) -> Tally:
        self._save()
        have, devices = self._left() if self.fleet is None else (set(), [])
        progress = Progress(sum(len(device.cases) for device in devices), parallel=self.parallel)
        for words in filter(None, self.said.values()):
            progress.say(words)
        for photo in self._broken():
            progress.say(f"{photo.path.name}: {photo.fault}; skipped")
        run = Run(writer, progress, self.axes, self.source, self._learned, have, self.timeout)
        try:
            if self.fleet is not None:
                plans = [(kind, self.plan[device]) for device, kind in self.devices]
                return self.fleet.measure(run, plans, self.folder, self.entries)
            self._warn(progress)
            return run.go(devices, self.parallel)
        finally:
            progress.close()
            for device, seconds in run.tally.spent.items():
                before = self.spent.get(device, {})
                self.spent[device] = {part: round(before.get(part, 0.0) + s, 2) for part, s in seconds.items()}
            self._save()

    def _left(self) -> tuple[set[tuple[Any, ...]], list[Device]]:
        """Keys of the records there are, and every device with the cases that are left."""
        have, finished = self._so_far()
        devices = []
        for device, kind in self.devices:
            todo = tuple(case for case in self.plan[device] if (device, case.key) not in finished)
            told = setting.setup(device, kind, self.axes, self.folder / "gallery")
            left = tuple(self.left.get(device, ()))
            devices.append(Device(device, kind, todo, told, setting.environment(device, kind), left=left))
        return have, devices

    def _so_far(self) -> tuple[set[tuple[Any, ...]], set[tuple[str, str]]]:
        """Keys of the records there are, and the cases that are complete.

        Each device's last case may have been cut short between two records, so it is measured again; the records of it
        that exist are kept, and none is written twice.
        """
        have: set[tuple[Any, ...]] = set()
        finished: set[tuple[str, str]] = set()
        last: dict[str, tuple[str, str]] = {}
        for record in store.read(self.folder):
            have.add((record.device, *record.key))
            last[record.device] = (record.device, records.unit_of(record))
            finished.add(last[record.device])
        return have, finished - set(last.values())

    def _broken(self) -> list[images.Photo]:
        if not any(case.probe == "retention" for part in self.plan.values() for case in part):
            return []
        return [photo for photo in images.photos(self.axes.images, self.axes.preset.images) if photo.fault]

    def _warn(self, progress: Progress) -> None:
        """Say once that compiled kernels are missing, when the plan wanted them."""
        from adapool import native

        status = native.status()
        wanted = {kind for device, kind in self.devices for c in self.plan[device] if c.implementation == "native"}
        for kind in sorted(wanted):
            if status.get(kind) != "ok":
                progress.say(f"no compiled kernels for {kind}: {status.get(kind)}; `runner.py doctor` explains")

    def _learned(self, facts: dict[str, Any]) -> str:
        """Keep what a worker said of its device; the key under which machine.json has it."""
        name = machine.key(facts)
        with self._lock:
            self.entries[name] = facts
            self._save()
        return name

    def _save(self) -> None:
        axes, devices = asdict(self.axes), [list(d) for d in self.devices]
        again = {"axes": axes, "devices": devices, "parallel": self.parallel, "time": self.began}
        again["ray"] = self.fleet.address if self.fleet else None
        store.write_file(self.folder / RESUME, json.dumps(again, indent=1).encode())
        shown = {**axes, "methods": [public(m) for m in self.axes.methods], "images": public(self.axes.images) or None}
        run = {
            **self.source, "time": self.began, "axes": shown, "devices": devices, "parallel": self.parallel,
            "cases": {device: len(part) for device, part in self.plan.items()}, "profile": self.axes.profile,
            "command": self.command, "shard": self._shard(),
            "spent": self.spent, "left_out": self.said, "ray": self.fleet is not None,
        }  # fmt: skip
        store.write_machine(self.folder, {"run": run, "devices": self.entries})

    def _shard(self) -> dict[str, Any] | None:
        """Which share of which plan this run is: what belongs together, and what is missing, is told by it."""
        if self.axes.shard is None:
            return None
        index, count = shard.parse(self.axes.shard)
        plans = whole(self.axes, self.devices)
        return {"index": index, "count": count, "plan": {k: shard.digest(plans[d]) for d, k in self.devices}}


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does."""

    def stop(number: int, frame: Any) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""
