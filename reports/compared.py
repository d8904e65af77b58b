"""What a comparison of two runs says: as text, as Markdown, as JSON, and what is beyond a limit.

Knows the joined table with its verdicts; nothing of how runs are joined.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from reports import digits
from reports.markdown import one_line
from reports.rules import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from pandas import DataFrame, Series

VERDICTS = {  # in the order in which a reader wants them
    "FAILED": "B has no result because it failed, ran out of time or memory, or was incorrect",
    "MISSING": "A has it and B does not, or B skipped it",
    "REGRESSED": "worse, beyond the margin; of time and energy unconfirmed, since the runs were not interleaved",
    "IMPROVED": "better, beyond the margin; of time and energy unconfirmed likewise",
    "NEW": "B has it and A does not",
    "INCONCLUSIVE": "the interval is too wide to say, or there is none; the note gives what it could have shown",
    "EQUIVALENT": "the interval lies inside the margin",
    "UNMEASURED": "neither run has a number",
}
HINT = "The runs were not interleaved: a verdict on time or energy is a hint; `gate ab` confirms it."
LISTED = 20
_QUIET = ("EQUIVALENT", "UNMEASURED")
_HEADS = ("case", "A", "B", "change", "note")


def origins(left: DataFrame, right: DataFrame) -> list[str]:
    """A line for each side: run, commit, device, how many records."""
    return [f"{side}: {_origin(frame)}" for side, frame in (("A", left), ("B", right))]


def _origin(frame: DataFrame) -> str:
    def one(column: Series[Any]) -> str:
        known = [str(value) for value in column.dropna().unique()]
        return ", ".join(known) or "unknown"

    return f"{one(frame['run'])}, commit {one(frame['commit'])}, {one(frame['device_name'])}, {len(frame)} records"


def listed(found: DataFrame, verdict: str) -> DataFrame:
    """The rows of a verdict that are worth a line, worst first; of the inconclusive ones, those beyond the margin."""
    rows: DataFrame = found[found["verdict"].eq(verdict)]
    if verdict in _QUIET:
        nothing: DataFrame = rows.head(0)
        return nothing
    change = (rows["b_over_a"] - 1).where(~rows["metric"].isin(HIGHER_IS_BETTER), 1 - rows["b_over_a"])
    if verdict == "INCONCLUSIVE":
        rows, change = (part[change.abs() > rows["margin"]] for part in (rows, change.abs()))
    order: Any = change.sort_values(ascending=verdict == "IMPROVED", kind="stable", na_position="last").index
    worst: DataFrame = rows.loc[order]
    return worst


def text(found: DataFrame, heads: tuple[str, ...]) -> str:
    """Counts by verdict, the worst cases of each with their numbers, and methods that moved as a whole."""
    lines = [*heads, *moved(found), ""]
    for verdict, count in _counts(found).items():
        lines.append(f"{verdict} {count}  ({VERDICTS[verdict]})")
        rows = listed(found, verdict)
        lines += [
            f"  {'  '.join(part for part in _cells(row) if part)}" for row in rows.head(LISTED).to_dict("records")
        ]
        lines += [f"  and {len(rows) - LISTED} more; --out DIR writes all"] if len(rows) > LISTED else []
    return "\n".join(lines) + "\n"


def markdown(found: DataFrame, heads: tuple[str, ...]) -> str:
    """The same as Markdown: a table for each verdict."""
    lines = ["# Comparison", "", *(f"- {one_line(head)}" for head in [*heads, *moved(found)])]
    for verdict, count in _counts(found).items():
        lines += ["", f"## {verdict} {count}", "", VERDICTS[verdict] + "."]
        rows = listed(found, verdict)
        if len(rows):
            lines += ["", f"| {' | '.join(_HEADS)} |", "|---|--:|--:|--:|---|"]
        for row in rows.head(10 * LISTED).to_dict("records"):
            case, a, b, *rest = map(one_line, _cells(row))
            lines.append(f"| `{case}` | {a} | {b.removeprefix('-> ')} | {' | '.join(rest)} |")
        lines += ["", f"{len(rows) - 10 * LISTED} more in comparison.csv."] if len(rows) > 10 * LISTED else []
    return "\n".join(lines) + "\n"


def as_json(found: DataFrame, heads: tuple[str, ...]) -> str:
    """Heads, counts and every row; what is not known is null."""
    rows = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in found.to_dict("records")
    ]
    content = {"heads": heads, "counts": _counts(found), "moved": moved(found), "cases": rows}
    return json.dumps(content, allow_nan=False, indent=1) + "\n"


def beyond(found: DataFrame, change: float) -> list[str]:
    """Cases that B broke, and those worse by more than `change` (0.1: 10 %) in time, energy or bytes.

    A case counts by its medians unless its interval says that it may not have changed at all.
    """
    broke = found[found["verdict"].eq("FAILED") & found["status_a"].eq("ok")]
    worse = found[found["b_over_a"].gt(1 + change) & found["unit"].isin(["s", "J", "B"])]
    worse = worse[~worse["b_over_a_lo"].le(1)]  # true without an interval, too
    rows = [*broke.to_dict("records"), *worse.sort_values("b_over_a", ascending=False).to_dict("records")]
    return ["  ".join(part for part in _cells(row) if part) for row in rows]


def moved(found: DataFrame) -> list[str]:
    """Methods whose cases moved the same way, though no one case can say so: one line each, the largest first.

    Times alone; by the sign test over cases, at least six of them, beyond 1 % chance in each direction.
    """
    rows = found[found["unit"].eq("s") & found["b_over_a"].gt(0)]
    told = []
    for (method, implementation), part in rows.groupby(["method", "implementation"], sort=False):
        middle = float(part["b_over_a"].median())
        same = int((part["b_over_a"] > 1).sum() if middle > 1 else (part["b_over_a"] < 1).sum())
        if len(part) >= 6 and same == len(part) and abs(middle - 1) > part["margin"].max():
            words = f"{method} {implementation}: {'slower' if middle > 1 else 'faster'} in all {same} cases, "
            told.append((abs(middle - 1), f"{words}{100 * (middle - 1):+.0f} % of the time in the median"))
    return [line for _, line in sorted(told, reverse=True)]


def _counts(found: DataFrame) -> dict[str, int]:
    counts = found["verdict"].value_counts()
    return {verdict: int(counts[verdict]) for verdict in VERDICTS if verdict in counts}


def _cells(row: dict[Any, Any]) -> list[str]:
    """Case, A, B, what changed with its interval, note."""
    parts = ("case", "metric", "clock", "protocol", "image")
    name = " ".join(row[part] for part in parts if isinstance(row[part], str))
    if row["b_over_a"] != row["b_over_a"]:
        return [name, "", "", "", str(row["note"])]
    a, b = (_side(row, side) for side in "ab")
    return [name, a, f"-> {b}", _change(row), str(row["note"])]


def _change(row: dict[Any, Any]) -> str:
    """From A to B in percent of A with its interval; of decibels and shares the difference."""
    if row["unit"] not in ("s", "J", "B"):
        return f"{row['median_b'] - row['median_a']:+.4g} {row['unit']}".removesuffix(" 1")
    value, lo, hi = (100 * (row[name] - 1) for name in ("b_over_a", "b_over_a_lo", "b_over_a_hi"))
    ends = f" [{lo:+.1f} to {hi:+.1f}]" if row["unit"] != "B" and not math.isnan(lo) else ""
    return f"{value:+.1f} %{ends}"


def _side(row: dict[Any, Any], side: str) -> str:
    """A side's median with the digits that the percent beside it needs; how sure it is, that one's interval says."""
    value, n = row[f"median_{side}"], row[f"n_{side}"]
    return digits.quantity(value, row["unit"], 0.995 * value, 1.005 * value, n)
