"""Acceptance on a GPU as one table: `python -m reports.acceptance RUN ...` sets each native time beside a copy's,
torch's own pools, the eager row and the better form of torch.compile in the same run, and beside the goals.

Knows the tidy frame; nothing of how anything was measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports import frame
from reports.store import Folder

if TYPE_CHECKING:
    from pandas import DataFrame

PLACE = ["run", "machine", "kernel", "stride", "shape", "dtype", "layout", "direction", "clock"]
RIVALS = {"avg": ("avg", "torch"), "max": ("max", "torch"), "row": (None, "plain"), "compiled": (None, "compiled")}
# Least percent of the copy's speed: (overlapping windows, direction) -> float32, 16 bits.
COPY = {
    (False, "forward"): (88, 76), (False, "backward"): (88, 76), (True, "forward"): (75, 52),
    (True, "backward"): (68, 43), (False, "inverse"): (88, 80),
}  # fmt: skip
# Least factor against a rival, of forward and backward together; `avg` in float32 and in 16 bits.
FASTER = {"avg": (1.0, 1.5), "row": (15.0, 15.0), "compiled": (2.0, 2.0)}


def table(runs: Folder | Sequence[Folder]) -> DataFrame:
    """One row per native case: microseconds, percent of copy with its goal, times faster than each rival, `missed`."""
    tidy = frame.load(runs)
    timed = tidy[tidy["probe"].eq("latency") & tidy["median"].gt(0)]
    rows = timed[timed["implementation"].eq("native") & ~timed["method"].isin(RIVALS)].copy()
    rows["us"] = 1e6 * rows["median"]
    for rival, (method, implementation) in RIVALS.items():
        theirs = timed[timed["implementation"].eq(implementation)]
        on = PLACE if method else [*PLACE, "method"]
        theirs = theirs[theirs["method"].eq(method)] if method else theirs
        times = theirs.drop_duplicates(on, keep="last")[[*on, "median"]].rename(columns={"median": rival})
        rows = rows.merge(times, "left", on)
        rows[rival] = rows[rival] / rows["median"]
    rows["goal"] = [_goal(row) for row in rows.to_dict("records")]
    rows["missed"] = [", ".join(_missed(row)) for row in rows.to_dict("records")]
    shown: DataFrame = rows[["method", *PLACE[2:], "us", "percent_of_copy", "goal", *RIVALS, "missed"]]
    ordered: DataFrame = shown.sort_values(["method", *PLACE[2:]]).reset_index(drop=True)
    return ordered


def _narrow(row: dict[object, object]) -> bool:
    return row["dtype"] != "float32"


def _goal(row: dict[object, object]) -> float:
    goals = COPY.get((row["kernel"] != row["stride"], str(row["direction"])))
    return float(goals[_narrow(row)]) if goals else float("nan")


def _missed(row: dict[object, object]) -> list[str]:
    """Which goals a row fails; one without a number to compare fails none."""
    goals = [("percent_of_copy", row["goal"])]
    if row["direction"] == "both":
        goals += [(rival, least[_narrow(row)]) for rival, least in FASTER.items()]
    return [f"{name} < {least:g}" for name, least in goals if float(str(row[name])) < float(str(least))]


def main() -> None:
    shown = table(sys.argv[1:])
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="-"))
    missed = shown["missed"].ne("").sum()
    print(f"\n{len(shown)} native cases, {missed} of them below a goal")


if __name__ == "__main__":
    main()
