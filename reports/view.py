"""What every chart and table of a report shares: windows and devices named, tooltips, and which layer is the main one.

Turns the tidy table into one that is ready to be shown; draws nothing and writes nothing.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import digits, doubts
from reports.frame import BETTER

if TYPE_CHECKING:
    from pandas import DataFrame

DIRECTIONS = {"forward": "Forward", "backward": "Backward", "both": "Forward and backward", "inverse": "Inverse"}
LAYER = ["shape", "dtype", "layout", "clock"]


class Group(NamedTuple):
    """One device of one run, or devices that are alike of runs that share a plan."""

    anchor: str
    title: str
    runs: tuple[str, ...]
    machine: str
    rows: DataFrame


def sized(text: str) -> str:
    """2x2 as 2; 1x2 as 1×2."""
    parts = text.split("x")
    return parts[0] if len(set(parts)) == 1 else "×".join(parts)


def window(kernel: str, stride: str, padding: str, ceil_mode: bool) -> str:
    """A window in few words: 3, 3 s2, 3 s2 p1."""
    words = [sized(kernel)]
    words += [] if stride == kernel else [f"s{sized(stride)}"]
    words += [f"p{sized(padding)}"] if set(padding) - set("0x") else []
    return " ".join([*words, *(["ceil"] if ceil_mode else [])])


def prepared(frame: DataFrame) -> DataFrame:
    """The tidy table with the columns that are shown: subject, window, text, better, tip, warned."""
    rows: DataFrame = frame.assign(r=range(len(frame)))
    parts = (rows[name] for name in ("kernel", "stride", "padding", "ceil_mode"))
    rows["window"] = [window(*row) for row in zip(*parts, strict=True)]
    of_network = rows["probe"].eq("network")
    rows["window"] = rows["window"].where(~of_network, rows["case"].str.split("/").str[5])
    rows["subject"] = rows["method"] + " " + rows["implementation"]
    sides = [float(k.split("x")[0]) for k in rows["kernel"].fillna("0").replace("", "0")]
    rows["side"] = sides
    rows["square"] = rows["kernel"].eq(rows["stride"]) & ~rows["padding"].str.contains("[1-9]", na=False)
    rows["why"] = [_without_name(*pair) for pair in zip(rows["reason"], rows["method"], strict=True)]
    records = rows.to_dict("records")
    doubted = [doubts.doubtful(row) for row in records]
    rows["doubt"], rows["warned"] = doubted, [doubt is not None for doubt in doubted]
    rows["text"] = [value_text(row) for row in records]
    rows["better"] = [better_text(row) for row in records]
    rows["tip"] = [tip(row, text) for row, text in zip(records, rows["text"], strict=True)]
    return rows


def _without_name(reason: Any, method: str) -> Any:
    """A reason that names its method, as the reason of all methods alike, so that they can be told together."""
    return re.sub(rf"(?<!\w){re.escape(method)}(?!\w)", "the method", reason) if isinstance(reason, str) else reason


def value_text(row: dict[Any, Any]) -> str:
    if row["status"] != "ok":
        return str(row["status"])
    if row["metric"] == "parameters":
        return f"{row['median']:,.0f}"
    return digits.quantity(row["median"], row["unit"], row["lo"], row["hi"], 1 if row["unit"] == "B" else row["n"])


def better_text(row: dict[Any, Any]) -> str:
    """How many times better than average pooling."""
    exact = row["unit"] == "B" or (row["method"] in ("avg", "original") and row["implementation"] == "torch")
    value, lo, hi = (row[name] for name in BETTER)
    return digits.times(value, lo, hi, exact)


def better_words(row: dict[Any, Any]) -> str:
    """The same in words."""
    than = "the network as it was" if row["probe"] == "network" else "avg_pool"
    said = better_text(row)
    return f"{said} as fast as {than}" if row["unit"] == "s" else f"{than} takes {said} as much"


def tip(row: dict[Any, Any], text: str) -> str:
    """What a point or a cell says when it is pointed at: the number, its interval and samples, and every doubt."""
    place = "" if row["implementation"] == "copy" else f", window {row['window']}"
    where = f"{row['method']} {row['implementation']}{place}"
    if row["status"] != "ok":
        return f"{where}: {row['status']}\n{row['reason']}"
    lines = [f"{where}: {text}"]
    if row["unit"] in ("s", "J"):
        stop = f", stopped: {row['stop']}" if isinstance(row["stop"], str) else ""
        ends = digits.interval(row["lo"], row["hi"], row["unit"])
        lines.append(f"95 % interval {ends}; n = {row['n']}{stop}")
    if not math.isnan(row[BETTER[0]]):
        lo, hi = (row[name] for name in BETTER[1:])
        lines.append(better_words(row) + ("" if math.isnan(lo) else f", interval {digits.interval(lo, hi, '1')}"))
    if row["percent_of_copy"] == row["percent_of_copy"]:
        lines.append(f"{digits.rate(row['gbps'])}, {row['percent_of_copy']:.0f} % of the copy")
    if isinstance(row["warnings"], str):
        lines.append(f"Note: {row['warnings']}")
    return "\n".join(lines)


def groups(rows: DataFrame) -> list[Group]:
    """The devices of all runs, in the order of their first record."""
    found = []
    parts = [part for _, part in rows.groupby("place", sort=False)]
    several = len({tuple(part["run"].unique()) for part in parts}) > 1
    for number, part in enumerate(parts, 1):
        title, runs = str(part["device_name"].iloc[0]), tuple(map(str, part["run"].unique()))
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        title = f"{title} · {runs[0]}{more}" if several else title
        found.append(Group(f"device-{number}", title, runs, str(part["machine"].iloc[0]), part))
    names = [group.title for group in found]
    return [g._replace(title=f"{g.title} ({g.machine})") if names.count(g.title) > 1 else g for g in found]


def main_layer(latency: DataFrame) -> dict[str, Any]:
    """The input that most methods and windows were timed on; the charts are drawn for it."""
    timed = latency[latency["implementation"].ne("copy")]
    if timed.empty:
        return {}
    measured = timed[timed["status"].eq("ok")]
    counts = (measured if len(measured) else timed).groupby(LAYER, sort=False)["case"].nunique()
    best: Any = counts.idxmax()
    return dict(zip(LAYER, best, strict=True))


def on(rows: DataFrame, wanted: dict[str, Any]) -> DataFrame:
    """The rows whose columns have the wanted values."""
    for name, value in wanted.items():
        rows = rows[rows[name].eq(value)]
    return rows


def scores(rows: DataFrame) -> DataFrame:
    """The PSNR by protocol P1 of each method, window and image, once."""
    kept = rows[rows["metric"].eq("psnr") & rows["protocol"].eq("P1") & rows["status"].eq("ok")]
    once: DataFrame = kept.drop_duplicates(["method", "window", "image"])
    return once


def windows(rows: DataFrame) -> list[str]:
    """The windows in the rows, by kernel size; those with stride = kernel first among equals."""
    order = rows.drop_duplicates("window").sort_values(["side", "square"], ascending=[True, False], kind="stable")
    return [str(name) for name in order["window"]]


def layer_text(layer: dict[str, Any]) -> str:
    clock = f", {layer['clock']} clock" if "clock" in layer else ""
    return f"{layer['shape'].replace('x', '×')}, {layer['dtype']}, {layer['layout']}{clock}"
