"""Records -> the tidy DataFrame: one row per record, statistics and derived columns computed on reading.

Knows the schema and pandas; nothing of drawing, and it changes no file.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import again, fleet, interval, store, withdrawn
from reports.columns import COLUMNS, NAMES
from reports.record import Record
from reports.store import Folder

if TYPE_CHECKING:
    from pandas import DataFrame, Series

SUBJECT = ("method", "implementation")
PLACE = ("run", "machine")
SOURCE = (*PLACE, "_node")  # one machine's numbers, two equal machines of a run told apart
GEOMETRY = ("kernel", "stride", "padding", "ceil_mode")
COORDINATES = ("direction", *GEOMETRY, "shape", "dtype", "layout")
MEASURE = ("probe", "metric", "unit", "clock", "protocol", "image")
_SIZES = ("kernel", "stride", "padding", "shape")
_AS_TEXT = (*_SIZES, "warnings", "measurement")
_AS_IS = [column.name for column in COLUMNS if column.source == "record" and column.name not in _AS_TEXT]
BETTER = ("times_better_than_avg", "times_better_lo", "times_better_hi")
_NUMBERS = ("median", "lo", "hi", "gbps", "percent_of_copy", *BETTER)
WIDE = ("_lo", "_hi")
ONE = ("case", "probe", "metric", "clock", "protocol", "image")


def folders(runs: Folder | Sequence[Folder]) -> list[Path]:
    """The run folders given, checked; several are allowed, none is a mistake."""
    paths = [Path(run) for run in ([runs] if isinstance(runs, (str, os.PathLike)) else runs)]
    if not paths:
        raise ValueError("runs: expected a run folder or several, got none")
    for path in paths:
        if not (path / store.RECORDS).is_file():
            raise FileNotFoundError(f"{path} is no run folder: it has no {store.RECORDS}")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"runs: expected different folders, got one twice: {', '.join(map(str, paths))}")
    return paths


def load(runs: Folder | Sequence[Folder]) -> DataFrame:
    """The records of a run, or of several runs together, as a tidy DataFrame with the columns of `reports.columns`.

    >>> frame = load("results/20250102")  # doctest: +SKIP
    >>> frame.query("probe == 'latency'").pivot_table("median", "method", "kernel")  # doctest: +SKIP
    """
    frame: DataFrame = table(runs)[list(NAMES)]
    return frame


def table(runs: Folder | Sequence[Folder]) -> DataFrame:
    """What `load` gives, with the 97.5 % ends (WIDE) that the interval of a ratio of two medians is made from, and the
    run's part of the command that measures a case again (_again)."""
    import pandas as pd

    paths = folders(runs)
    extra = (*WIDE, "_node", "_like", "_again")
    columns: dict[str, list[Any]] = {name: [] for name in (*NAMES, *extra) if name != "superseded"}
    for name, path in zip(names(paths), paths, strict=True):
        held = store.read_machine(path)
        begins = functools.cache(functools.partial(again.words, held["run"]))
        for record in store.read(path):
            _add(columns, name, record, held, begins)
    frame: DataFrame = pd.DataFrame({name: _series(name, values) for name, values in columns.items()})
    frame["superseded"] = fleet.superseded(frame, ONE)
    withdrawn.withdraw(frame)
    _throughput(frame)
    _against_avg(frame)
    return frame


def notes(runs: Folder | Sequence[Folder], frame: DataFrame) -> list[str]:
    """What has to be said of these runs together: what is missing, differs, or was measured twice."""
    paths = folders(runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `table` has said them
        about = {name: store.read_machine(path)["run"] for name, path in zip(names(paths), paths, strict=True)}
    return fleet.notes(frame, about)


def names(paths: list[Path]) -> list[str]:
    """Folder names, told apart by a number where two are the same."""
    found: list[str] = []
    for path in paths:
        name, number = path.resolve().name, 2
        while name in found:
            name, number = f"{path.resolve().name} ({number})", number + 1
        found.append(name)
    return found


def _add(
    columns: dict[str, list[Any]], run: str, record: Record, held: dict[str, Any], begins: Callable[[str], str]
) -> None:
    for name in _AS_IS:
        value = getattr(record, name)
        columns[name].append(sys.intern(value) if type(value) is str else value)
    for name in _SIZES:
        columns[name].append(sys.intern("x".join(map(str, getattr(record, name)))))
    device = held["devices"].get(record.machine)
    facts = device if isinstance(device, dict) else {}
    place = fleet.place(run, record.machine, facts, held["run"], record.commit, record.dirty, record.version)
    columns["run"].append(run)
    columns["_again"].append(begins(record.device))
    columns["place"].append(sys.intern(place))
    columns["_like"].append(fleet.fingerprint(facts) if facts else record.machine)
    columns["_node"].append(str(record.measurement.get("node", "")))
    columns["device_name"].append(str(facts.get("name") or record.machine))
    columns["warnings"].append(sys.intern("; ".join(record.warnings)) if record.warnings else None)
    columns["verified"].append(record.measurement.get("verified"))
    columns["measurement"].append(sys.intern(json.dumps(record.measurement, sort_keys=True)))
    samples = record.samples or []
    kept = sorted(x for x, keep in zip(samples, record.kept or [], strict=True) if keep)
    lo, hi = interval.interval(kept)
    columns["lo"].append(lo)
    columns["hi"].append(hi)
    for name, end in zip(WIDE, interval.interval(kept, 0.975), strict=True):
        columns[name].append(end)
    columns["median"].append(statistics.median(kept) if kept else record.value)
    columns["n"].append(len(kept) if record.samples is not None else int(record.value is not None))
    columns["discarded"].append(len(samples) - len(kept))
    for name in ("gbps", "percent_of_copy", *BETTER):
        columns[name].append(None)


def _series(name: str, values: list[Any]) -> Series[Any]:
    import pandas as pd

    dtype = "object"  # None stays None, and pandas copies such columns together where it selects rows
    if name in _NUMBERS or name in WIDE:
        dtype = "float64"
    elif name in ("n", "discarded"):
        dtype = "int64"
    elif name == "bytes":
        dtype = "Int64"
    elif name in ("ceil_mode", "dirty", "verified"):
        dtype, values = "boolean", [x if type(x) is bool else None for x in values]
    series: Series[Any] = pd.Series(values, dtype=dtype)
    return series


def _throughput(frame: DataFrame) -> None:
    """gbps, and its share of the copy of the same shape and dtype; where there is none, of the same bytes."""
    import pandas as pd

    timed = frame["probe"].eq("latency") & frame["median"].gt(0)
    frame["gbps"] = (frame["bytes"].astype("float64") / frame["median"] / 1e9).where(timed)
    copies = frame[frame["implementation"].eq("copy") & frame["gbps"].notna()]
    ceiling = pd.Series(float("nan"), index=frame.index)
    for same in (("shape", "dtype"), ("bytes",)):
        on = [*SOURCE, "clock", *same]
        table = copies.groupby(on)["gbps"].median().rename("ceiling").reset_index()
        ceiling = ceiling.fillna(frame[on].merge(table, "left", on).set_axis(frame.index)["ceiling"])
    frame["percent_of_copy"] = 100 * frame["gbps"] / ceiling


def _against_avg(frame: DataFrame) -> None:
    """How many times less than torch's avg_pool at the same coordinates, or the network as it was: of s, B, J."""
    frame["_what"] = frame["case"].str.split("/").str[5].where(frame["probe"].eq("network"), "")  # which network
    on = [*SOURCE, *COORDINATES, "probe", "metric", "clock", "_what"]
    is_avg = frame["method"].isin(["avg", "original"]) & frame["implementation"].eq("torch")
    avg = frame[is_avg & frame["median"].gt(0)]
    avg = avg.drop_duplicates(on, keep="last")[[*on, "median", *WIDE]]
    joined = frame[on].merge(avg, "left", on).set_axis(frame.index)
    counts = frame["unit"].isin(["s", "B", "J"])
    frame[BETTER[0]] = (joined["median"] / frame["median"].where(frame["median"].gt(0))).where(counts)
    del frame["_what"]
    for ratio, theirs, ours in zip(BETTER[1:], WIDE, reversed(WIDE), strict=True):
        frame[ratio] = (joined[theirs] / frame[ours]).where(counts & ~is_avg)  # avg over itself is 1 without doubt
