"""Everything that makes records: plan, subjects, probes, workers. Of reports it knows the record and the store.

`suites.bench` measures from Python. `suites.case.Case` is one planned measurement, `suites.axes.Axes` what is asked
for; `suites.layers.LAYERS` are the layers that have names.
"""

from __future__ import annotations

from suites.notebook import bench

__all__ = ["bench"]
