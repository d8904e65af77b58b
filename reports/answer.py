"""The answer first: for each layer and window every method ranked by what it costs and keeps, and which to take.

Knows the prepared table of view; ranks are ranking's, the sentence recommend's, words of numbers those of digits.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from reports import digits, layers, ranking, view
from reports.frame import BETTER
from reports.ranking import Span
from reports.recommend import Row, sentence, value

if TYPE_CHECKING:
    from pandas import DataFrame

    from reports.view import Group

SAME = 0.01  # from 1, of what an input of ones came to: sixteen bits round
ALIKE = 2.5e-4  # of a number of bytes: half a step of the fourth digit
COLUMNS = {  # name -> head, unit
    "forward": ("forward", "s"),
    "training": ("forward and backward", "s"),
    "peak": ("peak memory", "B"),
    "saved": ("saved for backward", "B"),
    "energy": ("energy, forward", "J"),
    "kept": ("retained", "dB"),
}


def answers(group: Group) -> list[dict[str, Any]]:
    """One block per layer and window that has a forward time: title, sentence, ranked rows, and who is missing."""
    rows = group.rows
    latency = rows[rows["probe"].eq("latency") & ~rows["implementation"].eq("copy")]
    layer = view.main_layer(latency)
    same = {name: value for name, value in layer.items() if name != "shape"}
    timed = view.on(latency, same)
    timed = timed[timed["method"].isin(timed.loc[timed["direction"].eq("forward"), "method"])]
    other = {name: value for name, value in same.items() if name != "clock"}
    rest = view.on(rows[rows["probe"].isin(["memory", "energy"])], other)
    kept = rows[rows["metric"].eq("psnr") & rows["protocol"].eq("P1")]
    off = _far(kept)
    blocks = []
    for (shape, window), part in timed.groupby(["shape", "window"], sort=False):
        at = {"shape": shape, "window": window}
        first = part.iloc[0]  # a line of two taps is no 2 × 2, though both are called 2
        seen = view.on(kept, {name: first[name] for name in ("kernel", "stride", "padding", "ceil_mode")})
        block = _block(part, view.on(rest, at), seen)
        if block:
            names = {"layer": layers.name(str(shape)), "window": window, "input": str(shape).replace("x", "×")}
            where = ", ".join(str(same[name]) for name in ("dtype", "layout")) + f", {same['clock']} clock"
            for row in block["rows"]:  # without a word of the record, what is far from the input has another scale
                row["scale"] = False if row["scale"] is None and row["method"] in off else row["scale"]
            said = sentence(block["rows"], _place(str(shape), first), flat=first["kernel"].count("x") == 1)
            blocks.append({**block, **names, "where": where, "sentence": said, "order": layers.place(str(shape))})
    blocks.sort(key=lambda block: (len(block["rows"]) < 2, block["order"]))  # without a choice there is no answer
    shown = next((block for block in blocks if len(block["rows"]) > 1), None)
    return [{**block, "open": block is shown} for block in blocks]


def _block(timed: DataFrame, rest: DataFrame, kept: DataFrame) -> dict[str, Any] | None:
    methods = list(dict.fromkeys(timed["method"]))
    found = [row for row in (_row(method, timed, rest, kept) for method in methods) if row]
    if not found:
        return None
    found.sort(key=lambda row: (value(row, "training"), value(row, "forward")))
    _align_images(found)
    for name in COLUMNS:
        have = [row for row in found if row[name]["span"] is not None]
        ranks = _ranks(have, name)
        for row, rank in zip(have, ranks, strict=True):
            row[name]["rank"] = rank
    missing = [method for method in methods if method not in {row["method"] for row in found}]
    why = timed[timed["method"].isin(missing) & timed["status"].ne("ok")]["why"].dropna().unique()
    return {"rows": found, "missing": missing, "why": "; ".join(map(str, why))}


def _ranks(have: list[Row], name: str) -> list[ranking.Rank]:
    if name != "kept":
        return ranking.ranked([row[name]["span"] for row in have])
    return ranking.ranked_pairs([list(row["kept"]["images"].values()) for row in have])


def _align_images(rows: list[Row]) -> None:
    """Only methods scored on the same images can be ranked: the most that any has; without one of them is a hole."""
    images = max((row["kept"].get("images", {}) for row in rows), key=len)
    for row in rows:
        own = row["kept"].get("images", {})
        if own and not set(images) <= set(own):
            row["kept"] = {"span": None, "text": "other images", "tip": row["kept"]["tip"]}
        elif own:
            row["kept"]["images"] = {image: own[image] for image in sorted(images)}


def _row(method: str, timed: DataFrame, rest: DataFrame, kept: DataFrame) -> Row | None:
    """The method in its fastest implementation: all columns are of that one."""
    of = timed[timed["method"].eq(method)]
    made = []
    for implementation in dict.fromkeys(of["implementation"]):
        own = of[of["implementation"].eq(implementation)]
        forward = _one(own[own["direction"].eq("forward")], "s")
        if forward["span"] is None:
            continue
        made.append(
            {"method": method, "implementation": implementation, "forward": forward, "training": _training(own)}
        )
    if not made:
        return None
    row: Row = min(made, key=lambda row: (value(row, "training"), value(row, "forward")))
    mine = rest[rest["method"].eq(method) & rest["implementation"].eq(row["implementation"])]
    first = mine[mine["direction"].eq("forward")]
    row["peak"] = _one(first[first["metric"].eq("peak_bytes")], "B")
    row["saved"] = _one(mine[mine["metric"].eq("saved_bytes")], "B")
    row["energy"] = _one(first[first["metric"].eq("energy")], "J")
    row["kept"] = _kept(kept[kept["method"].eq(method)], row["implementation"])
    timed = of[of["implementation"].eq(row["implementation"]) & of["direction"].eq("forward")]
    row["scale"] = _keeps_scale(timed["measurement"].iloc[-1])
    return row


def _keeps_scale(measurement: str) -> bool | None:
    """Whether an input of ones came out as ones; None where the record does not say."""
    ones = json.loads(measurement).get("of_ones")
    return None if ones is None else all(v is not None and abs(v - 1) <= SAME for v in ones)


def _far(kept: DataFrame) -> set[str]:
    """Methods that some window leaves far below the best: what gives another scale loses all likeness."""
    means = kept[kept["status"].eq("ok")].groupby(["window", "method"])["median"].mean()
    far = means[means < means.groupby("window").transform("max") - ranking.FAR]
    return set(far.index.get_level_values("method"))


def _place(shape: str, row: Any) -> str:
    """For a ResNet stem (3/2, padding 1)"""
    name, note = layers.words(shape)
    sizes = [view.sized(row[of]) for of in ("kernel", "stride")]
    said = ["/".join(sizes), *([f"padding {view.sized(row['padding'])}"] if set(row["padding"]) - set("0x") else [])]
    return f"For {name} ({', '.join(said)}{', ceil_mode' * bool(row['ceil_mode'])}{note and '; ' + note})"


def _one(rows: DataFrame, unit: str) -> dict[str, Any]:
    """A cell of one record; without a number it is a hole that says why."""
    if rows.empty:
        return {"span": None, "text": "not measured"}
    row = rows.iloc[-1]
    if row["status"] != "ok":
        return {"span": None, "text": row["status"], "r": row["r"]}
    ends = (row["lo"], row["hi"])
    if unit == "B":  # exact; what is equal in every digit shown is equal
        ends = (row["median"] * (1 - ALIKE), row["median"] * (1 + ALIKE))
    span = Span(row["median"], *ends)
    made = {"span": span, "text": row["text"], "r": row["r"], "doubt": row["doubt"] if row["warned"] else None}
    return {**made, "better": row["better"], "avg": row[BETTER[0]] * row["median"]}


def _training(own: DataFrame) -> dict[str, Any]:
    """Forward and backward as measured together; else the sum of both, whose interval is the sum of theirs."""
    both = _one(own[own["direction"].eq("both")], "s")
    if both["span"] is not None:
        return both
    parts = [_one(own[own["direction"].eq(direction)], "s") for direction in ("forward", "backward")]
    spans = [part["span"] for part in parts]
    if None in spans:
        return next(part for part in parts if part["span"] is None)
    total = Span(*(sum(ends) for ends in zip(*spans, strict=True)))
    words = digits.quantity(total.value, "s", total.lo, total.hi, 2)
    tip = f"sum of forward, {parts[0]['text']}, and backward, {parts[1]['text']}, measured apart"
    made = {"span": total, "text": words, "note": "sum", "tip": tip, "doubt": parts[0]["doubt"] or parts[1]["doubt"]}
    return {**made, "better": digits.times(sum(part["avg"] for part in parts) / total.value)}


def _kept(rows: DataFrame, implementation: str) -> dict[str, Any]:
    """PSNR by protocol P1, of the same implementation where it was measured: they compute the same."""
    if rows.empty:
        return {"span": None, "text": "not measured"}
    same = rows[rows["implementation"].eq(implementation)]
    rows = same if len(same) else rows
    good = rows[rows["status"].eq("ok")].drop_duplicates("image")
    if good.empty:
        return {"span": None, "text": str(rows["status"].iloc[0]), "tip": str(rows["reason"].iloc[0])}
    images = dict(zip(good["image"], good["median"], strict=True))
    mean = float(good["median"].mean())
    tip = f"PSNR, protocol P1, mean of {len(images)} image{'s' if len(images) > 1 else ''}"
    return {"span": Span(mean, math.nan, math.nan), "text": f"{mean:.2f} dB", "images": images, "tip": tip}
