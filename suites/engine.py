"""Drives one worker per device through its cases, and appends what comes of each: nothing is lost, nothing hangs.

Crash, hang, out-of-memory, wrong answer: each is a record, and the run goes on. Torch-free; knows no probe.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from reports.store import Writer
from suites import device_lock, first_call, pace
from suites.axes import Axes
from suites.case import Case
from suites.fit import LEFT_OUT
from suites.link import Died, Gone, Link, TimedOut
from suites.progress import Progress
from suites.records import Origin, ended, make
from suites.tally import Tally

STRIKES = 3


class Here:
    """How a loop reaches a device of this machine; another place has the same methods, and may raise Gone."""

    shared = False  # whether its loss ends its loop at once, for another device, or the caller, to see to what is left
    starts = STRIKES  # how often a worker that does not start is tried

    def held(self, device: Device, say: Callable[[str], object], stopped: Callable[[], bool]) -> Any:
        return device_lock.held(device.id, say, stopped)

    def link(self, device: Device) -> Any:
        return Link(device.setup, device.environment)


@dataclass(frozen=True)
class Device:
    """One device's share of a run."""

    id: str  # "cpu" or the GPU's UUID
    kind: str  # "cpu" or "cuda"
    cases: tuple[Case, ...]
    setup: dict[str, Any]
    environment: dict[str, str]
    place: Any = Here()  # noqa: RUF009 (has no state)
    source: dict[str, Any] | None = None  # the code that runs there, where that may be another than here
    note: dict[str, Any] = field(default_factory=dict)  # what its records say of where they were measured
    left: tuple[Case, ...] = ()  # out by plan: records without a number
    even: float | None = None  # seconds of sampling that every case gets, in place of its share of the run's time


class Run:
    """A run of several devices into one folder's writer."""

    def __init__(
        self, writer: Writer, progress: Progress, axes: Axes, source: dict[str, Any],
        learned: Callable[[dict[str, Any]], str], have: set[tuple[Any, ...]], timeout: float,
    ) -> None:  # fmt: skip
        self.writer, self.progress, self.axes, self.source = writer, progress, axes, source
        self.learned, self.have, self.timeout = learned, have, timeout
        self.tally = Tally()
        self.gone: list[tuple[Device, int, str]] = []  # devices lost, cases measured by then, how they were lost
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def go(self, devices: Sequence[Device], parallel: bool) -> Tally:
        """Measure everything; returns early, with what there is, on KeyboardInterrupt (which it raises again)."""
        loops = [Loop(self, device) for device in devices]
        batches = [loops] if parallel else [[loop] for loop in loops]
        try:
            for batch in batches:
                threads = [threading.Thread(target=loop.run, daemon=True) for loop in batch]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    while thread.is_alive():
                        thread.join(0.1)
                if self.stop.is_set():
                    break
        except BaseException:
            self.stop.set()
            for loop in loops:
                loop.abandon()
            raise
        return self.tally

    def write(self, case: Case, findings: list[dict[str, Any]], origin: Origin, planned: bool = True) -> None:
        """Append the records of one case; a full disk stops the run, what is there stays. What was not `planned` comes
        beside the cases that are counted.
        """
        if self.stop.is_set():
            return  # a worker killed by our own stop is no finding
        made = [make(case, finding, origin) for finding in findings]
        bad = next((record for record in made if record.status not in ("ok", "skipped")), None)
        with self._lock:
            try:
                for record in made:
                    if not self.stop.is_set() and (record.device, *record.key) not in self.have:
                        self.writer.append(record)
                        self.tally.statuses["left out" if record.reason == LEFT_OUT else record.status] += 1
            except OSError as error:
                self.tally.disk = f"{error.strerror or error}"
                self.stop.set()
            self.tally.cases += planned
            if bad is not None:
                self.tally.faults.append(f"{bad.case} [{case.probe}]: {bad.status}: {bad.reason}")
        if planned:
            self.progress.step(bad is not None)


class Loop:
    """One device's cases, one after the other, through one worker at a time."""

    def __init__(self, run: Run, device: Device) -> None:
        self.run_, self.device = run, device
        self.link: Any = None
        self.measured = 0
        self.strikes: Counter[str] = Counter()
        self.lost: str | None = None
        self.origin = Origin(device.id, device.id, device.source or run.source, run.axes.seed, device.note)
        self.pace = pace.Pace(device.cases, device.kind, run.axes, device.even)
        self.spent = run.tally.spent.setdefault(device.id, {})
        run.progress.expect(device.id, self.pace.left(0))

    def abandon(self) -> None:
        if self.link is not None:
            self.link.kill()

    def run(self) -> None:
        try:
            with self.device.place.held(self.device, self.run_.progress.say, self.run_.stop.is_set):
                self._cases()
        except Gone as error:
            self.run_.gone.append((self.device, self.measured, str(error)))
        except Exception as error:
            self.run_.tally.faults.append(f"engine: {type(error).__name__}: {error}")
            self.run_.stop.set()

    def _cases(self) -> None:
        try:
            self._first_calls()
            for position, case in enumerate(self.device.cases):
                if self.run_.stop.is_set():
                    return
                self.run_.progress.current(f"{case.name} [{case.probe}]")
                self.run_.progress.expect(self.device.id, self.pace.left(position))
                self.run_.write(case, self._measure(position, case), self.origin)
                self.measured += 1
            for case in self.device.left:
                self.run_.write(case, ended(case, "skipped", LEFT_OUT), self.origin, planned=False)
        finally:  # while the lock is held
            if self.link is not None:
                self.link.close()

    def _first_calls(self) -> None:
        """Has the worker make the kernels of all its cases, side by side; what a first call takes is a record, but not
        one to compare: other builds have them on disk or have not.
        """
        cases = first_call.chosen(self.device.cases, self.device.kind) if self.device.even is None else []
        if not cases or self.run_.stop.is_set() or not self._start():
            return
        self.run_.progress.current(f"kernels of {len(cases)} cases")
        begin = time.monotonic()
        try:
            reply = self.link.ask({"prepare": [asdict(case) for case in cases]}, first_call.SECONDS)
        except (TimedOut, Died) as error:
            reply = {"reason": str(error), "restart": True}
        self._spend("kernels", time.monotonic() - begin)
        if reply.get("restart"):
            self.link.close()
            self.link = None
        if "prepared" not in reply:
            self.run_.progress.say(f"{self.device.id}: kernels are made as they are met: {reply['reason']}")
        for case, finding in zip(cases, reply.get("prepared", ()), strict=False):
            if finding is not None:
                self.run_.write(case, [finding], self.origin, planned=False)

    def _measure(self, position: int, case: Case) -> list[dict[str, Any]]:
        if self.lost is not None:
            return ended(case, "failed", self.lost)
        if self.strikes[case.subject] >= STRIKES:
            return ended(case, "skipped", f"{case.subject} was given up after {STRIKES} crashes")
        if self.pace.over():
            self.run_.tally.late += 1
            return ended(
                case, "skipped", f"the time for measuring ({self.pace.limit:.0f} s) was spent; --budget gives more"
            )
        if self.link is None and not self._start():
            return ended(case, "failed", self.lost or "the worker does not start")
        request: dict[str, Any] = {"case": asdict(case), **self.pace.request(position, case)}
        begin = time.monotonic()
        parts: dict[str, float] = {}
        try:
            reply = self.link.ask(request, self._timeout(case))
            parts = reply["spent"]
        except TimedOut as error:
            return self._struck(case, "timeout", str(error))
        except Died as error:
            return self._struck(case, "failed", str(error))
        finally:
            rest = max(0.0, time.monotonic() - begin - sum(parts.values()))
            for part, seconds in {**parts, "other": rest}.items():
                self._spend(part, seconds)
        self.pace.spent(case, reply["seconds"], request["seconds"])
        if "findings" in reply:
            return list(reply["findings"])
        if reply.get("lost"):
            self._lose(reply["reason"])
        if reply.get("restart"):
            return self._struck(case, reply["status"], reply["reason"])
        return ended(case, reply["status"], reply["reason"])

    def _struck(self, case: Case, status: str, reason: str) -> list[dict[str, Any]]:
        """The worker is no more: a strike against the subject, and a fresh worker for the next case."""
        if not self.run_.stop.is_set():
            self.strikes[case.subject] += 1
        if self.link is not None:
            self.link.close()
            self.link = None
        return ended(case, status, reason)

    def _start(self) -> bool:
        """A worker that passed its health check; three that do not in a row, and the device counts as lost."""
        for attempt in range(tries := self.device.place.starts):
            if self.run_.stop.is_set():
                return False
            begin = time.monotonic()
            try:
                self.link = self.device.place.link(self.device)
                facts = self.link.ready()
            except (Died, TimedOut) as error:
                why = str(error)
                if self.link is not None:
                    self.link.close()
                    self.link = None
                self.run_.progress.say(f"{self.device.id}: worker does not start ({attempt + 1} of {tries}): {why}")
                continue
            finally:
                self._spend("start", time.monotonic() - begin)
            self.origin = replace(self.origin, machine=self.run_.learned(facts))
            self.pace.begin()
            return True
        self._lose(f"no worker could be started on this device: {why}")
        return False

    def _lose(self, why: str) -> None:
        """The device measures no more: what is left fails, or goes to a device that shares the plan."""
        self.lost = why
        if self.device.place.shared:
            raise Gone(why)

    def _spend(self, part: str, seconds: float) -> None:
        self.spent[part] = self.spent.get(part, 0.0) + seconds

    def _timeout(self, case: Case) -> float:
        slow = {"energy": 120.0, "network": 900.0}.get(case.probe, 300.0 if case.implementation == "compiled" else 0.0)
        axes = self.run_.axes
        asked = pace.CEILING * len(case.clocks) if axes.min_samples or axes.until_precise else 0.0
        return asked + max(self.run_.timeout, slow)
