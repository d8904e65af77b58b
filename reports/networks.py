"""Networks with their pools exchanged, as tables: what a step costs and what of it the pools are.

Knows the prepared table of view; nothing of HTML.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reports import digits, tables

if TYPE_CHECKING:
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
        made.append({"title": title, "places": _places(records), **_lines(records)})
    return made


def _lines(records: list[dict[Any, Any]]) -> dict[str, Any]:
    steps = {row["subject"]: row["median"] for row in records if row["metric"] == "step" and row["status"] == "ok"}
    lines: dict[str, dict[str, Any]] = {}
    heads: dict[str, int] = {}
    for row in records:
        head = HEADS[row["metric"]] + (f", {row['clock']}" if isinstance(row["clock"], str) else "")
        heads.setdefault(head, list(HEADS).index(row["metric"]))
        text = f"{row['median']:,.0f}" if row["metric"] == "parameters" and row["status"] == "ok" else None
        made = {**tables.cell(row, text), "note": "" if row["better"] == digits.NONE else row["better"]}
        if row["metric"] == "pools" and steps.get(row["subject"]) and row["status"] == "ok":
            made["note"] = f"{100 * row['median'] / steps[row['subject']]:.2g} %"
        line = {"method": row["method"], "implementation": row["implementation"], "cells": {}}
        lines.setdefault(row["subject"], line)["cells"][head] = made
    return {"heads": sorted(heads, key=lambda head: heads[head]), "lines": list(lines.values())}


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
