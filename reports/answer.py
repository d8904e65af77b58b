"""The answer first: for each layer and window every method ranked by what it costs and keeps, and which to take.

Knows the prepared table of view; ranks are ranking's, words of numbers those of digits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from reports import digits, layers, ranking, view
from reports.ranking import Span

if TYPE_CHECKING:
    from pandas import DataFrame

    from reports.view import Group

AFFORDABLE = 2.0  # a method within this factor of the fastest is worth taking for what it keeps
ALIKE = 2.5e-4  # of a number of bytes: half a step of the fourth digit
COLUMNS = {  # name -> head, unit
    "forward": ("forward", "s"),
    "training": ("forward and backward", "s"),
    "peak": ("peak memory", "B"),
    "saved": ("saved for backward", "B"),
    "energy": ("energy, forward", "J"),
    "kept": ("retained", "dB"),
}
Row = dict[str, Any]


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
    blocks = []
    for (shape, window), part in timed.groupby(["shape", "window"], sort=False):
        at = {"shape": shape, "window": window}
        block = _block(part, view.on(rest, at), kept[kept["window"].eq(window)])
        if block:
            names = {"layer": layers.name(str(shape)), "window": window, "input": str(shape).replace("x", "×")}
            where = ", ".join(str(same[name]) for name in ("dtype", "layout")) + f", {same['clock']} clock"
            sentence = _sentence(block["rows"], f"For {names['layer']}, window {window},")
            blocks.append({**block, **names, "where": where, "sentence": sentence, "order": layers.place(str(shape))})
    blocks.sort(key=lambda block: block["order"])
    shown = next((block for block in blocks if len(block["rows"]) > 1), None)
    return [{**block, "open": block is shown} for block in blocks]


def _block(timed: DataFrame, rest: DataFrame, kept: DataFrame) -> dict[str, Any] | None:
    methods = list(dict.fromkeys(timed["method"]))
    found = [row for row in (_row(method, timed, rest, kept) for method in methods) if row]
    if not found:
        return None
    found.sort(key=lambda row: (_value(row, "training"), _value(row, "forward")))
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


def _value(row: Row, name: str) -> float:
    span = row[name]["span"]
    return math.inf if span is None else float(span.value)


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
    row: Row = min(made, key=lambda row: (_value(row, "training"), _value(row, "forward")))
    mine = rest[rest["method"].eq(method) & rest["implementation"].eq(row["implementation"])]
    first = mine[mine["direction"].eq("forward")]
    row["peak"] = _one(first[first["metric"].eq("peak_bytes")], "B")
    row["saved"] = _one(mine[mine["metric"].eq("saved_bytes")], "B")
    row["energy"] = _one(first[first["metric"].eq("energy")], "J")
    row["kept"] = _kept(kept[kept["method"].eq(method)], row["implementation"])
    return row


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
    return {"span": span, "text": row["text"], "r": row["r"], "doubt": row["doubt"] if row["warned"] else None}


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
    return {"span": total, "text": words, "note": "sum", "tip": tip, "doubt": parts[0]["doubt"] or parts[1]["doubt"]}


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


def _sentence(rows: list[Row], place: str) -> dict[str, str]:
    """Which method to take and why, in words that hold for these rows alone."""
    cost = "training" if any(row["training"]["span"] for row in rows) else "forward"
    timed = [row for row in rows if row[cost]["span"]]
    fast = timed[0]
    if len(timed) == 1:
        return {"place": place, "take": "", "why": f"only {_subject(fast)} was timed, so there is nothing to choose."}
    words = {"training": "forward and backward", "forward": "forward"}[cost]
    near = [row for row in timed if _value(row, cost) <= AFFORDABLE * _value(fast, cost)]
    scored = [row for row in near if row["kept"]["span"]]
    if len(scored) < 2:
        tied = [row["method"] for row in timed if row[cost]["rank"].place == 1 and row is not fast]
        why = f"{fast[cost]['text']} {words} is the least of {len(timed)}"
        why += f", level with {_listed(tied)}" if tied else ""
        return {"place": place, "take": _subject(fast), "why": f"because {why}. {_unknown(rows)}"}
    best = min(row["kept"]["rank"].place for row in scored)
    take = next(row for row in scored if row["kept"]["rank"].place == best)
    level = [row["method"] for row in scored if row["kept"]["rank"].place == best and row is not take]
    why = f"of the {len(near)} methods within {AFFORDABLE:g} times the fastest's time ({fast['method']}, "
    why += f"{fast[cost]['text']} {words}) none keeps measurably more: {take['kept']['text']}{_against(take, rows)}"
    why += f", level with {_listed(level)}, which cost more" if level else ""
    why += f"; it takes {take[cost]['text']}." if take is not fast else "; it is that one."
    more = [row for row in timed if row["kept"]["span"] and row["kept"]["rank"].place < best]
    if more:
        top = more[0]
        ratio = digits.times(_value(top, cost) / _value(take, cost))
        why += f" {_subject(top)} keeps {top['kept']['text']}{_against(top, rows)} at {ratio} its time."
    return {"place": place, "take": _subject(take), "why": f"because {why}"}


def _against(row: Row, rows: list[Row]) -> str:
    """The difference to avg with its interval, in brackets."""
    avg = next((other for other in rows if other["method"] == "avg" and other["kept"]["span"]), None)
    if avg is None or avg is row:
        return ""
    ours, theirs = row["kept"]["images"], avg["kept"]["images"]
    found = ranking.difference(list(ours.values()), list(theirs.values()))
    ends = f", interval {found.lo:+.2f} to {found.hi:+.2f}" if found.lo == found.lo else ", one image: no interval"
    return f" ({found.value:+.2f} dB against avg{ends})"


def _unknown(rows: list[Row]) -> str:
    kept = any(row["kept"]["span"] for row in rows)
    return "" if kept else "Retained information was not measured with this window."


def _subject(row: Row) -> str:
    return f"{row['method']} ({row['implementation']})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
