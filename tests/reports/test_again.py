"""The command that measures a case again: of every record of a plan it leads back to exactly its case."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, fields
from pathlib import Path

import PIL.Image
import pytest

import runner
from reports import again
from suites import options, records, session
from suites.axes import Axes
from suites.case import Case

CPU = [("cpu", "cpu")]
ORIGIN = records.Origin("cpu", "cpu-1", {"version": "0.1.0", "commit": None, "dirty": None}, 0)


def planned(words: list[str]) -> list[Case]:
    """What the command line's own parser makes of the words."""
    given = runner.plan.make_context("plan", words).params
    assert given.pop("summary") is False, "the one option that is no axis"
    return session.whole(options.axes(given), CPU)["cpu"]


@pytest.mark.parametrize(
    "given",
    [
        {"profile": "smoke"},
        {
            "methods": ("avg", "ada", "my ops.py:halved"), "images": "two photos", "crop": 64, "seed": 3,
            "kernels": ("2", "3s2p1c"), "shard": "1/2", "budget": 60.0, "min_samples": 40,
        },
        {
            "methods": ("ada", "max"), "implementations": ("plain",), "shapes": ("1x2x9x8", "1x2x9"), "kernels": ("3",),
            "strides": ("1", "2"), "paddings": ("1",), "ceil": True, "dtypes": ("float64", "bfloat16"),
            "layouts": ("nchw", "channels_last"), "directions": ("both",), "clocks": ("hot", "cold"), "crop": 0,
            "probes": ("latency", "memory"), "compare_with": ("compiled",), "until_precise": True,
        },
    ],
)  # fmt: skip
def test_every_case_of_a_plan_comes_back_alone(given: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two photos").mkdir()
    PIL.Image.new("RGB", (64, 64)).save(tmp_path / "two photos" / "a.png")
    (tmp_path / "my ops.py").write_text("def halved(x, kernel_size, stride, padding):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    axes = Axes(**given)
    begin = again.words({"axes": json.loads(json.dumps(asdict(axes)))}, "cpu")
    whole = session.whole(axes, CPU)["cpu"]
    assert {case.own for case in whole} - {None} == {name for name in axes.methods if ":" in name}
    for case in whole:
        record = records.make(case, records.ended(case, "failed", "on purpose")[0], ORIGIN)
        words = shlex.split(again.command(begin, record.probe, record.case))
        assert words[:3] == ["python", "runner.py", "bench"]
        assert planned(words[3:]) == [case]


def test_every_axis_is_said_as_an_option_but_those_of_time_and_share() -> None:
    of_a_network = {"network", "image", "batch", "strided"}  # whose records say theirs
    values = {tuple: ["x"], bool: True}
    axes = {f.name: values.get(type(f.default), "x") for f in fields(Axes) if f.name not in of_a_network}
    said = [word for word in shlex.split(again.words({"axes": axes}, "cpu")) if word.startswith("--")]
    assert len(said) == len(set(said)) == 1 + len(axes) - len({"budget", "cases", "shard"})
    assert set(said) <= {name for option in runner.bench.params for name in option.opts}
    assert again.words({"axes": {"network": "resnet18", "seed": 0}}, "cpu") == ""


def test_kernels_are_made_by_every_probe_of_their_case() -> None:
    case = "ada/native/forward/float32/nchw/k2s2p0/1x2x8x8"
    assert again.command("x", "kernels", case) == f"x --case {case}"
    assert again.command("x", "retention", "f g/own/none/float32/nchw/k2s2p0/3x9x9/P1/a b") == (
        "x --case 'retention:f g/own/none/float32/nchw/k2s2p0'"
    )


def test_a_device_is_named_and_a_run_without_axes_says_nothing() -> None:
    assert again.words({"axes": {"seed": 0}}, "GPU-1") == "python runner.py bench --gpu GPU-1 --seed 0"
    assert again.words({}, "cpu") == ""
