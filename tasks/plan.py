"""What is asked of the experiments, and the trials that it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from suites import machine
from suites.axes import UsageError


@dataclass(frozen=True)
class Study:
    """What is asked for. `methods` keeps their subjects alone; `seeds` replaces the profile's number of seeds."""

    profile: str = "default"
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    first: int = 0
    images: str | None = None
    video: str | None = None
    fashion: str | None = None
    device: str = "cpu"

    @property
    def sources(self) -> Any:
        from tasks.task import Sources

        return Sources(self.images, self.video, self.fashion)


@dataclass(frozen=True)
class Trial:
    """One subject of one task with one seed."""

    task: str
    subject: str
    seed: int

    @property
    def case(self) -> str:
        return f"{self.task}/{self.subject}/{self.seed}"


def planned(study: Study) -> tuple[list[Trial], dict[str, str]]:
    """The trials, all subjects of a seed together, and why tasks cannot be done. UsageError for what is not there."""
    from tasks.pooling import METHODS
    from tasks.table import TASKS

    for names, known, what in ((study.tasks, tuple(TASKS), "task"), (study.methods, METHODS, "method")):
        for name in names:
            if name not in known:
                raise UsageError(f"{what}: expected one of {', '.join(known)}, got {name!r}")
    trials, faults = [], {}
    for task in TASKS.values():
        if not _asked(task, study):
            continue
        fault = task.fault(study.sources)
        if fault is not None:
            if task.source is not None and getattr(study, task.source) is not None:
                raise UsageError(fault)  # what a person has given is not left out in silence
            faults[task.name] = machine.private(fault)
        subjects = [s for s in task.subjects if not study.methods or s.partition("+")[0] in study.methods]
        seeds = task.sizes[study.profile].seeds if study.seeds is None else study.seeds
        trials += [Trial(task.name, s, study.first + i) for i in range(seeds) for s in subjects]
    return trials, faults


def _asked(task: Any, study: Study) -> bool:
    if study.tasks:
        return task.name in study.tasks
    return (study.profile == "full" or not task.further) and (task.source != "video" or study.video is not None)


def about(trials: list[Trial]) -> dict[str, Any]:
    """What a reader has to know of each task that no record says."""
    from tasks.table import TASKS

    found = {name: TASKS[name] for name in dict.fromkeys(trial.task for trial in trials)}
    return {
        name: {"title": task.title, "metric": task.metric, "floor": task.floor, "baselines": list(task.baselines)}
        for name, task in found.items()
    }
