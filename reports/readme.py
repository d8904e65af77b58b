"""The README's table of times on a CPU, made from runs: `python -m reports.readme RUN...`

Each number says how many times faster than average pooling AdaPool is: the median over the runs of torch's median over
ours. The runs' medians are kept in reports/cpu.csv, from which the table can be made again; `--check` exits 1 where the
README has another one.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from itertools import product
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


def table(rows: DataFrame) -> str:
    """The table in Markdown, and a line that says what it was made of."""
    keys = ["shape", "direction", "window"]
    times = rows.pivot_table("median", [*keys, "run"], "method", "last", sort=False)
    ratios = (times["avg"] / times["ada"]).dropna().groupby(level=keys, sort=False).agg(["median", "min", "max"])
    windows = list(rows["window"].unique())
    lines = [f"| input | | {' | '.join(windows)} |", "|---|---|" + "---|" * len(windows)]
    for shape, (direction, words) in product(rows["shape"].unique(), DIRECTIONS.items()):
        places = [(shape, direction, window) for window in windows]
        cells = [f"{ratios.loc[at, 'median']:.1f}×" if at in ratios.index else "" for at in places]
        name = shape.replace("x", "×") if direction == "forward" else ""
        lines.append(f"| {name} | {words} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _source(rows, ratios)]) + "\n"


def _source(rows: DataFrame, ratios: DataFrame) -> str:
    commits = ", ".join(rows["commit"].str[:12].fillna("unknown").unique())
    words = f"{rows['device_name'].iloc[0]}, commit {commits}; "
    runs = rows["run"].nunique()
    if runs == 1:
        return words + "one run."
    low, high = ratios["min"] / ratios["median"], ratios["max"] / ratios["median"]
    return (
        f"{words}medians of {runs} runs; the lowest and highest of them are typically {low.median():.2f} and "
        f"{high.median():.2f} times the median, at worst {low.min():.2f} and {high.max():.2f}."
    )


def read(text: str) -> DataFrame:
    """The rows of cpu.csv."""
    import pandas as pd

    found: DataFrame = pd.read_csv(io.StringIO(text), dtype={"run": str, "commit": str, "window": str})
    return found


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
