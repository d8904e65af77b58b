"""Everything made from records: the schema, the store, tables, comparison, report.

Imports nothing heavy: pandas, seaborn and jinja2 come in with the function that needs them.
"""

from __future__ import annotations

from reports.comparison import compare
from reports.frame import load
from reports.markdown import write as write_markdown
from reports.render import write

__all__ = ["compare", "load", "write", "write_markdown"]
