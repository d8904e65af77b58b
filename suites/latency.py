"""The latency probe: each clock of a case, verified before its speed is handed out.

Knows subjects, clocks and the verifier; nothing of records.
"""

from __future__ import annotations

import time
from typing import Protocol

import torch

from suites import spent, verify
from suites.case import Case
from suites.clocks import Measured
from suites.compiled import Best
from suites.finding import Finding
from suites.sampling import Rule, Samples
from suites.slowed import Slowed
from suites.span import synchronize
from suites.subject import Unavailable
from suites.subjects import build
from suites.timed import Timed


class Clocks(Protocol):
    """What a device kind offers: `run` of one clock, which takes samples as `rule` says."""

    rule: Rule

    def run(self, timed: Timed, clock: str, seconds: float) -> Measured: ...


def measure(
    case: Case, device: torch.device, clocks: Clocks, seconds: float, seed: int, slower: float = 0.0
) -> list[Finding]:
    """One finding per clock. An incorrect result has a reason and no speed, as has a clock that cannot measure it.

    `slower` is a fraction of its time by which the subject is slowed down.
    """
    with spent.on("inputs"):
        subject = build(case, device, seed)
        timed = Slowed(subject, case, seed, slower) if slower else Timed(subject, case, seed)
    found = []
    for clock in case.clocks:
        try:
            with spent.on("sampling"):
                measured = clocks.run(timed, clock, seconds)
        except Unavailable as reason:  # of this clock; the others may have theirs
            found.append(Finding("time", clock=clock, status="skipped", reason=str(reason)))
            continue
        begin = time.perf_counter()
        with verify.unhurried(case), spent.on("verifying"):
            fault, error, checks = judge(timed, measured)
        how = {
            **measured.samples.how,
            **({"operands": subject.operands} if subject.operands else {}),
            **(subject.call.facts() if isinstance(subject.call, Best) else {}),
            "verified": fault is None and subject.oracle is not None,
            "verified_against": subject.against,
            "checks": checks,
            "verify_error": None if error is None else float(f"{error:.3g}"),
            "verify_s": round(time.perf_counter() - begin, 4),
            "output": "preallocated" if case.method == "copy" else "fresh",
        }
        finding = Finding("time", clock=clock, how=how, warnings=[*subject.notes, *measured.samples.warnings])
        if fault is None:
            finding.samples = measured.samples
        else:
            finding.status, finding.reason = "incorrect", fault
        found.append(finding)
    if case.direction == "forward" and case.method != "copy" and any(finding.status == "ok" for finding in found):
        scale = of_ones(timed)
        for finding in found:
            finding.how |= scale
    return found


def of_ones(timed: Timed) -> dict[str, list[float]]:
    """The least and the most that an input of ones comes to: 1 and 1 of what keeps the scale, 4 and 9 of a padded sum.

    Leaves the subject's input changed.
    """
    with torch.no_grad():
        timed.inputs[0].fill_(1.0)
        (y,) = timed()
    return {"of_ones": [float(y.min()), float(y.max())]} if y.numel() else {}


def judge(timed: Timed, measured: Measured) -> tuple[str | None, float | None, list[str]]:
    """The fault of the timed call, if any; its error in tolerances; what was looked at."""
    fault, error = verify.after(timed, measured.state, measured.snapshot)
    checks = ["timed output", "fresh numbers", "inputs unchanged"]
    if fault is None:
        fault, more = _deeper(timed, measured)
        checks += more
    if fault is None or "gave another result" in fault:
        fault = verify.settled(measured.snapshot, measured.outputs, measured.returned) or fault
        checks.append("no late write")
    return fault, error, checks


def untimed(timed: Timed) -> str | None:
    """The fault of one call after others, on fresh numbers, judged as a timed one is; for probes without a clock."""
    timed()
    timed.refill()
    state = timed.state()
    outputs = timed()
    synchronize(timed.inputs[0].device)
    returned = time.perf_counter()
    snapshot = tuple(out.detach().clone() for out in outputs)
    with verify.unhurried(timed.case):
        return judge(timed, Measured(Samples([], [], "budget"), state, snapshot, outputs, returned))[0]


def _deeper(timed: Timed, measured: Measured) -> tuple[str | None, list[str]]:
    """What is looked at once the timed output is right: an untimed call on poisoned memory, the oracle itself."""
    outputs = verify.poisoned(timed)
    if timed.subject.oracle is None:
        return verify.compare_with_itself(timed, outputs)[0], ["poisoned memory", "second run on copies"]
    fault, _ = verify.compare(timed.case, outputs, verify.expected(timed, measured.state))
    if fault is not None:
        return f"from poisoned memory: {fault}", ["poisoned memory"]
    return verify.golden(timed.case), ["poisoned memory", "golden values"]
