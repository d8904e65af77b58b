"""Which method to take for a layer, and why, in words that hold for its ranked rows alone.

Knows answer's rows; nothing of tables or of HTML. What is recommended keeps the scale of what it pools.
"""

from __future__ import annotations

import math
from typing import Any

from reports import digits, ranking

AFFORDABLE = 2.0  # a method within this factor of the fastest's time is worth taking for what it keeps
Row = dict[str, Any]
Words = dict[str, str]
COSTS = {"training": "forward and backward", "forward": "forward"}


def sentence(rows: list[Row], place: str, flat: bool) -> Words:
    """Place, method to take (none where there is no choice), and why. Rows come cheapest first; `flat` is 2-D."""
    cost = next(name for name in COSTS if any(row[name]["span"] for row in rows))
    timed = [row for row in rows if row[cost]["span"]]
    able = [row for row in timed if row["scale"] is not False]
    if len(timed) == 1 or not able:
        only = f"only {subject(timed[0])} was timed" if len(timed) == 1 else "what was timed changes the scale"
        return {"place": place, "take": "", "why": f"there is nothing to choose: {only}."}
    fast = able[0]
    near = [row for row in able if value(row, cost) <= AFFORDABLE * value(fast, cost)]
    scored = [row for row in near if row["kept"]["span"]]
    if len(scored) < 2:
        take, why = fast, _fastest(able, cost, flat)
    else:
        best = min(row["kept"]["rank"].place for row in scored)
        tied = [row for row in scored if row["kept"]["rank"].place == best]
        take, why = tied[0], _keeps(tied, near, fast, rows)
    why += f" It takes {_costs(take)}."
    why += _more([row for row in able if row["kept"]["span"]], take, rows, cost) if len(scored) > 1 else ""
    if doubt := take["forward"].get("doubt") or take[cost].get("doubt"):
        why += f" These times are doubtful: {doubt}."
    out = [row["method"] for row in timed if row["scale"] is False]
    why += f" Not considered, for they change the scale: {_listed(out)}." if out else ""
    return {"place": place, "take": subject(take), "why": f"because {why}"}


def value(row: Row, name: str) -> float:
    span = row[name]["span"]
    return math.inf if span is None else float(span.value)


def subject(row: Row) -> str:
    return f"{row['method']} ({row['implementation']})"


def _fastest(able: list[Row], cost: str, flat: bool) -> str:
    tied = [row["method"] for row in able[1:] if row[cost]["rank"].place == able[0][cost]["rank"].place]
    level = f", level with {_listed(tied)}" if tied else ""
    unknown = "was not measured with this window" if flat else "is measured on photographs, not with such windows"
    said = "" if any(row["kept"]["span"] for row in able) else f" What they retain {unknown}."
    return f"it is the fastest of {len(able)} that keep the scale{level}.{said}"


def _keeps(tied: list[Row], near: list[Row], fast: Row, rows: list[Row]) -> str:
    among = (
        f"among the {len(near)} methods that keep the scale and take at most {AFFORDABLE:g} times as long as "
        f"the fastest, {subject(fast)},"
    )
    if tied[0] is fast:
        among = (
            f"it is the fastest of those that keep the scale, and of the {len(near)} that take at most "
            f"{AFFORDABLE:g} times as long"
        )
    level = _listed([row["method"] for row in tied[1:]])
    take = "takes" if len(tied) == 2 else "take"
    return f"{among} none keeps measurably more of a picture: {tied[0]['kept']['text']}{_against(tied[0], rows)}" + (
        f", level with {level}, which {take} as long or longer." if level else "."
    )


def _costs(take: Row) -> str:
    """The times with how many times faster than average pooling they are, and the memory, as far as measured."""
    parts = []
    for name, words in reversed(COSTS.items()):
        if take[name]["span"]:
            faster = take[name].get("better", digits.NONE)
            itself = (take["method"], take["implementation"]) == ("avg", "torch")
            times = f" ({faster} as fast as torch's average)" if faster != digits.NONE and not itself else ""
            parts.append(f"{take[name]['text']} {words}{times}")
    for name, words in {"peak": "at the peak", "saved": "saved for backward"}.items():
        parts += [f"{take[name]['text']} {words}"] if take[name]["span"] else []
    return ", ".join(parts)


def _more(scored: list[Row], take: Row, rows: list[Row], cost: str) -> str:
    """Who keeps more, at what cost."""
    above = [row for row in scored if row["kept"]["rank"].place < take["kept"]["rank"].place]
    if not above:
        return ""
    top = above[0]
    kept = f"{top['kept']['text']}{_against(top, rows)}"
    return f" {subject(top)} keeps {kept}, and takes {top[cost]['text']} {COSTS[cost]}."


def _against(row: Row, rows: list[Row]) -> str:
    """The difference to avg with its interval, in brackets."""
    avg = next((other for other in rows if other["method"] == "avg" and other["kept"]["span"]), None)
    if avg is None or avg is row:
        return ""
    ours, theirs = row["kept"]["images"], avg["kept"]["images"]
    found = ranking.difference(list(ours.values()), list(theirs.values()))
    ends = f", interval {found.lo:+.2f} to {found.hi:+.2f}" if found.lo == found.lo else ", one image: no interval"
    return f" ({found.value:+.2f} dB against avg{ends})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
