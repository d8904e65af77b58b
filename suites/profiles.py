"""Chosen cases once more under a profiler, each in a process of its own, after everything is measured.

What comes of a case, or why nothing does, is a line of profiles.jsonl; files go to the run's profiles folder. Nothing
here can spoil a record. Torch-free.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from reports import profile
from reports.profile import Kernel, Profile
from suites import chosen, device_lock, ncu, nsys, setting, trace
from suites.case import Case, public
from suites.launch import Refused, folded, worded
from suites.machine import cores, private

SLOWEST = 3  # cases that are profiled on a device when none is named
SECONDS = 300.0  # of one case: the profiler replays every kernel
FOLDER = "profiles"
ADVICE = {"ncu": "Nsight Compute, of the CUDA toolkit", "nsys": "Nsight Systems, of the CUDA toolkit"}


class Failed(RuntimeError):
    """The case itself did not run; `said` is all that was printed."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(reason)
        self.said = said


class TimedOut(RuntimeError):
    """It took too long and was killed."""


class Wanted(NamedTuple):
    """A case to be profiled, and where."""

    device: str
    kind: str
    machine: str
    case: Case


def matching(plan: Mapping[str, Sequence[Case]], globs: Sequence[str]) -> list[tuple[str, Case]]:
    """(device, case) of the latency cases whose names fit one of the globs."""
    return [(device, case) for device, cases in _timed(plan).items() for case in cases if any(map(case.fits, globs))]


def check(plan: Mapping[str, Sequence[Case]], globs: Sequence[str]) -> None:
    """UsageError for a glob that fits no case of the whole plan; that a shard has none of its cases is no mistake."""
    chosen.only(_timed(plan), globs, "profile-case", "a latency case")


def _timed(plan: Mapping[str, Sequence[Case]]) -> dict[str, list[Case]]:
    return {device: [case for case in cases if case.probe == "latency"] for device, cases in plan.items()}


def among(plan: Mapping[str, Sequence[Case]], names: Iterable[tuple[str, str]]) -> list[tuple[str, Case]]:
    """(device, case) of the latency cases with these names."""
    timed = {(device, case.name): case for device, cases in _timed(plan).items() for case in cases}
    return [(device, timed[device, name]) for device, name in names if (device, name) in timed]


def absent(name: str, kind: str) -> str | None:
    """Why this profiler cannot be had for a kind of device, as far as that is known beforehand; None when it can."""
    if name == "torch":
        return None
    if kind != "cuda":
        return f"{name} profiles CUDA kernels, this is a CPU; --profile-with torch works here"
    return None if shutil.which(name) else f"{name} is not on the PATH ({ADVICE[name]})"


@dataclass(frozen=True)
class Profiler:
    """One run's profiler: which, into which folder, in which environment a device is seen."""

    name: str
    run: Path
    seed: int
    environment: Callable[[str, str], dict[str, str]]
    say: Callable[[str], object] = print

    def profile(self, wanted: Wanted) -> Profile:
        """What comes of one case, written down. Nobody else measures the device meanwhile."""
        with device_lock.held(wanted.device, self.say):
            return self._profile(wanted)

    def _profile(self, wanted: Wanted) -> Profile:
        base = self.run / FOLDER / re.sub(r"[^\w-]", "_", wanted.device) / re.sub(r"[^\w.-]", "_", wanted.case.name)
        base.parent.mkdir(parents=True, exist_ok=True)
        self._clear(base)
        status, reason, kernels, note = "ok", None, list[Kernel](), None
        try:
            kernels, note = self._kernels(wanted, base)
        except (Refused, Failed, TimedOut) as error:
            status, reason = {Refused: "refused", Failed: "failed", TimedOut: "timeout"}[type(error)], str(error)
        except Exception as error:  # whatever a profiler may print: the records must not suffer
            status, reason = "failed", f"{self.name}'s output was not understood: {type(error).__name__}: {error}"
        except BaseException:  # stopped
            self._clear(base)
            raise
        files = sorted(base.parent.glob(f"{base.name}.{self.name}*"))
        made = Profile(
            case=wanted.case.name, device=wanted.device, machine=wanted.machine, profiler=self.name, status=status,
            reason=None if reason is None else private(reason)[:500] or "no reason given", calls=self._calls,
            note=note, kernels=tuple(kernels), files=tuple(str(path.relative_to(self.run)) for path in files),
            command=self._shown(wanted, base), time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )  # fmt: skip
        profile.append(self.run, made)
        return made

    def _clear(self, base: Path) -> None:
        """No file of an earlier or unfinished profile stays."""
        for old in base.parent.glob(f"{base.name}.{self.name}*"):
            old.unlink()

    @property
    def _calls(self) -> int:
        return {"ncu": ncu.CALLS, "nsys": nsys.CALLS, "torch": trace.CALLS}[self.name]

    def _kernels(self, wanted: Wanted, base: Path) -> tuple[list[Kernel], str | None]:
        """What was seen, and what a reader must know of it."""
        if reason := absent(self.name, wanted.kind):
            raise Refused(reason)
        words = base.with_name(f"{base.name}.launches")
        try:
            seen = self._seen(wanted, base, [*self._call(wanted, base), "--launches", str(words)])
            told = json.loads(words.read_bytes()) if words.is_file() else []
        finally:
            words.unlink(missing_ok=True)
        cut = self.name == "ncu" and len(seen) >= ncu.MOST
        note = f"the call may have more kernels: the first {ncu.MOST} were profiled" if cut else None
        return worded(folded(seen, self._calls), [(text, threads) for text, threads in told]), note

    def _call(self, wanted: Wanted, base: Path) -> list[str]:
        """The process in which the case runs."""
        case = wanted.case
        words = [sys.executable, "-m", "suites.profiled", case.name, *(["--own", case.own] if case.own else [])]
        words += ["--device", wanted.kind, "--seed", str(self.seed)]
        words += ["--calls", str(self._calls), "--threads", str(cores())]
        return [*words, "--trace", f"{base}.torch.json.gz"] if self.name == "torch" else words

    def _shown(self, wanted: Wanted, base: Path) -> str:
        """The command as a reader may repeat it."""
        own = wanted.case.own
        call = ["python" if word == sys.executable else word for word in self._call(wanted, Path(base.name))]
        call = [public(own) if own and word == own else word for word in call]
        makers = {"ncu": ncu.profile, "nsys": nsys.profile}
        whole = makers[self.name](Path(base.name), call) if self.name in makers else call
        return private(shlex.join(whole))

    def _seen(self, wanted: Wanted, base: Path, call: list[str]) -> list[Kernel]:
        def run(command: list[str]) -> tuple[str, str]:
            return _run(command, {**self.environment(wanted.device, wanted.kind), "LC_ALL": "C"})

        return {"ncu": _with_ncu, "nsys": _with_nsys, "torch": _with_torch}[self.name](base, call, run)


Runs = Callable[[list[str]], tuple[str, str]]  # a command -> what it said on stdout and on stderr; Failed


def _with_ncu(base: Path, call: list[str], run: Runs) -> list[Kernel]:
    report = base.with_name(f"{base.name}.ncu-rep")
    try:
        said = "".join(run(ncu.profile(report, call)))
    except Failed as error:
        raise Refused(why) if (why := ncu.fault(error.said)) else error from None
    if why := ncu.fault(said):
        raise Refused(why)
    if not report.is_file():
        raise Refused("ncu left no report")
    text, _ = run(ncu.table(report))
    base.with_name(f"{base.name}.ncu.csv").write_text(ncu.public(text))
    return ncu.read(text)


def _with_nsys(base: Path, call: list[str], run: Runs) -> list[Kernel]:
    report = base.with_name(f"{base.name}.nsys-rep")
    try:
        run(nsys.profile(report, call))
    except Failed as error:
        if not report.is_file():
            raise
        raise Refused(str(error)) from None
    if not report.is_file():
        raise Refused("nsys left no report (it may have written a .qdstrm file that it could not turn into one)")
    try:
        for name in nsys.TABLES:
            with contextlib.suppress(Failed, Refused):  # a name that this version does not know
                table = nsys.public(run(nsys.table(report, name))[0])
                break
        else:
            raise Refused(f"nsys stats printed no table of kernels (asked for {' and '.join(nsys.TABLES)})")
    finally:
        base.with_name(f"{base.name}.sqlite").unlink(missing_ok=True)  # what stats reads; the report has it all
    base.with_name(f"{base.name}.nsys.csv").write_text(table)
    return nsys.read(table)


def _with_torch(base: Path, call: list[str], run: Runs) -> list[Kernel]:
    run(call)
    with gzip.open(base.with_name(f"{base.name}.torch.json.gz"), "rt", encoding="utf-8") as file:
        return trace.read(json.load(file))


def _run(command: list[str], environment: dict[str, str]) -> tuple[str, str]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        env=setting.inherited(environment), start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=SECONDS)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TimedOut(f"{Path(command[0]).name} took more than {SECONDS:g} s and was killed") from None
        raise
    if process.returncode:
        lines = [line for line in (out + err).splitlines() if line.strip() and not line.startswith("==")]
        last = lines[-1] if lines else "nothing was said"
        raise Failed(f"{Path(command[0]).name} exited with code {process.returncode}: {last.strip()}", out + err)
    return out, err
