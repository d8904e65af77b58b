"""`suites.bench`: a run from Python, such as a notebook's cell, by the words of the command line. A front door like
runner.py: it alone of the suites knows what reports make of records."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.notebook import Measured


def bench(out: str | None = None, *, parallel: bool = False, timeout: float = 60.0, **words: Any) -> Measured:
    """Measure pooling methods, and give the records as a DataFrame that a notebook shows with its answers and pictures.

    Takes what `runner.py bench` takes: `methods` (or `method`), `kernels`, `shapes`, `profile`, `budget` and so on, a
    value or a list of them. The frame has the columns of `reports.columns`: times in seconds, sizes in bytes, energy
    in joules; its `folder` has the whole report. An own operator is given as "file.py:function", since workers are
    processes of their own.

    Raises ValueError for what cannot be measured. Stopped by hand, it leaves what was measured in the folder.

    >>> import suites
    >>> frame = suites.bench(methods=["ada", "avg"], kernels=[2, "3s2p1"], budget="1m")  # doctest: +SKIP
    >>> frame.query("probe == 'latency'").pivot_table("median", "method", "kernel")  # doctest: +SKIP
    """
    import reports
    from suites import options, session

    given = options.spoken(words)
    axes = options.axes(given)
    devices = session.targets(given["cpu"], given["gpu"])
    run = session.Session.fresh(out, axes, devices, parallel=parallel, timeout=timeout)
    run.command = f"suites.bench({', '.join(f'{name}={value!r}' for name, value in words.items())})"
    try:
        tally = run.run()
    except KeyboardInterrupt:
        print(f"stopped; what was measured: reports.load({str(run.folder)!r})", file=sys.stderr)
        raise
    print("\n".join(tally.words(run.folder)), file=sys.stderr)
    reports.write(run.folder)
    return reports.measured(run.folder)
