"""The processes that do the trials, side by side: what ends one of them, and what ends them all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.plan import Study, Trial


def finished(trials: list[Trial], study: Study, folder: Path, jobs: int) -> Iterator[tuple[Trial, Any]]:
    """Each trial with its outcome as a dict, or the exception that ended it, as they are done.

    A worker that dies takes the trials under way with it: each is tried once more alone, and that which dies again is
    the one.
    """
    waiting = list(reversed(trials))
    while waiting:
        lost = yield from _pooled(waiting, study, folder, jobs)
        for trial in lost:
            alone = [trial]
            if (yield from _pooled(alone, study, folder, 1)):
                yield trial, RuntimeError("the worker process died (killed, or out of memory)")


def _pooled(
    waiting: list[Trial], study: Study, folder: Path, jobs: int
) -> Generator[tuple[Trial, Any], None, list[Trial]]:
    """Does what waits, from the end on; returns the trials that were under way when a worker died."""
    spawn = multiprocessing.get_context("spawn")
    running: dict[Future[Any], Trial] = {}
    pool = ProcessPoolExecutor(min(jobs, len(waiting)), spawn, initializer=_begin)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running[pool.submit(done, waiting[-1], study, str(folder))] = waiting[-1]
                waiting.pop()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                trial = running.pop(future)
                fault = future.exception()
                if isinstance(fault, BrokenProcessPool):
                    return [trial, *running.values()]
                yield trial, fault if fault is not None else future.result()
        return []
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # a trial that is under way is not waited for
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """A worker leaves Ctrl-C to its parent, and ends with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def done(trial: Trial, study: Study, folder: str) -> dict[str, Any]:
    """One trial, in a worker; its pictures are written, the rest is given back."""
    from tasks import trial as one
    from tasks.crops import save
    from tasks.table import TASKS

    task = TASKS[trial.task]
    outcome = one.run(task, trial.subject, task.sizes[study.profile], study.sources, trial.seed, study.device)
    if trial.seed == study.first:
        save(Path(folder), trial.task, trial.subject, outcome.pictures)
    found = asdict(outcome)
    del found["pictures"]
    return found
