"""The compiled rows as the engine measures them: every direction verified, the form that was kept in the record."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch

from suites import latency
from suites.case import Case
from suites.clocks import CpuClocks
from suites.finding import Finding

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    from torch._functorch import config

    torch.compiler.reset()
    donated = config.donated_buffer
    yield
    config.donated_buffer = donated
    torch.compiler.reset()


def measured(direction: str, padding: int = 0, dtype: str = "float32") -> list[Finding]:
    case = Case(
        "latency", "ada", "compiled", direction, (2, 2), (2, 2), (padding, padding), False, (1, 2, 8, 8), dtype,
        "nchw", ("cold", "hot"),
    )  # fmt: skip
    return latency.measure(case, torch.device("cpu"), CpuClocks(1 << 16), 0.005, 0)


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize(("padding", "forms"), [(0, {"unfold", "slices"}), (1, {"unfold"})])
def test_each_direction_is_verified_in_the_faster_form(
    direction: str, padding: int, forms: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    for finding in measured(direction, padding):
        assert finding.status == "ok", finding.reason
        assert finding.how["verified"] is True
        took = finding.how["forms_s"]
        assert set(took) == forms and finding.how["form"] == min(took, key=took.__getitem__)


@pytest.mark.soak
def test_inductors_code_is_verified_on_a_graph_that_is_kept() -> None:
    for finding in measured("backward", 1):
        assert finding.status == "ok", finding.reason
        assert finding.how["verified"] is True and finding.how["form"] == "unfold"
