"""The command that measures a record's case again as its run did: the run's axes, alike for all, and the case's key.

Knows the records and the words of the command line; stdlib only.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from reports.record import unit

ELSEWHERE = ("budget", "cases", "shard")  # a case is measured without limit of time; the whole plan has it


def words(run: Mapping[str, Any], device: str) -> str:
    """The command but for the case; empty where the run (of machine.json) does not say its axes, or is of a network,
    whose records have a command each."""
    axes = run.get("axes")
    if not isinstance(axes, dict) or axes.get("network"):
        return ""
    found = ["python", "runner.py", "bench", *(["--cpu"] if device == "cpu" else ["--gpu", device])]
    for name, value in sorted(axes.items()):
        option = "--" + (name.removesuffix("s") if isinstance(value, list) else name).replace("_", "-")
        if value is True:
            found.append(option)
        elif name not in ELSEWHERE and value is not None and value is not False and value != []:
            found += [option, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return shlex.join(found)


def command(begin: str, probe: str, case: str) -> str:
    """The whole command; `begin` is what `words` gave."""
    key = unit(probe, case)
    if probe == "kernels":  # no probe of its own: every measurement of the case makes its kernels first
        key = key.partition(":")[2]
    return f"{begin} --case {shlex.quote(key)}"
