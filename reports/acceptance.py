"""Acceptance on a GPU as one table: `python -m reports.acceptance RUN ...` sets each native time beside a copy's,
torch's own pools, the eager row and the better form of torch.compile in the same run, and says which goals are met.

Knows the tidy frame; nothing of how anything was measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports import frame
from reports.store import Folder

if TYPE_CHECKING:
    from pandas import DataFrame

PLACE = ["run", "machine", "kernel", "stride", "padding", "ceil_mode", "shape", "dtype", "layout", "direction", "clock"]
RIVALS = {"avg": ("avg", "torch"), "max": ("max", "torch"), "row": (None, "plain"), "compiled": (None, "compiled")}
WINDOWS = {  # kernel, stride, padding -> kind; a 2-D window over the whole extent is "global" before all others
    ("2x2", "2x2", "0x0"): "apart", ("3x3", "3x3", "0x0"): "apart",
    ("3x3", "2x2", "0x0"): "overlapping", ("3x3", "2x2", "1x1"): "overlapping",
    ("2", "2", "0"): "line", ("2x2x2", "2x2x2", "0x0x0"): "volume",
}  # fmt: skip
# Least part of a copy's speed: kind of window, direction -> float32, 16 bits.
COPY = {
    ("apart", "forward"): (0.88, 0.60), ("apart", "backward"): (0.85, 0.55), ("apart", "inverse"): (0.88, 0.80),
    ("overlapping", "forward"): (0.55, 0.33), ("overlapping", "backward"): (0.35, 0.20),
    ("line", "forward"): (0.5, 0.5), ("volume", "forward"): (0.5, 0.5),
}  # fmt: skip
WIDTHS = {"float32": 0, "float16": 1, "bfloat16": 1}
LEVEL = 0.95  # "as fast as": two medians of one run may differ by as much
COMPILED = 2.0  # times faster than torch.compile, forward and backward together


def table(runs: Folder | Sequence[Folder]) -> DataFrame:
    """One row per native case: microseconds, its speed over a copy's and over each rival's, its goals in words, and
    `verdict`: met, missed (`missed` says which), unmeasured where the run lacks a number for one, none without goals.
    """
    tidy = frame.load(runs)
    timed = tidy[tidy["probe"].eq("latency") & tidy["median"].gt(0)]
    rows = timed[timed["implementation"].eq("native")].copy()
    rows["us"] = 1e6 * rows["median"]
    rows["copy"] = rows["percent_of_copy"] / 100
    present = {run: {"copy"} for run in rows["run"].unique()}
    for rival, (method, implementation) in RIVALS.items():
        theirs = timed[timed["implementation"].eq(implementation)]
        on = PLACE if method else [*PLACE, "method"]
        theirs = theirs[theirs["method"].eq(method)] if method else theirs
        times = theirs.drop_duplicates(on, keep="last")[[*on, "median"]].rename(columns={"median": rival})
        rows = rows.merge(times, "left", on)
        rows[rival] = rows[rival] / rows["median"]
        for run in set(times["run"]) & present.keys():
            present[run].add(rival)
    judged = [_judge(row, goals(row, present[row["run"]])) for row in rows.to_dict("records")]
    for place, name in enumerate(("goals", "verdict", "missed")):
        rows[name] = [each[place] for each in judged]
    shown: DataFrame = rows[["method", *PLACE[2:], "us", "copy", *RIVALS, "goals", "verdict", "missed"]]
    ordered: DataFrame = shown.sort_values(["method", *PLACE[2:]]).reset_index(drop=True)
    return ordered


def goals(row: dict[Any, Any], present: set[str]) -> dict[str, float]:
    """The least speed over a copy's and over each rival's that is asked of a case; rivals that the run has not are
    left out.
    """
    whole = "x".join(row["shape"].split("x")[2:])
    window = (row["kernel"], row["stride"], row["padding"])
    flat = row["kernel"].count("x") == 1
    kind = "global" if flat and row["kernel"] == whole else WINDOWS.get(window, "other")
    found: dict[str, float] = {}
    if row["dtype"] in WIDTHS and (kind, row["direction"]) in COPY:
        found["copy"] = COPY[kind, row["direction"]][WIDTHS[row["dtype"]]]
    if row["direction"] != "inverse":
        if kind == "global":
            found["avg"] = LEVEL
        elif flat:  # never slower than torch's own; its average is held against its average
            own = row["method"] if row["method"] in ("avg", "max") else None
            found |= {rival: 1.0 for rival in ("avg", "max") if own in (None, rival)}
        found["row"] = 1.0
        if row["direction"] == "both":
            found["compiled"] = COMPILED
    return {name: least for name, least in found.items() if name in present}


def _judge(row: dict[Any, Any], asked: dict[str, float]) -> tuple[str, str, str]:
    """Goals, verdict and what is missed, in words."""
    missed = [f"{name} {row[name]:.3g} < {least:g}" for name, least in asked.items() if row[name] < least]
    unknown = any(row[name] != row[name] for name in asked)
    verdict = "missed" if missed else "unmeasured" if unknown else "met" if asked else "none"
    return ", ".join(f"{name} {least:g}" for name, least in asked.items()), verdict, ", ".join(missed)


def holes(runs: Folder | Sequence[Folder]) -> list[str]:
    """Cases of any implementation without a time, counted by status and reason."""
    tidy = frame.load(runs)
    bad = tidy[tidy["probe"].eq("latency") & tidy["status"].ne("ok")]
    counts = bad.groupby(["implementation", "status", "reason"], sort=False).size()
    return [f"{count} {name} {status}: {reason}" for (name, status, reason), count in counts.items()]


def main() -> None:
    shown = table(sys.argv[1:])
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="-"))
    counts = shown["verdict"].value_counts()
    words = ", ".join(f"{counts[name]} {name}" for name in ("met", "missed", "unmeasured", "none") if name in counts)
    print(f"\n{len(shown)} native cases" + (f": {words}" if words else ""))
    for line in holes(sys.argv[1:]):
        print(f"without a time: {line}")


if __name__ == "__main__":
    main()
