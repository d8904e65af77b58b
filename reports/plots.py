"""The chart kinds, drawn with seaborn: small multiples, dots with whiskers, cost against quality.

Knows columns named here and nothing of where they come from. `tip` is the text shown over a point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reports import digits
from reports.svg import GRID, INK, MUTE, SERIES, Chart, canvas, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

Tick = Callable[[float, Any], str] | str  # a text has {x} where the number goes
PALETTE = {name: color for name, (color, _) in SERIES.items()}
LONGEST = 22
MARKERS = {name: marker for name, (_, marker) in SERIES.items()}


def series(rows: DataFrame) -> list[str]:
    """The implementations in the rows, in the order of the legend."""
    return [name for name in SERIES if name in set(rows["implementation"])]


def signed_tick(unit: str = "") -> Tick:
    def tick(value: float, _: Any = None) -> str:
        return f"{value:+g}{unit}" if abs(value) > 1e-9 else "0"

    return tick


def unit_tick(unit: str) -> Tick:
    def tick(value: float, _: Any = None) -> str:
        if value == 0:
            return "0"  # of any unit
        scale, name = digits.scale_of(value * (1 + 1e-9), unit)
        return f"{value / scale:g} {name}"

    return tick


def _log_axis(axis: Any, low: float, high: float, tick: Tick, wide: bool = True) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    decades = high / low
    steps = (1.0, 2.0, 5.0) if decades < (30 if wide else 8) else (1.0, 3.0) if decades < 300 and wide else (1.0,)
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(tick)
    axis.set_minor_formatter(NullFormatter())


def _linear_axis(ax: Axes, low: float, high: float, tick: Tick, parts: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(parts))
    ax.xaxis.set_major_formatter(tick)
    ax.set_xlim(low, high)


def panel(
    rows: DataFrame, others: list[DataFrame], limits: tuple[float, float], windows: list[str], name: str, title: str
) -> Chart:
    """One method's time by window, in front of all others in grey; a line joins the windows whose stride is the kernel.

    Columns place (of the window in `windows`), square, x, lo, hi, warned, tip, r.
    """
    with canvas(2.1, 1.6, (0.27, 0.13, 0.71, 0.75)) as (figure, ax):  # measuring the labels would double the time
        gap = float("nan")  # all grey lines are one path: the drawing stays small
        xs, ys = ([v for line in others for v in (*line[end], gap)] for end in ("place", "x"))
        ax.plot(xs, ys, color=MUTE, linewidth=0.6, zorder=1)
        colors = rows["implementation"].map(PALETTE)
        line = rows[rows["square"]].sort_values("place")
        for kind, part in line.groupby("implementation"):
            ax.plot(part["place"], part["x"], color=PALETTE[str(kind)], zorder=3)
        ax.vlines(rows["place"], rows["lo"], rows["hi"], color=colors, linewidth=1, zorder=3)
        _points(ax, rows, rows["place"], rows["x"], rows["warned"])
        ax.set(title=_short(title), xlabel="", ylabel="", ylim=limits)
        ax.set(xticks=range(len(windows)), xticklabels=windows)
        ax.set_xlim(-0.5, len(windows) - 0.5)
        ax.xaxis.grid(visible=False)
        _log_axis(ax.yaxis, *limits, unit_tick("s"), wide=False)
        alt = f"{title}: time by window. " + _spoken(rows.sort_values(["implementation", "place"]))
        return finish(figure, name, title, alt, rows)


def dots(
    rows: DataFrame, name: str, title: str, tick: Tick, reference: float | None = None, most: bool = False,
    limits: tuple[float, float] | None = None,
) -> Chart:  # fmt: skip
    """A row of dots per method, best first, with whiskers. Columns method, implementation, x, lo, hi, warned, tip.

    The axis is logarithmic where the values span it, linear within `limits` where they are given, which whiskers may
    leave; `most` says that the largest is the best.
    """
    best = rows.groupby("method", sort=False)["x"].agg("max" if most else "min")
    order = best.sort_values(kind="stable", ascending=not most).index
    place = {method: number for number, method in enumerate(order)}
    kinds = series(rows)
    step = min(0.24, 0.7 / len(kinds))
    shift = {kind: (number - (len(kinds) - 1) / 2) * step for number, kind in enumerate(kinds)}
    y = rows["method"].map(place) + rows["implementation"].map(shift)
    with canvas(3.7, 0.62 + 0.185 * len(order)) as (figure, ax):
        if reference is not None:
            ax.axvline(reference, color=INK, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        lo, hi = (rows[end] if limits is None else rows[end].clip(*limits) for end in ("lo", "hi"))
        ax.hlines(y, lo, hi, color=rows["implementation"].map(PALETTE), linewidth=1.4, zorder=2)
        _points(ax, rows, rows["x"], y, rows["warned"])
        ax.set(yticks=range(len(order)), yticklabels=[_short(name) for name in order], xlabel="", ylabel="")
        ax.set_ylim(len(order) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        values = [v for column in ("x", "lo", "hi") for v in rows[column].dropna()] + [reference or rows["x"].iloc[0]]
        if limits is not None:
            pad = 0.04 * (limits[1] - limits[0])
            _linear_axis(ax, limits[0] - pad, limits[1] + pad, tick, 5)
        elif min(values) > 0 and max(values) > 2.5 * min(values):
            _log_axis(ax.xaxis, min(values), max(values), tick)
            ax.set_xlim(min(values) / 1.15, max(values) * 1.15)
        else:
            _linear_axis(ax, 0, max(values) * 1.08 or 1.0, tick, 4)  # ticks whole in the unit of the largest value
        alt = f"{title}, best first. " + _spoken(rows.sort_values("x", ascending=not most))
        return finish(figure, name, title, alt, rows)


def pareto(rows: DataFrame, name: str, title: str, quality: str, time: str = "forward time") -> Chart:
    """Time (x) against quality (y), each method named, the best trade-offs joined. Columns method, x, y, tip."""
    with canvas(4.6, 3.3) as (figure, ax):
        best = rows.sort_values(["x", "y"], ascending=[True, False])
        front = best[best["y"].cummax().eq(best["y"]) & ~best["y"].duplicated()]
        ax.step(front["x"], front["y"], where="post", color=MUTE, linewidth=1.4, zorder=1)
        _points(ax, rows, rows["x"], rows["y"], rows["warned"])
        low, high = rows["x"].min(), rows["x"].max()
        _log_axis(ax.xaxis, low, high, unit_tick("s"))
        ax.set_xlim(low / 1.12, high * (high / low) ** 0.16 * 1.12)
        pad = 0.09 * (rows["y"].max() - rows["y"].min()) or 0.5
        ax.set_ylim(rows["y"].min() - pad, rows["y"].max() + pad)
        ax.set(xlabel=time, ylabel=quality)
        figure.canvas.draw()  # fixes the layout, so that places in points can be asked for
        _name_points(ax, rows, set(front["method"]))
        alt = f"{title}. Best trade-offs, fastest first: {', '.join(front['method'])}. " + _spoken(best)
        return finish(figure, name, title, alt, rows)


def _points(ax: Axes, rows: DataFrame, x: Any, y: Any, hollow: Any) -> None:
    """The dots of a chart in one group of the drawing, in the order of the rows."""
    import seaborn as sns

    kind = rows["implementation"]
    look = {"hue": kind, "style": kind, "palette": PALETTE, "markers": MARKERS, "legend": False}
    sns.scatterplot(x=x, y=y, ax=ax, **look, s=20, linewidth=1.1, zorder=4)
    points = ax.collections[-1]
    points.set_gid("tips")
    points.set_edgecolor([PALETTE[name] for name in kind])
    points.set_facecolor(["none" if empty else PALETTE[name] for name, empty in zip(kind, hollow, strict=True)])


def _name_points(ax: Axes, rows: DataFrame, important: set[str]) -> None:
    """Writes each method beside its point where it covers neither a point nor another name; joins those that moved."""
    ppi = ax.figure.dpi / 72
    spots = [tuple(ax.transData.transform((x, y)) / ppi) for x, y in zip(rows["x"], rows["y"], strict=True)]
    taken = [(x - 3.5, y - 3.5, x + 3.5, y + 3.5) for x, y in spots]
    order = sorted(range(len(rows)), key=lambda i: (rows["method"].iloc[i] not in important, -spots[i][1]))
    for i in order:
        (x, y), text = spots[i], _short(rows["method"].iloc[i])
        wide, high = 4.3 * len(text), 8.0
        near = [(5, -4), (-5 - wide, -4), (-wide / 2, 5), (-wide / 2, -13), (5, 4), (5, -12)]
        if rows["method"].iloc[i] in important:  # the line leaves a point of the front to the right
            near = [(-4 - wide, 2), (-5 - wide, -4), (4, -12), (-wide / 2, 6), *near]
        far = [
            (dx, dy) for r in (16, 26, 36, 48) for dx, dy in ((8, r), (8, -r - 4), (-wide - 8, r), (-wide - 8, -r - 4))
        ]
        boxes = [(x + dx, y + dy, x + dx + wide, y + dy + high) for dx, dy in near + far]
        free = [n for n, box in enumerate(boxes) if _inside(ax, box, ppi) and not any(_overlap(box, t) for t in taken)]
        n = free[0] if free else 0
        taken.append(boxes[n])
        dx, dy = (near + far)[n]
        arrow = {"arrowstyle": "-", "color": GRID, "linewidth": 0.8} if n >= len(near) else None
        ax.annotate(
            text, (rows["x"].iloc[i], rows["y"].iloc[i]), (dx, dy), textcoords="offset points", fontsize=7.5,
            arrowprops=arrow, zorder=3, fontweight="bold" if rows["method"].iloc[i] in important else "normal",
        )  # fmt: skip


def _inside(ax: Axes, box: tuple[float, float, float, float], ppi: float) -> bool:
    frame = ax.get_window_extent()
    left, low, right, high = (edge / ppi for edge in frame.extents)
    return box[0] > left and box[1] > low and box[2] < right + 8 and box[3] < high + 6


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _short(name: object) -> str:
    """A name that leaves room for the chart; tooltips and tables have it whole."""
    text = str(name)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _spoken(rows: DataFrame) -> str:
    """The chart's points in words, for those who cannot see it."""
    return "; ".join(str(tip).split("\n", 1)[0] for tip in rows["tip"])
