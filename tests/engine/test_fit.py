"""A plan that does not fit its time: what is left out is decided and said before, and is the same for all methods."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from adapool import registry
from adapool.learned import LEARNED
from reports import store
from suites import fit, machine, pace, rounds
from suites.axes import Axes, Names
from suites.case import Case
from suites.fit import LEFT_OUT, Fitted
from suites.layers import VARIANTS
from suites.plan import build
from suites.session import Session

pytestmark = pytest.mark.usefixtures("usual_cache")
NAMES = Names(registry.names(), tuple(LEARNED), {}, ("cpu", "cuda"))  # all there are: a profile has to fit them


def usual(profile: str) -> set[str]:
    """The methods that the profile measures unnamed."""
    return {*NAMES.region, *NAMES.learned} - {*Axes(profile=profile).preset.without}


def planned(kind: str, **axes: object) -> tuple[Fitted, Axes, list[Case]]:
    wanted = Axes(**axes)  # type: ignore[arg-type]
    cases = build(wanted, NAMES, kind)
    return fit.fitted(cases, wanted, kind), wanted, cases


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("budget", [None, 25.0, 60.0, 240.0, 3600.0])
def test_nothing_is_lost_and_what_is_chosen_fits(kind: str, budget: float | None) -> None:
    plan, axes, cases = planned(kind, budget=budget)
    assert Counter(c.key for c in [*plan.cases, *plan.left]) == Counter(c.key for c in cases)
    assert plan.cases == [c for c in cases if c in set(plan.cases)], "in the order of the plan"
    assert sum(pace.cost(c, axes, kind) for c in plan.cases) <= pace.limit(axes, kind)
    assert bool(plan.left) == bool(fit.words(plan, axes, kind))


def test_a_large_cache_takes_long_to_flush_and_the_plan_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    small, axes, _ = planned("cpu", profile="smoke")
    case = next(c for c in small.cases if c.probe == "latency")
    cold, hot = (pace.around("cpu", clock) for clock in ("cold", "hot"))
    monkeypatch.setattr(machine, "caches", lambda: {"l2_bytes": 1024**2, "l3_bytes": 320 * 1024**2})
    pace.around.cache_clear()
    assert pace.around("cpu", "cold") == 10 * cold and pace.around("cpu", "hot") == hot
    assert pace.around("cuda", "cold") == pace.AROUND["cuda"]
    large = planned("cpu", profile="smoke")[0]
    assert 0 < len(large.cases) < len(small.cases) and large.left
    assert 10 < (pace.cost(case, axes, "cpu") - pace.fixed(case, "cpu")) / (10 * cold) < 11, "samples"
    least = lambda axes: pace.Pace(large.cases, "cpu", axes).request(0, case)["rule"]["least"]  # noqa: E731
    assert least(axes) == 10 and least(Axes(profile="smoke", min_samples=40)) == 40
    assert least(Axes(profile="smoke", methods=("ada",))) == 30, "nothing has to make room for it"


@pytest.mark.parametrize("budget", [60.0, 120.0, 240.0])
def test_all_methods_lose_the_same(budget: float) -> None:
    plan, _, cases = planned("cuda", budget=budget)
    chosen = {c.key for c in plan.cases}
    for part in rounds.rounds(cases):
        assert len({c.key in chosen for c in part}) == 1, part[0]


def test_the_default_profile_is_whole_on_a_gpu_and_has_all_ranks_on_a_cpu() -> None:
    assert not planned("cuda")[0].left
    plan, axes, _ = planned("cpu")
    timed = [c for c in plan.cases if c.probe == "latency"]
    for direction in ("forward", "backward"):
        for window, rank in (("k2s2p0", 1), ("k2s2p0", 2), ("k3s2p1", 2), ("k7s7p0", 2), ("k2s2p0", 3)):
            found = {c.method for c in timed if (c.window, c.rank, c.direction) == (window, rank, direction)}
            assert found >= usual("default"), (window, rank, direction)
    pictured = {(c.window, c.method) for c in plan.cases if c.probe == "retention"}
    assert pictured >= {(f"k{k}p0", m) for k in ("2s2", "3s2", "3s3", "5s5", "7s7") for m in usual("default")}
    assert {c.probe for c in plan.cases} == {"latency", "memory", "retention", "energy"}
    assert pace.estimate(plan.cases, axes, "cpu") < 180


@pytest.mark.parametrize("profile", ["smoke", "default", "full"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_resnet_stem_is_in_every_profile(profile: str, kind: str) -> None:
    plan = planned(kind, profile=profile)[0]
    stem = {c.method for c in plan.cases if c.window == "k3s2p1" and c.shape[2:] == (112, 112)}
    assert stem >= usual(profile)


@pytest.mark.parametrize("profile", ["smoke", "default"])
def test_variants_are_measured_where_they_are_named(profile: str) -> None:
    assert not {c.method for c in planned("cpu", profile=profile)[2]} & {*VARIANTS}
    assert {*VARIANTS} <= {*NAMES.region, *NAMES.learned}
    named = planned("cpu", profile=profile, methods=("lp_abs", "avg"))[2]
    assert {c.method for c in named} == {"lp_abs", "avg", "copy"}


def test_memory_is_measured_of_what_is_timed() -> None:
    plan = planned("cpu")[0]
    timed = {(c.window, c.shape, c.direction) for c in plan.cases if c.probe == "latency"}
    assert {(c.window, c.shape, c.direction) for c in plan.cases if c.probe == "memory"} <= timed


def test_even_a_tiny_budget_measures_something() -> None:
    plan = planned("cpu", budget=1.0)[0]
    assert plan.cases and plan.cases[0].method == "copy"
    assert len({c.method for c in planned("cpu", budget=27.0)[0].cases}) >= 5


def test_axes_of_ones_own_are_never_cut() -> None:
    assert not planned("cpu", methods=("ada",), kernels=("2", "3", "5", "7", "9"))[0].left
    assert not planned("cpu", profile="full", until_precise=True)[0].left


def test_it_is_said_in_one_paragraph() -> None:
    plan, axes, cases = planned("cpu")
    said = fit.words(plan, axes, "cpu")
    assert said.startswith(f"{len(plan.left)} of {len(cases)} cases are left out by plan") and "\n" not in said
    for probe, count in Counter(c.probe for c in plan.left).items():
        assert f"{count} {probe}" in said
    assert "k7s7p0" in said and "2-D" in said and "cold" in said and "methods" in said
    minutes = int(said.partition("--budget ")[2].partition("m")[0])
    assert not planned("cpu", budget=60.0 * minutes)[0].left, "the budget it names is enough"


def test_what_is_left_out_is_recorded_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = Axes(profile="smoke", methods=("avg",), implementations=("torch",), probes=("latency",), budget=1.0)
    run = Session(tmp_path / "run", axes, [("cpu", "cpu")], parallel=False, timeout=60)
    assert run.left["cpu"]
    tally = run.run()
    said = capsys.readouterr().err
    assert said.index("left out by plan") < said.index("cases, "), "before anything is measured"
    found = {r.case: r for r in store.read(run.folder)}
    for case in run.left["cpu"]:
        assert (found[case.name].status, found[case.name].reason) == ("skipped", LEFT_OUT)
    assert tally.statuses["left out"] == len(run.left["cpu"]) and tally.cases == len(run.plan["cpu"])
    assert "left out by plan" in store.read_machine(run.folder)["run"]["left_out"]["cpu"]
