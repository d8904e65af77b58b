"""Nothing unverified is published: operators that cheat end as `incorrect` without a speed, honest ones pass."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from adapool import LEARNED, GatedPool
from adapool.registry import names
from suites import golden, latency, session, verify
from suites.axes import Axes
from suites.case import EXAMPLE, Case
from suites.clocks import CpuClocks
from suites.finding import Finding
from suites.subject import Unavailable
from suites.subjects import build
from suites.timed import Expected, Timed
from tests.support.cheats import SHARED_CHEATS

CPU = torch.device("cpu")
CHEATS = (
    SHARED_CHEATS
    + '''
import threading, time

_cache = {}
def cached(x, k, s, p):
    key = (x.data_ptr(), x.shape, x.requires_grad)
    if key not in _cache:
        _cache[key] = honest(x, k, s, p)
    return _cache[key]
cached.oracle = "softpool"

_versions = {}
def skips_on_reuse(x, k, s, p):
    """Works once per content, hands the same buffer out again and again."""
    if _versions.get("v") != (x.data_ptr(), x._version):
        _versions["v"], _versions["out"] = (x.data_ptr(), x._version), honest(x, k, s, p)
    return _versions["out"]
skips_on_reuse.oracle = "softpool"

def early(x, k, s, p):
    """Returns before it has finished."""
    out = torch.zeros(x.shape[0], x.shape[1], *(n // kk for n, kk in zip(x.shape[2:], k)))
    result = honest(x.detach(), k, s, p)
    def late():
        time.sleep(0.002)
        out.copy_(result)
    threading.Thread(target=late).start()
    return out
early.oracle = "softpool"

def early_unknown(x, k, s, p):
    return early(x, k, s, p)

def wrong_backward_unknown(x, k, s, p):
    return _WrongBackward.apply(x, k, s, p)

def uninitialised(x, k, s, p):
    """Leaves the last cell of each plane as the allocator gave it: right whenever the block is a warm one."""
    y = honest(x, k, s, p)
    out = torch.empty_like(y)
    out[..., :-1, :].copy_(y[..., :-1, :])
    out[..., -1, :-1].copy_(y[..., -1, :-1])
    return out
uninitialised.oracle = "softpool"

def last_row_lost(x, k, s, p):
    y = honest(x, k, s, p)
    return torch.cat([y[..., :-1, :], torch.zeros_like(y[..., -1:, :])], -2)
last_row_lost.oracle = "softpool"

def wrong_shape(x, k, s, p):
    return honest(x, k, s, p)[..., :-1]

def not_finite(x, k, s, p):
    return honest(x, k, s, p) / 0

_calls = [0]
def random_answer(x, k, s, p):
    _calls[0] += 1
    return honest(x, k, s, p) + _calls[0]

def row(region):
    return region.mean(region.values).squeeze(-1)
row.oracle = "avg"
'''
)


@pytest.fixture(scope="module")
def cheats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "cheats.py"
    path.write_text(CHEATS)
    return path


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measured(path: Path, name: str, direction: str = "forward", clock: str = "cold") -> Finding:
    case = Case(
        "latency", name, "own", direction, (2, 2), (2, 2), (0, 0), False, (1, 3, 8, 10), "float32", "nchw",
        (clock,), own=f"{path}:{name}",
    )  # fmt: skip
    return latency.measure(case, CPU, CpuClocks(1 << 16), 0.005, 0)[0]


@pytest.mark.parametrize("name", ["honest", "row"])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("clock", ["cold", "hot"])
def test_honest_operators_are_verified(cheats: Path, name: str, direction: str, clock: str) -> None:
    finding = measured(cheats, name, direction, clock)
    assert finding.status == "ok", finding.reason
    assert finding.how["verified"] is True
    assert finding.samples is not None and len(finding.samples.values) >= 4


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("cached", "forward"),
        ("skips_on_reuse", "forward"),
        ("early", "forward"),
        ("early_unknown", "forward"),
        ("mutates", "forward"),
        ("wrong_backward", "backward"),
        ("wrong_backward", "both"),
        ("wrong_backward_unknown", "backward"),
        ("uninitialised", "forward"),
        ("last_row_lost", "forward"),
        ("last_row_lost", "backward"),
        ("wrong_shape", "forward"),
        ("wrong_shape", "backward"),
        ("not_finite", "forward"),
        ("random_answer", "forward"),
    ],
)
@pytest.mark.parametrize("clock", ["cold", "hot"])
def test_cheats_are_found_out(cheats: Path, name: str, direction: str, clock: str) -> None:
    finding = measured(cheats, name, direction, clock)
    assert finding.status == "incorrect", (name, finding.how)
    assert finding.reason
    assert finding.samples is None and finding.value is None
    assert finding.how["verified"] is False


def test_right_forward_of_a_wrong_backward_keeps_its_forward_speed(cheats: Path) -> None:
    assert measured(cheats, "wrong_backward").status == "ok"


def test_operators_without_an_oracle_say_so(cheats: Path, tmp_path: Path) -> None:
    path = tmp_path / "plainly.py"
    path.write_text("def mine(x, k, s, p):\n    return x[..., :: k[0], :: k[1]] * 2\n")
    finding = measured(path, "mine", "both")
    assert finding.status == "ok", finding.reason
    assert finding.how["verified"] is False and finding.how["verified_against"] == "itself on fresh copies"


def cases(**axes: Any) -> list[Case]:
    found = session.cases(Axes(**axes), [("cpu", "cpu")])["cpu"]
    return [case for case in found if case.method != "copy"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_every_plain_method_passes_its_own_check(dtype: str) -> None:
    clocks = CpuClocks(1 << 16)
    todo = cases(
        shapes=("2x3x13x12", "1x2x15"), kernels=("3s2p1", "2"), dtypes=(dtype,), layouts=("channels_last",),
        probes=("latency",), implementations=("plain", "torch"),
    )  # fmt: skip
    done = 0
    for case in todo:
        try:
            findings = latency.measure(case, CPU, clocks, 0.0, 0)
        except (Unavailable, NotImplementedError):
            continue
        assert findings[0].status == "ok", (case.name, findings[0].reason)
        done += 1
    assert done > 0.8 * len(todo)


@pytest.mark.parametrize("spoil", ["shift", "transpose", "scale", "one"])
def test_a_slightly_wrong_answer_is_seen(spoil: str) -> None:
    (case,) = cases(
        methods=("ada",), shapes=("1x4x12x12",), kernels=("3s2",), implementations=("plain",),
        directions=("backward",), probes=("latency",),
    )  # fmt: skip
    timed = Timed(build(case, CPU, 0), case, 0)
    state, outputs = timed.state(), timed()
    want = timed.expected(state)
    assert verify.compare(case, outputs, want)[0] is None
    g = outputs[0]
    one = g.clone()
    one[0, 1, 3, 3] += 0.01
    wrong = {"shift": g.roll(1, -1), "transpose": g.transpose(-1, -2), "scale": g * 1.001, "one": one}[spoil]
    assert verify.compare(case, (wrong, *outputs[1:]), want)[0] is not None
    dropped = (outputs[0], torch.zeros_like(outputs[1]))
    assert "gradient 1" in str(verify.compare(case, dropped, want)[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_parameters_gradient_is_held_to_its_sum(dtype: str) -> None:
    """beta's gradient is summed in float32 whatever the tensor's type: two per cent of it are a fault."""
    (case,) = cases(methods=("ada",), shapes=("2x16x28x28",), kernels=("2",), implementations=("plain",),
                    directions=("backward",), probes=("latency",), dtypes=(dtype,))  # fmt: skip
    timed = Timed(build(case, CPU, 0), case, 0)
    state, (dx, dbeta) = timed.state(), timed()
    want = timed.expected(state)
    assert verify.compare(case, (dx, dbeta), want)[0] is None
    assert "gradient 1" in str(verify.compare(case, (dx, dbeta * 1.02), want)[0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_networks_weights_are_no_planes(dtype: str) -> None:
    """In 1-D a convolution's weights have as many axes as its input; their gradient is a sum all the same."""
    (case,) = cases(methods=("dpp_full_asym",), shapes=("1x16x41",), kernels=("3s2",), implementations=("plain",),
                    directions=("backward",), probes=("latency",), dtypes=(dtype,))  # fmt: skip
    timed = Timed(build(case, CPU, 0), case, 0)
    state, outputs = timed.state(), timed()
    want = timed.expected(state)
    assert verify.compare(case, outputs, want)[0] is None
    assert verify.compare(case, (*outputs[:-1], outputs[-1] + 100), want)[0] is not None


def test_nan_never_passes() -> None:
    (case,) = cases(methods=("avg",), shapes=("1x1x4x4",), kernels=("2",), implementations=("plain",),
                    directions=("forward",), probes=("latency",))  # fmt: skip
    zero = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    want = Expected((zero,), (zero,), 0.0)
    assert verify.compare(case, (torch.full((1, 1, 2, 2), torch.nan),), want)[0] is not None
    assert verify.compare(case, (torch.full((1, 1, 2, 2), 1e-30),), want)[0] is not None
    assert verify.compare(case, (torch.zeros(1, 1, 2, 2),), want)[0] is None


def test_every_method_has_hand_worked_values() -> None:
    methods = (*names(), *LEARNED)
    assert set(golden.GOLDEN) >= set(methods)
    assert [golden.fault(name) for name in methods] == [None] * len(methods)


def test_a_wrong_layer_cannot_be_an_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its oracle is the layer itself in float64, which a fault of the layer is a fault of, too."""
    real = GatedPool.forward
    golden.fault.cache_clear()
    monkeypatch.setattr(GatedPool, "forward", lambda layer, x: real(layer, x.flip(-1)))
    try:
        assert "by hand" in str(verify.golden(Case.named(EXAMPLE.replace("ada", "gated"))))
    finally:
        golden.fault.cache_clear()


def test_a_wrong_row_cannot_be_an_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    real = golden.functional.pool
    golden.fault.cache_clear()
    monkeypatch.setattr(golden.functional, "pool", lambda *a, **k: real(*a, **k) * (1 + 1e-6))
    try:
        assert "by hand" in str(golden.fault("ada"))
    finally:
        golden.fault.cache_clear()


def test_the_watch_is_kept_while_a_thread_writes_late() -> None:
    out = torch.zeros(4)
    copied = (out.clone(),)
    threading.Thread(target=lambda: (time.sleep(0.005), out.fill_(1.0))).start()
    assert verify.settled(copied, (out,), time.perf_counter()) == "the output changed after the call had returned"
