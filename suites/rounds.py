"""In which order cases are measured: rounds of all methods alike, the usual windows first, so that a run that is cut
short has lost detail, never a method. Knows cases only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from suites.case import Case

USUAL = {(2, "k2s2p0"): 0, (2, "k3s2p1"): 1, (1, "k2s2p0"): 2, (3, "k2s2p0"): 3}  # (rank, window) -> how early
GLOBAL, REST = 4, 5
_DIRECTIONS = {"forward": 0, "inverse": 0, "none": 0, "backward": 1, "both": 2}

Order = tuple[Any, ...]


def arranged(cases: Sequence[Case]) -> list[Case]:
    """The cases in the order of measuring. They come in the order of the axes, which decides between equals: of several
    tensors with a usual window the first is the usual one, and the first dtype and layout come first.

    Energy takes a quarter of a minute a case: its cases are spread evenly between the rounds of the others.
    """
    places: dict[int, tuple[int, ...]] = {}
    variants: dict[tuple[str, str], int] = {}
    shapes: dict[tuple[int, ...], int] = {}
    turns: list[tuple[Order, Case]] = []
    for at, case in enumerate(cases):
        kind, variant, shape = _kind(case), 0, 0
        if case.probe != "retention":  # photographs come in one type and in sizes of their own
            variant = variants.setdefault((case.dtype, case.layout), len(variants))
            shape = shapes.setdefault(case.shape, len(shapes))
            kind = kind if places.setdefault(kind, case.shape) == case.shape else REST
        turn = (case.implementation == "compiled", variant, _step(case, kind, shape), case.method != "copy", at)
        turns.append((turn, case))
    ordered = [case for _, case in sorted(turns, key=lambda each: each[0])]
    found = list(rounds(case for case in ordered if case.probe != "energy"))
    energy = [[case] for case in ordered if case.probe == "energy"]
    quick = sum(part[0].implementation != "compiled" for part in found)
    for index, alone in reversed(list(enumerate(energy, 1))):
        found.insert(-(-index * quick // (len(energy) + 1)), alone)
    return [case for part in found for case in part]


def rounds(cases: Iterable[Case]) -> Iterator[list[Case]]:
    """Neighbours that differ in method and implementation only; each case of energy is a round of its own."""

    def place(case: Case) -> Order:
        alone = case.key if case.probe == "energy" else ""
        what = (case.probe, _DIRECTIONS[case.direction], case.implementation == "compiled", alone)
        return *what, case.window, case.shape, case.dtype, case.layout

    for _, part in groupby(cases, place):
        yield list(part)


def _kind(case: Case) -> int:
    usual = USUAL.get((case.rank, case.window))
    if usual is not None:
        return usual
    return GLOBAL if case.probe != "retention" and case.kernel == case.spatial else REST


def _step(case: Case, kind: int, shape: int) -> Order:
    """Forward, what is retained, memory, backward at the usual windows; all photographs; then the other windows."""
    direction, taps = _DIRECTIONS[case.direction], (case.kernel, case.stride, case.padding, case.ceil_mode)
    if case.probe == "retention":
        return (2, kind) if kind != REST else (6, taps)
    if kind == REST:
        return (7, shape, taps, case.probe != "latency", direction)
    if case.probe != "latency":
        return (2 if kind == 0 else 5, kind, 1 + direction)
    if kind == GLOBAL:
        return (4, direction)
    if kind == 0:
        return (0, direction)
    return (1, kind) if direction == 0 else (3, direction, kind)
