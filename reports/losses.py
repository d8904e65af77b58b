"""Where a native kernel loses to torch's own operator or to its own row in plain torch. Knows the prepared table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports import digits, layers

if TYPE_CHECKING:
    from pandas import DataFrame

_AT = ["method", "direction", "window", "shape", "dtype", "layout", "clock"]
_RIVALS = ("torch", "plain", "compiled")


def losses(rows: DataFrame) -> dict[str, Any]:
    """How many pairs there are, how many native loses beyond the interval, and each method's losses, worst first."""
    timed = rows[rows["probe"].eq("latency") & rows["status"].eq("ok")]
    values = [*_AT, "implementation", "median", "_lo", "_hi", "text", "r"]
    native = timed.loc[timed["implementation"].eq("native"), values]
    rivals = timed.loc[timed["implementation"].isin(_RIVALS), values]
    pairs = native.merge(rivals, on=_AT, suffixes=("", "_rival"))
    lost = pairs[pairs["_lo"] > pairs["_hi_rival"]]  # false where an end is missing
    lost = lost.assign(speed=lost["median_rival"] / lost["median"]).sort_values("speed")
    unsure = int((pairs["_lo"].isna() | pairs["_hi_rival"].isna()).sum())
    made = []
    for (method, direction), part in lost.groupby(["method", "direction"], sort=False):
        worst = part.drop_duplicates(_AT)  # the fastest rival of each place
        places = [_place(row) for row in worst.to_dict("records")]
        made.append({"method": method, "direction": direction, "places": places})
    return {"pairs": len(pairs), "lost": len(lost), "unsure": unsure, "methods": made}


def _place(row: dict[Any, Any]) -> dict[str, Any]:
    ends = (row["_lo_rival"] / row["_hi"], row["_hi_rival"] / row["_lo"])
    how = ", ".join(row[name] for name in ("dtype", "layout", "clock"))
    return {
        "where": f"{layers.name(row['shape'])}, window {row['window']}, {how}",
        "window": row["window"],
        "rival": row["implementation_rival"],
        "times": digits.times(row["speed"], *ends),
        "interval": digits.interval(*ends, "1"),
        "ours": row["text"],
        "theirs": row["text_rival"],
        "r": row["r"],
    }
