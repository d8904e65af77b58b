"""The report as a whole: complete, self-contained, escaped, and written for runs in which much or all went wrong."""

from __future__ import annotations

import itertools
import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import reports
from reports import columns, extras, store
from tests.support.pages import Page, page_of, picture, small
from tests.support.reports_made import EVIL, GPU, make, records, timed, write

FEW = ("max", "avg", "ada", "stochastic", "idw")


def records_of(text: str) -> dict[str, list[Any]]:
    """The records that the page holds for its script, columns unfolded."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    columns = json.loads(found[1])["columns"]
    return {n: [v["of"][at] for at in v["at"]] if isinstance(v, dict) else v for n, v in columns.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page]:
    run = write(tmp_path_factory.mktemp("results") / "run", methods=FEW)
    for what in ("original", "pooled", "restored", "error"):
        picture(run, f"cat__ada__k2__{what}.png")
    picture(run, "stray.png")
    (run / "gallery" / "cat__ada__k3__pooled.png").write_bytes(b"no picture")
    return run, *page_of(run)


def test_the_page_is_whole_and_needs_no_network(written: tuple[Path, str, Page]) -> None:
    _, text, page = written
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert {"link", "iframe"}.isdisjoint(page.tags)


def test_the_page_shows_everything_that_it_promises(written: tuple[Path, str, Page]) -> None:
    _, text, page = written
    for words in (
        "Forward: latency by window", "Backward: times faster than avg_pool", "How near to the speed of a copy",
        "Memory", "Energy", "Retained information against cost", "P3, restored by the method", "Gallery",
        "Holes and failures", "All records", "Environment and method", "Data dictionary", "prefers-color-scheme: dark",
        "@media print", "NVML is not there", "largest error 3.1e-02", "throttled", "python runner.py bench",
        "AdaPool: times faster than avg_pool", "stray.png", "cat__ada__k3__pooled.png", "95 % interval",
        "Doubtful numbers",
    ):  # fmt: skip
        assert words in text, words
    assert page.labels
    assert all(len(label) > 30 for label in page.labels)
    assert text.count("data:image/webp") == 4
    assert all(column.meaning in text.replace("&#34;", '"').replace("&#39;", "'") for column in columns.COLUMNS)


def test_what_others_wrote_is_text_and_never_markup(written: tuple[Path, str, Page]) -> None:
    _, text, page = written
    assert page.tags.count("script") == 2
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; $x_{1$" in text


def test_hostile_names_reach_charts_and_tables_as_text(tmp_path: Path) -> None:
    evil = EVIL + "'\"><img src=x onerror=alert(1)>"
    at: dict[str, Any] = {"method": evil, "implementation": "own", "warnings": [evil], "bytes": 5}
    run = small(
        tmp_path / "run",
        *(make(samples=[1.0 + n] * 9, kernel=[k, k], **at) for n, k in enumerate((2, 3))),
        make(samples=[1.0] * 9, method="avg", implementation="torch"),
        make(probe="retention", value=30.0, method=evil, image="<b>"),
        make(probe="retention", value=30.0, method="avg"),
    )
    store.write_machine(run, {"run": {"<i>": "<u>"}, "devices": {"cpu-1": {"name": "</style><script>"}}})
    text, page = page_of(run)
    assert "<img src=x" not in text
    assert page.tags.count("script") == 2
    assert {"i", "u"}.isdisjoint(page.tags)
    for plot in (run / "plots").glob("*.svg"):
        ET.parse(plot)


def test_csv_files_and_plots(written: tuple[Path, str, Page]) -> None:
    run, _, page = written
    tidy = pd.read_csv(run / "records.csv")
    assert tuple(tidy.columns) == columns.NAMES
    assert len(tidy) == sum(1 for _ in store.read(run))
    assert (run / "columns.txt").read_text() == columns.as_text()
    wide = pd.read_csv(run / "comparison.csv", low_memory=False)
    assert {"native", "native_lo", "plain_status", "avg"} <= set(wide.columns)
    assert len(wide.columns) < 40
    assert wide.notna().to_numpy().mean() > 0.5
    plots = sorted((run / "plots").glob("*.svg"))
    assert len(plots) == len(page.labels)
    for plot in plots:
        root = ET.parse(plot).getroot()
        assert root.find("{http://www.w3.org/2000/svg}desc") is not None
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_writing_again_gives_the_same_page_and_no_stale_plot(tmp_path: Path) -> None:
    run = small(tmp_path, *(make(samples=[1.0] * 9, kernel=[k, k]) for k in (2, 3)))
    first, _ = page_of(run)
    (run / "plots" / "stale.svg").touch()
    assert page_of(run)[0] == first
    assert not (run / "plots" / "stale.svg").exists()


def test_a_fault_while_building_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small(tmp_path, make(samples=[1.0] * 9))
    before, _ = page_of(run)
    with monkeypatch.context() as patch:
        patch.setattr("reports.implementations.side_by_side", lambda frame: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reports.write(run)
    assert (run / "report.html").read_text(encoding="utf-8") == before
    assert (run / "plots").is_dir()


def test_zero_records_and_one(tmp_path: Path) -> None:
    text, _ = page_of(small(tmp_path / "none"))
    assert "nothing was measured" in text
    assert (tmp_path / "none" / "records.csv").read_text().startswith("run,case")
    for number, one in enumerate(
        [
            make(samples=[1e-3]),
            make(probe="memory", value=0),
            make(probe="memory", metric="saved_bytes", value=12),
            make(probe="energy", value=0.5, samples=[0.5, 0.4, 0.6]),
            make(probe="retention", value=30.0),
            make(status="timeout", reason="60 s"),
            make(method="copy", implementation="copy", kernel=[], stride=[], padding=[], samples=[1.0] * 8, bytes=8),
        ]
    ):
        text, _ = page_of(small(tmp_path / str(number), one))
        assert "Example CPU" in text


def test_all_cases_failed(tmp_path: Path) -> None:
    run = small(
        tmp_path,
        *(make(probe=p, method=m, status="failed", reason="broken") for p in ("latency", "memory") for m in FEW),
        make(probe="retention", status="failed", reason="broken"),
    )
    text, page = page_of(run)
    assert "0 of 11" in text
    assert "Nothing to draw" in text
    assert page.labels == []


def test_a_missing_machine_and_a_torn_line_are_said_on_the_page(tmp_path: Path) -> None:
    run = small(tmp_path / "run", make(samples=[1.0] * 9), machine=False)
    with (run / store.RECORDS).open("a") as file:
        file.write('{"schema":1')
    with pytest.warns(UserWarning, match="machine.json is missing"), pytest.warns(UserWarning, match="cut off"):
        text, _ = page_of(run)
    assert "machine.json is missing" in text
    assert "the last line is cut off" in text
    assert str(tmp_path) not in text


def test_the_name_of_a_photograph_may_hold_what_parts_a_pictures(tmp_path: Path) -> None:
    for name in ("original__k2__original", "ada__k2__pooled", "max_unpool__k2__error"):
        picture(tmp_path, f"my__photo__{name}.png")
    made = extras.gallery([tmp_path])
    assert list(made["scenes"]) == [("my__photo", "2")] and not made["left_out"]
    assert list(made["scenes"]["my__photo", "2"]["methods"]) == ["ada", "max_unpool"]


def test_several_runs_and_devices_side_by_side(tmp_path: Path) -> None:
    methods = ("avg", "ada")
    a = write(tmp_path / "a", methods=methods, devices=("cpu-1", GPU))
    b = write(tmp_path / "b", methods=methods, seed=1, slower=1.5)
    with pytest.raises(ValueError, match="out: expected a folder for"):
        reports.write([a, b])
    for own in (a, b):
        with pytest.raises(ValueError, match="has records of its own"):
            reports.write([a, b], own)
        assert not (own / "report.html").exists()
    text, page = page_of([a, b], tmp_path / "out")
    assert "2 methods, 2 devices, " in text  # two runs on one of them
    for title in ("Example CPU, 2 cores · a", "Example GPU 80GB · a", "Example CPU, 2 cores · b", "Side by side"):
        assert title in text
    assert "REGRESSED" in text
    assert "device-3" in page.ids
    regions = re.findall(r'role="region" aria-label="([^"]*)"', text)
    assert len(regions) > 20 and len(set(regions)) == len(regions)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out"]
    assert not (a / "report.html").exists()


def test_a_table_too_long_for_a_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.pack.MOST", 3)
    run = small(tmp_path, *(make(probe="memory", value=v, case=f"case {v}") for v in range(5)))
    text, _ = page_of(run)
    assert "The first 3 of 5 records" in text
    assert len(pd.read_csv(run / "records.csv")) == 5


def test_pictures_beyond_the_budget_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small(tmp_path, make(probe="retention", value=30.0))
    for k in (2, 3):
        picture(run, f"cat__ada__k{k}__pooled.png", side=60 + k)
    monkeypatch.setattr("reports.extras._webp", lambda path: b"12345678")
    text = reports.write(run, pictures=10).read_text(encoding="utf-8")
    assert text.count("data:image/webp") == 1
    assert "cat__ada__k3__pooled.png" in text


def test_the_page_of_a_default_run_and_its_gallery_is_small(tmp_path: Path) -> None:
    """Two and a half thousand records, sixteen methods, 300 pictures: a phone opens it."""
    run = write(tmp_path / "run")
    methods = dict.fromkeys(record.method for record in store.read(run))
    for place, (method, k, what) in enumerate(itertools.product(methods, "2357", ("original", "pooled", "restored"))):
        picture(run, f"cat__{method}__k{k}__{what}.png", side=50 + place % 12)
    text, _ = page_of(run)
    assert sum(1 for _ in store.read(run)) > 2400
    assert len(text.encode()) < 3_500_000
    assert len(re.sub('"data:[^"]*"', "", text).encode()) < 1_300_000


def test_the_page_holds_every_record_once_and_its_numbers_are_those_of_the_csv(written: tuple[Path, str, Page]) -> None:
    run, text, _ = written
    held, tidy = records_of(text), pd.read_csv(run / "records.csv", low_memory=False)
    assert {len(column) for column in held.values()} == {len(tidy)}
    for name, column in {
        "value": "median",
        "lo": "lo",
        "times_better_than_avg": "times_better_than_avg",
    }.items():
        ours = [math.nan if v is None else v for v in held[name]]
        np.testing.assert_allclose(ours, tidy[column], rtol=1e-6)
    assert held["command"] == tidy["command"].tolist()
    assert {i for i, doubt in enumerate(held["doubt"]) if doubt} == set(tidy.index[tidy["warnings"].eq("throttled")])
    for place in map(int, re.findall(r'data-r="(\d+)"', text)):
        assert held["status"][place] == "ok" or f'data-r="{place}">{held["status"][place]}' in text


def test_made_runs_are_true_records() -> None:
    made = list(records(methods=("max", "ada")))
    assert len({record.key for record in made}) == len(made)
    assert timed.__doc__


def test_a_network_is_told_in_whole_parameters_and_the_part_of_its_pools(tmp_path: Path) -> None:
    of: dict[str, Any] = {"probe": "network", "direction": "both", "kernel": [], "shape": [4, 3, 24, 24]}
    of |= {"method": "original", "implementation": "torch", "case": "original/torch/both/float32/nchw/small/4x3x24x24"}
    run = small(
        tmp_path,
        make(**of, metric="parameters", value=11_689_512.0),
        make(**of, metric="pools", clock="hot", samples=[0.02] * 9),
        make(**of, metric="step", clock="hot", samples=[0.1] * 9),
        make(**of, metric="energy", status="skipped", reason="no meter"),
    )
    text, _ = page_of(run)
    assert records_of(text)["text"] == ["11,689,512", "20.00 ms", "100.0 ms", None]
    (table,) = re.findall(r"<h4>small, .*?</table>", text, re.DOTALL)
    heads = re.findall(r'<th class="number" scope="col">(.*?)</th>', table)
    assert heads == ["training step, hot", "pools in a step, hot", "parameters", "energy of a step"]
    assert "11,689,512" in table and "20 %" in table and "skipped" in table and "11689512.0000" not in text


def test_a_method_far_below_the_others_is_told_and_does_not_squeeze_them(tmp_path: Path) -> None:
    scores = {"avg": 30.0, "ada": 31.0, "sum": -3.6}
    run = small(
        tmp_path,
        *(make(method=m, samples=[1.0 + len(m)] * 9) for m in scores),
        *(make(method=m, probe="retention", value=y) for m, y in scores.items()),
    )
    text, _ = page_of(run)
    assert "window 2: sum -3.6 dB, more than 15 dB below the best" in text
    plot = (run / "plots" / "device-1-pareto-2.svg").read_text(encoding="utf-8")
    assert "ada" in plot
    assert ">sum<" not in plot
    assert re.search(r'--t:1\.00" data-sort="31\.0', text)
    assert re.search(r'--t:0\.50" data-sort="30\.0', text)


def test_where_the_time_went_is_told(tmp_path: Path) -> None:
    store.append(tmp_path, [make(samples=[1.0] * 9)])
    spent = {"cpu-1": {"verifying": 1.0, "sampling": 3.0}, "gone": {"start": 2.0}, "idle": {}}
    store.write_machine(tmp_path, {"run": {"spent": spent}, "devices": {"cpu-1": {"name": "Example <CPU>"}}})
    text = reports.write(tmp_path).read_text(encoding="utf-8")
    assert "Where the time went, Example &lt;CPU&gt;: 4.0 s" in text and "Where the time went, gone: 2.0 s" in text
    rows = re.findall(r"<tr><td>(\w+)</td><td>([\d.]+)</td><td>(\d+%)</td></tr>", text)
    assert rows == [("sampling", "3.0", "75%"), ("verifying", "1.0", "25%"), ("start", "2.0", "100%")]
    assert "idle" not in text.partition('id="method"')[2].partition("How it was measured")[0]
