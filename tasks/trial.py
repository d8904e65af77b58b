"""One trial: a subject of a task trained with one seed, scored, timed; on one thread, the same numbers every time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from suites import machine
from tasks.pooling import betas, project
from tasks.task import Data, Picture, Size, Sources, Task

POINTS = 5  # of a learning curve, the last at the end
SHOWN = 3  # test examples whose pictures are kept
BINS = 20  # of beta's histogram over [0, 1]
TIMES = 60  # step times kept, evenly spread
FIRST = 5  # steps that warm up, not timed


@dataclass
class Outcome:
    """What a trial gave: scores at the end, the curve, seconds of steps, what beta became, pictures by name."""

    scores: dict[str, float]
    curve: list[dict[str, float]]
    steps: list[float]
    shape: list[int]
    facts: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)


def run(task: Task, subject: str, size: Size, sources: Sources, seed: int, device: str = "cpu") -> Outcome:
    """Trains and tests. ArithmeticError where the loss is no longer a number, ValueError for data that do not do."""
    with machine.threads(1):  # small networks gain nothing from more, and sums keep their order
        data = task.draw(sources, size, seed)
        torch.manual_seed(seed)
        network = task.network(subject, data).to(device)
        return _trained(task, network, data, size, seed, torch.device(device))


def _trained(task: Task, network: nn.Module, data: Data, size: Size, seed: int, device: torch.device) -> Outcome:
    x, y = (part.to(device) for part in data.train)
    start = betas(network)
    optimizer = torch.optim.Adam(network.parameters(), task.rate)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, task.rate, size.steps, pct_start=0.1)  # then down by a cosine
    points = {max(1, round(size.steps * (i + 1) / POINTS)) for i in range(POINTS)}
    curve, seconds, losses = [], [], []
    for step, rows in enumerate(_batches(len(x), size, seed), 1):
        began = _now(device)
        optimizer.zero_grad()
        loss = task.loss(network(x[rows]), y[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        project(network)
        seconds.append(_now(device) - began)
        rate.step()
        losses.append(loss.item())
        if losses[-1] != losses[-1]:
            raise ArithmeticError(f"the loss is NaN at step {step}")
        if step in points:
            outputs = tested(network, data, size, device)
            scores = task.score(outputs, data.test[1])
            curve.append({"step": step, "loss": statistics.fmean(losses), "score": scores[task.metric]})
            losses.clear()
    timed = seconds[FIRST:] or seconds
    kept = timed[:: max(1, len(timed) // TIMES)]
    pictures: dict[str, Picture] = {}
    for i in range(min(SHOWN, len(outputs))) if task.pictures else ():
        assert task.pictures is not None
        pictures |= {f"{i}__{what}": picture for what, picture in task.pictures(data, outputs, i).items()}
    facts = {
        "floor": data.floor, "parameters": sum(p.numel() for p in network.parameters()), "steps": size.steps,
        "batch": size.batch, "train": len(x), "test": len(data.test[0]), "beta": learned(network, start),
    }  # fmt: skip
    return Outcome(scores, curve, kept, [size.batch, *x.shape[1:]], facts, pictures)


def _batches(count: int, size: Size, seed: int) -> Iterator[Tensor]:
    """Rows of each step: every example once an epoch, in an order that is the seed's alone."""
    drawn = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(size.steps):
        while len(order) < size.batch:
            order = torch.cat([order, torch.randperm(count, generator=drawn)])
        yield order[: size.batch]
        order = order[size.batch :]


def tested(network: nn.Module, data: Data, size: Size, device: torch.device) -> Tensor:
    """What the network makes of the test examples, as in use: no gradients, the norms' running statistics."""
    network.eval()
    with torch.no_grad():
        outputs = torch.cat([network(x.to(device)).cpu() for x in torch.split(data.test[0], 4 * size.batch)])
    network.train()
    return outputs


def _now(device: torch.device) -> float:
    """Of a GPU the time that passes; of the CPU what this process spends, since trials side by side take turns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def learned(network: nn.Module, start: dict[str, Tensor]) -> dict[str, Any]:
    """Of every layer with a beta: its mean, range, histogram, how far it moved, and its map where it has one."""
    found = {}
    for name, beta in betas(network).items():
        values = beta.float().cpu()
        counts = torch.histc(values, BINS, 0, 1).int().tolist()
        grid = values.flatten(0, -3).mean(0) if values.dim() > 2 else values
        found[name] = {
            "mean": _short(values.mean()), "low": _short(values.min()), "high": _short(values.max()),
            "moved": _short((beta - start[name]).abs().max()), "histogram": counts,
            "map": [[_short(v) for v in row] for row in grid] if grid.numel() > 1 else None,
        }  # fmt: skip
    return found


def _short(value: Tensor) -> float:
    return round(value.item(), 6)
