"""Counts that repeat exactly, as text that diffs well, and the verdicts of new counts against committed ones.

A table is one line a row (a kernel, a case), one column a count. Knows nothing of how counts are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from gate.judge import Judgement, Result
from reports.rules import Rules
from reports.store import write_file

FEWER_IS_WORSE = ("occupancy", "native_forward", "native_backward")
TOLD_ONLY = ("allowed", "load16", "store16", "shuffles", "barriers")
EXTENSION = ".txt"
NONE_OF = ("fp64", "spill_stores", "spill_loads", "stack")  # in any kernel, whatever the baseline says
EXCEPT = {  # glob over kernels -> which of these they may have, and why
    "ada backward_overlap* channels_last *": (
        NONE_OF[1:],
        "two words on sm_75 and sm_80; with half the blocks an H200 took 863 us in place of 653",
    ),
    "max backward_overlap float 1x3x3 stride 1x2x2*": (
        NONE_OF[1:],
        "two words on sm_80 and sm_120; with registers for all an H200 took 210 us in place of 157",
    ),
    "* double *": (NONE_OF, "float64 is asked for; its numbers take two registers, and are for checks, not for speed"),
}

Rows = dict[str, dict[str, int]]
Table = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Counts:
    """One table of one toolchain. `name` is its file's, `toolchain` what the counts depend on besides the code."""

    name: str
    toolchain: str
    rows: Rows
    failed: dict[str, str] = field(default_factory=dict)  # rows that could not be counted, and why

    def text(self, *reasons: str) -> str:
        """The file: a header, then aligned columns; a row that changes is a line that changes."""
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row))
        table = [["", *columns]]
        table += [[key, *(str(row.get(column, "-")) for column in columns)] for key, row in sorted(self.rows.items())]
        widths = [max(len(line[i]) for line in table) for i in range(len(columns) + 1)]
        lines = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in table]
        header = [f"# toolchain: {self.toolchain}", *(f"# reason: {' '.join(reason.split())}" for reason in reasons)]
        return "\n".join([*header, *lines]) + "\n"

    @classmethod
    def read(cls, path: Path) -> Counts:
        """A committed file again; ValueError names the line that is none."""
        toolchain, columns, rows = "", list[str](), Rows()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("#"):
                key, _, value = line[1:].partition(":")
                toolchain = value.strip() if key.strip() == "toolchain" else toolchain
                continue
            if not columns:
                columns = line.split()
                continue
            words = re.split(r"\s{2,}", line.strip())  # names have single spaces
            try:
                values = [None if word == "-" else int(word) for word in words[1:]]
                rows[words[0]] = {c: v for c, v in zip(columns, values, strict=True) if v is not None}
            except (ValueError, IndexError):
                raise ValueError(f"{path}, line {number}: expected a name and {len(columns)} whole numbers") from None
        return cls(path.stem, toolchain, rows)


def accept(counts: Counts, folder: Path, reason: str, methods: Sequence[str] = ()) -> list[str]:
    """Takes the counts as the baseline; the differences, one a line. ValueError where some would be lost.

    With `methods`, the rows of others stay as they are, and the reasons that they were accepted for.
    """
    path = folder / (counts.name + EXTENSION)
    reasons = [reason]
    if methods and path.is_file():
        theirs = f"{', '.join(methods)}: "
        held = re.findall("^# reason: (.*)$", path.read_text(), re.MULTILINE)
        reasons = [*(one for one in held if not one.startswith(theirs)), theirs + reason]
    before = Counts.read(path).rows if path.is_file() else {}
    others = {key: row for key, row in before.items() if methods and method_of(key) not in methods}
    counts = replace(counts, rows=others | counts.rows)
    lost = sorted({n for key in {*before} & {*counts.rows} for n in before[key] if n not in counts.rows[key]})
    if lost:
        raise ValueError(f"{counts.name}: expected counts of {', '.join(lost)} as in the baseline, got none of them")
    told = changes(before, counts.rows, difference)
    if told or not path.is_file():
        write_file(path, counts.text(*reasons).encode())
    return told


def method_of(key: str) -> str:
    """The first word of a row's name: its method, or what serves all methods."""
    return re.split(r"[ /]", key, maxsplit=1)[0]


def faults(key: str, row: Mapping[str, int]) -> list[str]:
    """The rules that a kernel breaks. Other rows have none of these counts."""
    kernel = key.partition(": ")[0]  # without the call that tells it from others of its name
    spared = {name for glob, (names, _) in EXCEPT.items() if fnmatchcase(f"{kernel} ", glob) for name in names}
    told = [f"{name} {row[name]}, expected none" for name in NONE_OF if row.get(name) and name not in spared]
    if row.get("registers", 0) > row.get("allowed", row.get("registers", 0)):
        told.append(f"registers {row['registers']}, expected at most the {row['allowed']} of its launch bound")
    return told


def difference(old: Mapping[str, int], new: Mapping[str, int]) -> str:
    """Old and new of every count that differs: registers 40 -> 64, spill_stores 0 -> 24."""
    names = dict.fromkeys((*old, *new))
    return ", ".join(f"{n} {old.get(n, '-')} -> {new.get(n, '-')}" for n in names if old.get(n) != new.get(n))


def changes(old: Table, new: Table, words: Callable[[Mapping[str, int], Mapping[str, int]], str]) -> list[str]:
    """A line for each row that is gone, is new, or has other counts, of which `words` tells."""
    told = []
    for key in sorted({*old, *new}):
        said = "gone" if key not in new else "new" if key not in old else words(old[key], new[key])
        told += [f"{key}: {said}"] if said else []
    return told


def judge(counts: Counts, folder: Path, rules: Rules, methods: Sequence[str] = (), optional: bool = False) -> Judgement:
    """Verdicts of the counts against the folder's file of the same name; another toolchain has another file.

    With `methods`, the rows of others are not missed. Where it is `optional`, a toolchain without
    a file is skipped.
    """
    path = folder / (counts.name + EXTENSION)
    if not path.is_file():
        family = counts.name.split("-", maxsplit=1)[0]
        known = ", ".join(sorted(p.stem for p in folder.glob(f"{family}-*{EXTENSION}"))) or "none"
        note = f"no baseline for {counts.toolchain}; there are: {known}; `runner.py baseline accept --reason` makes one"
        return uncounted(counts.name, note, optional)
    before = Counts.read(path).rows
    if methods:
        counted = {*counts.rows, *counts.failed}
        before = {key: row for key, row in before.items() if method_of(key) in methods or key in counted}
    results = []
    for key in sorted({*before, *counts.rows, *counts.failed}):
        verdict, note = _verdict(key, before.get(key), counts.rows.get(key), rules)
        if key in counts.failed:
            verdict, note = "FAILED", counts.failed[key]
        results.append(Result(case=key, metric=counts.name, verdict=verdict, note=note))
    return Judgement(tuple(results))


def uncounted(name: str, reason: str, optional: bool) -> Judgement:
    """No counts, or none to compare with: missing, or skipped where that is allowed."""
    if optional:
        return Judgement((), {name: reason}, optional=True)
    return Judgement((Result(case=name, metric="counts", verdict="MISSING", note=reason),))


def _verdict(key: str, old: Mapping[str, int] | None, new: Mapping[str, int] | None, rules: Rules) -> tuple[str, str]:
    if new is None:
        return "MISSING", "in the baseline, and not counted now"
    if broken := faults(key, new):
        return "REGRESSED", "; ".join([*broken, *filter(None, [difference(old or new, new)])])
    if old is None:
        return "NEW", "not in the baseline"
    if old == new:
        return "EQUIVALENT", ""
    worse = better = False
    for name in {*old, *new} - set(TOLD_ONLY):
        a, b = old.get(name), new.get(name)
        if a is None or b is None:
            continue  # a tool that was not there then, or is not now
        grown, margin = (a - b if name in FEWER_IS_WORSE else b - a), rules.margin(name, key) * a
        worse |= grown > margin
        better |= -grown > margin
    lost = [name for name in old if name not in new]
    if lost and not worse:
        return "MISSING", f"no longer counted: {', '.join(lost)}"
    note = difference(old, new)
    if worse:
        return "REGRESSED", note
    return ("IMPROVED", note + " (`baseline accept` keeps it)") if better else ("EQUIVALENT", note)
