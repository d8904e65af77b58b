"""Networks with their pools exchanged, as tables: what a step costs and what of it the pools are.

Knows the prepared table of view; nothing of HTML.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reports import digits, tables

if TYPE_CHECKING:
    from pandas import DataFrame

    from reports.view import Group

HEADS = {
    "step": "training step", "forward": "forward", "pools": "pools in a step", "peak_bytes": "peak of a step",
    "saved_bytes": "saved for backward", "parameters": "parameters", "energy": "energy of a step",
}  # fmt: skip


def networks(group: Group) -> list[dict[str, Any]]:
    """A table for each network, input, type and layout."""
    rows = group.rows[group.rows["probe"].eq("network")]
    made = []
    for (name, shape, dtype, layout), part in rows.groupby(["window", "shape", "dtype", "layout"], sort=False):
        records = part.to_dict("records")
        title = f"{name}, input {str(shape).replace('x', '×')}, {dtype} {layout}"
        made.append({"title": title, "places": _places(records), **_table(part)})
    return made


def _table(rows: DataFrame) -> dict[str, Any]:
    steps = rows[rows["metric"].eq("step") & rows["status"].eq("ok")].set_index("subject")["median"].to_dict()

    def note(row: dict[Any, Any]) -> str:
        of = steps.get(row["subject"]) if row["metric"] == "pools" else None
        return f"{100 * row['median'] / of:.2g} %" if of else tables.better(row)

    named = zip(rows["metric"], rows["clock"], strict=True)
    heads = [HEADS[metric] + (f", {clock}" if isinstance(clock, str) else "") for metric, clock in named]
    made = tables.matrix(rows.assign(head=heads), "head", note)
    order = list(HEADS.values())
    made["heads"].sort(key=lambda head: order.index(head.partition(", ")[0]))
    return made


def _places(records: list[dict[Any, Any]]) -> list[str]:
    """What was exchanged, and of each pool its time in a step."""
    said = []
    for row in records:
        if row["metric"] != "pools" or row["status"] != "ok":
            continue
        each = json.loads(row["measurement"]).get("each_s", {})
        times = ", ".join(f"{name} {digits.quantity(seconds, 's')}" for name, seconds in each.items())
        said.append(f"{row['subject']}: {times}")
    return said
