"""A run on a real Ray cluster of two nodes on this machine: they share its CPU in turn, one is killed in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reports
from reports import store
from suites import fleet, records
from suites.axes import Axes
from suites.session import cases
from suites.shard import groups
from tests.support.engine_runs import OPERATORS, ROOT, keys, wait_for_records

pytest.importorskip("ray", reason="bench --ray needs Ray, an extra")
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
AXES: dict[str, Any] = {
    "profile": "smoke", "kernels": tuple("23456789"), "shapes": ("1x2x12x12",), "directions": ("forward",),
    "implementations": ("own", "torch"), "probes": ("latency",), "clocks": ("hot",),
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": fleet.STORE_BYTES, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={**head, "_system_config": QUICK})
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=fleet.STORE_BYTES)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "operators.py"
    path.write_text(OPERATORS)
    return path


def command(operators: Path, *words: str) -> list[str]:
    axes = ["--cpu", "--method", f"{operators}:slow,avg"]
    for name, values in AXES.items():
        axes += [f"--{name if name == 'profile' else name[:-1]}", values if name == "profile" else ",".join(values)]
    return [sys.executable, str(ROOT / "runner.py"), "bench", *axes, *words]


def planned(operators: Path) -> list[str]:
    methods = (f"{operators}:slow", "avg")
    return [case.key for case in cases(Axes(methods=methods, **AXES), [("cpu", "cpu")])["cpu"]]


def shown(folder: Path) -> Any:
    frame = reports.frame.table(folder)
    return frame[~frame["superseded"]]


def test_a_node_is_killed_and_nothing_is_lost_or_shown_twice(cluster: Any, operators: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = command(operators, "--ray", cluster.address, "--out", str(folder))
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    wait_for_records(folder, 2)
    first = next(store.read(folder)).measurement["node"]
    victim = sorted(cluster.worker_nodes, key=lambda node: node.node_id)[first - 1]
    cluster.remove_node(victim, allow_graceful=False)
    said = run.communicate(timeout=90)[1]
    cluster.add_node(num_cpus=1, object_store_memory=fleet.STORE_BYTES)
    assert run.returncode == 0, said
    assert "was lost" in said and "another measures its last" in said
    table = shown(folder)
    assert len(keys(folder)) > len(table), "it was killed before it had measured anything"
    assert Counter(zip(table["case"], table["clock"], strict=True)).most_common(1)[0][1] == 1
    found = list(store.read(folder))
    assert {records.unit_of(record) for record in found} == set(planned(operators))
    assert {record.status for record in found} == {"ok"}
    moved = [record for record in found if "moved" in record.measurement]
    assert moved and all("was lost" in record.measurement["moved"] for record in moved)
    assert len({record.measurement["node"] for record in moved}) == 1
    whole = table.groupby("kernel")["_node"].nunique()  # what is compared is of one node
    assert len(whole) == len(AXES["kernels"]) and set(whole) == {1}
    assert len(table) == len(planned(operators))


def test_two_nodes_take_turns_at_one_cpu_and_a_stopped_run_goes_on(
    cluster: Any, operators: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = command(operators, "--ray", cluster.address, "--out", str(folder))
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    wait_for_records(folder, 2)
    run.terminate()
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 143 and "is being measured; waiting" in said, said
    assert (folder / "report.html").is_file()
    before = len(keys(folder))
    words = [sys.executable, str(ROOT / "runner.py"), "bench", "--resume", str(folder)]
    again = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    table = shown(folder)
    assert sorted({records.unit_of(r) for r in store.read(folder)}) == sorted(planned(operators))
    assert len(table) == len(planned(operators)) and len(keys(folder)) <= before + len(table)
    assert set(table["_node"]) <= {"1", "2"} and table["place"].nunique() == 1
    assert set(table.groupby("kernel")["_node"].nunique()) == {1}


def test_a_local_cluster_gives_the_records_of_a_plain_run(operators: Path, tmp_path: Path) -> None:
    words = command(operators, "--out")
    for name, more in (("plain", []), ("ray", ["--ray", "local"])):
        done = subprocess.run(
            [*words, str(tmp_path / name), *more], capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    plain, ray = (list(store.read(tmp_path / name)) for name in ("plain", "ray"))
    assert sorted(r.key for r in plain) == sorted(r.key for r in ray)
    told = [{(r.device, r.machine, r.status, r.command, *sorted(set(r.measurement) - {"node"})) for r in part}
            for part in (plain, ray)]  # fmt: skip
    assert told[0] == told[1]
    held = [json.loads((tmp_path / name / "machine.json").read_bytes()) for name in ("plain", "ray")]
    assert held[0]["devices"].keys() == held[1]["devices"].keys()
    assert os.uname().nodename not in json.dumps(held[1]) or len(os.uname().nodename) < 5


def test_a_group_that_was_begun_is_measured_whole_elsewhere() -> None:
    axes = Axes(methods=("avg", "max"), **{**AXES, "implementations": ("torch",)})
    plan = [case for group in groups(cases(axes, [("cpu", "cpu")])["cpu"]) for case in group]
    sizes = [len(group) for group in groups(plan)]
    assert len(sizes) == len(AXES["kernels"]) and min(sizes) > 1
    for done in range(len(plan) + 1):
        start = fleet._start(plan, done)
        assert start <= done and start in [sum(sizes[:n]) for n in range(len(sizes) + 1)]
        assert done - start < max(sizes)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--ray", "127.0.0.1:1"), "ray: expected local or the address of a cluster, got '127.0.0.1:1'"),
        (("--ray", "local", "--profile-with", "torch"), "profile-with: expected none beside --ray"),
    ],
)
def test_wrong_use_is_one_sentence(operators: Path, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = subprocess.run(
        command(operators, *words, "--out", str(tmp_path / "run")), capture_output=True, text=True, check=False,
        env={**os.environ, "RAY_raylet_start_wait_time_s": "1"}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_without_ray_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(fleet.UsageError, match=r"ray: Ray is not installed; .*adapool\[ray\]"):
        fleet.connect("local")
