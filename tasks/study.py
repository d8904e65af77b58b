"""One run of the experiments from request to folder: which trials, the records, resuming.

Records go to the store that bench writes to, one for each trial and metric; the pictures to crops/.
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from reports import store
from reports.record import METRICS, Record
from suites import machine, provenance
from suites.axes import UsageError
from suites.session import RESUME, terminable
from tasks.plan import Study, Trial, about, planned
from tasks.workers import finished

PROBE = "task"
LAST = "step"  # the metric that is written last: a trial that has it is complete


class Run:
    """The trials of a study in a folder, started anew or continued."""

    def __init__(self, folder: Path, study: Study, jobs: int) -> None:
        self.folder, self.study = folder, study
        self.jobs = 1 if study.device != "cpu" else jobs
        self.trials, self.faults = planned(study)
        self.source = provenance.source()
        self.began = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.seconds = self.spent = 0.0  # that pass, and those of the workers' CPUs
        self.tally: dict[str, int] = {}

    @classmethod
    def resumed(cls, folder: Path, jobs: int) -> Run:
        """The run of a folder again, by its own study. UsageError where it is none of tasks."""
        try:
            held = json.loads((folder / RESUME).read_bytes())
            asked: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in held["study"].items()}
            run = cls(folder, Study(**asked), jobs)
        except FileNotFoundError:
            raise UsageError(f"resume: expected the folder of a run, got {str(folder)!r} without {RESUME}") from None
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(
                f"resume: expected a run of tasks, got {str(folder)!r}; a bench run goes on by bench"
            ) from None
        run.began, run.seconds, run.spent = held["time"], held["seconds"], held["spent"]
        return run

    def go(self) -> None:
        """Does the trials that have no record yet. KeyboardInterrupt passes through, with all that was done on disk."""
        begun, before = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        self.facts = {**machine.cpu(), "software": machine.software()}
        self.machine = machine.key(self.facts)
        with store.Writer(self.folder) as self.writer, terminable():
            self._save()
            self.have = store.done(self.folder)
            complete = {key.case for key in self.have if key.metric == LAST}
            left = [trial for trial in self.trials if trial.case not in complete]
            try:
                for trial in [t for t in left if t.task in self.faults]:
                    self._end(trial, "skipped", self.faults[trial.task])
                self._work([t for t in left if t.task not in self.faults])
            finally:
                self.seconds += time.perf_counter() - begun
                self.spent += sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
                self._save()

    def _work(self, trials: list[Trial]) -> None:
        from tqdm import tqdm

        with tqdm(total=len(trials), unit="trial", disable=None) as bar:
            for trial, outcome in finished(trials, self.study, self.folder, self.jobs):
                bar.set_postfix_str(trial.case)
                bar.update()
                if isinstance(outcome, Exception):
                    self._end(trial, "failed", f"{type(outcome).__name__}: {outcome}")
                else:
                    self._keep(trial, outcome)

    def _keep(self, trial: Trial, outcome: dict[str, Any]) -> None:
        from statistics import median

        from tasks.table import TASKS

        metric = TASKS[trial.task].metric
        facts = {**outcome["facts"], "curve": outcome["curve"]}
        for name, value in outcome["scores"].items():
            self._append(trial, name, "ok", value=value, measurement=facts if name == metric else {})
        steps = outcome["steps"]
        self._append(trial, LAST, "ok", value=median(steps), samples=steps, shape=outcome["shape"])
        self.tally["ok"] = self.tally.get("ok", 0) + 1

    def _end(self, trial: Trial, status: str, reason: str) -> None:
        from tasks.table import TASKS

        for name in (TASKS[trial.task].metric, LAST):
            self._append(trial, name, status, reason=machine.private(reason)[:500])
        self.tally[status] = self.tally.get(status, 0) + 1

    def _append(
        self, trial: Trial, metric: str, status: str, *, value: float | None = None, reason: str | None = None,
        samples: list[float] | None = None, shape: list[int] | None = None, measurement: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        from tasks.table import TASKS

        window = [2] * TASKS[trial.task].rank
        options = "".join(
            f" --{name} {'FILE' if name == 'video' else 'DIR'}"
            for name in ("images", "video")
            if getattr(self.study, name)
        )
        record = Record(
            case=trial.case, method=trial.subject, implementation=self._implementation(), direction="both",
            kernel=window, stride=window, padding=[0] * len(window), ceil_mode=False, shape=shape or [],
            dtype="float32", layout="nchw", device=self.study.device, probe=PROBE, metric=metric,
            unit=METRICS[PROBE][metric], clock=None, protocol=None, image=None, status=status, reason=reason,
            value=value, samples=samples, kept=None if samples is None else [True] * len(samples), stop=None,
            measurement={"seed": trial.seed, "threads": 1, "profile": self.study.profile, **(measurement or {})},
            warnings=[], machine=self.machine, commit=self.source["commit"], dirty=self.source["dirty"],
            version=str(self.source["version"]), time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=f"python runner.py tasks --profile {self.study.profile} --task {trial.task} "
            f"--method {trial.subject.partition('+')[0]} --first-seed {trial.seed} --seeds 1{options}",
            bytes=None,
        )  # fmt: skip
        if record.key not in self.have:
            self.writer.append(record)

    def _implementation(self) -> str:
        return "native" if self.facts["software"]["native"].get(self.study.device) == "ok" else "plain"

    def _save(self) -> None:
        again = {"study": asdict(self.study), "time": self.began, "seconds": self.seconds, "spent": self.spent}
        store.write_file(self.folder / RESUME, json.dumps(again, indent=1).encode())
        shown = asdict(self.study) | {
            name: None if getattr(self.study, name) is None else "given" for name in ("images", "video", "fashion")
        }
        run = {
            **self.source, "time": self.began, "study": shown, "trials": len(self.trials), "jobs": self.jobs,
            "seconds": round(self.seconds, 1), "cpu_seconds": round(self.spent, 1),
            "profile": self.study.profile, "left_out": self.faults,
            "tasks": about(self.trials),
        }  # fmt: skip
        store.write_machine(self.folder, {"run": run, "devices": {self.machine: self.facts}})
