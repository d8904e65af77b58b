"""A plan in n shares for n machines: deterministic, balanced by estimated time, what is compared never split.

A ratio is only worth something between two numbers of one machine, so every implementation, direction and probe of one
input and window stays together, with its copy ceiling. Torch-free; knows cases and what they cost, no machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from suites.axes import Axes, UsageError
from suites.case import Case
from suites.pace import fixed


def parse(value: str) -> tuple[int, int]:
    """`2/4` as (2, 4); UsageError unless 1 <= i <= n."""
    found = re.fullmatch(r"(\d+)/(\d+)", value, re.ASCII)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise UsageError(f"shard: expected i/n with i from 1 to n, such as 2/4, got {value!r}")
    return index, count


def groups(cases: Sequence[Case]) -> list[list[Case]]:
    """What has to be measured on one machine, in the plan's order: the cases of one input and window."""
    found: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        pictures = case.probe == "retention"
        found.setdefault((pictures, case.shape, case.window, case.dtype, case.layout), []).append(case)
    return list(found.values())


def shares(cases: Sequence[Case], count: int, axes: Axes, kind: str) -> list[list[Case]]:
    """`count` lists that hold each case once, in the plan's order: the costliest group next, to the emptiest list."""
    costs = [(cost(group, axes, kind), number, group) for number, group in enumerate(groups(cases))]
    loads = [0.0] * count
    owner: dict[str, int] = {}
    for seconds, _, group in sorted(costs, key=lambda one: (-one[0], one[1])):
        least = loads.index(min(loads))
        loads[least] += seconds
        owner |= dict.fromkeys((case.key for case in group), least)
    return [[case for case in cases if owner[case.key] == index] for index in range(count)]


def cost(group: Sequence[Case], axes: Axes, kind: str) -> float:
    """Seconds of the cases, each clock sampled for as long as it may be."""
    return sum(fixed(case, kind) + len(case.clocks) * axes.preset.most for case in group)


def share(cases: Sequence[Case], axes: Axes, kind: str) -> list[Case]:
    """The share that `axes.shard` names, or all; UsageError when there are fewer groups than shards."""
    if axes.shard is None:
        return list(cases)
    index, count = parse(axes.shard)
    if count > (most := len(groups(cases))):
        raise UsageError(
            f"shard: expected at most {most} shards (cases of one input and window stay together), got {axes.shard!r}"
        )
    return shares(cases, count, axes, kind)[index - 1]


def digest(cases: Sequence[Case]) -> str:
    """Tells whether two machines share out the same plan."""
    return hashlib.sha256("\n".join(f"{case.key} {case.clocks}" for case in cases).encode()).hexdigest()[:12]
