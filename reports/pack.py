"""The records as compact columns for the page's script: the one copy of them that a page holds.

Knows the prepared table of view and JSON; nothing of HTML.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from reports import digits, doubts, view
from reports.frame import BETTER

if TYPE_CHECKING:
    from pandas import DataFrame

MOST = 20_000  # records; a page beyond becomes slow to open, and records.csv has all
_WORDS = (
    "method", "implementation", "direction", "window", "kernel", "stride", "padding", "shape", "dtype", "layout",
    "probe", "metric", "clock", "protocol", "image", "status", "reason", "unit", "warnings", "stop", "case",
    "device_name", "run",
)  # fmt: skip


def packed(rows: DataFrame) -> str:
    """JSON of {column: values or {"of": distinct values, "at": places in it}}, safe inside a script element."""
    rows = rows.head(MOST)
    records = rows.to_dict("records")
    columns: dict[str, list[Any]] = {name: [v if isinstance(v, str) else None for v in rows[name]] for name in _WORDS}
    columns["again"] = list(rows["_again"])  # what all of a run's commands begin with: the script adds the case
    columns["command"] = [None if row["_again"] else row["command"] for row in records]
    columns["text"] = [row["text"] if row["status"] == "ok" else None for row in records]
    columns["interval"] = [_interval(row["lo"], row["hi"], row["unit"]) for row in records]
    value, lo, hi = BETTER
    columns["better"] = [None if row["better"] == digits.NONE else row["better"] for row in records]
    columns["better_words"] = [None if row["better"] == digits.NONE else view.better_words(row) for row in records]
    columns["better_interval"] = [_interval(row[lo], row[hi], "1") for row in records]
    columns["rate"] = [digits.rate(row["gbps"]) for row in records]
    columns["doubt"] = [row["doubt"] if row["warned"] else None for row in records]
    for name, of in {"value": "median", "lo": "lo", value: value, "n": "n"}.items():
        columns[name] = [_number(v) for v in rows[of]]
    columns["share"] = [_number(v, 4) for v in rows["percent_of_copy"]]
    made = {"columns": {name: _coded(values) for name, values in columns.items()}, "explained": doubts.EXPLAINED}
    return json.dumps(made, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )  # no text can end the element


def _interval(lo: float, hi: float, unit: str) -> str | None:
    """Of what is sampled; a metric that is exact has none."""
    return digits.interval(lo, hi, unit) if unit in ("s", "J", "1") and not math.isnan(lo) else None


def _number(value: Any, figures: int = 7) -> float | int | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    short = float(f"{number:.{figures}g}")
    return int(short) if short.is_integer() else short


def _coded(values: list[Any]) -> Any:
    """A column as places in its distinct values, where that is shorter."""
    distinct = {value: place for place, value in enumerate(dict.fromkeys(values))}
    if len(distinct) > 0.7 * len(values):
        return values
    return {"of": list(distinct), "at": [distinct[value] for value in values]}
