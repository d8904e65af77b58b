"""The GPU's clocks on a GPU: every clock and direction verified, the graph really rotated, cheats found out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from suites import latency, profiles
from suites.case import Case
from suites.finding import Finding
from suites.launch import ENTRY
from tests.support.cheats import SHARED_CHEATS
from tests.support.native_places import need

pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore")]  # the profiler and torch's graphs warn
CHEATS = (
    SHARED_CHEATS
    + '''
_side = None
def other_stream(x, k, s, p):
    """Works beside the stream that is timed, which does not wait for it."""
    global _side
    _side = _side or torch.cuda.Stream()
    out = torch.zeros(*x.shape[:2], *(n // kk for n, kk in zip(x.shape[2:], k)), device=x.device)
    with torch.cuda.stream(_side):
        torch.cuda._sleep(20_000_000)
        out.copy_(honest(x.detach(), k, s, p))
    return out
other_stream.oracle = "softpool"

_cache = {}
def cached(x, k, s, p):
    if x.data_ptr() not in _cache:
        _cache[x.data_ptr()] = honest(x, k, s, p)
    return _cache[x.data_ptr()]
cached.oracle = "softpool"

def synchronises(x, k, s, p):
    float(x.flatten()[0])
    return honest(x, k, s, p)
synchronises.oracle = "softpool"
'''
)


@pytest.fixture(autouse=True)
def _cuda() -> None:
    need("cuda")


@pytest.fixture(scope="module")
def cheats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "cheats.py"
    path.write_text(CHEATS)
    return path


def measured(
    method: str, implementation: str, direction: str, clock: str, own: str | None = None, shape: str = "8x16x56x56"
) -> Finding:
    return by_each(method, implementation, direction, (clock,), own, shape)[0]


def by_each(
    method: str, implementation: str, direction: str, clocks: tuple[str, ...], own: str | None, shape: str
) -> list[Finding]:
    from suites.cuda_clocks import CudaClocks

    sizes = tuple(int(size) for size in shape.split("x"))
    case = Case(
        "latency", method, implementation, direction, (2, 2), (2, 2), (0, 0), False, sizes, "float32", "nchw",
        clocks, own=own,
    )  # fmt: skip
    return latency.measure(case, torch.device("cuda"), CudaClocks(1 << 28), 0.05, 0)


@pytest.mark.parametrize("clock", ["cold", "hot", "graph", "host"])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize(
    ("method", "implementation"),
    [("ada", "native"), ("ada", "plain"), ("lip", "native"), ("avg", "torch"), ("dpp_full", "plain")],
)
def test_every_clock_and_direction_is_verified(method: str, implementation: str, direction: str, clock: str) -> None:
    finding = measured(method, implementation, direction, clock)
    assert finding.status == "ok", finding.reason
    assert finding.how["verified"] is True
    assert finding.samples is not None and finding.samples.median > 0


@pytest.mark.parametrize("direction", ["backward", "both"])
@pytest.mark.parametrize(("method", "implementation"), [("ada", "native"), ("ada", "plain"), ("dpp_full", "plain")])
def test_a_graph_is_captured_between_clocks_of_another_stream(method: str, implementation: str, direction: str) -> None:
    """As in a worker, where the leaves belong to the default stream long before; beta and parameters are leaves too."""
    found = by_each(method, implementation, direction, ("cold", "graph", "host", "graph"), None, "8x16x56x56")
    assert [(f.clock, f.status) for f in found] == [(f.clock, "ok") for f in found], [f.reason for f in found]


@pytest.mark.parametrize("clock", ["cold", "graph"])
def test_the_ceiling_is_verified(clock: str) -> None:
    finding = measured("copy", "copy", "forward", clock)
    assert finding.status == "ok", finding.reason


@pytest.mark.parametrize("method", ["max_unpool", "adaunpool_masks", "adaunpool_guide"])
@pytest.mark.parametrize("clock", ["cold", "graph"])
def test_inverses_are_verified(method: str, clock: str) -> None:
    finding = measured(method, "plain", "inverse", clock)
    if (method, clock) == ("max_unpool", "graph"):  # it looks at its indices
        assert finding.status == "skipped" and "max_unpool of plain synchronises" in str(finding.reason)
        return
    assert finding.status == "ok", finding.reason


def test_torchs_max_unpool_is_captured_or_said_to_synchronise() -> None:
    """As torch's version has it; the clock after it has a speed all the same."""
    graph, cold = by_each("max_unpool", "torch", "inverse", ("graph", "cold"), None, "8x16x56x56")
    assert graph.status == "ok" or "max_unpool of torch synchronises" in str(graph.reason)
    assert cold.status == "ok", cold.reason


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_a_graph_has_the_kernels_of_its_calls_and_leaves_the_cache(direction: str) -> None:
    how = measured("ada", "native", direction, "graph").how
    assert how["rotated_past_l2"] is True
    if how["graph_nodes"] is not None and how["eager_kernels"] is not None:
        assert how["graph_nodes"] == how["calls_per_sample"] * how["eager_kernels"]


def test_a_graph_is_as_fast_as_its_calls_one_by_one() -> None:
    """On a tensor of 200 MB launch cost and cache are nothing beside the work: cold and graph tell the same time."""
    for direction in ("forward", "backward", "both"):
        times = {}
        for clock in ("cold", "graph"):
            finding = measured("ada", "native", direction, clock, shape="64x64x112x112")
            assert finding.samples is not None, finding.reason
            times[clock] = finding.samples.median
        assert times["graph"] == pytest.approx(times["cold"], rel=0.25), direction


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("other_stream", "forward"), ("cached", "forward"), ("mutates", "forward"), ("wrong_backward", "backward"),
        ("wrong_backward", "both"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("clock", ["cold", "hot", "graph"])
def test_cheats_are_found_out(cheats: Path, name: str, direction: str, clock: str) -> None:
    """No speed in any case: incorrect, or, where the graph cannot hold it, skipped or refused."""
    try:
        finding = measured(name, "own", direction, clock, f"{cheats}:{name}")
    except ArithmeticError:
        assert clock == "graph"
        return
    assert finding.status == "incorrect" or (clock, finding.status) == ("graph", "skipped"), (name, finding.how)
    assert finding.samples is None and finding.value is None


def test_a_call_shorter_than_its_launch_is_host_bound() -> None:
    tiny = measured("ada", "plain", "forward", "cold", shape="1x1x8x8")
    assert "host-bound" in tiny.warnings
    assert measured("ada", "plain", "forward", "host", shape="1x1x8x8").how["bound"] == "host"
    large = measured("ada", "native", "forward", "host", shape="64x64x112x112")
    assert large.how["bound"] == "device" and large.how["launch_overhead_s"] < large.how["device_s"]


def test_an_operator_that_synchronises_is_labelled(cheats: Path) -> None:
    finding = measured("synchronises", "own", "forward", "cold", f"{cheats}:synchronises")
    assert finding.status == "ok", finding.reason
    assert "syncs" in finding.warnings
    graph = measured("synchronises", "own", "forward", "graph", f"{cheats}:synchronises")
    assert graph.status == "skipped" and "synchronises of own synchronises" in str(graph.reason)


@pytest.mark.soak
def test_cold_and_hot_agree_with_tritons_do_bench() -> None:
    """On 20 cases over 50 us, to 5 %: cold with its flushed cache, hot beside a plain loop between two events."""
    testing = pytest.importorskip("triton.testing")
    from suites.cuda_clocks import CudaClocks
    from suites.subjects import build
    from suites.timed import Timed

    clocks, device, off = CudaClocks(1 << 28), torch.device("cuda"), []
    methods = ("avg", "max", "softpool", "edscw", "idw", "ada", "lp_abs", "dpp", "lip", "sum")
    print("\n  cold us  do_bench us  ratio  case")
    for method in methods:
        for direction in ("forward", "backward"):
            case = Case(
                "latency", method, "native", direction, (3, 3), (2, 2), (1, 1), False, (64, 64, 112, 112), "float32",
                "nchw", ("cold",),
            )  # fmt: skip
            timed = Timed(build(case, device, 0), case, 0)
            ours = clocks.run(timed, "cold", 0.5).samples.median
            theirs = testing.do_bench(timed, warmup=50, rep=500, return_mode="median") / 1e3
            print(f"{ours * 1e6:9.1f} {theirs * 1e6:12.1f}  {ours / theirs:.3f}  {case.name}")
            if theirs > 50e-6 and abs(ours / theirs - 1) > 0.05:
                off.append((case.name, ours / theirs))
    assert not off


@pytest.mark.parametrize("name", ["torch", "ncu", "nsys"])
def test_a_profile_knows_the_librarys_kernels(name: str, tmp_path: Path) -> None:
    if reason := profiles.absent(name, "cuda"):
        pytest.skip(reason)
    tool = profiles.Profiler(name, tmp_path, 0, lambda device, kind: {})
    case = Case.named("ada/native/both/float32/nchw/k3s2p1/8x16x56x56")
    made = tool.profile(profiles.Wanted("GPU", "cuda", "machine", case))
    if made.status == "refused" and name != "torch":
        pytest.skip(f"{name} is refused here: {made.reason}")
    assert made.status == "ok", made.reason
    own = [kernel for kernel in made.kernels if kernel.name.startswith(ENTRY)]
    assert own[0].words is not None and own[0].words.startswith("ada forward"), own
    assert all(kernel.words and kernel.registers and 0 < kernel.seconds < 0.1 for kernel in own), own
    if name == "ncu":
        assert all(kernel.stall and 0 < (kernel.issue or 0) <= 100 and kernel.dram is not None for kernel in own), own
