"""The README's table of times on a CPU, made from runs: `python -m reports.readme RUN...`

Each number says how many times faster than average pooling AdaPool is: the median over the runs of torch's median over
ours. The runs' medians are kept in reports/cpu.csv, from which the table can be made again; `--check` exits 1 where the
README has another one.
"""

from __future__ import annotations

import csv
import io
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports import frame, store

if TYPE_CHECKING:
    from pandas import DataFrame

README = Path(__file__).parents[1] / "README.md"
KEPT = Path(__file__).with_name("cpu.csv")
MARKS = ("<!-- python -m reports.readme: begin -->\n", "<!-- python -m reports.readme: end -->\n")
COLUMNS = ("run", "device_name", "commit", "method", "direction", "window", "shape", "median", "lo", "hi", "n")
SUBJECTS = {"ada": "native", "avg": "torch"}
DIRECTIONS = {"forward": "forward", "both": "forward and backward"}
Row = Mapping[str, str]


def kept(table: DataFrame) -> str:
    """The times of the two subjects as CSV; ValueError when a run measured something else besides, or not all."""
    from reports.view import window

    rows = table[table["probe"].eq("latency") & table["method"].map(SUBJECTS).eq(table["implementation"])]
    bad = rows[rows["status"].ne("ok")]
    if len(bad) or rows.empty:
        raise ValueError(f"runs: expected times of ada (native) and avg (torch), got {len(rows)}, {len(bad)} not ok")
    if len(rows[["dtype", "layout", "clock", "device_name"]].drop_duplicates()) > 1:
        raise ValueError("runs: expected one dtype, layout, clock and device, got several")
    parts = (rows[name] for name in ("kernel", "stride", "padding", "ceil_mode"))
    shown = rows.assign(window=[window(*row) for row in zip(*parts, strict=True)])
    text: str = shown[list(COLUMNS)].to_csv(index=False, lineterminator="\n", float_format="%.6g")
    return text


def table(rows: Sequence[Row]) -> str:
    """The table in Markdown, and a line that says what it was made of."""
    times: dict[tuple[str, str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        place = (row["shape"], row["direction"], row["window"])
        times.setdefault(place, {}).setdefault(row["run"], {})[row["method"]] = float(row["median"])
    ratios = {place: [t["avg"] / t["ada"] for t in runs.values()] for place, runs in times.items()}
    windows = list(dict.fromkeys(row["window"] for row in rows))
    lines = [f"| input | | {' | '.join(windows)} |", "|---|---|" + "---|" * len(windows)]
    for shape in dict.fromkeys(row["shape"] for row in rows):
        for direction, words in DIRECTIONS.items():
            cells = [_cell(ratios.get((shape, direction, window))) for window in windows]
            name = shape.replace("x", "×") if direction == "forward" else ""
            lines.append(f"| {name} | {words} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _source(rows, ratios.values())]) + "\n"


def _cell(found: Sequence[float] | None) -> str:
    return "" if found is None else f"{statistics.median(found):.1f}×"


def _source(rows: Sequence[Row], ratios: Iterable[Sequence[float]]) -> str:
    runs = list(dict.fromkeys(row["run"] for row in rows))
    commits = ", ".join(dict.fromkeys(row["commit"][:12] or "unknown" for row in rows))
    words = f"{rows[0]['device_name']}, commit {commits}; "
    if len(runs) == 1:
        return words + "one run."
    ends = [(min(some) / statistics.median(some), max(some) / statistics.median(some)) for some in ratios]
    low, high = (statistics.median(end) for end in zip(*ends, strict=True))
    least, most = min(end[0] for end in ends), max(end[1] for end in ends)
    return (
        f"{words}medians of {len(runs)} runs; the lowest and highest of them are typically {low:.2f} and {high:.2f} "
        f"times the median, at worst {least:.2f} and {most:.2f}."
    )


def read(text: str) -> list[Row]:
    """The rows of cpu.csv."""
    return list(csv.DictReader(io.StringIO(text)))


def put(page: str, made: str) -> str:
    """The page with the table between its marks; ValueError when it has none."""
    begin, end = (page.find(mark) for mark in MARKS)
    if begin < 0 or end < begin:
        raise ValueError(f"expected the marks {MARKS[0].strip()} and {MARKS[1].strip()} in the page")
    return page[: begin + len(MARKS[0])] + made + page[end:]


def main(words: Sequence[str]) -> int:
    runs = [word for word in words if word != "--check"]
    if runs:
        store.write_file(KEPT, kept(frame.load(runs)).encode())
    page = README.read_text(encoding="utf-8")
    made = put(page, table(read(KEPT.read_text(encoding="utf-8"))))
    if "--check" not in words:
        store.write_file(README, made.encode())
    elif made != page:
        print("README.md has another table than reports/cpu.csv gives; `python -m reports.readme` writes it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
