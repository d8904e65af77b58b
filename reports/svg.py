"""A matplotlib figure -> an SVG that stands alone, and one that takes the page's colours and font and has tooltips.

Knows no data and no chart kind.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.svg_compact import compact, point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

INK, GRID, MUTE = "#1a2530", "#d5dae1", "#b0b8c4"
SERIES = {  # seaborn's "colorblind" palette; the marker tells the same without colour
    "native": ("#0173b2", "o"),
    "plain": ("#de8f05", "s"),
    "torch": ("#cc78bc", "D"),
    "compiled": ("#029e73", "^"),
    "released": ("#949494", "v"),
    "own": ("#d55e00", "P"),
    "copy": ("#56b4e9", "X"),
}
VARIABLES = {INK: "ink", GRID: "grid", MUTE: "mute"} | {color: name for name, (color, _) in SERIES.items()}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


class Chart(NamedTuple):
    """A drawn chart: its file name, its words, and its two forms."""

    name: str
    title: str
    alt: str
    inline: str
    standalone: str


@contextmanager
def canvas(
    width: float, height: float, box: tuple[float, float, float, float] | None = None
) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one axes in the report's style; sizes in inches. `box` places the axes, else its labels decide."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    style = {
        **sns.axes_style("whitegrid"),
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), GRID),
        **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), 8.5),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 8),
        **{"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "svg.fonttype": "none"},
        **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
        **{"text.parse_math": False, "axes.formatter.use_mathtext": False, "lines.linewidth": 1.6},
        **{"axes.facecolor": "none", "figure.facecolor": "none", "grid.linewidth": 0.6},
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's font draws it, not ours
        figure = Figure(
            figsize=(width, height), layout=None if box else ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
        )
        yield figure, figure.add_axes(box) if box else figure.add_subplot()


def finish(figure: Figure, name: str, title: str, alt: str, rows: DataFrame) -> Chart:
    """Writes the figure as SVG. The points of the group "tips" are the rows in order: they get the text of column tip
    where the drawing stands alone, the number of the record (column r) where the page has all records."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):  # ids that are the same each time, and differ between charts
        drawn: Any = FigureCanvasSVG(figure)
        drawn.print_svg(buffer, metadata=nothing)  # savefig would lay everything out twice
    text = buffer.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>|\s*<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", rf"font: \1 {FONT}", text).replace("\u2028", " ")
    body = text[text.index("<svg") :]
    head, rest = body.split(">", 1)
    tips, kinds, records = (list(rows[name]) for name in ("tip", "implementation", "r"))
    titled = _marked(rest, len(tips), lambda i, tag, of: f"<{tag}{of}><title>{escape(str(tips[i]))}</title></{tag}>")
    placed = _marked(rest, len(tips), lambda i, _, of: point(of, kinds[i], records[i], str(tips[i])))
    label = f"<title>{escape(title)}</title><desc>{escape(alt)}</desc>"
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return Chart(name, title, alt, _inline(head, placed), f"{head}>{label}{paper}{titled}".strip() + "\n")


def _marked(text: str, many: int, form: Callable[[int, str, str], str]) -> str:
    """The first points of the group "tips", each written anew from its number, tag and attributes."""
    start = text.find('<g id="tips">')
    if start < 0:
        return text
    number = count()
    marks = r"<(use|path)(?! id=)([^>]*?)/>"  # a path with an id is the marker's shape, not a point
    return text[:start] + re.sub(marks, lambda f: form(next(number), f[1], f[2]), text[start:], count=many)


def _inline(head: str, rest: str) -> str:
    """For the page: no names that could clash, no namespace addresses, the page's colours instead of fixed ones."""
    used = set(re.findall(r"#([\w-]+)", rest))
    rest = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", rest)
    rest = re.sub(r"\s*<!--.*?-->", "", rest, flags=re.DOTALL).replace("xlink:href", "href")
    for color, variable in VARIABLES.items():
        rest = rest.replace(color, f"var(--{variable})")
    box = re.search(r'viewBox="[^"]*"', head)
    return f'<svg {box[0] if box else ""} aria-hidden="true" focusable="false">{compact(rest).strip()}'
