"""What a record's warnings mean, and which of them make its number doubtful. Knows words and numbers alone."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

NARROW = 0.02  # an interval within this share of its median is worth as much as many samples are
EXPLAINED = {
    "few samples": "fewer than 30 samples were kept; marked where their interval is wider than ±2 %, or there is none",
    "unstable": "the samples spread widely: something else was at work on the machine",
    "host-bound": "Python takes longer to start the call than the device to run it: a lone caller waits for the host "
    "(clock host says how long); the device's time itself is sound, so this is not marked",
    "late blocker": "in a tenth of the samples or more the device had begun before the host was done, so the "
    "time holds waiting",
    "syncs": "the operator waits for the device inside the call, so its time holds what the host does meanwhile",
    "throttled": "the device lowered its clocks during the measurement",
    "shared device": "other processes were using the device",
    "busy machine": "other work was running on the machine",
    "graph has more nodes than eager kernels": "the captured graph does more than the call",
    "graph stays in cache": "the graph's inputs fit in the cache, so its time is that of hot data",
}
_HARMLESS = ("host-bound",)


def doubtful(row: dict[Any, Any]) -> str | None:
    """The warnings of a row that make its number doubtful, joined; None where there is none."""
    if row["status"] != "ok" or not isinstance(row["warnings"], str):
        return None
    said = [word for word in row["warnings"].split("; ") if word not in _HARMLESS]
    if "few samples" in said and _half_width(row) <= NARROW:
        said.remove("few samples")
    return "; ".join(said) or None


def _half_width(row: dict[Any, Any]) -> float:
    if not row["median"] > 0 or math.isnan(row["lo"]):
        return math.inf
    return float(max(row["hi"] - row["median"], row["median"] - row["lo"]) / row["median"])


MANY = 0.1  # of the times; from here on the reader has to know before anything else


def headlines(rows: DataFrame) -> list[str]:
    """A sentence for each run of which many times are doubtful for what else the machine was doing."""
    said = []
    timed = rows[rows["probe"].eq("latency") & rows["status"].eq("ok")]
    for run, part in timed.groupby("run", sort=False):
        for warning in ("busy machine", "shared device", "throttled"):
            many = int(part["warnings"].str.contains(warning, regex=False, na=False).sum())
            if many > MANY * len(part):
                said.append(f"{run}: {many} of {len(part)} times are doubtful ({warning}): {EXPLAINED[warning]}.")
    return said


def explanation(warning: str) -> str:
    """What a warning means; one that is not known explains itself."""
    return EXPLAINED.get(warning, EXPLAINED.get(warning.partition(":")[0], ""))


def counted(rows: DataFrame) -> list[tuple[str, int, int, str]]:
    """Every warning in the rows: how many have it, how many are marked for it, what it means."""
    said, marked = Counter[str](), Counter[str]()
    for warnings, doubt in zip(rows["warnings"], rows["doubt"], strict=True):
        said.update(warnings.split("; ") if isinstance(warnings, str) else ())
        marked.update(doubt.split("; ") if isinstance(doubt, str) else ())
    return [(warning, many, marked[warning], explanation(warning)) for warning, many in said.most_common()]
