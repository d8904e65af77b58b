"""The answer first: ranks with ties, what to take, what native loses, and that a wrong operator wins nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import reports
from reports import answer, doubts, frame, losses, ranking, store, together, view
from reports.ranking import Span
from reports.record import Record
from runner import cli
from tests.support.reports_made import GPU, make

STEM: dict[str, Any] = {"shape": [4, 64, 112, 112], "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1]}


def timed(ms: float, spread: float = 0.001, **more: Any) -> Record:
    return make(samples=[1e-3 * ms * (1 + spread * (step - 15) / 31) for step in range(31)], **{**STEM, **more})


def seen(folder: Path, *records: Record) -> Any:
    store.append(folder, records)
    store.write_machine(folder, {"run": {}, "devices": {"cpu-1": {"name": "Example CPU"}}})
    return view.prepared(frame.table(folder))


def scored(method: str, *values: float, **more: Any) -> list[Record]:
    at = {**STEM, "shape": [3, 240, 240], **more}
    return [make(**at, probe="retention", method=method, image=f"i{n}", value=v) for n, v in enumerate(values)]


def block(rows: Any) -> dict[str, Any]:
    (one,) = answer.answers(view.groups(rows)[0])
    return one


def test_what_intervals_cannot_tell_apart_shares_a_rank() -> None:
    spans = [Span(1.0, 0.9, 1.1), Span(1.05, 1.0, 1.2), Span(1.3, 1.15, 1.4), Span(2.0, 2.0, 2.0), Span(2.0, 2.0, 2.0)]
    assert [rank.mark for rank in ranking.ranked(spans)] == ["1=", "1=", "3", "4=", "4="]
    assert [rank.mark for rank in ranking.ranked([Span(2.0, math.nan, math.nan), Span(1.0, 0.9, 1.1)])] == ["(2)", "1"]


def test_retained_ranks_come_from_paired_differences() -> None:
    """Images differ by far more than methods do; a steady half decibel is seen all the same, a wild one is not."""
    avg, steady, wild = [20.0, 30.0, 40.0], [20.5, 30.51, 40.49], [22.0, 29.0, 40.6]
    assert [rank.mark for rank in ranking.ranked_pairs([avg, steady])] == ["2", "1"]
    assert [rank.mark for rank in ranking.ranked_pairs([avg, wild])] == ["1=", "1="]
    assert [rank.mark for rank in ranking.ranked_pairs([[30.0], [31.0], [31.001]])] == ["(3)", "(1=)", "(1=)"]
    found = ranking.difference(steady, avg)
    assert found.lo < 0.5 < found.hi and found.hi - found.lo == pytest.approx(2 * 4.303 * 0.01 / math.sqrt(3), rel=1e-3)


def test_the_sentence_takes_the_cheapest_of_those_that_keep_most(tmp_path: Path) -> None:
    costs = {"max": 1.0, "avg": 1.2, "ada": 1.5, "lip": 1.6, "idw": 9.0}
    scores = {"max": -2.0, "avg": 0.0, "ada": 0.8, "lip": 0.8, "idw": 2.0}
    records = [timed(ms, method=m, direction=d) for m, ms in costs.items() for d in ("forward", "backward")]
    for method, more in scores.items():
        records += scored(method, *(base + more + 0.01 * n for n, base in enumerate((25.0, 30.0, 35.0))))
    one = block(seen(tmp_path, *records))
    assert one["layer"] == "a ResNet stem" and one["window"] == "3 s2 p1"
    said = one["sentence"]
    assert said["place"] == "For a ResNet stem (3/2, padding 1)"
    assert said["take"] == "ada (native)"
    for words in (
        "because among the 4 methods that keep the scale and take at most 2 times as long as the fastest, ",
        "max (native), none keeps measurably more of a picture: ",
        "+0.80 dB against avg",
        "level with lip",
        "It takes 1.500 ms forward, 3.000 ms forward and backward",
        "idw (native) keeps 32.0",
        "takes 18.00 ms forward and backward.",
    ):
        assert words in said["why"], (words, said["why"])
    marks = {row["method"]: row["kept"]["rank"].mark for row in one["rows"]}
    assert marks == {"idw": "1", "ada": "2=", "lip": "2=", "avg": "4", "max": "5"}
    assert [row["method"] for row in one["rows"]] == list(costs)
    assert {row["energy"]["text"] for row in one["rows"]} == {"not measured"}


def test_without_scores_the_least_cost_is_taken_and_the_hole_is_said(tmp_path: Path) -> None:
    made = [timed(2.0, method="max"), timed(1.0, method="avg"), timed(1.0002, method="ada")]
    said = block(seen(tmp_path, *made, make(**STEM, method="lip", status="oom")))["sentence"]
    assert said["take"] == "avg (native)"
    assert "level with ada" in said["why"] and "not measured with this window" in said["why"]


def test_what_changes_the_scale_is_never_recommended(tmp_path: Path) -> None:
    """By what the record says of an input of ones; of older records by a picture that lost all likeness."""
    ones = {"sum": [4.0, 9.0], "lp": [3.0, 3.0], "ada": [1.0, 1.0000001]}
    made = [timed(1.0 + n, method=m, measurement={"of_ones": v}) for n, (m, v) in enumerate(ones.items())]
    said = block(seen(tmp_path / "facts", *made, timed(5.0, method="avg")))["sentence"]
    assert said["take"] == "ada (native)" and "the fastest of 2 that keep the scale" in said["why"]
    assert said["why"].endswith("Not considered, for they change the scale: sum, lp.")
    older = [timed(1.0, method="sum"), timed(2.0, method="max"), timed(3.0, method="avg")]
    scores = {"sum": 5.0, "max": 25.0, "avg": 30.0}
    older += [one for m, v in scores.items() for one in scored(m, v, kernel=[2, 2], padding=[0, 0])]
    said = block(seen(tmp_path / "older", *older))["sentence"]
    assert said["take"] == "max (native)" and said["why"].endswith("change the scale: sum.")
    only = block(seen(tmp_path / "only", *made[:2]))["sentence"]
    assert only == {
        "place": "For a ResNet stem (3/2, padding 1)", "take": "",
        "why": "there is nothing to choose: what was timed changes the scale.",
    }  # fmt: skip


def test_the_sentence_says_how_many_times_faster_than_average_pooling(tmp_path: Path) -> None:
    at = {"method": "avg", "implementation": "torch"}
    both = ("forward", "backward")
    made = [timed(2.0 * (1 + n), **at, direction=d) for n, d in enumerate(both)]
    made += [timed(1.0, method="ada", direction=d) for d in both]
    said = block(seen(tmp_path, *made))["sentence"]["why"]
    assert "1.000 ms forward (2.000× as fast as torch's average)" in said
    assert "2.000 ms forward and backward (3.0× as fast as torch's average)" in said


def test_photographs_say_nothing_of_lines(tmp_path: Path) -> None:
    line = {"kernel": [2], "stride": [2], "padding": [0], "shape": [1, 64, 4096]}
    flat = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]}
    made = [timed(1.0 + n, method=m, **line) for n, m in enumerate(("ada", "avg"))]
    one = block(seen(tmp_path, *made, *scored("ada", 20.0, **flat), *scored("avg", 30.0, **flat)))
    assert {row["kept"]["text"] for row in one["rows"]} == {"not measured"}
    assert one["sentence"]["place"] == "For 1-D audio (2/2)" and one["sentence"]["take"] == "ada (native)"
    assert "is measured on photographs, not with such windows" in one["sentence"]["why"]


def test_the_first_card_is_of_the_largest_input(tmp_path: Path) -> None:
    small = {"shape": [1, 16, 28, 28], "kernel": [2, 2], "padding": [0, 0]}
    for at, ms in ((small, 1.0), ({}, 4.0)):
        store.append(tmp_path, [timed(2.0, method="avg", implementation="torch", **at), timed(ms, method="ada", **at)])
    store.append(tmp_path, [timed(1.0, method="max", **small)])  # most was measured on the small one
    store.write_machine(tmp_path, {"run": {}, "devices": {}})
    page = reports.write(tmp_path).read_text()
    card = page.partition("AdaPool: times faster than avg_pool</span><b>")[2].partition("</div>")[0]
    assert card.startswith("0.5000×<") and "window 3 s2 p1, input 4×64×112×112, cold: 4.000 ms" in card


def test_training_is_measured_together_or_summed_and_said(tmp_path: Path) -> None:
    rows = seen(
        tmp_path,
        *(timed(1.0, method=m, direction=d) for m in ("max", "avg") for d in ("forward", "backward")),
        timed(1.7, method="avg", direction="both"),
    )
    cells = {row["method"]: row["training"] for row in block(rows)["rows"]}
    assert cells["avg"]["text"] == "1.700 ms" and "note" not in cells["avg"]
    assert cells["max"]["text"] == "2.000 ms" and cells["max"]["note"] == "sum"


def test_a_method_stands_with_one_implementation(tmp_path: Path) -> None:
    """Forward of one and backward of another is no layer that anybody can take."""
    at = {"method": "max"}
    pairs = {"native": (1.0, 5.0), "torch": (2.0, 2.0)}
    rows = seen(
        tmp_path,
        *(
            timed(ms, **at, implementation=i, direction=d)
            for i, p in pairs.items()
            for d, ms in zip(("forward", "backward"), p, strict=True)
        ),
        *(make(**STEM, **at, implementation=i, probe="memory", value=v) for i, v in (("native", 7), ("torch", 9))),
    )
    (row,) = block(rows)["rows"]
    assert row["implementation"] == "torch" and row["forward"]["text"] == "2.000 ms" and row["peak"]["span"].value == 9


def test_a_wrong_operator_has_no_memory_no_energy_and_wins_nothing(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {"method": "ada"}
    store.append(tmp_path, [make(**STEM, **wrong, status="incorrect", reason="off by one")])
    store.append(tmp_path, [make(**STEM, **wrong, probe=p, value=1.0) for p in ("memory", "energy")])
    store.append(tmp_path, [make(**{**STEM, "kernel": [2, 2]}, **wrong, probe="memory", value=1.0)])
    store.append(tmp_path, scored("ada", 90.0, 91.0))
    store.append(tmp_path, [*scored("avg", 30.0, 31.0), timed(1.0, method="avg"), timed(1.0, method="max")])
    store.append(tmp_path, [make(**STEM, method="ada", implementation="plain", probe="memory", value=1.0)])
    store.write_machine(tmp_path, {"run": {}, "devices": {}})
    table = reports.load(tmp_path)
    ada = table[table["method"].eq("ada")]
    assert ada["status"].tolist() == ["incorrect"] * 3 + ["ok"] + ["incorrect"] * 2 + ["ok"]
    withdrawn = ada[ada["status"].eq("incorrect")]
    assert withdrawn["median"].isna().all()
    assert withdrawn["reason"].iloc[1:].str.contains("the same call was wrong when it was timed: off by one").all()
    page = reports.write(tmp_path).read_text()
    assert "avg, P1" in page and "90.5 dB" not in page


def test_a_wrong_backward_withdraws_what_is_of_the_backward(tmp_path: Path) -> None:
    at: dict[str, Any] = {**STEM, "method": "ada"}
    store.append(tmp_path, [make(**at, direction="backward", status="incorrect")])
    store.append(tmp_path, [make(**at, probe="memory", direction=d, value=1.0) for d in ("forward", "backward")])
    store.append(tmp_path, scored("ada", 30.0))
    store.write_machine(tmp_path, {"run": {}, "devices": {}})
    assert reports.load(tmp_path)["status"].tolist() == ["incorrect", "ok", "incorrect", "ok"]


def test_most_retained_is_the_cheapest_of_a_tie(tmp_path: Path) -> None:
    costs = {"lip_bottleneck": 50.0, "avg": 1.0}
    store.append(tmp_path, [timed(ms, method=m) for m, ms in costs.items()])
    store.append(tmp_path, [r for m in costs for r in scored(m, 30.0, 31.0)])
    store.write_machine(tmp_path, {"run": {}, "devices": {}})
    assert "avg, level with 1 that cost more, P1" in reports.write(tmp_path).read_text()


def test_native_losses_are_those_beyond_the_interval(tmp_path: Path) -> None:
    def pair(native: float, other: float, rival: str = "torch", **more: Any) -> list[Record]:
        spread = more.pop("spread", 0.001)
        return [timed(native, spread, **more), timed(other, spread, implementation=rival, **more)]

    rows = seen(
        tmp_path,
        *pair(2.0, 1.0, method="max"),
        *pair(3.0, 1.0, "plain", method="max", kernel=[2, 2], padding=[0, 0]),
        *pair(1.0, 2.0, method="avg"),
        *pair(1.05, 1.0, method="lp", spread=0.5),
        timed(1.5, method="ada"),
        make(samples=[1e-3] * 3, **STEM, method="ada", implementation="plain"),
    )
    found = losses.losses(rows)
    assert (found["pairs"], found["lost"], found["unsure"]) == (5, 2, 1)
    (worst,) = found["methods"]
    assert worst["method"] == "max" and [place["times"] for place in worst["places"]] == ["0.3333×", "0.5000×"]
    page = reports.write(tmp_path).read_text()
    assert "Native loses 2 of 5 comparisons" in page and page.index("Native loses") < page.index("What to take</h3>")


def test_a_busy_machine_is_said_before_anything_else(tmp_path: Path) -> None:
    made = [timed(1.0, method=f"m{n}", warnings=["few samples", "busy machine"] if n < 3 else []) for n in range(21)]
    rows = seen(tmp_path, *made)
    assert doubts.headlines(rows[~rows["method"].isin(["m0", "m1"])]) == []
    page = reports.write(tmp_path).read_text()
    words = "3 of 21 times are doubtful (busy machine): other work was running on the machine."
    assert words in page.partition("<nav")[0]


def test_every_layer_of_the_plan_has_a_name() -> None:
    from reports.layers import NAMES
    from suites.layers import LAYERS

    assert set(NAMES) == {"x".join(map(str, layer.shape)) for layer in LAYERS.values()}


def test_a_cpu_and_a_gpu_are_compared_by_image_on_their_common_cases(tmp_path: Path) -> None:
    gpu: dict[str, Any] = {"machine": GPU, "device": GPU, "shape": [64, 64, 112, 112]}
    rows = seen(
        tmp_path,
        *(timed(8.0, method="ada", direction=d) for d in ("forward", "backward")),
        timed(4.0, method="ada", **gpu),
        timed(1.0, method="max", **gpu),
        make(**{**STEM, **gpu}, method="ada", direction="backward", status="oom"),
    )
    found = together.together(view.groups(rows))
    assert found is not None and found["per_image"] and len(found["lines"]) == 2
    forward, backward = found["lines"]
    assert (forward["what"], forward["window"]) == ("a ResNet stem, float32, nchw, cold", "3 s2 p1")
    assert [cell["text"] for cell in forward["cells"].values()] == ["2.000 ms", "62.50 µs"]
    assert [cell.get("note") for cell in forward["cells"].values()] == [None, "32.00×"]
    assert [cell["text"] for cell in backward["cells"].values()] == ["2.000 ms", "oom"]
    assert "time is that of one image" in reports.write(tmp_path).read_text()


def test_two_kinds_of_device_are_compared_on_what_both_have(tmp_path: Path) -> None:
    gpu: dict[str, Any] = {"machine": GPU, "device": GPU}
    for name, at, batch in (("cpu", {}, 1), ("gpu", gpu, 64)):
        shape = {"shape": [batch, 64, 112, 112]}
        records = [timed(1.0, method="ada", **{**at, **shape}), *scored("ada", 30.0, 31.0, **at)]
        seen(tmp_path / name, *records)
    page = reports.write([tmp_path / "cpu", tmp_path / "gpu"], tmp_path / "both").read_text()
    text = page.partition("Case by case</h3><pre>")[2].partition("</pre>")[0]
    assert "EQUIVALENT 2 " in text and "MISSING" not in text and "NEW" not in text
    assert "Different machines" in text


def test_the_answers_as_markdown(tmp_path: Path) -> None:
    at = {"implementation": "torch", "method": "max"}
    seen(
        tmp_path / "run",
        timed(2.0, method="max"),
        timed(1.0, **at),
        timed(1.5, method="a|b*"),
        timed(3.0, method="avg"),
    )
    done = CliRunner().invoke(cli, ["report", str(tmp_path / "run"), "--export-markdown", str(tmp_path / "answers.md")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "answers.md").read_text()
    assert "- max forward: 0.5000× as fast as torch (2.000 ms against 1.000 ms; a ResNet stem" in text
    assert (
        "For a ResNet stem (3/2, padding 1) take **max (torch)** because it is the fastest of 3 that keep the scale."
        in text
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == [
        "| method",
        "| max (torch)",
        "| a\\|b\\* (native)",
        "| avg (native)",
    ]
    assert "1.500 ms · 2" in rows[2] and rows[1].count("not measured") == 5
