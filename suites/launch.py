"""What a profiler saw of one case: its kernels (on the CPU its operators) in the order of their launches.

Numbers as profilers print them, repeated calls put together, the library's words for its kernels. Knows no profiler.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import replace

from reports.profile import Kernel

_PLAIN = re.compile(r"[-+]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?([eE][-+]?\d+)?")
_ABSENT = ("", "n/a", "no data", "N/A")
MOST_APART = 12  # launches of a call that are shown each
ENTRY = "adapool_kernel"  # what every kernel of the library is called


class Refused(RuntimeError):
    """The profiler gave nothing that may be shown; the text says why."""


def number(text: str, what: str) -> float | None:
    """A number as English prints it, None where there is none; Refused for NaN and for anything that is no number."""
    text = text.strip()
    if text in _ABSENT:
        return None
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise Refused(f"{what} came back as {text}: the counters of this device cannot be read here")
    if not _PLAIN.fullmatch(text):
        raise Refused(f"{what}: expected a number such as 1,234.5, got {text!r}")
    return float(text.replace(",", ""))


def seconds(value: float, unit: str) -> float:
    """A duration in seconds; Refused for a unit that is none of time."""
    scale = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "s": 1.0}
    if not re.fullmatch(r"(n|u|m)?s(ec(onds?)?)?|(n|u|m)?second", unit):
        raise Refused(f"duration: expected a unit such as ns, usecond or s, got {unit!r}")
    return value * scale[unit[0]]


def folded(launches: Sequence[Kernel], calls: int) -> list[Kernel]:
    """The launches of one call. A few, in their order, are each the median over the calls; many, or such that differ
    from call to call, are put together by name, with the numbers of the longest.
    """
    each, rest = divmod(len(launches), calls)
    names = [one.name for one in launches]
    if not rest and each <= MOST_APART and names == names[:each] * calls:
        parts = [launches[at::each] for at in range(each)]
        return [replace(part[0], seconds=statistics.median(one.seconds for one in part)) for part in parts]
    made = []
    for name in dict.fromkeys(names):
        part = [one for one in launches if one.name == name]
        took = math.fsum(one.seconds for one in part) / calls
        longest = max(part, key=lambda one: one.seconds)
        made.append(replace(longest, seconds=took, count=max(1, round(len(part) / calls))))
    return made


def worded(launches: Sequence[Kernel], told: Sequence[tuple[str, int]]) -> list[Kernel]:
    """The library's kernels with the words that it has for them: `told` is (words, threads of a block) in the order of
    the launches. Without words where number or sizes differ: then the library planned something else than it was asked.
    """
    own = [one for one in launches if one.name.startswith(ENTRY)]
    same = len(own) == len(told) and all(
        one.threads in (None, threads) for one, (_, threads) in zip(own, told, strict=True)
    )
    if not same:
        return list(launches)
    words = iter(told)
    return [replace(one, words=next(words)[0]) if one.name.startswith(ENTRY) else one for one in launches]
