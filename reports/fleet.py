"""Many machines in one report: whose numbers make a column, which of a repeated measurement is shown, what is missing.

Shares of one plan (`bench --shard`, `bench --ray`) on machines that are alike are one place; any other run's devices
are a place each. Knows facts of machines and records; nothing of how a plan is shared out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame, Series

SHARED = "plan "  # how the places begin that several runs or machines may share
_MODEL = ("kind", "name", "architecture", "cores", "threads", "driver", "mig", "power_limit_w")
_SOFTWARE = ("torch", "cuda", "nvrtc", "native")


def fingerprint(facts: dict[str, Any], *code: object) -> str:
    """What makes two machines alike: model, driver and software of an entry of machine.json, and the code that ran."""
    software = facts.get("software") or {}
    told = [facts.get(name) for name in _MODEL] + [software.get(name) for name in _SOFTWARE]
    return _digest([*told, *code])


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]


def plan(run: dict[str, Any], kind: object) -> str | None:
    """Names the plan that a run of machine.json is a share of; None for a run that measured its plan alone."""
    shard, axes = run.get("shard"), run.get("axes") or {}
    if isinstance(shard, dict):
        return _digest([{**axes, "shard": None}, shard.get("count"), shard.get("plan", {}).get(kind)])
    return _digest([run.get("time"), axes]) if run.get("ray") else None


def place(run: str, machine: str, facts: dict[str, Any], about: dict[str, Any], *code: object) -> str:
    """The place of a record: its run (`about` in machine.json) and machine, or its plan and what machines are alike."""
    shared = plan(about, facts.get("kind"))
    return f"{run} {machine}" if shared is None else f"{SHARED}{shared} on {fingerprint(facts, *code)}"


def superseded(frame: DataFrame, key: Sequence[str]) -> Series[Any]:
    """Whether another record of the same place and key stands for a row.

    The measurement stands that has most of its input and window, then the latest: what is compared should be of one
    machine, and an interrupted repetition must not displace half of a whole one.
    """
    shape = frame["shape"].where(frame["probe"].ne("retention"), "")  # photographs vary in size
    unit = [frame[name] for name in ("place", "kernel", "stride", "padding", "ceil_mode", "dtype", "layout")]
    source = frame.groupby([*unit, shape, frame["run"], frame["machine"], frame["_node"]])
    ranked = frame.assign(_most=source["case"].transform("nunique"), _last=source["time"].transform("max"))
    ranked = ranked.sort_values(["_most", "_last", "time"], kind="stable")
    found: Series[Any] = ranked.duplicated(["place", *key], keep="last").sort_index()
    return found


def notes(frame: DataFrame, about: dict[str, dict[str, Any]]) -> list[str]:
    """What a reader of several runs has to know: shards that are missing, commits that differ, what was repeated."""
    return [*_missing(about), *_commits(frame), *_repeated(frame)]


def _repeated(frame: DataFrame) -> list[str]:
    again = frame[frame["superseded"]]
    if again.empty:
        return []
    on = ["place", "case", "probe", "metric"]
    shown = frame[~frame["superseded"]].merge(again[on].drop_duplicates(), on=on)["run"]
    runs = [", ".join(dict.fromkeys(map(str, names))) for names in (shown, again["run"])]
    where = f"; shown is {runs[0]}, not {runs[1]}" if runs[0] != runs[1] else ""
    return [
        f"{len(again)} records are of a case that was measured again on an equal machine and are not shown, but the "
        f"measurement that has most of its input and window, then the latest{where}. records.csv marks them superseded."
    ]


def _missing(about: dict[str, dict[str, Any]]) -> list[str]:
    held: dict[tuple[int, str], set[int]] = {}
    for run in about.values():
        shard = run.get("shard")
        if isinstance(shard, dict):
            plans = json.dumps([plan(run, kind) for kind in sorted(shard.get("plan", {}))])
            held.setdefault((int(shard["count"]), plans), set()).add(int(shard["index"]))
    made = [
        f"Shard {index}/{count} is missing: what it would have measured is not here."
        for (count, _), there in held.items()
        for index in range(1, count + 1)
        if index not in there
    ]
    if len(held) > 1:
        made.append("The shards are of different plans (other axes, methods or numbers of shards) and are kept apart.")
    return made


def _commits(frame: DataFrame) -> list[str]:
    made = frame.dropna(subset=["commit"]).groupby(["commit", "dirty"], sort=False, dropna=False)["run"]
    held = {
        f"{str(commit)[:12]}{' with changes' if dirty is True else ''}": runs.unique() for (commit, dirty), runs in made
    }
    if len(held) < 2:
        return []
    each = "; ".join(f"{commit} ({', '.join(map(str, runs))})" for commit, runs in held.items())
    return [f"The records are of different commits: {each}."]
