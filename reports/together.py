"""Devices and runs beside each other on the cases that they have in common, a CPU and a GPU with other batches too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports import digits, layers, tables
from reports.view import DIRECTIONS, Group

if TYPE_CHECKING:
    from pandas import DataFrame

MOST = 600  # rows; records.csv has all
_CASE = ["subject", "direction", "image_shape", "window", "dtype", "layout", "clock"]


def together(groups: list[Group]) -> dict[str, Any] | None:
    """Times of every case that two devices have, devices across; None where no case is common.

    Where the batches differ, time is that of one image: the case's time over its batch.
    """
    rows = _common(groups)
    if rows.empty:
        return None
    heads = [group.title for group in groups]
    per_image = bool(rows.groupby(_CASE)["batch"].nunique().gt(1).any())
    lines: list[dict[str, Any]] = []
    for key, part in rows.groupby(_CASE, sort=False):
        subject, direction, _, window, *how = key
        cells = {row["title"]: _cell(row, per_image) for row in part.to_dict("records")}
        for title, made in cells.items():
            if heads[0] in cells and title != heads[0]:
                made["note"] = _faster(made["span"], cells[heads[0]]["span"])
        what = f"{layers.name(part['shape'].iloc[0])}, {', '.join(map(str, how))}"
        lines.append({"subject": subject, "direction": direction, "window": window, "what": what, "cells": cells})
    lines.sort(key=lambda line: [*DIRECTIONS].index(str(line["direction"])))
    return {"heads": heads, "per_image": per_image, "lines": lines[:MOST], "more": max(0, len(lines) - MOST)}


def _common(groups: list[Group]) -> DataFrame:
    """The timed rows of cases that two devices or more have, the batch taken off the shape; the last of each stands."""
    import pandas as pd

    rows = pd.concat([group.rows.assign(title=group.title) for group in groups])
    rows = rows[rows["probe"].eq("latency") & rows["implementation"].ne("copy") & rows["direction"].isin([*DIRECTIONS])]
    cut = rows["shape"].str.partition("x")
    rows = rows.assign(batch=pd.to_numeric(cut[0]), image_shape=cut[2])
    rows = rows.drop_duplicates([*_CASE, "title"], keep="last")
    common: DataFrame = rows[rows.groupby(_CASE)["title"].transform("nunique").gt(1)]
    ordered: DataFrame = common.sort_values("side", kind="stable")
    return ordered


def _cell(row: dict[Any, Any], per_image: bool) -> dict[str, Any]:
    made = tables.cell(row)
    share = row["batch"] if per_image else 1
    value, lo, hi = (row[name] / share for name in ("median", "lo", "hi"))
    if row["status"] == "ok":
        made["text"], made["sort"] = digits.quantity(value, "s", lo, hi, row["n"]), value
    made["span"] = (value, row["_lo"] / share, row["_hi"] / share)
    return made


def _faster(ours: tuple[float, float, float], theirs: tuple[float, float, float]) -> str:
    text = digits.times(theirs[0] / ours[0], theirs[1] / ours[2], theirs[2] / ours[1])
    return "" if text == digits.NONE else text
