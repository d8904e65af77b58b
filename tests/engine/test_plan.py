"""The plan: which cases the axes give, in which words, and what it says of axes that make no sense."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from suites import fit, layers, pace
from suites.axes import Axes, Names, UsageError
from suites.case import Case, Pane, of_json, public
from suites.chosen import only
from suites.engine import STRIKES
from suites.plan import build

EXAMPLE = "ada/native/forward/float32/nchw/k2s2p0/1x64x56x56"
pytestmark = pytest.mark.usefixtures("usual_cache")
NAMES = Names(("max", "avg", "lp", "ada"), ("lip_simplified",), {}, ("cpu",))


def plan(**axes: object) -> list[Case]:
    return build(Axes(**axes), NAMES, "cpu")  # type: ignore[arg-type]


def test_default_has_every_method_kernel_and_direction() -> None:
    cases = plan()
    windows = {case.window for case in cases if case.probe == "latency" and case.shape == (1, 64, 56, 56)}
    assert windows == {"k2s2p0", "k3s3p0", "k5s5p0", "k7s7p0", "k3s2p0", "k1s1p0"} - {"k1s1p0"}
    for method in ("max", "avg", "ada", "lip_simplified", "max_unpool", "adaunpool_masks", "adaunpool_guide", "copy"):
        assert any(case.method == method for case in cases), method
    pairs = {(c.method, c.implementation) for c in cases if c.probe == "latency"}
    assert {("ada", "native"), ("ada", "plain"), ("avg", "torch"), ("max", "torch"), ("copy", "copy")} <= pairs
    assert ("ada", "torch") not in pairs and ("ada", "compiled") not in pairs
    ranks = {case.rank for case in cases}
    assert ranks == {1, 2, 3}


def test_names_are_unique_and_commands_lead_back_to_the_case() -> None:
    cases = plan()
    assert len({case.key for case in cases}) == len(cases)
    for case in cases[::37]:
        words = shlex.split(case.command("cpu", 3))
        assert words[:3] == ["python", "runner.py", "bench"]
        given = dict(zip(words[4::2], words[5::2], strict=False))
        again = plan(
            methods=(given["--method"],), implementations=(given["--implementation"],), kernels=(given["--kernel"],),
            strides=(given["--stride"],), paddings=(given["--padding"],), probes=(given["--probe"],),
            shapes=(given["--shape"],) if "--shape" in given else (), dtypes=(given["--dtype"],),
            layouts=(given["--layout"],) if "--layout" in given else (),
            directions=(given["--direction"],) if "--direction" in given else (), seed=int(given["--seed"]),
            crop=int(given["--crop"]) if "--crop" in given else None,
        )  # fmt: skip
        assert case.key in {found.key for found in again}, case
        assert {found.method for found in again} <= {case.method, "copy"}


def test_case_goes_through_a_pipe() -> None:
    for case in plan()[::50]:
        assert of_json(Case, asdict(case)) == case


@pytest.mark.parametrize(
    ("shape", "window", "expected"),
    [
        ((1, 2, 7), ((3,), (2,), (1,), False), (4,)),
        ((1, 2, 7, 8), ((3, 2), (2, 2), (0, 0), False), (3, 4)),
        ((1, 2, 6), ((3,), (2,), (0,), True), (3,)),
        ((1, 2, 5), ((2,), (3,), (1,), True), (2,)),  # a third window would start in the padding
        ((1, 1, 8), ((2,), (5,), (0,), False), (2,)),
    ],
)
def test_output_size_agrees_with_hand_counting(
    shape: tuple[int, ...], window: tuple, expected: tuple[int, ...]
) -> None:
    kernel, stride, padding, ceil = window
    case = Case("latency", "max", "native", "forward", kernel, stride, padding, ceil, shape, "float32", "nchw")
    assert case.output == expected


def test_compulsory_bytes_by_hand() -> None:
    def moved(method: str, direction: str) -> int:
        return Case(
            "latency", method, "plain", direction, (2, 2), (2, 2), (0, 0), False, (1, 3, 4, 4), "float32", "nchw"
        ).bytes

    full, pooled = 48 * 4, 12 * 4
    assert moved("ada", "forward") == full + pooled
    assert moved("ada", "backward") == 2 * full + pooled
    assert moved("avg", "backward") == full + pooled  # needs no input
    assert moved("lip", "forward") == 2 * full + pooled
    assert moved("lip", "backward") == 4 * full + pooled
    assert moved("copy", "forward") == 2 * full
    assert moved("max_unpool", "inverse") == full + pooled + 12 * 8


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"methods": ("adda",)}, "did you mean 'ada'"),
        ({"kernels": ("0",)}, "kernel: expected numbers from 1 on, got '0'"),
        ({"kernels": ("-2",)}, "kernel"),
        ({"kernels": ("two",)}, "kernel: expected a size"),
        ({"strides": ("0",)}, "stride: expected numbers from 1 on"),
        ({"strides": ("-1",)}, "stride: expected numbers from 1 on"),
        ({"paddings": ("-1",)}, "padding: expected numbers from 0 on"),
        ({"kernels": ("2",), "paddings": ("2",)}, "padding: expected at most half"),
        (
            {"shapes": ("1x1x5x5",), "kernels": ("7",)},
            "kernel: expected at most the padded input, 5 + 2 * 0 on",
        ),
        ({"shapes": ("4x4",)}, "shape: expected 3 to 5 sizes"),
        ({"shapes": ("resnet_stam",)}, "did you mean 'resnet_stem'"),
        ({"kernels": ("2x3",), "shapes": ("1x1x8",)}, "kernel: expected 1 or 1 numbers for a 1-D shape"),
        ({"dtypes": ("int64",)}, "dtype: expected one of"),
        (
            {"layouts": ("nhwc",)},
            "layout: expected one of nchw, channels_last, got 'nhwc'; did you mean 'channels_last'?",
        ),
        ({"dtypes": ("BF16",)}, "did you mean 'bfloat16'?"),
        ({"directions": ("foward",)}, "did you mean 'forward'?"),
        ({"kernels": ("2", "3s2"), "strides": ("2", "1")}, "stride: expected 2, which --kernel 3s2 says, got 1"),
        ({"kernels": ("3s2p1",), "paddings": ("0",)}, "padding: expected 1, which --kernel 3s2p1 says, got 0"),
        ({"crop": -1}, "crop: expected 0 (all of a photograph) or pixels from 64 on, got -1"),
        ({"crop": 63}, "got 63"),
        ({"crop": 64, "kernels": ("65s1p10",)}, "crop: expected at least the kernel 65, got 64"),
        ({"clocks": ("graph",)}, "clock: expected cold or hot on a CPU"),
        ({"methods": ("ada",), "implementations": ("torch",)}, "leave no case"),
    ],
)
def test_nonsense_is_named(axes: dict, says: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z]+: ") as caught:
        plan(**axes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_window_may_say_twice_what_agrees() -> None:
    said = plan(kernels=("3s2",), strides=("2x2",), paddings=("1",), shapes=("1x1x8x8",), methods=("ada",))
    assert {case.window for case in said} == {"k3s2p1"}


def test_energy_that_is_asked_for_is_planned_in_every_profile() -> None:
    for profile in layers.PROFILES:
        found = {(c.method, c.shape[1:], c.window) for c in plan(profile=profile, methods=("ada",), probes=("energy",))}
        assert ("ada", layers.LAYERS[layers.PROFILES[profile].sweep].shape, "k2s2p0") in found
    assert not [case for case in plan(profile="smoke") if case.probe == "energy"]


def test_cases_are_chosen_by_key_or_glob() -> None:
    whole = {"cpu": plan(), "GPU-1": plan(methods=("ada",))}
    assert only(whole, ()) == whole
    for case in whole["cpu"][::29]:
        assert only(whole, (case.key,))["cpu"] == [case]
    some = only(whole, ("memory:ada/*", "max/*/none/*"))
    assert {(c.probe, c.method) for c in some["cpu"]} == {("memory", "ada"), ("retention", "max")}
    assert {(c.probe, c.method) for c in some["GPU-1"]} == {("memory", "ada")}
    name = next(c.name for c in whole["cpu"] if c.method == "ada" and c.probe == "memory")
    assert {c.probe for c in only(whole, (name,))["cpu"]} >= {"latency", "memory"}, "a name is for every probe"


@pytest.mark.parametrize(
    ("glob", "nearest"),
    [
        ("latency:ada/native/forward/float32/nchw/k2s2p0/1x64x56x57", f"latency:{EXAMPLE}"),
        ("ada/native/foward/float32/nchw/k2s2p0/1x64x56x56", EXAMPLE),
        ("lateny:ada/*", None),
        ("energy:ada/plain/*", None),
    ],
)
def test_a_case_that_is_not_there_is_told_with_the_nearest(glob: str, nearest: str | None) -> None:
    whole = {"cpu": plan()}
    with pytest.raises(UsageError, match=r"^case: ") as caught:
        only(whole, (whole["cpu"][0].key, glob))
    said = str(caught.value)
    assert (
        repr(glob) in said and (nearest is None or f"did you mean {nearest!r}?" in said) and "`runner.py plan`" in said
    )


def test_usage_errors_are_one_kind() -> None:
    with pytest.raises(UsageError):
        plan(methods=("nothing",))


def test_windows_are_read_as_written() -> None:
    assert Pane.parse("3s2p1c") == Pane((3,), (2,), (1,), True)
    assert Pane.parse("2x3").over(2) == ((2, 3), (2, 3), (0, 0))
    assert all(Pane.parse(layer.window) for layer in layers.LAYERS.values())


def test_time_runs_out_for_no_probe() -> None:
    cases = plan()
    half = cases[: len(cases) // 2]
    for probe in ("retention", "latency", "memory"):
        share = sum(c.probe == probe for c in half) / sum(c.probe == probe for c in cases)
        assert share > 0.35, (probe, share)
    assert cases[0].method == "copy"


def test_estimates_grow_and_obey_the_budget() -> None:
    def takes(profile: str) -> float:
        axes = Axes(profile=profile)
        return pace.estimate(fit.fitted(plan(profile=profile), axes, "cpu").cases, axes, "cpu")

    assert takes("smoke") < 38 < takes("default") < 180
    axes = Axes(budget=60.0)
    assert pace.estimate(fit.fitted(plan(), axes, "cpu").cases, axes, "cpu") <= 60


def test_pace_shares_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    cases = [case for case in plan() if case.probe == "latency"][:100]
    clock = pace.Pace(cases, "cpu", Axes())
    clock.begin()
    first = clock.request(0, cases[0])
    assert pace.SHORTEST <= first["seconds"] <= Axes().preset.most
    assert first["rule"] == {"least": 30, "ceiling": 6.0, "fair": 0.02}
    now[0] = clock.limit - 1.0
    late = clock.request(0, cases[0])
    assert late["seconds"] == pace.SHORTEST
    assert late["rule"]["least"] == 10, "behind, as many as give an interval"
    assert clock.request(len(cases) - 1, cases[-1])["seconds"] > pace.SHORTEST  # the last one may have all that is left
    assert not clock.over()
    now[0] = clock.limit + 1.0
    assert clock.over()
    assert math.isclose(pace.Pace(cases, "cpu", Axes(methods=("ada",))).limit, clock.limit)
    assert not pace.bounded(Axes(methods=("ada",)))
    asked = pace.Pace(cases, "cpu", Axes(min_samples=200)).request(0, cases[0])
    assert asked["rule"] == {"least": 200, "ceiling": pace.CEILING, "fair": 0.0}
    assert pace.Pace(cases, "cpu", Axes(until_precise=True)).request(0, cases[0])["seconds"] == pace.CEILING


def test_what_is_left_is_neither_more_than_the_limit_nor_judged_by_one_slow_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    cases = plan()
    clock = pace.Pace(cases, "cpu", Axes())
    clock.begin()
    now[0] = 40.0
    clock.spent(cases[0], 40.0, 0.0)  # the first call of everything
    assert clock.left(1) <= clock.limit - 40.0
    free = pace.Pace(cases[:100], "cpu", Axes(methods=("ada",)))
    free.begin()
    before = free.left(0)
    free.spent(cases[0], 0.9, 0.0)  # ten times what was estimated
    assert free.left(0) < 1.5 * before


def test_paths_are_not_published() -> None:
    assert public("/home/someone/ops/mine.py:pool") == "mine.py:pool"
    assert public("ops/mine.py:pool") == "ops/mine.py:pool"
    assert public(str(Path("/a/photos"))) == "photos"
    assert STRIKES == 3


def test_the_full_profile_compiles_the_plainest_tensors_only_and_last() -> None:
    names = Names(("avg", "ada"), (), {}, ("cpu",))
    cases = [c for c in build(Axes(profile="full"), names, "cpu") if c.probe != "retention"]
    where = {(c.dtype, c.layout, c.probe) for c in cases if c.implementation == "compiled"}
    assert where == {("float32", "nchw", "latency")}
    first = next(i for i, c in enumerate(cases) if c.implementation == "compiled")
    assert {c.implementation for c in cases[first:]} == {"compiled"}
    asked = build(Axes(profile="full", implementations=("compiled",), dtypes=("float16",)), names, "cpu")
    assert {(c.dtype, c.layout) for c in asked if c.method == "ada" and c.probe == "memory"} == {
        ("float16", "nchw"), ("float16", "channels_last"),
    }  # fmt: skip
