"""Two runs of trained networks against each other: the scores of a subject with all seeds together, paired by seed.

The numbers of a seed repeat exactly as long as nothing that computes them has changed; after that they move both ways,
so that a verdict needs the interval of all differences. Knows the joined table of comparison.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from reports import trials, trials_text
from reports.rules import Rules

if TYPE_CHECKING:
    from pandas import DataFrame

SURE = 0.95  # of all scores of a comparison together: Bonferroni's share of what is left is each one's
_NOT_OF_ALL = ("lo_a", "hi_a", "lo_b", "hi_b", "b_over_a_lo", "b_over_a_hi")


def gathered(found: DataFrame, known: Rules) -> DataFrame:
    """`found` with one row for each score of a subject in place of one for each seed; the case is `task/subject`."""
    import pandas as pd

    scores = found["probe"].eq(trials.PROBE) & found["metric"].ne(trials.STEP)
    if not scores.any():
        return found
    subjects = found["case"].str.rpartition("/")[0]
    groups = found[scores].groupby(["machine", subjects[scores], "metric"], sort=False)
    level = 1 - (1 - SURE) / groups.ngroups
    rows = [_row(case, part.to_dict("records"), known, level) for (_, case, _), part in groups]
    both: DataFrame = pd.concat([found[~scores], pd.DataFrame(rows)[list(found.columns)]], ignore_index=True)
    return both


def _row(case: str, seeds: list[dict[Any, Any]], known: Rules, level: float) -> dict[str, Any]:
    """All seeds of a subject's score. A seed that only B has says nothing; one that only A has is missed."""
    metric = seeds[0]["metric"]
    margin = known.margin(metric, case)
    row = {**seeds[0], **dict.fromkeys(_NOT_OF_ALL, math.nan), "case": case, "margin": margin}
    pairs = [seed for seed in seeds if seed["status_a"] == seed["status_b"] == "ok"]
    row |= {f"n_{side}": sum(seed[f"status_{side}"] == "ok" for seed in seeds) for side in "ab"}
    row |= {f"median_{side}": trials.mean([pair[f"median_{side}"] for pair in pairs]) for side in "ab"}
    row["b_over_a"] = row["median_b"] / row["median_a"] if row["median_a"] else math.nan
    for verdict in ("FAILED", "MISSING"):
        lost = [seed for seed in seeds if seed["verdict"] == verdict]
        if lost:
            note = f"{len(lost)} of {len(seeds)} seeds: {lost[0]['note']}"
            return {**row, **_sides(lost[0]), "b_over_a": math.nan, "verdict": verdict, "note": note}
    if not pairs:
        return row  # every seed is NEW, or none was measured
    verdict, note = _judged(metric, [seed["median_b"] - seed["median_a"] for seed in pairs], margin, level)
    return {**row, **_sides(pairs[0]), "verdict": verdict, "note": note}


def _sides(seed: dict[Any, Any]) -> dict[str, Any]:
    return {f"{name}_{side}": seed[f"{name}_{side}"] for name in ("status", "reason") for side in "ab"}


def _judged(metric: str, apart: list[float], margin: float, level: float) -> tuple[str, str]:
    """The verdict on B less A by seed. Higher is better."""
    if not any(apart):
        return "EQUIVALENT", ""
    low, high = trials.interval(apart, level)
    mean = trials_text.number(metric, sum(apart) / len(apart), True)
    note = f"{mean} {trials_text.WORDS[metric]} {trials_text.ends(metric, (low, high), True)}".rstrip()
    note += f" over {len(apart)} seeds"
    if math.isnan(low):
        return "INCONCLUSIVE", f"{note}; {trials.LEAST} are needed for an interval"
    if high < -margin:
        return "REGRESSED", note
    if low > margin:
        return "IMPROVED", note
    return ("EQUIVALENT" if -margin <= low and high <= margin else "INCONCLUSIVE"), note
