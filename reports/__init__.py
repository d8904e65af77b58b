"""Everything made from records: the schema, the store, tables, comparison, report.

Imports nothing heavy: pandas, seaborn and jinja2 come in with the function that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.comparison import compare
from reports.frame import load
from reports.markdown import write as write_markdown
from reports.render import write

if TYPE_CHECKING:
    from reports.notebook import Measured
    from reports.store import Folder

__all__ = ["compare", "load", "measured", "write", "write_markdown"]


def measured(run: Folder) -> Measured:
    """What `load` gives, which a notebook shows with what to take and a few pictures."""
    from reports.notebook import Measured

    return Measured.of(run)
