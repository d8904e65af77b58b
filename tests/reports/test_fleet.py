"""Shares of one plan in one report: what is one column, what stays apart, what is missing, what was measured twice."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import reports
from reports import fleet, store
from reports.record import Record
from reports.rules import Rules
from tests.support.command_line import runner
from tests.support.reports_made import make, timed

MODEL = {"name": "Example GPU", "kind": "cuda", "driver": "580.1", "software": {"torch": "2.13.0", "cuda": "13.0"}}
AXES = {"profile": "default", "seed": 0}
COMMIT = {"commit": "0123abc", "dirty": False}
WIDE = Rules({"time": {"*": 0.1}})


def cases(kernel: int, slow: float = 1.0, **more: Any) -> list[Record]:
    """One window's cases, every one of them `slow` times slower than usual."""
    dice, at = random.Random(kernel), {"kernel": [kernel] * 2, "stride": [kernel] * 2, "bytes": 8000, **more}
    subjects = (("copy", "copy", 1.0), ("avg", "torch", 2.0), ("ada", "native", 3.0), ("ada", "plain", 9.0))
    return [timed(dice, t * slow * 1e-3, method=m, implementation=i, **at) for m, i, t in subjects]


def share(folder: Path, index: int, made: list[Record], uuid: str, count: int = 2, **more: Any) -> Path:
    """A run that is a share of the plan, on the GPU of this UUID."""
    facts, axes = {**MODEL, **more.pop("facts", {})}, {**AXES, **more.pop("axes", {}), "shard": f"{index}/{count}"}
    store.append(folder, [Record(**{**vars(r), "machine": uuid, "device": uuid, **more}) for r in made])
    about = {"axes": axes, "shard": {"index": index, "count": count, "plan": {"cuda": "abc"}}}
    store.write_machine(folder, {"run": about, "devices": {uuid: {**facts, "uuid": uuid}}})
    return folder


def page(*runs: Path) -> str:
    return reports.write(list(runs), runs[0].parent / "together").read_text(encoding="utf-8")


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [
        share(tmp_path / "one", 1, cases(2), "GPU-1"),
        share(tmp_path / "two", 2, cases(3, slow=5), "GPU-2"),
    ]


def test_shards_on_equal_machines_are_one_column_and_ratios_stay_on_their_machine(shards: list[Path]) -> None:
    frame = reports.load(shards)
    assert frame["place"].nunique() == 1 and not frame["superseded"].any()
    ada = frame[frame["method"].eq("ada") & frame["implementation"].eq("native")].set_index("kernel")
    # The second machine is five times slower in all it does: its ratio is to its own average and copy.
    assert ada["times_better_than_avg"].between(1 / 1.7, 1 / 1.3).all()
    assert ada["percent_of_copy"].between(25, 42).all()
    text = page(*shards)
    assert text.count("<h2>Example GPU") == 1 and 'href="#together"' not in text
    assert "is missing" not in text and "8 of 8" in text


def test_missing_shards_are_said(tmp_path: Path) -> None:
    some = [share(tmp_path / f"s{i}", i, cases(i + 1), "GPU-1", count=4) for i in (1, 3)]
    text = page(*some)
    assert "Shard 2/4 is missing" in text and "Shard 4/4 is missing" in text
    assert "Shard 1/4" not in text and "Shard 3/4" not in text
    assert "Shard 2/4 is missing" in reports.write(some[0]).read_text()  # and of one shard alone


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"commit": "fedcba9"}, "different commits: 0123abc (one); fedcba9 (two)"),
        ({"dirty": True}, "different commits: 0123abc (one); 0123abc with changes (two)"),
        ({"facts": {"driver": "590.2"}}, None),
        ({"facts": {"name": "Other GPU"}}, None),
        ({"facts": {"software": {"torch": "2.14.0", "cuda": "13.0"}}}, None),
        ({"axes": {"seed": 1}}, "different plans"),
    ],
)
def test_what_is_not_alike_stays_apart(tmp_path: Path, more: dict[str, Any], says: str | None) -> None:
    runs = [share(tmp_path / "one", 1, cases(2), "GPU-1"), share(tmp_path / "two", 2, cases(3), "GPU-2", **more)]
    assert reports.load(runs)["place"].nunique() == 2
    text = page(*runs)
    assert 'id="device-2"' in text and 'id="device-3"' not in text
    assert says is None or says in text


def test_memory_and_node_do_not_tell_machines_apart() -> None:
    told = [fleet.fingerprint({**MODEL, "memory_bytes": n, "load_before": n, "uuid": str(n)}) for n in (1, 2)]
    assert told[0] == told[1]


def test_a_case_measured_twice_is_kept_twice_and_shown_once(shards: list[Path], tmp_path: Path) -> None:
    later = {"time": "2025-02-02T03:04:05+00:00"}
    again = share(tmp_path / "again", 2, cases(3, slow=2), "GPU-3", **later)
    frame = reports.load([again, *shards])
    assert len(frame) == 12 and set(frame.loc[frame["superseded"], "run"]) == {"two"}
    text = page(again, *shards)
    assert "4 records are of a case that was measured again" in text and "shown is again, not two" in text
    assert "8 of 8" in text
    held = (tmp_path / "together" / "records.csv").read_text()
    assert held.count("GPU-2") >= 4 and held.count("GPU-3") >= 4


def test_half_a_repetition_does_not_displace_half_of_a_whole(shards: list[Path], tmp_path: Path) -> None:
    """Otherwise the native time would be of one machine, and the plain time that it is compared with of another."""
    later = {"time": "2025-02-02T03:04:05+00:00"}
    half = share(tmp_path / "half", 2, cases(3, slow=2)[:3], "GPU-3", **later)
    frame = reports.load([*shards, half])
    assert set(frame.loc[frame["superseded"], "run"]) == {"half"}


def test_whole_runs_of_one_machine_stay_beside_each_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.append(tmp_path / name, [*cases(2), cases(2)[0]])
        store.write_machine(tmp_path / name, {"run": {"axes": AXES}, "devices": {"cpu-1": {"name": "CPU"}}})
    frame = reports.load([tmp_path / "a", tmp_path / "b"])
    assert sorted(set(frame["place"])) == ["a cpu-1", "b cpu-1"]
    assert frame["superseded"].sum() == 2  # the copy that each of them measured twice


def test_lost_half_of_a_fleet_is_superseded(tmp_path: Path) -> None:
    """Two nodes of one run on machines that are alike; the first was lost after two of four cases."""
    made = [make(**{**vars(r), "measurement": {"node": 1}}) for r in cases(2)[:2]]
    made += [make(**{**vars(r), "measurement": {"node": 2}}) for r in cases(2, slow=3)]
    store.append(tmp_path / "run", made)
    about = {"axes": AXES, "ray": True, "time": "now"}
    store.write_machine(tmp_path / "run", {"run": about, "devices": {"cpu-1": {"name": "CPU", "kind": "cpu"}}})
    frame = reports.load(tmp_path / "run")
    assert frame["superseded"].tolist() == [True, True, False, False, False, False]
    ada = frame[frame["method"].eq("ada") & frame["implementation"].eq("native")].iloc[0]
    assert 1 / 1.7 < ada["times_better_than_avg"] < 1 / 1.3 and 25 < ada["percent_of_copy"] < 42


def test_shards_are_compared_with_shards(shards: list[Path], tmp_path: Path) -> None:
    swapped = [
        share(tmp_path / "three", 1, cases(2), "GPU-2", commit="fedcba9"),
        share(tmp_path / "four", 2, cases(3, slow=5), "GPU-1", commit="fedcba9"),
    ]
    same = [
        share(tmp_path / "five", 1, cases(2), "GPU-1", commit="fedcba9"),
        share(tmp_path / "six", 2, cases(3, slow=6), "GPU-2", commit="fedcba9"),
    ]
    found = reports.compare(shards, same, known=WIDE)
    assert found.table["verdict"].value_counts().to_dict() == {"EQUIVALENT": 4, "REGRESSED": 4}
    with pytest.raises(ValueError, match="8 of 8 measurements are of different machines in A and B"):
        reports.compare(shards, swapped, known=WIDE)
    found = reports.compare(shards, swapped, across=True, known=WIDE)
    assert set(found.table["verdict"]) == {"EQUIVALENT"} and "different machines that are alike" in found.text
    part = reports.compare(shards, same[0], known=WIDE)
    assert part.table["verdict"].value_counts().to_dict() == {"EQUIVALENT": 4, "MISSING": 4}
    assert "B: Shard 2/2 is missing" in part.text


def test_the_commands_take_shards(shards: list[Path], tmp_path: Path) -> None:
    third = share(tmp_path / ("x" * 120), 2, cases(3), "GPU-2")
    done = runner("report", *map(str, [*shards, third]))
    assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "one-and-2-more" / "report.html"), done.stderr
    done = runner("compare", ",".join(map(str, shards)), ",".join(map(str, shards)))
    assert done.exit_code == 0 and "INCONCLUSIVE 8" in done.stdout, done.stderr


def test_the_report_lies_where_its_help_says(shards: list[Path], tmp_path: Path) -> None:
    told = " ".join(runner("report", "--help").output.split())
    assert "--out DIR Folder of the report; default: the run's own, of several runs a new one beside the first." in told
    one, two = (Path(shutil.copytree(shard, tmp_path / name)) for shard, name in zip(shards, "ab", strict=True))
    assert runner("report", str(one)).output.split()[-1] == str(one / "report.html")
    assert runner("report", str(one), str(two)).output.split()[-1] == str(tmp_path / "a-with-b" / "report.html")
