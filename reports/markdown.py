"""The answer of a report as Markdown, for an issue or a README: what native loses, what to take, the ranked tables.

Of trained networks the table of each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from reports import answer, frame, losses, store, trials, trials_text, view
from reports.store import Folder


def write(runs: Folder | Sequence[Folder], file: Folder) -> None:
    """Writes the answers of a run, or of several together, into a Markdown file; of trained networks, their tables."""
    rows = view.prepared(frame.table(runs))
    lines = ["# Pooling methods, measured"]
    for group in view.groups(rows[rows["probe"].ne(trials.PROBE)]):
        lines += ["", f"## {_escaped(group.title)}", *_lost(losses.losses(group.rows))]
        for block in answer.answers(group):
            lines += ["", *_block(block)]
    for result in chain.from_iterable(map(trials.results, frame.folders(runs))):
        lines += ["", *_trained(result)]
    store.write_file(Path(file), ("\n".join(lines) + "\n").encode())


def _lost(found: dict[str, Any]) -> list[str]:
    if not found["lost"]:
        return []
    worst = [(one["method"], one["direction"], one["places"][0]) for one in found["methods"]]
    lines = ["", f"**Native loses {found['lost']} of {found['pairs']} comparisons.** The worst of each method:", ""]
    return lines + [
        f"- {_escaped(method)} {direction}: {at['times']} as fast as {at['rival']} ({at['ours']} against "
        f"{at['theirs']}; {_escaped(at['where'])})"
        for method, direction, at in worst
    ]


def _block(block: dict[str, Any]) -> list[str]:
    said = block["sentence"]
    take = f"take **{_escaped(said['take'])}** " if said["take"] else ""
    heads = ["method", *(head for head, _ in answer.COLUMNS.values())]
    lines = [f"{said['place']} {take}{_escaped(said['why'])}", "", f"| {' | '.join(heads)} |"]
    lines.append("|---" + "|--:" * len(answer.COLUMNS) + "|")
    for row in block["rows"]:
        cells = [_cell(row[name]) for name in answer.COLUMNS]
        lines.append(f"| {_escaped(row['method'])} ({row['implementation']}) | {' | '.join(cells)} |")
    return lines


def _trained(result: trials.Result) -> list[str]:
    rows = [trials_text.heads(result), *(trials_text.cells(result, line) for line in result.lines)]
    table = [f"| {' | '.join(map(one_line, row))} |" for row in rows]
    table.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    head = f"### {one_line(result.title)}, {trials_text.seeds(result)}"
    says = [f"* {one_line(line)}" for line in trials_text.says(result)]
    return [head, "", *([*table, ""] if result.lines else []), *says]


def _cell(cell: dict[str, Any]) -> str:
    return f"{cell['text']} · {cell['rank'].mark}" if cell["span"] is not None else _escaped(cell["text"])


def _escaped(words: str) -> str:
    """Names and numbers, of which nothing is markup."""
    return "".join(f"\\{c}" if c in "\\|*_<`[" else c for c in " ".join(words.splitlines()))


def one_line(words: str) -> str:
    """Sentences, of which code in backticks is markup: what ends a line or a cell, or begins a tag, does not."""
    return " ".join(words.splitlines()).replace("|", "\\|").replace("<", "&lt;")
