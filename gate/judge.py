"""Verdicts of the gate: what interleaved passes of two builds say of every case, and the exit code of it all.

Knows records and the gate's statistics; nothing of how passes are made, of git, or of how verdicts are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gate.sampled import Sampled
from reports.record import Record
from reports.rules import ABSOLUTE, HIGHER_IS_BETTER, SAMPLED, TIMES, Rules

# In the order in which a reader wants them; docs/gate.md says what each means.
VERDICTS = ("REGRESSED", "FAILED", "MISSING", "ENVIRONMENT", "IMPROVED", "NEW", "INCONCLUSIVE", "EQUIVALENT")
OK, REGRESSION, UNSTABLE, INCORRECT, UNMEASURED = 0, 1, 3, 4, 5  # exit codes of a comparison
GRAIN = 0.3e-6  # seconds of a call that no clock tells apart
WORST = ("incorrect", "oom", "timeout", "failed", "skipped")


@dataclass(frozen=True)
class Pass:
    """One fresh process of one side over its cases; of several records of a case, the fastest counts."""

    side: str  # base | head
    pair: int
    stage: str  # screen | confirm
    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The verdict on one metric of one case. Changes of sampled metrics and of bytes are fractions of base."""

    case: str
    metric: str
    verdict: str
    note: str = ""
    unit: str = "1"
    base: float | None = None
    head: float | None = None
    change: float | None = None
    lo: float | None = None
    hi: float | None = None
    margin: float | None = None
    p: float | None = None
    detectable: float | None = None
    pairs: int = 0
    cause: str | None = None
    incorrect: bool = False
    control: bool = False


@dataclass(frozen=True)
class Judgement:
    """All verdicts of a comparison, what neither side has, and why the machine is not to be trusted, if it is not."""

    results: tuple[Result, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    unstable: str | None = None
    optional: bool = False  # nothing here is no fault: the tool for it is not on this machine, or both sides are alike
    unstable_ok: bool = False  # an unstable machine is no fault either: what repeats exactly is judged all the same

    def count(self, verdict: str) -> int:
        return sum(result.verdict == verdict for result in self.results)

    @property
    def exit_code(self) -> int:
        """The gravest of what was found; `UNSTABLE` gives way to what is sure."""
        if any(result.incorrect for result in self.results):
            return INCORRECT
        if self.count("REGRESSED"):
            return REGRESSION
        if self.count("FAILED") or self.count("MISSING") or not (self.results or self.optional):
            return UNMEASURED
        return UNSTABLE if self.unstable and not self.unstable_ok else OK

    def moved(self) -> set[str]:
        """The cases that changed in a metric, as far as that is the builds' doing."""
        return {result.case for result in self.results if result.verdict in ("REGRESSED", "IMPROVED")}

    def because(self, kernels: Mapping[str, str], files: str | None) -> Judgement:
        """The same, with the cause of what moved: kernels (of time and energy alone) and files that differ."""
        told = []
        for result in self.results:
            timed = result.metric.split()[0] in SAMPLED
            words = "; ".join(filter(None, [kernels.get(result.case) if timed else None, files]))
            told.append(replace(result, cause=words or None) if result.case in self.moved() else result)
        return replace(self, results=tuple(told))

    def to_dict(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code, "unstable": self.unstable, "counts": {v: self.count(v) for v in VERDICTS},
            "results": [asdict(result) for result in self.results], "skipped": self.skipped,
        }  # fmt: skip


def label(record: Record) -> str:
    """A metric of a case in words: the clock where there is one, else the metric."""
    return f"{record.metric} {record.clock}" if record.clock else record.metric


Measured = dict[tuple[str, str], dict[str, dict[tuple[str, int], list[Record]]]]  # (case, label) -> side -> pass -> ...


def table(passes: Sequence[Pass]) -> Measured:
    found: Measured = {}
    for one in passes:
        for record in one.records:
            sides = found.setdefault((record.case, label(record)), {"base": {}, "head": {}})
            sides[one.side].setdefault((one.stage, one.pair), []).append(record)
    return found


def status(held: Mapping[tuple[str, int], list[Record]]) -> tuple[str, str]:
    """The worst that a side's passes say of a case, with its reason; absent where they say nothing."""
    records = [record for group in held.values() for record in group]
    for worst in WORST:
        for record in records:
            if record.status == worst:
                return worst, record.reason or "no reason given"
    return ("ok", "") if records else ("absent", "not there")


def sampled(passes: Sequence[Pass], rules: Rules) -> list[Sampled]:
    """The metrics that are judged by pairs, each label apart, with the cases that both sides measured."""
    groups: dict[str, dict[str, Any]] = {}
    for (case, name), sides in table(passes).items():
        if all(status(held)[0] == "ok" for held in sides.values()) and name.split()[0] in SAMPLED:
            groups.setdefault(name, {})[case] = sides
    made = []
    for name, cases in groups.items():
        metric = name.split()[0]
        margins = {case: rules.margin(metric, case) for case in cases}
        controls = {case for case in cases if metric in TIMES and rules.is_control(case)}
        values = {
            case: {side: {at: min(map(quiet, records)) for at, records in held.items()} for side, held in sides.items()}
            for case, sides in cases.items()
        }
        made.append(Sampled(name, values, margins, controls, GRAIN if metric == "time" else 0.0))
    return made


def quiet(record: Record) -> float:
    """One number of a record's samples. On a GPU the median; on a CPU the fastest: other processes only add there."""
    kept = [x for x, keep in zip(record.samples or [], record.kept or [], strict=True) if keep]
    if record.device == "cpu" and kept:
        return min(kept)
    return record.value if record.value is not None else math.nan


def suspects(passes: Sequence[Pass], rules: Rules) -> tuple[set[str], int]:
    """The cases that need fresh pairs, and how many pairs; the screening passes decide."""
    found: set[str] = set()
    pairs = 0
    for group in sampled(passes, rules):
        names, needed = group.suspects()
        found |= names
        pairs = max(pairs, needed)
    return found, pairs


def judge(passes: Sequence[Pass], rules: Rules, unchanged: Mapping[str, bool] | None = None) -> Judgement:
    """Verdicts of all cases. `unchanged`: case -> whether both builds run the same code for it."""
    results: list[Result] = []
    skipped: dict[str, str] = {}
    timed: set[tuple[str, str]] = set()
    for group in sampled(passes, rules):
        for case, facts in group.verdicts().items():
            timed.add((case, group.name))
            results.append(Result(case=case, metric=group.name, control=rules.is_control(case), **facts))
    for (case, name), sides in table(passes).items():
        if (case, name) in timed:
            continue
        one = _untimed(case, name, sides, rules)
        if one is None:
            skipped[f"{case} [{name}]"] = status(sides["head"])[1]
        else:
            results.append(one)
    results = [_blamed(result, unchanged or {}) for result in results]
    results.sort(key=lambda r: (VERDICTS.index(r.verdict), -(r.change or 0.0), r.case, r.metric))
    return Judgement(tuple(results), skipped, _instability(results, rules))


def _untimed(case: str, name: str, sides: Mapping[str, Any], rules: Rules) -> Result | None:
    """What one side lacks, or a number that repeats exactly. None where neither side means to have it."""
    (base, why), (head, reason) = status(sides["base"]), status(sides["head"])
    if head not in ("ok", "skipped", "absent"):
        again = " (base likewise)" if base == head else ""
        note = f"{head}: {reason}{again}"
        return Result(case=case, metric=name, verdict="FAILED", note=note, incorrect=head == "incorrect")
    if head != "ok":
        if base in ("skipped", "absent"):
            return None
        return Result(case=case, metric=name, verdict="MISSING", note=f"{head} in head: {reason}; base: {base}")
    ours, theirs = _value(sides["base"]), _value(sides["head"])
    unit = next(iter(sides["head"].values()))[0].unit
    if base != "ok" or ours is None or theirs is None:
        return Result(case=case, metric=name, verdict="NEW", note=f"{base} in base: {why}", head=theirs, unit=unit)
    margin = rules.margin(name, case)
    change = theirs - ours if name in ABSOLUTE else (theirs - ours) / ours if ours else float(theirs != ours)
    verdict = "EQUIVALENT"
    if abs(change) > margin:
        verdict = "IMPROVED" if (change > 0) == (name in HIGHER_IS_BETTER) else "REGRESSED"
    return Result(
        case=case, metric=name, verdict=verdict, unit=unit, base=ours, head=theirs, change=change, margin=margin
    )


def _value(held: Mapping[Any, list[Record]]) -> float | None:
    values = [record.value for group in held.values() for record in group if record.value is not None]
    return values[0] if values else None


def _blamed(result: Result, unchanged: Mapping[str, bool]) -> Result:
    """A confirmed change of what did not change is the environment's."""
    if result.verdict not in ("REGRESSED", "IMPROVED"):
        return result
    if result.metric.split()[0] in SAMPLED and (result.control or unchanged.get(result.case, False)):
        way = "slower" if result.verdict == "REGRESSED" else "faster"
        return replace(result, verdict="ENVIRONMENT", note=f"{way}, but both builds run the same code here")
    return result


def _instability(results: Sequence[Result], rules: Rules) -> str | None:
    moved = [result for result in results if result.verdict == "ENVIRONMENT"]
    if moved:
        return f"{len(moved)} cases moved although their code did not, such as {moved[0].case}"
    timed = [result for result in results if result.detectable is not None and not result.control]
    blind = [result for result in timed if (result.detectable or 0.0) > rules.detect]
    if len(blind) * 2 > len(timed):
        return f"{len(blind)} of {len(timed)} cases could not have shown a change of {rules.detect:.0%}"
    return None
