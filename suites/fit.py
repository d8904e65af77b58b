"""What of a plan fits into its time, decided before anything is measured, and in words what does not. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from suites import pace, rounds
from suites.axes import Axes
from suites.case import Case

LEFT_OUT = "left out by plan: no time for it in this profile or budget"
ROOM = 0.9  # of the time, so that a machine a little slower than expected still comes to the end


@dataclass(frozen=True)
class Fitted:
    """The cases that are measured, in their order, and those that are not."""

    cases: list[Case]
    left: list[Case]


def fitted(cases: Sequence[Case], axes: Axes, kind: str) -> Fitted:
    """Whole rounds, as they come, as long as there is time: all methods lose the same windows and probes. Of the first
    round as much as fits, since a run without a case says nothing; memory only of what is timed, too.
    """
    if not pace.bounded(axes):
        return Fitted(list(cases), [])
    room = ROOM * pace.limit(axes, kind)
    chosen: list[Case] = []
    left: list[Case] = []
    untimed: set[tuple[object, ...]] = set()
    for part in rounds.rounds(cases):
        costs = [pace.cost(case, axes, kind) for case in part]
        alone = part[0].probe == "memory" and _tensor(part[0]) in untimed
        fits = len(part) if sum(costs) <= room and not alone else 0
        if not chosen:
            fits = max(1, sum(sum(costs[: n + 1]) <= room for n in range(len(part))))
        chosen += part[:fits]
        left += part[fits:]
        untimed |= {_tensor(case) for case in part[fits:] if case.probe == "latency"}
        room -= sum(costs[:fits])
    return Fitted(chosen, left)


def _tensor(case: Case) -> tuple[object, ...]:
    return case.window, case.shape, case.dtype, case.layout, case.direction


def words(plan: Fitted, axes: Axes, kind: str) -> str:
    """One paragraph: how much is left out, of what, and what would measure it; empty where nothing is."""
    if not plan.left:
        return ""
    whole = [*plan.cases, *plan.left]
    methods = Counter(case.method for case in plan.left)
    low, high = min(methods.values()), max(methods.values())
    each = f"{low}" if low == high else f"{low} to {high}"
    counts = [
        _counted(Counter(case.probe for case in plan.left)),
        _counted(Counter(f"{case.rank}-D" for case in plan.left)),
        *([_counted(clocks)] if (clocks := Counter(c for case in plan.left for c in case.clocks)) else []),
        f"{each} of each of {len(methods)} methods",
    ]
    places: dict[str, dict[str, None]] = {}
    for case in plan.left:
        places.setdefault(case.probe, {})[_place(case)] = None
    told = "; ".join(f"{probe} at {', '.join(found)}" for probe, found in places.items())
    time = pace.START_SECONDS + sum(pace.cost(case, axes, kind) for case in whole) / ROOM
    minutes = int((time + pace.REPORT_SECONDS[axes.profile]) // 60) + 1
    return (
        f"{len(plan.left)} of {len(whole)} cases are left out by plan, for want of time: {'; '.join(counts)}. "
        f"They are {told}. --budget {minutes}m measures all."
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _place(case: Case) -> str:
    rank = "" if case.rank == 2 else f" {case.rank}-D"
    kind = "" if (case.dtype, case.layout) == ("float32", "nchw") else f" {case.dtype} {case.layout}"
    return f"{case.window}{rank}{kind}"
