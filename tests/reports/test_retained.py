"""Retained information: differences to avg with their interval, and what is too far to be drawn."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from scipy import stats

import reports
from reports import frame, ranking, retained, store, view
from reports.record import Record
from tests.support.reports_made import make

SCORES = {"avg": (20.0, 30.0, 40.0), "ada": (20.4, 30.5, 40.6), "idw": (21.0, 29.0, 40.2), "sum": (1.0, 2.0, 3.0)}


def scores(**changed: tuple[float, ...]) -> list[Record]:
    return [
        make(probe="retention", method=method, image=f"i{n}", value=value)
        for method, values in {**SCORES, **changed}.items()
        for n, value in enumerate(values)
    ]


def group(folder: Path, records: list[Record]) -> view.Group:
    store.append(folder, records)
    store.write_machine(folder, {"run": {}, "devices": {}})
    return view.groups(view.prepared(frame.table(folder)))[0]


@pytest.mark.parametrize("n", [3, 32])
def test_a_difference_has_the_interval_of_students_t(n: int) -> None:
    """However many pairs: 1.96 from 31 degrees of freedom on was too narrow by 4 %."""
    ours = [math.sin(i) for i in range(n)]
    found, expected = ranking.difference(ours, [0.0] * n), stats.ttest_1samp(ours, 0).confidence_interval(0.95)
    assert (found.lo, found.hi) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.hi - found.value == pytest.approx(stats.t.ppf(0.975, n - 1) * stats.sem(ours), rel=1e-12)


def test_the_last_decibel_is_a_mean_of_paired_differences_with_its_interval(tmp_path: Path) -> None:
    found = retained.differences(group(tmp_path, scores()))
    assert found is not None
    (chart,) = found["charts"]
    assert "ada: +0.50 dB against avg, 95 % interval +0.25 to +0.75 dB; 3 images" in chart.alt
    assert re.search(r"idw: \+0\.07 dB against avg, 95 % interval -\d", chart.alt)
    assert "sum" not in chart.alt and found["far"] == ["window 2: sum -28.0 dB"]
    tips = re.findall(r'data-tip="([^"]*)"', chart.inline)
    assert len(tips) == 2 and all("i2: " in tip for tip in tips)


def test_one_image_has_no_interval_and_is_hollow(tmp_path: Path) -> None:
    records = [record for record in scores() if record.image == "i0"]
    found = retained.differences(group(tmp_path, records))
    assert found is not None and "no interval; 1 image" in found["charts"][0].alt
    assert found["charts"][0].inline.count("hollow") == 2


@pytest.mark.parametrize("left", ["ada", "avg"])
def test_nothing_to_compare_draws_nothing(tmp_path: Path, left: str) -> None:
    assert retained.differences(group(tmp_path, [record for record in scores() if record.method == left])) is None


def test_images_that_avg_lacks_do_not_count(tmp_path: Path) -> None:
    found = retained.differences(group(tmp_path, scores(avg=(20.0, 30.0))))
    assert (
        found is not None and "+0.45 dB against avg" in found["charts"][0].alt and "2 images" in found["charts"][0].alt
    )


def test_the_page_shows_the_score_of_each_picture(tmp_path: Path) -> None:
    one = group(tmp_path, scores())
    said = retained.of_images(one.rows)
    assert said["i0", "2", "ada"] == "20.40 dB, +0.40 against avg" and said["i0", "2", "avg"] == "20.00 dB"
    page = reports.write(tmp_path).read_text()
    assert "The last decibel" in page and "More than 2.0 dB below avg" in page
