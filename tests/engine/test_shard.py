"""Shares of a plan: every case once, what is compared together, alike on every machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import store
from suites import records, shard
from suites.axes import Axes, Names, UsageError
from suites.case import Case
from suites.plan import build
from suites.session import Session, cases

NAMES = Names(("max", "avg", "lp", "ada"), ("lip_simplified",), {}, ("cpu",))
AXES = {
    "default": Axes(),
    "smoke": Axes(profile="smoke"),
    "many": Axes(kernels=("2", "3s2", "3s2p1"), shapes=("1x2x8x8", "1x2x9x9"), dtypes=("float32", "float64"),
                 layouts=("nchw", "channels_last")),
}  # fmt: skip
PLANS = {name: build(axes, NAMES, "cpu") for name, axes in AXES.items()}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(PLANS)), st.integers(1, 40))
def test_shares_are_a_partition_that_splits_no_comparison(name: str, count: int) -> None:
    plan, axes = PLANS[name], AXES[name]
    found = shard.shares(plan, count, axes, "cpu")
    assert len(found) == count
    keys = [case.key for part in found for case in part]
    assert sorted(keys) == sorted(case.key for case in plan)
    place = {case.key: at for at, case in enumerate(plan)}
    owner = {}
    for index, part in enumerate(found):
        assert [place[case.key] for case in part] == sorted(place[case.key] for case in part)
        for case in part:
            compared = (case.probe == "retention", case.shape, case.window, case.dtype, case.layout)
            assert owner.setdefault(compared, index) == index
    assert shard.shares(list(plan), count, axes, "cpu") == found


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(PLANS)), st.integers(2, 8))
def test_shares_are_balanced_as_far_as_groups_allow(name: str, count: int) -> None:
    """The longest-first rule ends within 4/3 of the best; the best is at least the mean and at least one group."""
    plan, axes = PLANS[name], AXES[name]
    each = [shard.cost(group, axes, "cpu") for group in shard.groups(plan)]
    longest = max(shard.cost(part, axes, "cpu") for part in shard.shares(plan, count, axes, "cpu"))
    two = sum(sorted(each)[-count - 1 : -count + 1]) if len(each) > count else 0.0  # some shard has two of these
    assert longest <= 4 / 3 * max(sum(each) / count, *each, two) + 1e-9


def test_every_number_of_a_ratio_is_in_one_shard() -> None:
    """Without this a ratio to avg_pool, to plain or to the copy would be of two machines, or missing."""
    for part in shard.shares(PLANS["many"], 5, AXES["many"], "cpu"):
        timed = [case for case in part if case.probe == "latency"]
        for case in timed:
            same = [c for c in timed if (c.shape, c.window, c.dtype, c.layout) ==
                    (case.shape, case.window, case.dtype, case.layout)]  # fmt: skip
            assert any(c.method == "copy" for c in same)
            assert any((c.method, c.implementation) == ("avg", "torch") for c in same)
            assert {c.implementation for c in same if c.method == "ada"} >= {"native", "plain"}


@pytest.mark.parametrize("wrong", ["0/4", "5/4", "1/0", "2", "1/2/3", "-1/4", "a/b", "", "1/4 ", "1/\u0664"])
def test_a_wrong_shard_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"shard: expected i/n with i from 1 to n, such as 2/4, got"):
        cases(Axes(profile="smoke", shard=wrong), [("cpu", "cpu")])


def test_more_shards_than_groups_is_a_usage_error() -> None:
    axes = Axes(methods=("avg",), kernels=("2", "3"), shapes=("1x2x8x8",), probes=("latency",), shard="1/3")
    with pytest.raises(UsageError, match=r"shard: expected at most 2 shards .*, got '1/3'"):
        cases(axes, [("cpu", "cpu")])


def test_a_run_keeps_its_shard_and_its_command_when_it_is_resumed(tmp_path: Path) -> None:
    axes = Axes(profile="smoke", methods=("avg",), implementations=("torch",), kernels=("2", "3", "4"),
                probes=("memory",), shapes=("1x2x12x12",), directions=("forward",), shard="2/3")  # fmt: skip
    first = Session(tmp_path, axes, [("cpu", "cpu")], parallel=False, timeout=60.0)
    first.command = "runner.py bench --shard 2/3"
    first.run()
    wanted: list[Case] = first.plan["cpu"]
    assert len(wanted) == 1 and {records.unit_of(record) for record in store.read(tmp_path)} == {wanted[0].key}
    again = Session.resumed(tmp_path, 60.0)
    assert (again.axes.shard, again.plan, again.command) == ("2/3", first.plan, first.command)
    held = json.loads((tmp_path / "machine.json").read_bytes())["run"]["shard"]
    everything = cases(Axes(**{**vars(axes), "shard": None}), [("cpu", "cpu")])["cpu"]
    assert held == {"index": 2, "count": 3, "plan": {"cpu": shard.digest(everything)}}
