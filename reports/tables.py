"""The report's tables and cards as plain data for the template: numbers with their tips, holes with their reasons.

Knows the prepared table of view; nothing of HTML, of files, or of drawing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reports import again, digits, ranking, view
from reports.frame import BETTER
from reports.record import STATUSES
from reports.view import DIRECTIONS, Group

if TYPE_CHECKING:
    from pandas import DataFrame


def cell(row: dict[Any, Any]) -> dict[str, Any]:
    """A table cell: what it shows, what it sorts by, what it says when pointed at, whether it is doubtful or a hole."""
    ok = row["status"] == "ok"
    return {
        "text": row["text"],
        "sort": row["median"] if ok and not math.isnan(row["median"]) else None,
        "r": row["r"],
        "doubt": row["doubt"] if row["warned"] else None,
        "hole": not ok,
    }


def better(row: dict[Any, Any]) -> str:
    return "" if row["better"] == digits.NONE else str(row["better"])


def matrix(rows: DataFrame, columns: str, note: Callable[[dict[Any, Any]], str] = better) -> dict[str, Any]:
    """Subjects down, windows or layers across; a cell holds the time, and how many times faster than avg_pool."""
    rows = rows.drop_duplicates(["subject", columns], keep="last")
    heads = view.windows(rows) if columns == "window" else list(dict.fromkeys(rows[columns]))
    lines: dict[str, dict[str, Any]] = {}
    for row in rows.to_dict("records"):
        made = cell(row)
        made["note"] = note(row) if row["status"] == "ok" else ""
        line = {"method": row["method"], "implementation": row["implementation"], "cells": {}}
        lines.setdefault(row["subject"], line)["cells"][row[columns]] = made
    return {"heads": heads, "lines": list(lines.values())}


def latency_tables(group: Group) -> list[dict[str, Any]]:
    """The main layer's times by window, and every other input's by layer."""
    latency = group.rows[group.rows["probe"].eq("latency")]
    timed = latency[latency["implementation"].ne("copy")]
    layer = view.main_layer(latency)
    main = view.on(timed, layer)
    others = _placed(timed.drop(index=main.index), "dtype", "layout", "clock")
    made = []
    for direction, word in DIRECTIONS.items():
        for part, columns, title in (
            (main, "window", f"{word}, input {view.layer_text(layer) if layer else ''}: time by window"),
            (others, "place", f"{word}, other inputs"),
        ):
            rows = part[part["direction"].eq(direction)]
            if len(rows):
                made.append({"title": title, **matrix(rows, columns)})
    return made


def _placed(rows: DataFrame, *names: str) -> DataFrame:
    """With a column that says what a row is of: 4×64×56×56 float32 nchw cold, window 2."""
    heads = zip(*(rows[name] for name in ("window", "shape", *names)), strict=True)
    said = [" ".join([shape.replace("x", "×"), *rest]) + f", window {window}" for window, shape, *rest in heads]
    placed: DataFrame = rows.assign(place=said)
    return placed


def first_calls(group: Group) -> list[dict[str, Any]]:
    """What the first call of each case waited for its kernels: compiled, or cached when all of them were on disk."""
    rows = _placed(group.rows[group.rows["probe"].eq("kernels")], "dtype", "layout")

    def note(row: dict[Any, Any]) -> str:
        return "cached" if json.loads(row["measurement"]).get("cached") else "compiled"

    made = []
    for direction, word in DIRECTIONS.items():
        part = rows[rows["direction"].eq(direction)]
        if len(part):
            made.append({"title": f"{word}: a first call's kernels", **matrix(part, "place", note)})
    return made


def cards(group: Group) -> list[dict[str, str]]:
    """The few numbers to see first; a card whose number was not measured is left out."""
    rows = group.rows
    ok = rows[rows["status"].eq("ok")]
    counts = Counter(rows["status"])
    bad = ", ".join(f"{counts[status]} {status}" for status in STATUSES[1:] if counts[status])
    made = [{"label": "measured", "value": f"{len(ok)} of {len(rows)}", "note": bad or "every record has its number"}]
    timed = ok[ok["probe"].eq("latency")]
    main = view.on(timed, view.main_layer(rows[rows["probe"].eq("latency")]))
    forward = main[main["direction"].eq("forward") & main["implementation"].ne("copy")]
    made += _ada(timed, view.main_layer(rows[rows["probe"].eq("latency")])) + _speed_up(main)
    if forward["percent_of_copy"].notna().any():
        best = forward.sort_values("percent_of_copy").iloc[forward["percent_of_copy"].notna().sum() - 1]
        note = f"{best['subject']}, forward, window {best['window']}"
        made.append({"label": "nearest to a copy", "value": f"{best['percent_of_copy']:.0f} %", "note": note})
    return made + _best_kept(ok)


def _ada(timed: DataFrame, layer: dict[str, Any]) -> list[dict[str, str]]:
    """AdaPool beside torch's average on the largest input of both: on a small one a call costs more than pooling."""
    alike = view.on(timed, {name: value for name, value in layer.items() if name != "shape"})
    ada = alike[alike["method"].eq("ada") & alike["direction"].eq("forward") & alike[BETTER[0]].notna()]
    if ada.empty:
        return []
    sizes = [math.prod(map(int, shape.split("x"))) for shape in ada["shape"]]
    largest = ada[[size == max(sizes) for size in sizes]]
    row = largest[largest["window"].eq(view.windows(largest)[0])].sort_values("median").to_dict("records")[0]
    shape = row["shape"].replace("x", "×")
    note = f"{row['implementation']}, forward, window {row['window']}, input {shape}, {row['clock']}: {row['text']}"
    return [{"label": "AdaPool: times faster than avg_pool", "value": row["better"], "note": note}]


def _speed_up(main: DataFrame) -> list[dict[str, str]]:
    on = ["method", "direction", "window"]
    pair = main[main["implementation"].eq("plain")].merge(main[main["implementation"].eq("native")], on=on)
    if pair.empty:
        return []
    ratio = (pair["median_x"] / pair["median_y"]).sort_values()
    note = f"median of {len(ratio)} cases, from {digits.times(ratio.iloc[0])} to {digits.times(ratio.iloc[-1])}"
    return [{"label": "native: times faster than plain", "value": digits.times(float(ratio.median())), "note": note}]


def _best_kept(ok: DataFrame) -> list[dict[str, str]]:
    kept = view.scores(ok)
    if kept.empty:
        return []
    name = view.windows(kept)[0]
    scores = kept[kept["window"].eq(name)].pivot(index="image", columns="method", values="median")
    whole = scores[scores.notna().sum().idxmax()].notna()
    scores = scores[whole].dropna(axis="columns")  # a method that misses an image cannot be compared with the others
    timed = ok[ok["probe"].eq("latency") & ok["direction"].eq("forward") & ok["window"].eq(name)]
    cost = timed.groupby("method")["median"].min()
    ranks = ranking.ranked_pairs([list(scores[method]) for method in scores])
    first = [method for method, rank in zip(scores, ranks, strict=True) if rank.place == 1]
    first.sort(key=lambda method: cost.get(method, math.inf))
    level = f", level with {len(first) - 1} that cost more" if len(first) > 1 else ""
    images = len(scores)
    note = f"{first[0]}{level}, P1, window {name}, mean of {images} image{'s' if images > 1 else ''}"
    return [{"label": "most retained", "value": f"{scores[first[0]].mean():.1f} dB", "note": note}]


def failures(rows: DataFrame) -> list[dict[str, Any]]:
    """Every record without a number, put together by reason, each case with the command that runs it again."""
    bad = rows[rows["status"].ne("ok")]
    made = []
    for (device, status, probe, reason), part in bad.groupby(["device_name", "status", "probe", "why"], sort=False):
        names = zip(part["case"], part["command"], part["_again"], strict=True)
        commands = [(case, again.command(begin, str(probe), case) if begin else own) for case, own, begin in names]
        entry = {"device": device, "status": status, "probe": probe, "reason": reason, "count": len(part)}
        made.append({**entry, "cases": list(dict.fromkeys(commands))})
    return sorted(made, key=lambda entry: (entry["status"] == "skipped", -int(str(entry["count"]))))
