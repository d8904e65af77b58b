"""A network from MODEL to the report's table: what names one, its cases, what the probe finds; a wrong pool found."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import reports
import runner
from adapool import native
from reports import frame, networks, store, view
from suites import first_call, models, network, plan, records, session
from suites.axes import Axes, UsageError
from suites.case import Case
from suites.clocks import CpuClocks
from suites.options import axes as axes_of
from suites.sampling import Rule
from tests.support.native_places import need

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = [("cpu", "cpu")]
ORIGIN = records.Origin("cpu", "cpu-1", {"version": "0.1.0", "commit": None, "dirty": None}, 0)
MODELS = """
from torch import nn

def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3), nn.AvgPool2d(2), nn.Flatten(1)
    )

def none():
    return 3
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MODELS)
    return f"{tmp_path / 'mine.py'}:small"


def cases(model: str, **more: Any) -> list[Case]:
    return session.whole(Axes(network=model, image=(3, 24, 20), **more), CPU)["cpu"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("resnet19", "expected path/to/file.py:function, torchvision:resnet50, .* resnet18, .* got 'resnet19'"),
        ("resnet18:6", "expected a width that is a multiple of 4 behind resnet18, got 'resnet18:6'"),
        ("absent.py:net", "model: expected a Python file before the colon"),
        (f"{__file__}:gone", r"model: expected a function of .*, got 'gone'; it defines (?!.*\btorch\b).*\bcases\b"),
        ("timm:resnet18", "timm is not installed, which has resnet18: python -m pip install timm"),
        ("somewhere:resnet18", "got 'somewhere:resnet18'"),
    ],
)
def test_a_model_that_is_not_there_is_told(asked: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=message):
        cases(asked)


def test_what_makes_no_module_is_told(small: str) -> None:
    with pytest.raises(TypeError, match=r"model: expected a torch.nn.Module from mine.py:none, got int"):
        models.make(small.replace(":small", ":none"))


def test_a_configuration_of_transformers() -> None:
    pytest.importorskip("transformers")
    models.check("transformers:ResNetConfig")
    with torch.device("meta"):
        assert sum(p.numel() for p in models.make("transformers:ResNetConfig").parameters()) > 2e7
    with pytest.raises(ValueError, match="expected a configuration of transformers"):
        models.make("transformers:NoSuchConfig")


def test_the_cases_of_a_network(small: str) -> None:
    found = cases(small)
    assert [(case.method, case.implementation) for case in found] == [
        ("original", "torch"), *((method, "native") for method in plan.EXCHANGED)
    ]  # fmt: skip
    assert found[1].name == "max/native/both/float32/nchw/mine.py:small/4x3x24x20" and found[1].clocks == ("hot",)
    found = cases("resnet18", methods=("ada", "lip_simplified"), implementations=("native", "plain"), strided=True)
    subjects = [(case.method, case.implementation) for case in found]
    assert subjects == [("ada", "native"), ("ada", "plain"), ("lip_simplified", "plain")]
    assert "/resnet18+strided/" in found[0].name
    assert first_call.chosen(found, "cuda") == [], "only the worker knows what is pooled"
    for wrong in ({"methods": ("sotfpool",)}, {"dtypes": ("int8",)}, {"clocks": ("graph",)}):
        with pytest.raises(UsageError):
            cases("resnet18", **wrong)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("cpu", {}),
        ("cpu", {"methods": ("ada",), "strided": True, "dtypes": ("bfloat16",), "batch": 2}),
        ("cuda", {"methods": ("ada",), "clocks": ("graph",)}),
        ("cuda", {"methods": ("ada",), "clocks": ("hot", "host")}),
    ],
)
def test_a_records_command_leads_back_to_its_case(kind: str, more: dict[str, Any]) -> None:
    for case in session.whole(Axes(network="resnet18:8", **more), [(kind, kind)])[kind]:
        words = shlex.split(case.command("cpu", 0))
        assert words[:3] == ["python", "runner.py", "network"]
        given = runner.network.make_context("network", words[3:]).params
        image = tuple(map(int, given["image"].split("x")))
        same = ("methods", "implementations", "strided", "batch", "dtypes", "layouts", "clocks")
        taken = {name: given[name] for name in same}
        axes = replace(axes_of(taken), network=given["model"], image=image)
        assert case in session.whole(axes, [(kind, kind)])[kind]


def measured(case: Case) -> list[Any]:
    clocks = CpuClocks(1 << 16)
    clocks.rule = Rule(least=3)
    return network.measure(case, torch.device("cpu"), clocks, None, 0.01, 0)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of a profiler that saw too little
def test_from_the_probe_to_the_table(small: str, tmp_path: Path) -> None:
    need("cpu")
    chosen = [
        *cases(small, methods=("ada",), implementations=("torch", "native")),
        *cases(small, methods=("ada",), strided=True),
        *cases(small, methods=("lip_simplified",), implementations=("plain",), dtypes=("bfloat16", "float64")),
    ]
    with store.Writer(tmp_path / "run") as writer:
        for case in chosen:
            found = {finding.metric: finding for finding in measured(case)}
            assert set(found) == {"forward", "step", "pools", "peak_bytes", "saved_bytes", "parameters"}
            assert all(one.status == "ok" for one in found.values()), found
            step = found["step"].how
            assert step["verified"] is (case.method != "original"), step
            each = found["pools"].how["each_s"]
            assert set(each) == ({"0", "2", "4"} if case.strided and case.method != "original" else {"2", "4"})
            assert found["saved_bytes"].value > 0 and found["peak_bytes"].value > 0
            for finding in found.values():
                made = records.make(case, asdict(finding), ORIGIN)
                writer.append(type(made).from_json(made.to_json()))
    store.write_machine(tmp_path / "run", {"run": {"axes": {"network": "mine.py:small"}}, "devices": {}})
    (group,) = view.groups(view.prepared(frame.table(tmp_path / "run")))
    tables = {table["title"]: table for table in networks.networks(group)}
    assert next(iter(tables)) == "mine.py:small, input 4×3×24×20, float32 nchw" and len(tables) == 4
    ada = {line["method"]: line["cells"] for line in tables[next(iter(tables))]["lines"]}
    assert set(ada) == {"original", "ada"} and ada["original"]["training step, hot"]["note"] == "1×"
    assert ada["ada"]["pools in a step"]["note"].endswith(" %") and ada["ada"]["parameters"]["text"] == "268"
    assert ada["ada"]["peak of a step"]["note"].endswith("×")
    loaded = reports.load(tmp_path / "run")
    assert loaded["times_better_than_avg"].notna().sum() >= 10


def test_a_pool_that_computes_something_else_has_no_speed(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need("cpu")
    (case,) = cases(small, methods=("softpool",), implementations=("native",))
    right = native.pool
    monkeypatch.setattr(native, "pool", lambda *a: (right(*a)[0] * 1.001, None))
    findings = measured(case)
    assert [(one.metric, one.status, one.samples) for one in findings] == [
        ("forward", "incorrect", None), ("step", "incorrect", None),
    ]  # fmt: skip
    assert "of itself from the plain rows in float64, expected at most" in str(findings[0].reason)


def test_the_time_of_a_pool_is_its_own(small: str) -> None:
    """A pool that sleeps is seen as the pool that it is, forward and backward."""
    import time

    class Sleepy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.02)
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            time.sleep(0.03)
            return grad

    class Slow(nn.Module):
        def __init__(self, pool: nn.Module) -> None:
            super().__init__()
            self.inner = pool

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Sleepy.apply(self.inner(x))  # type: ignore[no-any-return]

    (case,) = cases(small, implementations=("torch",), methods=("ada",))[:1]
    made = network.Network(case, torch.device("cpu"), 0)
    made.model[2] = Slow(made.model[2])  # type: ignore[index,operator]
    (finding,) = network._pools(network.Call(made, True, 0), CpuClocks(1 << 16), {})
    assert 0.05 <= finding.how["each_s"]["2"] < 0.2 and finding.how["each_s"]["4"] < 0.02
