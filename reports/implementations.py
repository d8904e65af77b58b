"""comparison.csv: the implementations of a method side by side, one row for each method and measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.frame import COORDINATES, MEASURE, PLACE
from reports.record import IMPLEMENTATIONS

if TYPE_CHECKING:
    from pandas import DataFrame

_VALUES = ("median", "lo", "hi", "status")


def side_by_side(frame: DataFrame) -> DataFrame:
    """One row per place, method and coordinates; of each implementation in the records its median, lo, hi and status.

    `avg` is the median of torch's own avg_pool at the same coordinates; a hole keeps its status.
    """
    import pandas as pd

    rows = frame[~frame["superseded"]] if "superseded" in frame else frame
    index = [*PLACE, "method", *MEASURE, *COORDINATES]
    rows = rows.drop_duplicates([*index, "implementation"], keep="last")
    if rows.empty:
        empty: DataFrame = pd.DataFrame(columns=index)
        return empty
    keys = rows[index].astype("object").where(rows[index].notna(), "")  # NaN would fall out of a pivot
    table = pd.concat([keys, rows[["implementation", *_VALUES]]], axis=1)
    wide = table.pivot(index=index, columns="implementation", values=list(_VALUES))
    kinds = [kind for kind in IMPLEMENTATIONS if kind in set(rows["implementation"])]
    wide = wide[[(value, kind) for kind in kinds for value in _VALUES]]
    wide.columns = pd.Index([kind if value == "median" else f"{kind}_{value}" for value, kind in wide.columns])
    tidy: DataFrame = wide.reset_index()
    if "torch" in kinds:
        on = [name for name in index if name != "method"]
        avg = tidy.loc[tidy["method"].eq("avg"), [*on, "torch"]].rename(columns={"torch": "avg"})
        tidy = tidy.merge(avg, "left", on)
    return tidy
