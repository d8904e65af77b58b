"""What one's own operator may return: every probe refuses the rest in one sentence that says what came."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from adapool import functional, registry
from reports import store
from suites import axes, energy, latency, memory, own, plan, retention, session
from suites.axes import Axes, UsageError
from suites.case import Case
from suites.clocks import CpuClocks
from suites.finding import Finding
from suites.session import Session
from suites.subjects import build
from suites.timed import Timed

DIRECTIONS = ("forward", "backward", "both")
CPU = torch.device("cpu")
OPERATORS = """
import torch

def _avg(x, k, s, p):
    return torch.nn.functional.avg_pool2d(x, k, s, p)

def pair(x, k, s, p):
    return _avg(x, k, s, p), x

def single(x, k, s, p):
    return (_avg(x, k, s, p),)

def listed(x, k, s, p):
    return [_avg(x, k, s, p)]

def named(x, k, s, p):
    return {"y": _avg(x, k, s, p)}

def number(x, k, s, p):
    return 1.5

def nothing(x, k, s, p):
    _avg(x, k, s, p)

def array(x, k, s, p):
    return _avg(x.detach(), k, s, p).numpy()

def largest(x, k, s, p):
    return x.flatten(2).max(-1)

def many(x, k, s, p):
    return (_avg(x, k, s, p),) * 6

def empty(x, k, s, p):
    return ()

def whole(x, k, s, p):
    return _avg(x, k, s, p).to(torch.int64)

def cut(x, k, s, p):
    return _avg(x.detach(), k, s, p)

def short(x, k, s, p):
    return _avg(x, k, s, p)[..., :-1]

def short_average(x, k, s, p):
    return short(x, k, s, p)
short_average.oracle = "avg"

def weighted(region):
    weights = region.softmax(region.values)
    return region.weigh(weights), weights

def unweighted(region):
    return region.mean(region.values).squeeze(-1), None

def row_of_three(region):
    return (*weighted(region), 0)

def row_number(region):
    return 1

def row_nothing(region):
    region.max(region.values)

def row_of_places(region):
    return region.values.argmax(-1), region.values

def row_count(region):
    return weighted(region)[0], 4.0
"""
SHAPE = "a Tensor of shape (1, 3, 4, 5)"
ROW = "a floating-point Tensor of shape (1, 3, 4, 5), alone or in a tuple with the weights"
REFUSED = {
    "pair": f"pair: expected {SHAPE}, got a tuple of 2: Tensor, Tensor; return y alone",
    "single": f"single: expected {SHAPE}, got a tuple of 1: Tensor; return y alone",
    "listed": f"listed: expected {SHAPE}, got a list of 1: Tensor; return y alone",
    "named": f"named: expected {SHAPE}, got a dict",
    "number": f"number: expected {SHAPE}, got a float",
    "nothing": f"nothing: expected {SHAPE}, got None",
    "array": f"array: expected {SHAPE}, got a ndarray",
    "largest": f"largest: expected {SHAPE}, got a tuple of 2: Tensor, Tensor of int64; return y alone",
    "many": f"many: expected {SHAPE}, got a tuple of 6: Tensor, Tensor, Tensor, Tensor, ...; return y alone",
    "empty": f"empty: expected {SHAPE}, got a tuple of 0",
    "row_of_three": f"row_of_three: expected {ROW}, got a tuple of 3: Tensor, Tensor, int",
    "row_number": f"row_number: expected {ROW}, got an int",
    "row_nothing": f"row_nothing: expected {ROW}, got None",
    "row_of_places": f"row_of_places: expected {ROW}, got a tuple of 2: Tensor of int64, Tensor",
    "row_count": f"row_count: expected {ROW}, got a tuple of 2: Tensor, float",
}


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "operators.py"
    path.write_text(OPERATORS)
    return path


class Meter:
    """Stands in for a GPU's counter of joules."""

    def joules(self) -> float:
        return 1.0

    def state(self) -> dict[str, Any]:
        return {}


def measured(path: Path, name: str, probe: str, direction: str) -> list[Finding]:
    photograph = probe == "retention"
    case = Case(
        probe, name, "own", direction, (2, 2), (2, 2), (0, 0), False, (3, 8, 10) if photograph else (1, 3, 8, 10),
        "float32", "nchw", ("hot",) if probe == "latency" else (), f"{path}:{name}", crop=64 if photograph else None,
    )  # fmt: skip
    if probe == "latency":
        return latency.measure(case, CPU, CpuClocks(1 << 16), 0.0, 0)
    if probe == "memory":
        return memory.measure(case, CPU, 0)
    if probe == "energy":
        watch: Any = Meter()
        return energy.measure(lambda: Timed(build(case, CPU, 0), case, 0), watch, CPU, 0.001, 0.0)
    return retention.measure(case, CPU, 0, 1, None, 0)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("probe", ["latency", "memory", "energy"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_pooled_tensor_is_refused(operators: Path, name: str, probe: str, direction: str) -> None:
    with pytest.raises(TypeError) as refused:
        measured(operators, name, probe, direction)
    assert str(refused.value) == REFUSED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_so_it_is_on_a_photograph(operators: Path, name: str) -> None:
    with pytest.raises(TypeError) as refused:
        measured(operators, name, "retention", "none")
    assert str(refused.value) == REFUSED[name].replace("(1, 3, 4, 5)", "(1, 3, 32, 32)")


@pytest.mark.parametrize("name", ["weighted", "unweighted"])
@pytest.mark.parametrize(
    ("probe", "direction"),
    [*((p, d) for p in ("latency", "memory") for d in ("forward", "backward", "both")), ("retention", "none")],
)
def test_a_row_may_hand_out_its_weights(operators: Path, name: str, probe: str, direction: str) -> None:
    assert {finding.status for finding in measured(operators, name, probe, direction)} == {"ok"}


@pytest.mark.parametrize("direction", ["backward", "both"])
@pytest.mark.parametrize("probe", ["latency", "memory", "energy"])
@pytest.mark.parametrize(
    ("name", "came"), [("cut", "one that is cut off from its input"), ("whole", "one of torch.int64")]
)
def test_an_output_without_a_gradient_is_named(
    operators: Path, name: str, came: str, probe: str, direction: str
) -> None:
    says = f"{name}: expected an output with a gradient for direction {direction}, got {came}"
    with pytest.raises(RuntimeError, match=says):
        measured(operators, name, probe, direction)


@pytest.mark.parametrize("probe", ["latency", "memory", "energy"])
@pytest.mark.parametrize(
    ("name", "direction", "says"),
    [
        *((name, d, "shape (1, 3, 4, 5), got (1, 3, 4, 4)") for name in ("short", "short_average") for d in DIRECTIONS),
        ("whole", "forward", "a floating-point dtype, got torch.int64"),
    ],
)
def test_another_shape_or_dtype_has_no_number(
    operators: Path, name: str, direction: str, says: str, probe: str
) -> None:
    found = measured(operators, name, probe, direction)
    assert {finding.status for finding in found} == {"incorrect"}
    assert {finding.reason for finding in found} == {f"output: expected {says}"}
    assert all(finding.value is None and finding.samples is None for finding in found)


@pytest.mark.parametrize(
    ("name", "says"),
    [("short", "shape (1, 3, 32, 32), got (1, 3, 32, 31)"), ("whole", "a floating-point dtype, got torch.int64")],
)
def test_nor_has_a_photograph(operators: Path, name: str, says: str) -> None:
    found = measured(operators, name, "retention", "none")
    assert {(finding.status, finding.value) for finding in found} == {("incorrect", None)}
    assert {finding.reason for finding in found} == {f"output: expected {says}"}


def test_the_run_goes_on_and_the_reason_is_recorded(operators: Path, tmp_path: Path) -> None:
    """Through a real worker, all probes: a record for each case, and the methods beside it are measured."""
    wanted = Axes(
        profile="smoke", methods=(f"{operators}:pair", f"{operators}:row_number", f"{operators}:weighted"),
        kernels=("2",), directions=("forward", "both"), implementations=("own",), clocks=("hot",),
        probes=("latency", "memory", "energy", "retention"),
    )  # fmt: skip
    statuses = Session(tmp_path, wanted, [("cpu", "cpu")], parallel=False, timeout=60.0).run().statuses
    found = [record for record in store.read(tmp_path) if record.method != "copy"]
    assert {record.probe for record in found} == {"latency", "memory", "energy", "retention"}
    seen: Counter[tuple[str, str]] = Counter()
    for record in found:
        if record.probe == "energy":
            continue  # skipped: there is no GPU whose joules could be read
        seen[record.method, record.status] += 1
        if record.method == "weighted":
            assert record.status == "ok", record.reason
        else:
            assert record.status == "failed" and record.value is None
            assert str(record.reason).startswith(f"TypeError: {record.method}: expected a ")
            came = "got a tuple of 2: Tensor, Tensor; return y alone" if record.method == "pair" else "got an int"
            assert str(record.reason).endswith(came)
    assert set(seen) == {("pair", "failed"), ("row_number", "failed"), ("weighted", "ok")}
    assert sum(statuses.values()) == sum(1 for _ in store.read(tmp_path))


def test_a_star_takes_every_public_function_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    private = "import math\nSCALE = 3\n_by = abs\ndef _two(region): ...\nP = a.Operand(2)\n"
    file.write_text(f"{private}def one(region): ...\nthree = _by(1)\n")
    assert own.every(f"{file}:*") == (f"{file}:one", f"{file}:three")
    assert own.every("ada") == ("ada",) and own.every(f"{file}:one") == (f"{file}:one",)
    names, asked = axes.names((f"{file}:*", "avg"))
    assert asked == ("one", "three", "avg") and set(names.own) == {"one", "three"}
    file.write_text("SCALE = 3\n")
    with pytest.raises(UsageError, match="expected a file that defines functions, got"):
        axes.names((f"{file}:*",))
    with pytest.raises(UsageError, match="expected a Python file before the colon"):
        axes.names((f"{tmp_path}/none.py:*",))


def test_the_similarities_of_the_paper_are_what_their_names_say() -> None:
    x = torch.rand(1, 3, 6, 6)
    file = str(Path(own.__file__).parent / "similarities.py")
    places = own.every(f"{file}:*")
    said = set()
    for place in places:
        operator = own.load(place)
        method, measure, *rest = operator.name.split("_")
        option: Any = {"measure": measure, "similarity": "vector" if rest else "channel"}
        expected = functional.pool(x, method, 2, **option)
        torch.testing.assert_close(operator.over((2, 2), (2, 2), (0, 0))(x), expected)
        said.add((method, option["measure"], option["similarity"]))
    every = {(m, k, s) for m in ("edscw", "idw") for k in registry.get(m).measures for s in ("channel", "vector")}
    known = {("edscw", "dice", "channel"), *(("idw", k, "channel") for k in ("l2", "l1", "chebyshev"))}  # edscw and idw
    assert len(places) == len(said) and said == every - known


def test_a_method_with_a_kernel_is_planned_and_run_as_the_library_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    (tmp_path / "halved.h").write_text("never compiled here")
    file = tmp_path / "mine.py"
    file.write_text(
        "from adapool import method\n"
        "@method('mean / 2', 'a paper', kernel='halved.h')\n"
        "def halved(region):\n"
        "    return region.mean(region.values).squeeze(-1) / 2\n"
        "def plain(region):\n"
        "    return region.mean(region.values).squeeze(-1)\n"
    )
    asked = (f"{file}:halved", f"{file}:plain")
    known = axes.names(asked)[0]
    assert "halved" not in registry.names()  # a plan runs nobody's code
    assert {name: plan.variants(name, known) for name in ("halved", "plain")} == {
        "halved": ("native", "plain", "compiled"), "plain": ("own",),
    }  # fmt: skip
    wanted = Axes(methods=asked, kernels=("2",), shapes=("1x3x8x8",), implementations=("plain",), probes=("memory",))
    (case,) = (case for case in session.whole(wanted, [("cpu", "cpu")])["cpu"] if case.direction == "forward")
    assert "--method mine.py:halved --implementation plain" in case.command("cpu", 0)
    subject = build(case, CPU, 0)
    assert torch.equal(subject.call(*subject.inputs), torch.nn.functional.avg_pool2d(subject.inputs[0], 2) / 2)
    found = memory.measure(case, CPU, 0)
    assert {(finding.status, finding.reason) for finding in found} == {("ok", None)}
