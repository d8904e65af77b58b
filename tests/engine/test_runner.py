"""The command line as a person uses it: what it prints, what it writes, what it answers to bad input."""

from __future__ import annotations

import ast
import csv
import json
import re
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reports import again, store
from tests.support.command_line import ROOT, runner

Bench = tuple[Path, "subprocess.CompletedProcess[str]"]
EXAMPLE = '''
def halved(x, kernel_size, stride, padding):
    """Every second value, halved."""
    return x[:, :, :: stride[0], :: stride[1]] / 2
'''
BASE = ("bench", "--cpu", "--profile", "smoke", "--shape", "1x2x8x8", "--kernel", "2", "--clock", "hot")


def process(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "runner.py"), *words], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One small run with every probe, one's own operator among it."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "mine.py").write_text(EXAMPLE)
    done = process(
        "bench", "--cpu", "--profile", "smoke", "--kernel", "2", "--method", "avg,ada,max", "--method",
        "mine.py:halved", "--implementation", "plain,torch,own", "--clock", "hot", "--out", "run", cwd=folder,
    )  # fmt: skip
    return folder / "run", done


def test_a_run_says_where_its_report_is(bench: Bench) -> None:
    folder, done = bench
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "run/report.html"
    for name in ("records.jsonl", "machine.json", "records.csv", "comparison.csv", "report.html", "benchmark.json"):
        assert (folder / name).stat().st_size > 0, name
    pictures = {path.name for path in (folder / "gallery").iterdir()}
    assert {"astronaut__original__k2__original.png", "astronaut__ada__k2__error.png"} <= pictures


def test_every_probe_left_its_records(bench: Bench) -> None:
    records = list(store.read(bench[0]))
    found = {(r.method, r.implementation, r.probe, r.metric, r.direction) for r in records if r.status == "ok"}
    assert {
        ("ada", "plain", "latency", "time", "forward"), ("ada", "plain", "latency", "time", "backward"),
        ("avg", "torch", "latency", "time", "forward"), ("halved", "own", "latency", "time", "backward"),
        ("copy", "copy", "latency", "time", "forward"), ("ada", "plain", "memory", "peak_bytes", "backward"),
        ("ada", "plain", "memory", "saved_bytes", "forward"), ("ada", "plain", "retention", "psnr", "none"),
        ("halved", "own", "retention", "ssim", "none"), ("max", "plain", "retention", "side_bytes", "none"),
    } <= found  # fmt: skip
    for record in records:
        if record.probe == "energy":
            assert record.status == "skipped" and "NVML" in str(record.reason)
        if record.probe == "latency" and record.status == "ok":
            assert record.measurement["verified"] is (record.method != "halved")
            assert record.samples is not None and record.stop is not None and record.command
    peak = next(
        r
        for r in records
        if (r.method, r.implementation, r.metric, r.direction) == ("avg", "torch", "peak_bytes", "forward")
    )
    assert peak.value == 1 * 16 * 14 * 14 * 4  # torch's average allocates its output and nothing else


def test_psnr_of_the_average_is_the_textbook_one(bench: Bench) -> None:
    """P1 by another road: torch's own pooling and torch's own bicubic."""
    import math

    import numpy as np
    import skimage
    import torch
    from PIL import Image

    record = next(
        r
        for r in store.read(bench[0])
        if (r.method, r.metric, r.protocol) == ("avg", "psnr", "P1") and r.status == "ok"
    )
    with Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as image:
        whole = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
    h, w = record.shape[1:]
    top, left = (whole.shape[0] - h) // 2, (whole.shape[1] - w) // 2
    x = torch.tensor(whole[top : top + h, left : left + w]).permute(2, 0, 1)[None]
    y = torch.nn.functional.avg_pool2d(x, 2)
    back = torch.nn.functional.interpolate(y, scale_factor=2, mode="bicubic", align_corners=False)
    psnr = -10 * math.log10(float(((x - back.clamp(0, 1)) ** 2).mean()))
    assert record.value == pytest.approx(psnr, abs=1e-4)


def test_benchmark_json_repeats_the_samples_bit_for_bit(bench: Bench) -> None:
    folder = bench[0]
    held = json.loads((folder / "benchmark.json").read_text())
    timed = {r.case: r for r in store.read(folder) if r.probe == "latency" and r.status == "ok"}
    assert {b["extra_info"]["case"] for b in held["benchmarks"]} == set(timed)
    for benchmark in held["benchmarks"]:
        record = timed[benchmark["extra_info"]["case"]]
        assert benchmark["stats"]["data"] == record.samples
        assert benchmark["stats"]["median"] == statistics.median(record.samples or [])
        assert benchmark["params"] == {"record": f"{record.case}-{record.clock}"}
    assert not held["machine_info"]["node"]


def test_the_suites_replay_a_run_in_pytest_benchmarks_table(
    bench: Bench,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "suites", "-k", "ada", "--replay", str(bench[0]), "-q"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Name (time in" in done.stdout and "test_latency[ada/plain/forward/" in done.stdout
    assert "avg/" not in done.stdout


def test_the_suites_measure_when_there_is_no_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "suites", "-q", "-k", "avg and torch and forward"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_latency[avg/torch/forward/" in done.stdout and re.search(r"4 passed", done.stdout)


def test_report_and_compare_of_a_run(bench: Bench) -> None:
    folder = bench[0]
    (folder / "report.html").unlink()
    assert runner("report", str(folder)).stdout.strip() == str(folder / "report.html")
    assert (folder / "report.html").is_file()
    onto = runner("report", str(folder), "--out", str(folder))
    assert onto.exit_code == 2 and "out: expected a folder that is no run" in onto.stderr
    done = runner("compare", str(folder), str(folder))
    assert done.exit_code == 0 and "not interleaved" in done.stdout, done.stderr
    assert "EQUIVALENT" in done.stdout and not re.search("REGRESSED|IMPROVED|BROKEN", done.stdout)
    with (folder / "records.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(1 for _ in store.read(folder))


def test_one_case_is_measured_again_by_its_command(bench: Bench, tmp_path: Path) -> None:
    record = next(
        r for r in store.read(bench[0]) if r.method == "ada" and r.probe == "memory" and r.direction == "backward"
    )
    words = record.command.split()
    assert words[:2] == ["python", "runner.py"]
    done = runner(*words[2:], "--out", str(tmp_path / "again"))
    assert done.exit_code == 0, done.stderr
    (again,) = list(store.read(tmp_path / "again"))
    assert (again.key, again.value) == (record.key, record.value)


def test_a_records_case_is_measured_again_as_its_run_did(bench: Bench, tmp_path: Path) -> None:
    folder = bench[0]
    begin = again.words(store.read_machine(folder)["run"], "cpu")
    wanted = [r for r in store.read(folder) if (r.method, r.probe, r.direction) == ("halved", "latency", "forward")]
    words = shlex.split(again.command(begin, "latency", wanted[0].case))
    done = runner(*words[2:], "--out", str(tmp_path / "again"), cwd=folder.parent)
    assert done.exit_code == 0, done.stderr
    found = list(store.read(tmp_path / "again"))
    assert [record.key for record in found] == [record.key for record in wanted] and found[0].status == "ok"
    assert (
        begin in (folder / "report.html").read_text() and wanted[0].command not in (folder / "report.html").read_text()
    )


def test_help_is_quick_and_plan_needs_no_run() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert process("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
    done = runner("plan", "--profile", "smoke")
    assert done.exit_code == 0
    assert re.search(r"cpu: \d+ cases \(.*latency.*\), about \d+ s$", done.stdout, re.MULTILINE)
    brief = runner("plan", "--profile", "smoke", "--summary")
    assert brief.stdout.splitlines() == [line for line in done.stdout.splitlines() if "/" not in line]
    both = runner("plan", "--profile", "smoke", "--summary", "--gpu", "all", "--cpu").stdout
    assert re.findall(r"^(\w+): \d+ cases", both, re.MULTILINE) == ["gpu", "cpu"]
    assert runner("doctor").stdout.count("\n") > 8


def test_the_oldest_click_that_is_promised_has_all_that_is_used() -> None:
    """None of click 8.1's classes is generic: a subscript in a class statement ends every command there."""
    promised = {
        "Choice", "FloatRange", "IntRange", "BadParameter", "Command", "UsageError", "argument", "command", "core",
        "echo", "get_current_context", "group", "option", "Context", "Parameter", "Path",
    }  # fmt: skip
    for path in (ROOT / "runner.py", *(ROOT / "gate").rglob("*.py"), *(ROOT / "suites").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript):
                assert not ast.unparse(node.value).startswith("click."), f"{path.name}: {ast.unparse(node)}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "click":
                assert node.attr in promised, f"{path.name}: click.{node.attr} (look whether 8.1 has it)"


def test_the_keys_that_are_listed_are_those_that_a_case_is_chosen_by(tmp_path: Path) -> None:
    words = (*BASE, "--method", "avg", "--probe", "memory,latency", "--out", str(tmp_path / "run"), "--list")
    keys = runner(*words).stdout.splitlines()
    assert len(keys) == len(set(keys)) > 6 and not (tmp_path / "run").exists()
    assert runner(*words, "--case", keys[-1]).stdout.splitlines() == [keys[-1]]


def test_the_version_is_that_of_the_package_that_is_imported() -> None:
    import adapool

    assert process("--version").stdout.startswith(f"adapool {adapool.__version__}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--method", "adda"), "did you mean 'ada'"),
        (("--method", "nowhere.py:f"), "nowhere.py"),
        (("--method", "runner.py:nothing_like_it"), "nothing_like_it"),
        (("--method", "runner.py"), "file.py:name"),
        (("--kernel", "9"), "kernel: expected at most the padded input, 8 + 2 * 0 on spatial axis 0, got 9"),
        (("--kernel", "0"), "kernel"),
        (("--stride", "-1"), "stride"),
        (("--shape", "3x3"), "shape"),
        (("--dtype", "int32"), "dtype: expected one of float16, bfloat16, float32, float64, got 'int32'"),
        (("--gpu", "all"), "gpu: expected a GPU, found none"),
        (("--gpu", "7"), "gpu"),
        (("--images", "nowhere"), "images: expected a folder"),
        (("--images", "{empty}"), "images: expected at least one photograph"),
        (("--out", "{full}"), "out: expected a folder that does not exist"),
        (("--out", "/proc/nowhere"), "out: expected a folder that can be written"),
        (("--shard", "5/4"), "shard: expected i/n"),
        (("--budget", "soon"), "expected a duration"),
        (("--crop", "-1"), "crop: expected 0"),
        (("--seed", "-1"), "'--seed'"),
        (("--layout", "nhwc"), "did you mean 'channels_last'?"),
        (("--resume", "nowhere", "--list"), "list: expected no --resume beside it"),
        (("--case", "latency:avg/torch/forward/float32/nchw/k2s2p0/1x2x8x9"), "mean 'latency:avg/torch/forward"),
        (("--resume", "nowhere"), "resume: expected no other axes"),
        (("--profile", "huge"), "huge"),
        (("--profile-case", "ada/*"), "profile-case: expected --profile-with"),
        (("--profile-with", "torch", "--profile-case", "nothing/*"), "profile-case: expected a latency case"),
    ],
)
def test_bad_input_is_one_paragraph_and_exit_2(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    from suites.nvml import listed

    if "--gpu" in words and listed():
        pytest.skip("there is a GPU")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    named = [word.format(empty=tmp_path / "empty", full=tmp_path / "full") for word in words]
    base = [word for word in BASE if word not in ("--shape", "1x2x8x8")] if "--images" in words else list(BASE)
    out = () if "--out" in words or "--resume" in words else ("--out", str(tmp_path / "run"))
    done = runner(*base, *out, *named)
    assert done.exit_code == 2, done.output
    assert says in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    assert not (tmp_path / "run").exists()


def test_a_failing_operator_is_exit_1_and_a_report_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def bad(x, k, s, p):\n    raise RuntimeError('on purpose')\n")
    done = runner(*BASE, "--method", "bad.py:bad,avg", "--probe", "latency", "--out", "run", cwd=tmp_path)
    assert done.exit_code == 1
    assert "RuntimeError: on purpose" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    statuses = {(r.method, r.status) for r in store.read(tmp_path / "run")}
    assert ("bad", "failed") in statuses and ("avg", "ok") in statuses
