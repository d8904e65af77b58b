"""A run's table as a notebook shows it: what to take for each layer, two pictures, the first rows.

Small and without a script; the page has the rest. This knows the prepared table, answers and charts.
"""

from __future__ import annotations

import base64

import pandas as pd

from reports import answer, frame, sections, view
from reports.render import filled
from reports.store import Folder
from reports.svg import Chart

BLOCKS = 3  # layers whose ranked table is shown; the others' sentences are
SHOWN = ("method", "implementation", "direction", "kernel", "stride", "shape", "metric", "median", "lo", "hi", "unit")
PICTURES = ("faster", "pareto")  # the first chart of each


class Measured(pd.DataFrame):
    """The tidy table of a run; `folder` is where its report is. What is computed of it is a plain DataFrame."""

    _metadata = ["folder"]  # noqa: RUF012 (pandas reads it of the class)

    @classmethod
    def of(cls, run: Folder) -> Measured:
        found: Measured = cls(frame.load(run))
        object.__setattr__(found, "folder", str(run))
        return found

    def _repr_html_(self) -> str:
        few = [name for name in SHOWN if name in self.columns]
        return html(self.folder) + str(self[few].head(5).to_html(index=False))


def html(run: Folder) -> str:
    """The answers and pictures of a run."""
    rows = view.prepared(frame.table(run))
    devices = []
    for group in view.groups(rows):
        charts = [(section["title"], chart) for section in sections.sections(group) for chart in section["charts"]]
        shown = [next((pair for pair in charts if name in pair[1].name), None) for name in PICTURES]
        pictures = [(_address(pair[1]), f"{pair[0]}. {pair[1].title}", pair[1].alt) for pair in shown if pair]
        devices.append({"title": group.title, "answers": answer.answers(group), "pictures": pictures})
    return filled("notebook.html", devices=devices, columns=answer.COLUMNS, folder=str(run), most=BLOCKS)


def _address(chart: Chart) -> str:
    """The chart as an image's address: its styles cannot meet the notebook's."""
    return "data:image/svg+xml;base64," + base64.b64encode(chart.standalone.encode()).decode()
