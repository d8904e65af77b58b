"""Numbers of an operator whose timed output was wrong: withdrawn on reading, whatever measured them.

Memory, energy and retained information are probes of their own and do not see the wrong output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_CALL = ("run", "machine", "method", "implementation", "kernel", "stride", "padding", "ceil_mode", "dtype", "layout")
_NUMBERS = ("median", "lo", "hi", "_lo", "_hi")


def withdraw(frame: DataFrame) -> None:
    """Gives those records status `incorrect` and the reason, and takes their number away.

    A wrong forward pass withdraws all that was measured of the call, a wrong other direction what has that direction;
    memory and energy of the same input, retained information of any input.
    """
    wrong = frame[frame["probe"].eq("latency") & frame["status"].eq("incorrect")]
    if wrong.empty:
        return
    rest = frame["status"].eq("ok") & frame["probe"].isin(["memory", "energy", "retention"])
    forward = wrong[wrong["direction"].isin(["forward", "both"])]
    _take(frame, rest & frame["probe"].ne("retention"), wrong, [*_CALL, "shape", "direction"])
    _take(frame, rest & frame["probe"].ne("retention"), forward, [*_CALL, "shape"])
    _take(frame, rest & frame["probe"].eq("retention"), forward, list(_CALL))


def _take(frame: DataFrame, rows: Series[bool], wrong: DataFrame, on: list[str]) -> None:
    reasons = wrong.drop_duplicates(on)[[*on, "reason"]]
    found = frame[on].merge(reasons, "left", on).set_axis(frame.index)["reason"]
    hit = rows & found.notna()
    frame.loc[hit, "status"] = "incorrect"
    frame.loc[hit, "reason"] = "the same call was wrong when it was timed: " + found[hit]
    frame.loc[hit, list(_NUMBERS)] = float("nan")
    frame.loc[hit, "n"] = 0
