"""The data dictionary: every column of records.csv, once.

The CSV's order, the report and the documents are made from it. Knows nothing of pandas.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column of the tidy table: where it comes from, its unit, what it means."""

    name: str
    source: str  # "record" (as measured) or "computed" (on reading)
    unit: str
    meaning: str


_ROWS = """
run           | computed | -    | name of the run folder; a number is added when two folders have the same name
case          | record   | -    | the case's name, the same text in every run: the key for joins
method        | record   | -    | pooling method; original for a network as it was
implementation| record   | -    | native, plain (eager), compiled, torch (its own), released, own, copy (ceiling)
direction     | record   | -    | forward, backward, both, inverse, or none where it has no meaning
kernel        | record   | -    | window size per axis, as 3x3; of a network none, whose name is in its case's
stride        | record   | -    | stride per axis
padding       | record   | -    | padding per axis, per side
ceil_mode     | record   | -    | whether the output size is rounded up
shape         | record   | -    | input shape
dtype         | record   | -    | input element type
layout        | record   | -    | nchw or channels_last, so named in every rank
device        | record   | -    | cpu or the GPU's UUID
device_name   | computed | -    | the device's name from machine.json; the machine key where it has none
probe         | record   | -    | latency, memory, energy, retention, network or kernels (first calls)
metric        | record   | -    | what was measured; of a network also step (of training) and pools (their part of it)
unit          | record   | -    | SI unit of median, lo and hi
clock         | record   | -    | latency and network only: cold, hot, graph or host
protocol      | record   | -    | retention only: P1 reconstruct, P2 against an antialiased downsample, P3 own inverse
image         | record   | -    | retention only: the image's name
status        | record   | -    | ok, skipped, failed, timeout, oom or incorrect; only ok has a number
reason        | record   | -    | why there is no number
median        | computed | unit | median of the kept samples; the value itself for a metric without samples
lo            | computed | unit | lower end of the median's 95 % interval (order statistics); empty below 6 samples
hi            | computed | unit | upper end of the same interval
n             | computed | 1    | kept samples; 1 for a metric without samples
discarded     | computed | 1    | samples that were measured and not kept
stop          | record   | -    | why sampling ended: precise, budget or max samples
gbps          | computed | GB/s | bytes / median / 1e9, latency only
percent_of_copy|computed | %    | gbps as a share of the copy's of the same run, machine, clock and size
times_better_than_avg|computed|1| median of avg_pool (the network as it was) over it: 2 is twice as fast, or half
times_better_lo|computed | 1    | lower end of that ratio's interval, at least 95 %; empty below 7 samples
times_better_hi|computed | 1    | upper end of the same interval
bytes         | record   | B    | compulsory bytes of the definition: what any implementation has to read and write
warnings      | record   | -    | what is doubtful about the number, joined by "; "
verified      | computed | -    | whether the timed output was checked against the method's row
measurement   | record   | -    | how it was measured, as JSON
machine       | record   | -    | key of the device's entry in machine.json
commit        | record   | -    | commit of the code that ran
dirty         | record   | -    | whether that code had uncommitted changes
version       | record   | -    | version of the package
time          | record   | UTC  | when it was measured
command       | record   | -    | re-runs exactly this case
place         | computed | -    | a column of the report: run and machine, or machines alike that share one plan
superseded    | computed | -    | whether another record of the same place and case is shown instead
"""

COLUMNS = tuple(Column(*(cell.strip() for cell in row.split("|", 3))) for row in _ROWS.strip().splitlines())
NAMES = tuple(column.name for column in COLUMNS)


def as_text() -> str:
    """The dictionary as text, written beside the CSV."""
    width = max(len(name) for name in NAMES)
    head = "Columns of records.csv. SI units, one row per record, an empty cell where there is no value.\n\n"
    return head + "".join(f"{c.name:<{width}}  [{c.unit}] {c.meaning} ({c.source})\n" for c in COLUMNS)
