"""The charts of one device: latency, ratios, ceiling, memory, energy, cost against retained information.

Chooses what is drawn and says what is not drawn and why; how a chart looks is the business of plots.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports import plots, ranking, view
from reports.frame import BETTER
from reports.svg import Chart
from reports.view import DIRECTIONS, Group

if TYPE_CHECKING:
    from pandas import DataFrame

_IDEAL = 100.0
Section = dict[str, Any]  # what the template needs of one: anchor, title, lead, charts, panels, grid, series, holes


def sections(group: Group) -> list[Section]:
    """The charts of a device in reading order; a section without a single number says why."""
    rows = group.rows
    latency = rows[rows["probe"].eq("latency") & rows["implementation"].ne("copy")]
    layer = view.main_layer(rows[rows["probe"].eq("latency")])
    main = view.on(latency, layer)
    rest = {name: value for name, value in layer.items() if name != "clock"}
    made = [*_latency(group, main, layer), *_faster(group, main, layer), _ceiling(group, main, layer)]
    memory = rows[rows["probe"].eq("memory")]
    made += [_memory(group, view.on(memory, rest) if rest else memory)]
    made += [_energy(group, rows[rows["probe"].eq("energy")])]
    made += [_pareto(group, main, rows)]
    return [section for section in made if section["charts"] or section["holes"]]


def _section(group: Group, name: str, title: str, lead: str, rows: DataFrame, charts: list[Chart]) -> Section:
    shown = rows[rows["status"].eq("ok")]
    panels = any("latency" in chart.name for chart in charts)
    return {
        "anchor": f"{group.anchor}-{name}", "title": title, "lead": lead,
        "charts": charts, "panels": panels, "grid": "pareto" if name == "pareto" else "latency" if panels else "dots",
        "series": plots.series(shown) if charts else [], "holes": holes(rows),
    }  # fmt: skip


def holes(rows: DataFrame) -> list[str]:
    """Why records have no number, in one line for each reason."""
    bad = rows[rows["status"].ne("ok")]
    lines = []
    for (status, reason), part in bad.groupby(["status", "why"], sort=False):
        subjects = list(dict.fromkeys(part["subject"]))
        names = ", ".join(subjects[:6]) + (f" and {len(subjects) - 6} more" if len(subjects) > 6 else "")
        lines.append(f"{len(part)} {status} ({names}): {reason}")
    return lines


def _ready(rows: DataFrame, kind: str = "median") -> DataFrame:
    """Rows with a number to draw, in the columns that plots read."""
    ends = BETTER[1:] if kind == BETTER[0] else ("lo", "hi")
    drawn = rows.assign(x=rows[kind], lo=rows[ends[0]], hi=rows[ends[1]])
    fine: DataFrame = drawn[drawn["status"].eq("ok") & drawn["x"].gt(0)]
    return fine


def _file(group: Group, *words: str) -> str:
    return re.sub(r"[^\w.-]+", "_", "-".join([group.anchor, *words]))


def _latency(group: Group, main: DataFrame, layer: dict[str, Any]) -> list[Section]:
    made = []
    for direction, word in DIRECTIONS.items():
        rows = main[main["direction"].eq(direction)]
        if rows.empty:
            continue
        good = _ready(rows)
        lead = f"Input {view.layer_text(layer)}; time is on a logarithmic axis. "
        kernels = " by window" if good["window"].nunique() > 1 else ""
        if kernels:
            charts = _panels(group, direction, good)
            lead += "Grey: the fastest implementation of every other method. Whiskers: the median's interval. "
            lead += "The line joins the windows whose stride is the kernel; the same scales in every panel."
        else:
            charts = _dots(group, (direction, "time"), good, plots.unit_tick("s"))
        made.append(_section(group, f"latency-{direction}", f"{word}: latency{kernels}", lead, rows, charts))
    return made


def _panels(group: Group, direction: str, good: DataFrame) -> list[Chart]:
    windows = view.windows(good)
    good = good.assign(place=good["window"].map(windows.index))
    square = good[good["square"]].sort_values("x").drop_duplicates(["method", "window"]).sort_values("place")
    others = {str(method): part for method, part in square.groupby("method")}
    limits = (min(good["x"].min(), good["lo"].min()) / 1.2, max(good["x"].max(), good["hi"].max()) * 1.2)
    charts = []
    for method, part in good.groupby("method", sort=False):
        behind = [line for name, line in others.items() if name != method]
        file = _file(group, direction, "latency", str(method))
        charts.append(plots.panel(part, behind, limits, windows, file, str(method)))
    return charts


def _dots(
    group: Group, file: Sequence[str], rows: DataFrame, tick: plots.Tick, line: float | None = None
) -> list[Chart]:
    """A chart for each window; where there is a `line` to be right of, the largest is the best."""
    return [
        plots.dots(part, _file(group, *file, name), f"Window {name}", tick, line, most=line is not None)
        for name, part in _by_window(rows)
    ]


def _by_window(rows: DataFrame) -> list[tuple[str, DataFrame]]:
    return [(name, rows[rows["window"].eq(name)]) for name in view.windows(rows)]


def _faster(group: Group, main: DataFrame, layer: dict[str, Any]) -> list[Section]:
    made = []
    for direction in ("forward", "backward", "both"):
        rows = main[main["direction"].eq(direction)]
        good = _ready(rows, BETTER[0])
        good = good[good.groupby("window")["subject"].transform("nunique") > 1]
        charts = _dots(group, (direction, "faster"), good, "{x:g}×", 1.0)
        lead = (
            f"The time of torch's own avg_pool (dashed line) over each method's: right of the line is faster. "
            f"{DIRECTIONS[direction]}, input {view.layer_text(layer) if layer else ''}. Whiskers: the ratio's interval."
        )
        title = f"{DIRECTIONS[direction]}: times faster than avg_pool"
        section = _section(group, f"faster-{direction}", title, lead, rows, charts)
        made.append({**section, "holes": []})  # the same as under latency
    return made


def _ceiling(group: Group, main: DataFrame, layer: dict[str, Any]) -> Section:
    rows = main[main["direction"].eq("forward")]
    good = _ready(rows, "percent_of_copy").assign(lo=math.nan, hi=math.nan)
    charts = _dots(group, ("copy",), good, "{x:g} %", _IDEAL)
    lead = (
        "Compulsory bytes per second as a share of a plain copy on the same device in the same run (dashed line). "
        f"Forward, input {view.layer_text(layer) if layer else ''}."
    )
    return {**_section(group, "ceiling", "How near to the speed of a copy", lead, rows, charts), "holes": []}


def _memory(group: Group, rows: DataFrame) -> Section:
    rows = rows[rows["implementation"].ne("copy")]
    measured = rows[rows["status"].eq("ok")]
    charts = []
    for metric, words in (("peak_bytes", "Peak beside the input"), ("saved_bytes", "Saved for backward")):
        of = measured[measured["metric"].eq(metric)]
        if of.empty:
            continue
        directions = of["direction"].value_counts()
        of = of[of["direction"].eq(str(directions.idxmax()))]
        names = view.windows(of)
        for name in dict.fromkeys([names[0], names[-1]]):
            part = of[of["window"].eq(name)].assign(x=of["median"], lo=math.nan, hi=math.nan)
            title = f"{words}, window {name}"
            charts.append(plots.dots(part, _file(group, metric, name), title, plots.unit_tick("B")))
    shape = rows["shape"].iloc[0].replace("x", "×") if len(rows) else ""
    lead = (
        f"Input {shape}. Peak: the most allocated during the call beyond its inputs, output included. Saved: what "
        "autograd keeps until the backward pass. The smallest and the largest window are drawn; the table of all "
        "records has the rest."
    )
    return _section(group, "memory", "Memory", lead, rows, charts)


def _energy(group: Group, rows: DataFrame) -> Section:
    good = _ready(rows)
    charts = []
    for direction, of in good.groupby("direction", sort=False):
        for name, part in _by_window(of):
            title = f"{DIRECTIONS.get(str(direction), direction)}, window {name}"
            charts.append(plots.dots(part, _file(group, "energy", str(direction), name), title, plots.unit_tick("J")))
    lead = "Energy of one call, idle power subtracted. Whiskers: interval, where there are samples enough for one."
    return _section(group, "energy", "Energy", lead, rows, charts)


def _pareto(group: Group, main: DataFrame, rows: DataFrame) -> Section:
    scores = view.scores(rows)
    quality = scores.groupby(["method", "window"])["median"].mean().rename("y").reset_index()
    cost = _ready(main[main["direction"].eq("forward")]).sort_values("x").drop_duplicates(["method", "window"])
    both = cost.merge(quality, on=["method", "window"])
    far = both["y"] < both.groupby("window")["y"].transform("max") - ranking.FAR
    both["tip"] = [f"{tip}\nPSNR {y:.2f} dB" for tip, y in zip(both["tip"], both["y"], strict=True)]
    both["r"] = -1  # a point is of two measurements, so its tip is its own
    charts = [
        plots.pareto(part, _file(group, "pareto", name), f"Window {name}", "PSNR after restoring (dB)")
        for name, part in _by_window(both[~far])
        if len(part) > 1
    ]
    lead = (
        "Forward time of each method's fastest implementation against PSNR, mean over the images (protocol P1: pool, "
        "enlarge by bicubic interpolation, compare). Up and left is better; the grey line joins the methods that no "
        "other beats in both."
    )
    section = _section(group, "pareto", "Retained information against cost", lead, both, charts)
    section["holes"] = [
        f"window {name}: {', '.join(f'{m} {y:.1f} dB' for m, y in zip(part['method'], part['y'], strict=True))}, "
        f"more than {ranking.FAR:g} dB below the best"
        for name, part in _by_window(both[far])
    ]
    section["holes"] += [] if charts or scores.empty else ["no window has a forward time and a PSNR of two methods"]
    return section
