"""Statistics against exact enumeration and SciPy, derived columns by hand, and the speed of a large run."""

from __future__ import annotations

import math
import resource
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import reports
from reports import columns, digits, interval, store
from tests.support.reports_made import make

binom = pytest.importorskip("scipy.stats").binom


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    store.write_machine(folder, {"run": {}, "devices": {"cpu-1": {"name": "Example CPU"}}})
    return folder


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975])
def test_the_rank_is_the_largest_that_scipy_allows(confidence: float) -> None:
    for n in range(300):
        r = interval.rank(n, confidence)
        assert r == 0 or 1 - 2 * binom.cdf(r - 1, n, 0.5) >= confidence - 1e-12
        assert 1 - 2 * binom.cdf(r, n, 0.5) < confidence + 1e-12


def test_coverage_by_enumeration_of_every_side_pattern() -> None:
    for n in (6, 9, 12):
        r = interval.rank(n)
        covered = sum(r <= sum(sides) <= n - r for sides in product((0, 1), repeat=n))
        assert covered / 2**n >= 0.95
        covered = sum(r + 1 <= sum(sides) <= n - r - 1 for sides in product((0, 1), repeat=n))
        assert covered / 2**n < 0.95


def test_intervals_of_few_samples_do_not_exist() -> None:
    assert all(math.isnan(end) for end in interval.interval([1.0, 2, 3, 4, 5]))
    assert interval.interval([1.0, 2, 3, 4, 5, 6]) == (1, 6)


def test_only_kept_samples_count_and_the_columns_are_the_dictionary(run: Path) -> None:
    samples = [5e-3, 1e-3, 2e-3, 3e-3, 4e-3, 6e-3, 7e-3, 99.0]
    store.append(run, make(samples=samples, kept=[True] * 7 + [False], stop="precise", warnings=["a", "b"]))
    frame = reports.load(run)
    assert tuple(frame.columns) == columns.NAMES
    row = frame.iloc[0]
    assert (row["median"], row["lo"], row["hi"], row["n"], row["discarded"]) == (4e-3, 1e-3, 7e-3, 7, 1)
    assert (row["kernel"], row["shape"], row["warnings"]) == ("2x2", "4x64x112x112", "a; b")
    assert (row["run"], row["device_name"]) == ("run", "Example CPU")


def test_derived_columns_by_hand(run: Path) -> None:
    def of(value: float, **more: Any) -> Any:
        return make(samples=[value * (1 + step / 100) for step in range(-4, 5)], **more)

    big = {"shape": [8, 64, 112, 112]}
    store.append(
        run,
        [
            of(1.0, method="copy", implementation="copy", kernel=[1, 1], bytes=100 * 10**9),
            of(2.0, method="avg", implementation="torch", bytes=50 * 10**9),
            of(4.0, bytes=50 * 10**9),
            of(4.0, bytes=100 * 10**9, **big),
            of(4.0, direction="backward", bytes=50 * 10**9),
            make(probe="memory", method="avg", implementation="torch", value=10),
            make(probe="memory", value=35),
            make(probe="energy", status="skipped", reason="no NVML"),
        ],
    )
    frame = reports.load(run)
    assert frame["gbps"].iloc[:4].tolist() == [100, 25, 12.5, 25]
    assert frame["percent_of_copy"].iloc[:4].tolist() == [100, 25, 12.5, 25]  # the big one by its bytes
    assert frame["times_better_than_avg"].iloc[1:3].tolist() == [1, 0.5]
    assert frame["times_better_than_avg"].iloc[6] == 10 / 35
    assert frame["times_better_than_avg"].iloc[[3, 4, 7]].isna().all()  # another input, another direction, a hole
    assert math.isnan(frame["times_better_lo"].iloc[1])
    ends = interval.interval([4.0 * (1 + step / 100) for step in range(-4, 5)], 0.975)
    below = interval.interval([2.0 * (1 + step / 100) for step in range(-4, 5)], 0.975)
    found = frame["times_better_lo"].iloc[2], frame["times_better_hi"].iloc[2]
    assert found == (below[0] / ends[1], below[1] / ends[0])


def test_a_ratio_never_crosses_runs_or_machines(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.write_machine(tmp_path / name / "run", {"run": {}, "devices": {}})
    store.append(tmp_path / "a" / "run", make(method="avg", implementation="torch", value=1.0))
    store.append(tmp_path / "b" / "run", [make(value=2.0), make(value=2.0, machine="cpu-2")])
    frame = reports.load([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert frame["run"].tolist() == ["run", "run (2)", "run (2)"]
    assert frame["times_better_than_avg"].isna().tolist() == [False, True, True]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no run folder"):
        reports.load(tmp_path)
    with pytest.raises(ValueError, match="got none"):
        reports.load([])
    (tmp_path / store.RECORDS).touch()
    with pytest.raises(ValueError, match="got one twice"):
        reports.load([tmp_path, tmp_path / "."])
    with pytest.warns(UserWarning, match=r"machine\.json is missing"):
        assert reports.load(tmp_path).empty


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (digits.trimmed(1.23456, 1.2, 1.27), "1.23"),
        (digits.trimmed(1.23456, 1.2345, 1.2346), "1.235"),
        (digits.trimmed(1.23456, 0.2, 2.2), "1"),
        (digits.trimmed(1.23456, 1.23456, 1.23456), "1.235"),
        (digits.trimmed(1.23456), "1.2"),
        (digits.trimmed(98765.0, 90000, 99000), "99000"),
        (digits.trimmed(0.0), "0"),
        (digits.trimmed(math.nan), digits.NONE),
        (digits.quantity(999.9e-6, "s", 998e-6, 1001e-6, 30), "1.000 ms"),
        (digits.quantity(5e-11, "s", 4e-11, 6e-11, 30), "0.05 ns"),
        (digits.quantity(0, "B"), "0 B"),
        (digits.quantity(31.23456, "dB"), "31.23 dB"),
        (digits.quantity(0.912345, "1"), "0.9123"),
        (digits.times(1.0, exact=True), "1×"),
        (digits.times(1.9483, 1.9, 2.0), "1.95×"),
    ],
)
def test_no_more_digits_than_the_interval_supports(shown: str, expected: str) -> None:
    assert shown == expected


def test_large_runs_load_at_the_promised_rate(run: Path) -> None:
    """10,000 records here; 100,000 in under 10 s and 1 GB is the promise, so a tenth of it."""
    samples = [1e-3 + 1e-6 * (step * 7 % 30) for step in range(30)]
    line = make(samples=samples, bytes=10**6).to_json()
    (run / store.RECORDS).write_text("".join(line.replace("/k2s2p0/", f"/{n}/") + "\n" for n in range(10_000)))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    frame = reports.load(run)
    assert time.process_time() - start < 4  # with room for a slow and shared machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert len(frame) == 10_000
    assert frame["lo"].lt(frame["median"]).all()


def test_the_dictionary_is_complete() -> None:
    assert len(set(columns.NAMES)) == len(columns.NAMES)
    assert all(column.meaning and column.source in ("record", "computed") for column in columns.COLUMNS)
    assert all(name in columns.as_text() for name in columns.NAMES)
