"""Trained networks: records of trials -> scores with intervals, paired differences, and which claims they bear.

Every number is a mean over seeds. Subjects of one seed share data, order and what the network starts from, so they are
compared seed by seed; the interval of a mean is a bootstrap's over the seeds. Knows nothing of drawing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from reports import store
from reports.record import Record

PROBE = "task"
STEP = "step"
LEAST = 5  # seeds below which there is no interval
RESAMPLES = 9999
CLAIMS = (  # of Stergiou & Poppe 2021: the first is better than each of the others
    ("ada", ("softpool", "edscw", "lip", "dpp", "avg", "max")),
    ("softpool", ("avg", "max")),
    ("edscw", ("avg", "max")),
    ("ada", ("ada+bilinear", "ada+transposed")),
)
Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Line:
    """A subject's results in one task: by seed its score and its seconds a step, and what they come to."""

    subject: str
    scores: dict[int, float]
    others: dict[str, dict[int, float]]  # further metrics
    steps: dict[int, float]
    mean: float
    interval: Interval
    difference: float  # to the task's reference, paired
    difference_interval: Interval
    cost: float  # seconds of a step over the reference's, the median over the seeds
    parameters: int
    facts: dict[int, dict[str, Any]]  # curve and beta by seed

    @property
    def step(self) -> float:
        """Seconds of a step, the median over the seeds."""
        return statistics.median_high(self.steps.values()) if self.steps else math.nan

    @property
    def betas(self) -> dict[str, list[dict[str, Any]]]:
        """What the beta of each layer became, by seed."""
        found: dict[str, list[dict[str, Any]]] = {}
        for facts in self.facts.values():
            for name, beta in facts.get("beta", {}).items():
                found.setdefault(name, []).append(beta)
        return found


@dataclass(frozen=True)
class Claim:
    """That `better` scores higher than `worse`, as the paper says; `verdict` is holds, reversed or open."""

    better: str
    worse: str
    difference: float
    interval: Interval
    verdict: str


@dataclass(frozen=True)
class Result:
    """One task of a run, ready to be told."""

    name: str
    title: str
    metric: str
    unit: str
    reference: str
    floor_words: str
    floor: float
    seeds: int
    trained: bool
    lines: list[Line]
    claims: list[Claim]
    doubts: list[str] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The interval of the mean: percentiles of a bootstrap over the seeds, expanded for few of them.

    With n values the tails are `Phi(-sqrt(n / (n - 1)) t)`, t Student's quantile of n - 1 degrees of freedom
    (Hesterberg 2015, "What teachers should know about the bootstrap"): plain percentiles of 5 values cover some 85 %.

    >>> interval([1.0, 2.0])
    (nan, nan)
    """
    n = len(values)
    if n < LEAST:
        return NO_INTERVAL
    import numpy as np
    from scipy import stats

    tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1))
    found = stats.bootstrap(
        (np.asarray(values),), np.mean, n_resamples=RESAMPLES, confidence_level=1 - 2 * tail, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def paired(a: dict[int, float], b: dict[int, float]) -> list[float]:
    """a less b, of the seeds that both have."""
    return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]


def results(run: Path) -> list[Result]:
    """The tasks of a run, in the order of its plan; none for a run of another kind."""
    about = store.read_machine(run)["run"].get("tasks", {})
    by_task: dict[str, list[Record]] = {}
    for record in store.read(run):
        if record.probe == PROBE:
            by_task.setdefault(record.case.split("/")[0], []).append(record)
    return [result(name, by_task[name], words) for name, words in about.items() if name in by_task]


def result(name: str, records: list[Record], about: dict[str, Any]) -> Result:
    """What the records of one task come to, the best subject first; `about` is what the run says of the task."""
    metric, (reference, *_) = about["metric"], about["baselines"]
    good = [record for record in records if record.status == "ok"]
    subjects = list(dict.fromkeys(record.method for record in good))
    scores = {subject: _by_seed(good, subject, metric) for subject in subjects}
    steps = {subject: _by_seed(good, subject, STEP) for subject in subjects}
    lines = []
    for subject in subjects:
        own = [record for record in good if record.method == subject]
        more = dict.fromkeys(r.metric for r in own if r.metric not in (metric, STEP))
        facts = {r.measurement["seed"]: r.measurement for r in own if r.metric == metric}
        apart = paired(scores[subject], scores.get(reference, {}))
        costs = [steps[subject][s] / t for s, t in steps.get(reference, {}).items() if s in steps[subject]]
        values = list(scores[subject].values())
        lines.append(
            Line(
                subject, scores[subject], {other: _by_seed(own, subject, other) for other in more}, steps[subject],
                mean(values), interval(values), mean(apart),
                NO_INTERVAL if subject == reference else interval(apart),
                statistics.median(costs) if costs else math.nan,
                next((int(f["parameters"]) for f in facts.values()), 0), facts,
            )
        )  # fmt: skip
    lines.sort(key=lambda line: -line.mean)
    floors = [f["floor"] for line in lines for f in line.facts.values()]
    floor = mean(floors)
    low = [line.subject for line in lines if line.mean < floor]
    base = [b for b in about["baselines"] if b in subjects]
    trained = bool(base) and not set(base) & set(low)
    below = [f"below the floor: {', '.join(low)}"] if trained and low else []  # of a baseline the verdict says it
    return Result(
        name, about["title"], metric, good[0].unit if good else "", reference, about["floor"], floor,
        max((len(line.scores) for line in lines), default=0), trained, lines,
        claims(scores) if trained else [], [*below, *doubts(lines)], _holes(records),
    )  # fmt: skip


def _by_seed(records: Iterable[Record], subject: str, metric: str) -> dict[int, float]:
    return {
        record.measurement["seed"]: record.value
        for record in records
        if record.method == subject and record.metric == metric and record.value is not None
    }


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def claims(scores: dict[str, dict[int, float]]) -> list[Claim]:
    """The paper's order of methods, pair by pair; where the paired interval holds 0, or there is none, it is open."""
    made = []
    for better, others in CLAIMS:
        for worse in others:
            if better in scores and worse in scores:
                apart = paired(scores[better], scores[worse])
                low, high = interval(apart)
                verdict = "holds" if low > 0 else "reversed" if high < 0 else "open"
                made.append(Claim(better, worse, mean(apart), (low, high), verdict))
    return made


def doubts(lines: list[Line]) -> list[str]:
    """What cannot be, were everything as it should: betas that stayed where they were, subjects that are the same."""
    found = []
    for line in lines:
        still = [name for name, betas in line.betas.items() if not any(beta["moved"] for beta in betas)]
        if still:
            found.append(f"{line.subject}: no beta of {', '.join(still)} moved; nothing was learned there")
    for a, b in combinations(lines, 2):
        if len(a.scores) > 1 and a.scores == b.scores:
            found.append(f"{a.subject} and {b.subject} have the same score with every seed")
    return found


def _holes(records: list[Record]) -> list[str]:
    """Why trials have no number, in one line for each reason."""
    seen: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status != "ok" and record.metric != STEP:
            seen.setdefault((record.status, record.reason or ""), []).append(record.case.partition("/")[2])
    return [f"{len(cases)} {status}: {reason}" for (status, reason), cases in seen.items()]
