"""The order of measuring: whatever a run is cut to, every method is in it, at every rank as soon as it can be."""

from __future__ import annotations

import random

import pytest

from suites import rounds
from suites.axes import Axes, Names
from suites.case import Case
from suites.plan import build

REGION = ("max", "avg", "sum", "lp", "softpool", "ada", "dpp", "lip")
NAMES = Names(REGION, ("lip_simplified", "dpp_full"), {}, ("cpu", "cuda"))


def plan(kind: str = "cpu", **axes: object) -> list[Case]:
    return build(Axes(**axes), NAMES, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", ["smoke", "default", "full"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_every_prefix_has_every_method(profile: str, kind: str) -> None:
    cases = plan(kind, profile=profile)
    first = next(rounds.rounds(cases))
    assert {case.method for case in first} == set(NAMES.all)
    assert {(case.probe, case.window, case.rank) for case in first} == {("latency", "k2s2p0", 2)}
    assert first[0].method == "copy" and len(first) < 3 * len(NAMES.all)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_run_cut_short_has_all_methods_at_all_ranks(kind: str, share: float) -> None:
    cases = plan(kind)
    cut = [c for c in cases[: int(share * len(cases))] if c.probe == "latency"]
    for rank in (1, 2, 3):
        assert {c.method for c in cut if c.rank == rank} == set(NAMES.all), rank
        differentiated = {c.method for c in cut if c.rank == rank and c.direction == "backward"}
        assert differentiated == {*NAMES.region, *NAMES.learned}, rank
    usual = {(c.window, c.shape[1:]) for c in cut if c.rank == 2}
    assert {("k2s2p0", (64, 56, 56)), ("k3s2p1", (64, 112, 112)), ("k7s7p0", (512, 7, 7))} <= usual
    assert {c.method for c in cases[: int(share * len(cases))] if c.probe == "retention"} == {*REGION, *NAMES.learned}


def test_ordering_loses_nothing_and_doubles_nothing() -> None:
    cases = plan(profile="full")
    mixed = random.Random(3).sample(cases, len(cases))
    again = rounds.arranged(mixed)
    assert sorted(c.key for c in again) == sorted(c.key for c in cases)
    assert len({c.key for c in again}) == len(again)
    assert [case for part in rounds.rounds(cases) for case in part] == cases


def test_implementations_of_a_method_are_neighbours() -> None:
    """They share an oracle, which is costly."""
    first = [c.method for c in next(rounds.rounds(plan()))]
    assert [m for i, m in enumerate(first) if i == 0 or first[i - 1] != m] == list(dict.fromkeys(first))


def test_other_types_layouts_and_compiled_rows_come_last() -> None:
    cases = plan(profile="full", methods=("ada", "avg"))
    kinds = [(c.implementation == "compiled", (c.dtype, c.layout)) for c in cases if c.probe in ("latency", "memory")]
    plainest = kinds.count((False, ("float32", "nchw")))
    assert set(kinds[:plainest]) == {(False, ("float32", "nchw"))}
    assert {compiled for compiled, _ in kinds[-10:]} == {True}


def test_energy_is_spread_between_whole_rounds() -> None:
    cases = plan("cuda")
    places = [at for at, c in enumerate(cases) if c.probe == "energy"]
    assert len(places) == 4, "a quarter of a minute each"
    assert places[0] > 0.08 * len(cases) and places[-1] > 0.6 * len(cases)
    parts = [part for part in rounds.rounds(cases) if part[0].probe != "energy"]
    assert len(parts) == len({(p[0].probe, p[0].direction, p[0].window, p[0].shape) for p in parts}), "none is torn"
