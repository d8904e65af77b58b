"""The README's table from runs: ratios by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pandas import DataFrame

from reports import frame, readme
from tests.support import reports_made

HEAD = "run,device_name,commit,method,direction,window,shape,median,lo,hi,n\n"


def rows(*words: str) -> DataFrame:
    return readme.read(HEAD + "".join(f"{line}\n" for line in words))


def test_a_number_is_how_many_times_faster_the_method_is_in_the_median_run() -> None:
    made = readme.table(
        rows(
            "a,CPU,c0ffee,ada,forward,2,4x8x9x9,0.5,,,30", "a,CPU,c0ffee,avg,forward,2,4x8x9x9,1.0,,,30",
            "b,CPU,c0ffee,ada,forward,2,4x8x9x9,0.25,,,30", "b,CPU,c0ffee,avg,forward,2,4x8x9x9,1.0,,,30",
            "c,CPU,c0ffee,ada,forward,2,4x8x9x9,1.0,,,30", "c,CPU,c0ffee,avg,forward,2,4x8x9x9,3.0,,,30",
        )
    )  # fmt: skip
    assert made.splitlines()[2:4] == ["| 4×8×9×9 | forward | 3.0× |", "|  | forward and backward |  |"]
    assert "CPU, commit c0ffee; medians of 3 runs" in made and "at worst 0.67 and 1.33" in made


def test_the_page_keeps_what_is_around_the_table() -> None:
    page = f"before\n{readme.MARKS[0]}old\n{readme.MARKS[1]}after\n"
    assert readme.put(page, "new\n") == f"before\n{readme.MARKS[0]}new\n{readme.MARKS[1]}after\n"
    with pytest.raises(ValueError, match="expected the marks"):
        readme.put("nothing", "new\n")


def test_of_a_run_the_two_subjects_are_kept_and_nothing_else(tmp_path: Path) -> None:
    table = frame.load(reports_made.write(tmp_path / "run"))
    found = readme.read(readme.kept(table))
    assert {*zip(found["method"], found["direction"], strict=True)} >= {("ada", "forward"), ("avg", "forward")}
    assert set(found["method"]) == {"ada", "avg"}
    assert "×" in readme.table(found)


@pytest.mark.parametrize(("column", "value"), [("status", "failed"), ("clock", "hot"), ("dtype", "float64")])
def test_what_is_not_one_measurement_is_refused(column: str, value: str, tmp_path: Path) -> None:
    table = frame.load(reports_made.write(tmp_path / "run"))
    ours = table.index[table["probe"].eq("latency") & table["method"].eq("ada") & table["implementation"].eq("native")]
    table.loc[ours[0], column] = value
    with pytest.raises(ValueError, match="runs: expected"):
        readme.kept(table)
