"""`gate tasks`: what networks have learned in two stored runs, subject by subject, all seeds together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import reports
from gate.judge import VERDICTS, Judgement, Result
from gate.outcome import conclude
from gate.outcome import rules as the_rules
from reports import store, trials
from suites.axes import UsageError

DRAWN_FROM = ("images", "video")


def tasks(base: str, head: str, across: bool, rules: str | None, out: Path | None) -> int:
    """Exit code of the comparison of two runs of `runner.py tasks`; times are not judged, they were not interleaved."""
    known = the_rules(rules)
    try:
        sides = {name: _asked(Path(run)) for name, run in (("base", base), ("head", head))}
        for what, value in sides["base"].items():
            if sides["head"][what] != value:
                raise ValueError(f"the runs trained differently: {what} {value} in base, {sides['head'][what]} in head")
        found = reports.compare(base, head, across=across, known=known).table
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None
    scores = found[found["probe"].eq(trials.PROBE) & found["metric"].ne(trials.STEP)]
    results = [_result(row) for row in scores.to_dict("records")]
    results = [result for result in results if result.verdict in VERDICTS]  # the others have no number on either side
    results.sort(key=lambda result: VERDICTS.index(result.verdict))
    return conclude(out, f"gate tasks {base} {head}", {"tasks": Judgement(tuple(results))})


def _asked(run: Path) -> dict[str, Any]:
    """What makes two runs comparable. ValueError for a run of another kind."""
    if not (run / store.RECORDS).is_file():
        raise ValueError(f"run: expected a folder with {store.RECORDS}, got {str(run)!r}")
    study = store.read_machine(run)["run"].get("study")
    if study is None:
        raise ValueError(f"run: expected one of `runner.py tasks`, got {str(run)!r}; `gate ab` is for pooling calls")
    return {name: study[name] for name in ("profile", *DRAWN_FROM)}


def _result(row: dict[Any, Any]) -> Result:
    base, head = (None if math.isnan(row[at]) else row[at] for at in ("median_a", "median_b"))
    return Result(
        case=row["case"], metric=row["metric"], unit=row["unit"], verdict=row["verdict"], note=row["note"],
        base=base, head=head, change=None if base is None or head is None else head - base,
        margin=row["margin"], pairs=row["n_b"],
    )  # fmt: skip
