"""Two runs against each other, case by case: who is joined with whom, and the verdict on each.

Two runs say it in the gate's words, without what makes the gate's words sure: the runs were not interleaved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import compared, extras, rules, store, trials_compared
from reports.fleet import SHARED
from reports.frame import ONE, SUBJECT, WIDE, folders, notes, table
from reports.store import Folder

if TYPE_CHECKING:
    from pandas import DataFrame

KEY = ["machine", *ONE]
UNPAIRED = {"cpu": 0.05}  # what two runs of one build differ by there, since they were not interleaved
_CHANGES = re.compile(r"\b(time|command|commit|started|finished)$|load|before|after|temperature|free|^spent\b")


class Comparison(NamedTuple):
    """Every key of either run with its verdict, and the same in words: as text, and as heads, notes and rows."""

    table: DataFrame
    text: str
    heads: tuple[str, ...]

    def write(self, folder: Folder) -> None:
        """Writes comparison.csv (every case), comparison.md and comparison.json into the folder."""
        files = {"csv": self.table.to_csv(index=False), "json": compared.as_json(self.table, self.heads)}
        files["md"] = compared.markdown(self.table, self.heads)
        for ending, content in files.items():
            store.write_file(Path(folder) / f"comparison.{ending}", content.encode())

    def beyond(self, change: float) -> list[str]:
        """The cases that are worse by more than this, each in a line: what `compare --fail-on` fails on."""
        return compared.beyond(self.table, change)


def compare(
    a: Folder | Sequence[Folder], b: Folder | Sequence[Folder], across: bool = False, known: rules.Rules | None = None
) -> Comparison:
    """Compares run B with run A, case by case; either may be several runs that share one plan.

    `b_over_a` has an interval of at least 95 %; in words it is the change from A to B. Margins are those of `known`,
    else of pyproject.toml, as the gate's are; in time and energy on a CPU 5 % at least, what two runs of the same build
    may differ by. Scores of trained networks are compared over all seeds together. Runs of different machines are a
    ValueError unless `across`.
    """
    sides = [table(a), table(b)]
    said = [f"{name}: {one}" for name, runs, side in zip("AB", (a, b), sides, strict=True) for one in notes(runs, side)]
    left, right = (side[~side["superseded"]].copy() for side in sides)
    note = [*_pair_shares(left, right, across), *_pair_machines(left, right, across)]
    found = _join(left, right)
    known = known or rules.read()
    found["margin"] = [float(_margin(row, known)) for row in found.to_dict("records")]
    judged = [_verdict(row, bool(note)) for row in found.to_dict("records")]
    found["verdict"] = [verdict for verdict, _ in judged]
    found["note"] = [text for _, text in judged]
    found = trials_compared.gathered(found.drop(columns=["device"]), known)
    heads = (*compared.origins(left, right), *note, *said, *_environment(a, b), compared.HINT)
    return Comparison(found, compared.text(found, heads), heads)


def _margin(row: dict[Any, Any], known: rules.Rules) -> float:
    if row["unit"] not in ("s", "J"):
        return known.margin(row["metric"], row["case"])
    named = known.margin("time" if row["unit"] == "s" else "energy", row["case"])
    return max(named, UNPAIRED.get(row["device"], 0.0))


def _pair_shares(left: DataFrame, right: DataFrame, across: bool) -> list[str]:
    """Where a side is shares of a plan, machines that are alike are one; two of them in one case need `across`."""
    if not any(side["place"].str.startswith(SHARED).any() for side in (left, right)):
        return []
    both = left.merge(right, on=["_like", *KEY[1:]])
    moved = both[both["machine_x"].ne(both["machine_y"])]
    if len(moved) and not across:
        raise ValueError(
            f"{len(moved)} of {len(both)} measurements are of different machines in A and B, alike though they are; "
            "--across compares them all the same"
        )
    left["machine"], right["machine"] = left["_like"], right["_like"]
    return [f"{len(moved)} of {len(both)} measurements are of different machines that are alike."] if len(moved) else []


def _pair_machines(left: DataFrame, right: DataFrame, across: bool) -> list[str]:
    """Renames B's machine to A's where different ones may be compared; says so."""
    names = [
        {str(key): name for key, name in side.groupby("machine")["device_name"].first().items()}
        for side in (left, right)
    ]
    ours, theirs = (sorted(set(mine) - set(other)) for mine, other in (names, names[::-1]))
    if not (ours and theirs) or len(ours) < len(names[0]):
        return []  # what only one side has is NEW or MISSING
    told = [f"{names[0][ours[0]]} ({ours[0]})", f"{names[1][theirs[0]]} ({theirs[0]})"]
    if not across:
        raise ValueError(
            f"the runs are of different machines: {told[0]} and {told[1]}; --across compares them all the same"
        )
    if len(ours) > 1 or len(theirs) > 1:
        raise ValueError(f"across: expected one machine in each run, got {', '.join(ours)} and {', '.join(theirs)}")
    right["machine"] = right["machine"].replace(theirs[0], ours[0])
    return [f"Different machines: A is {told[0]}, B is {told[1]}."]


def _join(left: DataFrame, right: DataFrame) -> DataFrame:
    facts = [*SUBJECT, "unit", "device"]
    values = ["status", "reason", "median", "lo", "hi", "n", *WIDE, *facts]
    sides = [side.drop_duplicates(KEY, keep="last")[[*KEY, *values]] for side in (left, right)]
    both = sides[0].merge(sides[1], "outer", KEY, suffixes=("_a", "_b"), sort=False)
    for name in facts:
        both[name] = both.pop(f"{name}_a").fillna(both.pop(f"{name}_b"))
    both["b_over_a"] = both["median_b"] / both["median_a"].where(both["median_a"].ne(0))
    both["b_over_a_lo"] = both["_lo_b"] / both["_hi_a"]
    both["b_over_a_hi"] = both["_hi_b"] / both["_lo_a"]
    joined: DataFrame = both.drop(columns=[f"{end}_{side}" for end in WIDE for side in "ab"])
    return joined


def _verdict(row: dict[Any, Any], across: bool) -> tuple[str, str]:
    """The verdict on one joined row and a note: a reason, or what an inconclusive interval could have shown."""
    a, b = row["status_a"], row["status_b"]  # NaN where the side has no such record
    if b not in ("ok", "skipped") and isinstance(b, str):
        return "FAILED", f"{b}: {row['reason_b']}" + (" (the same in A)" if a == b else "")
    if b != "ok":
        why = f"skipped: {row['reason_b']}" if b == "skipped" else "not in B"
        return ("MISSING", why) if a == "ok" or b != "skipped" else ("UNMEASURED", why)
    if a != "ok":
        return "NEW", f"{a} in A: {row['reason_a']}" if isinstance(a, str) else "not in A"
    if row["unit"] in ("s", "J"):
        return _sampled(row, across)
    change = row["median_b"] - row["median_a"]
    if abs(change) <= row["margin"] * (1 if row["metric"] in rules.ABSOLUTE else abs(row["median_a"])):
        return "EQUIVALENT", ""
    note = "on another machine" if across else ""
    return ("IMPROVED" if (change > 0) == (row["metric"] in rules.HIGHER_IS_BETTER) else "REGRESSED"), note


def _sampled(row: dict[Any, Any], across: bool) -> tuple[str, str]:
    note = "on another machine" if across else "unconfirmed"
    ratio, lo, hi, margin = (row[name] for name in ("b_over_a", "b_over_a_lo", "b_over_a_hi", "margin"))
    if not lo <= hi:  # NaN: too few samples
        return "INCONCLUSIVE", f"no interval: {int(row['n_a'])} and {int(row['n_b'])} samples, 7 are needed"
    if lo > 1 + margin:
        return "REGRESSED", note
    if hi < 1 - margin:
        return "IMPROVED", note
    if lo >= 1 - margin and hi <= 1 + margin:
        return "EQUIVALENT", ""
    return "INCONCLUSIVE", f"could have shown ±{100 * (margin + max(hi / ratio, ratio / lo) - 1):.1f} %"


def _facts(runs: Folder | Sequence[Folder]) -> dict[str, Any]:
    held = [store.read_machine(path) for path in folders(runs)]
    return {"run": held[0]["run"], "devices": {key: facts for one in held for key, facts in one["devices"].items()}}


def _environment(a: Folder | Sequence[Folder], b: Folder | Sequence[Folder]) -> list[str]:
    """What differs between the two machine.json, as far as both state it and it does not change by itself."""
    sides = [_facts(runs) for runs in (a, b)]
    common = set(sides[0]["devices"]) & set(sides[1]["devices"])
    ours, theirs = (
        dict(extras.flat({**side["run"], **{key: side["devices"][key] for key in common}})) for side in sides
    )
    differ = [
        f"{name}: {value} -> {theirs[name]}"
        for name, value in ours.items()
        if name in theirs and value != theirs[name] and not _CHANGES.search(name)
    ]
    more = f"; and {len(differ) - compared.LISTED} more" if len(differ) > compared.LISTED else ""
    return [f"The environments differ: {'; '.join(differ[: compared.LISTED])}{more}."] if differ else []
