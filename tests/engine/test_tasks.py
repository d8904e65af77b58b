"""The experiments: the same numbers every time, and what is wrong with data or training shows in the result."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import Conv2d

from adapool import AdaPool2d
from reports import store, trials, trials_text
from runner import cli
from suites.axes import UsageError
from tasks import classification, photographs, plan, pooling, study, trial, workers
from tasks.classification import DIGITS
from tasks.motion import Move, frames_of
from tasks.plan import Study, Trial
from tasks.pooling import METHODS, Pooling
from tasks.table import TASKS
from tasks.task import Data, Size, Sources

ROOT = Path(__file__).parents[2]
TINY = Size(2, 20, 16, 200, 100)


def written(folder: Path, subjects: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> trials.Result:
    """A run of digits in this process, and what its records come to."""

    def here(left: list[Trial], asked: Study, where: Path, jobs: int) -> Iterator[tuple[Trial, Any]]:
        yield from ((one, workers.done(one, asked, str(where))) for one in left)

    monkeypatch.setattr(study, "finished", here)
    monkeypatch.setitem(TASKS, "digits", replace(TASKS["digits"], sizes={"smoke": TINY}))
    study.Run(folder, Study("smoke", ("digits",), subjects), 1).go()
    (found,) = trials.results(folder)
    return found


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.source is None])
@pytest.mark.parametrize("subject", ["ada", "lip"])
def test_a_trial_gives_the_same_numbers_every_time(name: str, subject: str) -> None:
    task, size = TASKS[name], Size(1, 2, 4, 8, 8)
    torch.manual_seed(1)
    one = trial.run(task, subject, size, Sources(), 3)
    torch.manual_seed(2)  # whatever was drawn before
    two = trial.run(task, subject, size, Sources(), 3)
    other = trial.run(task, subject, size, Sources(), 4)
    assert (one.scores, one.curve, one.facts) == (two.scores, two.curve, two.facts)
    assert one.curve != other.curve
    assert all(np.array_equal(one.pictures[key], two.pictures[key]) for key in one.pictures)
    assert bool(one.facts["beta"]) == (subject == "ada")


def test_subjects_of_a_seed_start_from_the_same_weights() -> None:
    data = DIGITS.draw(Sources(), TINY, 0)

    def start(subject: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return {k: v for k, v in DIGITS.network(subject, data).state_dict().items() if "pool" not in k}

    first = start("max")
    for subject in METHODS[1:]:
        assert all(torch.equal(value, first[name]) for name, value in start(subject).items()), subject


def test_full_has_three_networks_and_default_one() -> None:
    def of(profile: str, *tasks: str) -> set[str]:
        return {one.task for one in plan.planned(Study(profile, tasks))[0] if one.task.startswith("digits")}

    assert of("default") == of("smoke") == {"digits"} and of("smoke", "digits-resnext") == {"digits-resnext"}
    assert of("full") == {"digits", "digits-densenet", "digits-resnext"}
    data = DIGITS.draw(Sources(), TINY, 0)
    kinds = {name: {type(m).__name__ for m in TASKS[name].network("ada", data).modules()} for name in of("full")}
    assert "Dense" in kinds["digits-densenet"] and "Dense" not in kinds["digits"] | kinds["digits-resnext"]
    groups = {m.groups for m in TASKS["digits-resnext"].network("ada", data).modules() if isinstance(m, Conv2d)}
    assert groups == {1, 4, 8}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_own_inverse(method: str) -> None:
    layer = Pooling(method, 2, 3)
    x = torch.rand(2, 3, 8, 8)
    y, undo = layer.reversible(x)
    torch.testing.assert_close(y, layer(x))
    assert undo(y).shape == x.shape
    flat, undo = layer.reversible(torch.full_like(x, 0.5))
    if method != "max":  # which puts everything in one place
        torch.testing.assert_close(undo(flat), torch.full_like(x, 0.5))


def test_a_run_is_recorded_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = written(tmp_path, ("max", "avg", "ada"), monkeypatch)
    assert {line.subject for line in found.lines} == {"max", "avg", "ada"}
    assert found.trained is False and "not trained" in trials_text.verdict(found)  # 20 steps are not enough
    records = list(store.read(tmp_path))
    assert len(records) == 2 * 3 * 2 and all(record.status == "ok" for record in records)
    lines = (tmp_path / store.RECORDS).read_bytes().splitlines(keepends=True)
    (tmp_path / store.RECORDS).write_bytes(b"".join(lines[:7]))  # a kill between two records of one trial
    run = study.Run.resumed(tmp_path, 1)
    run.go()
    again = list(store.read(tmp_path))
    assert [r.key for r in again] == [r.key for r in records] and run.tally == {"ok": 3}
    assert {r.key: r.value for r in again if r.metric == "accuracy"} == {
        r.key: r.value for r in records if r.metric == "accuracy"
    }


def test_a_beta_that_is_frozen_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def freeze(network: torch.nn.Module) -> None:
        for layer in network.modules():
            if isinstance(layer, AdaPool2d):
                torch.nn.init.ones_(layer.beta)

    monkeypatch.setattr(pooling, "START", 1.0)
    monkeypatch.setattr(trial, "project", freeze)
    found = written(tmp_path, ("avg", "edscw", "ada"), monkeypatch)
    assert "ada: no beta of pool1, pool2 moved; nothing was learned there" in found.doubts
    assert any(set(doubt.split()) >= {"edscw", "ada", "same"} for doubt in found.doubts)


def test_labels_that_are_shuffled_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(sources: Sources, size: Size, seed: int) -> Data:
        data = DIGITS.draw(sources, size, seed)
        (x, y), (u, v) = data.train, data.test
        return replace(data, train=(x, y[torch.randperm(len(y))]), test=(u, v))

    monkeypatch.setitem(TASKS, "digits", replace(DIGITS, draw=shuffled))
    found = written(tmp_path, ("avg", "max", "ada"), monkeypatch)
    assert max(line.mean for line in found.lines) < 0.35
    assert not found.trained and not found.claims
    assert trials_text.verdict(found).startswith("not trained")


class Deadly(Trial):
    """Ends the process that reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_a_worker_that_dies_is_told_from_one_that_fails_and_the_others_give_the_same_numbers(tmp_path: Path) -> None:
    trials = [Deadly("digits", "max", 0), Trial("digits", "median", 0), good := Trial("digits", "ada", 0)]
    ended = dict(workers.finished(trials, asked := Study("smoke"), tmp_path, 2))
    assert str(ended[trials[0]]) == "the worker process died (killed, or out of memory)"
    assert str(ended[trials[1]]).startswith("method: expected one of max") and len(ended) == 3
    here = workers.done(good, asked, str(tmp_path))
    assert all(ended[good][what] == here[what] for what in ("scores", "curve", "facts"))


def test_workers_end_with_a_run_that_is_killed() -> None:
    """What Ctrl-C does to a run is the run's business; of kill -9 nobody tells the workers."""
    program = (
        "import multiprocessing, os, time\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "from tasks import workers\nspawn = multiprocessing.get_context('spawn')\n"
        "pool = ProcessPoolExecutor(1, spawn, initializer=workers._begin)\n"
        "print(pool.submit(os.getpid).result(), flush=True)\ntime.sleep(60)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert run.stdout is not None
    worker = int(run.stdout.readline())
    run.kill()
    run.wait()
    run.stdout.close()
    until = time.monotonic() + 60
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        while Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] != "Z":  # likewise
            assert time.monotonic() < until
            time.sleep(0.05)


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    def said(*words: str) -> str:
        ended = CliRunner().invoke(cli, ["tasks", "--out", str(tmp_path / "run"), *words])
        assert ended.exit_code == 2 and not (tmp_path / "run").exists()
        assert ended.output.startswith("error: ") and ended.output.count("\n") == 1
        return ended.output

    (tmp_path / "empty").mkdir()
    assert "task: expected one of digits" in said("--task", "digitz")
    assert "method: expected one of max" in said("--method", "median")
    assert "expected train-images-idx3-ubyte" in said("--fashion-mnist", str(tmp_path / "empty"))


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(ValueError, match=r"digits: expected at least two classes, got one \(3\)"):
        classification.checked("digits", np.full(5, 3))


def test_a_photograph_smaller_than_the_crop(tmp_path: Path) -> None:
    from PIL import Image

    for name in "ab":
        Image.fromarray(np.zeros((66, 90, 3), np.uint8)).save(tmp_path / f"{name}.png")
    assert photographs.fault(str(tmp_path), 33) is None
    assert photographs.fault(str(tmp_path), 40) == (
        "images: expected at least two photographs with sides of 40 pixels, got 0; "
        "too small: a (33 pixels), b (33 pixels)"
    )


def test_a_missing_data_set_is_skipped_with_its_reason(tmp_path: Path) -> None:
    asked = Study("smoke", ("fashion-mnist",), ("avg",), fashion=None)
    planned, faults = plan.planned(asked)
    if not faults:
        pytest.skip("Fashion-MNIST is here")
    run = study.Run(tmp_path, asked, 1)
    run.go()
    (found,) = trials.results(tmp_path)
    assert run.tally == {"skipped": len(planned)} and not found.lines
    assert "dataset-fashion-mnist" in found.holes[0]
    assert trials_text.text(tmp_path)


def test_frames_move_as_they_should() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32) / 32, (1, 32, 1))  # grows to the right
    first, middle, last = frames_of(ramp, Move(pan_x=4), 3, 8)[:, 0]
    np.testing.assert_allclose(middle, ramp[0, 12:20, 12:20], atol=1e-6)
    np.testing.assert_allclose(first - last, 4 / 32, atol=1e-5)  # what was at the left is seen later
    turned = frames_of(ramp, Move(turn=np.pi), 3, 8)[:, 0]
    np.testing.assert_allclose(turned[0], 1 - 1 / 32 - turned[2], atol=1e-5)


def test_what_was_asked_for_wrongly() -> None:
    with pytest.raises(UsageError, match="task: expected one of"):
        plan.planned(Study(tasks=("none",)))
