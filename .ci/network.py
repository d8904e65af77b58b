"""A training step of a residual network with its stem pool exchanged: `python .ci/network.py [OPTIONS]`.

Forward, loss, backward and a step of SGD, eager, bfloat16 autocast, channels_last; CUDA events, or the wall clock on a
CPU. The pools take turns in rounds of shuffled order, so that what drifts meets all of them; $OUT (else results) gets
network.json with every sample. Exit code 2: torchvision is not there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import nn  # noqa: E402

from adapool import AdaPool2d, Pool, SoftPool2d, native  # noqa: E402
from reports.interval import interval, median  # noqa: E402

CLASSES = 1000
# The place of beta is the pooled map, a quarter of the image on each side.
POOLS: dict[str, Callable[[int], nn.Module]] = {
    "torch max 3/2 p1": lambda size: nn.MaxPool2d(3, 2, 1),
    "torch avg 3/2 p1": lambda size: nn.AvgPool2d(3, 2, 1),
    "AdaPool 3/2 p1": lambda size: AdaPool2d(3, (size // 4, size // 4), 2, padding=1),
    "AdaPool 2/2": lambda size: AdaPool2d(2, (size // 4, size // 4)),
    "SoftPool 3/2 p1": lambda size: SoftPool2d(3, 2, padding=1),
    "our max 3/2 p1": lambda size: Pool("max", 3, 2, 1),
}
FIRST = next(iter(POOLS))  # what the others are compared with


class Tiny(nn.Module):
    """A stem as a residual network's and a head, to try this program with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.maxpool(self.bn1(self.conv1(x)).relu()).mean((2, 3)))
        return found


def network(name: str) -> nn.Module:
    if name == "tiny":
        return Tiny()
    try:
        import torchvision
    except ImportError:
        print(f"network: torchvision, which has {name}, is not installed; --model tiny needs none", file=sys.stderr)
        raise SystemExit(2) from None
    made: nn.Module = torchvision.models.get_model(name, weights=None)
    return made


class Step:
    """One network with one pool, and its training step."""

    def __init__(self, asked: argparse.Namespace, pool: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
        torch.manual_seed(0)
        self.model = network(asked.model)
        self.model.maxpool = pool
        self.model.to(asked.device, memory_format=torch.channels_last).train()
        self.images, self.labels, self.kind = images, labels, images.device.type
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.peak: int | None = None

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.kind, torch.bfloat16):
            loss = nn.functional.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()

    def seconds(self, calls: int) -> float:
        """Of one step, as the mean of `calls` in a row after one that is not counted."""
        self()
        if self.kind != "cuda":
            begin = time.perf_counter()
            for _ in range(calls):
                self()
            return (time.perf_counter() - begin) / calls
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(calls):
            self()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / calls

    def warm_up(self, calls: int) -> None:
        """What is made once, as kernels and the optimizer's state; then the memory that a step takes beside that."""
        for _ in range(calls):
            self()
        if self.kind == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self()
            torch.cuda.synchronize()
            self.peak = torch.cuda.max_memory_allocated() - before
        self.optimizer.zero_grad(set_to_none=True)


def summary(samples: dict[str, list[float]], steps: dict[str, Step]) -> list[dict[str, Any]]:
    """A row for each pool: the median step and its interval, and those of its ratio to FIRST round by round."""
    rows = []
    for name, taken in samples.items():
        ratios = [own / first for own, first in zip(taken, samples[FIRST], strict=True)]
        ends, edges = interval(sorted(taken)), interval(sorted(ratios))
        known = [None if math.isnan(end) else end for end in (*ends, *edges)]  # JSON has no NaN
        rows.append(
            {
                "pool": name, "median_s": median(sorted(taken)), "lo_s": known[0], "hi_s": known[1],
                "ratio": median(sorted(ratios)), "ratio_lo": known[2], "ratio_hi": known[3],
                "peak_bytes": steps[name].peak, "samples_s": taken,
            }
        )  # fmt: skip
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    def between(lo: float | None, hi: float | None, scale: float) -> str:
        return "too few rounds" if lo is None or hi is None else f"{lo * scale:.3f} to {hi * scale:.3f}"

    print(f"{'stem pool':18} {'ms a step':>10} {'95 % interval':>20} {'over max':>9} {'95 % interval':>16} {'GiB':>6}")
    for row in rows:
        peak = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.2f}"
        print(
            f"{row['pool']:18} {1e3 * row['median_s']:10.3f} {between(row['lo_s'], row['hi_s'], 1e3):>20} "
            f"{row['ratio']:9.3f} {between(row['ratio_lo'], row['ratio_hi'], 1):>16} {peak:>6}"
        )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="resnet50, resnet18, ... of torchvision; tiny needs none")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=224, help="pixels on a side, a multiple of 4")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=5, help="steps in a row that make one sample")
    asked = parser.parse_args()
    if min(asked.batch, asked.rounds, asked.calls) < 1 or asked.size < 8 or asked.size % 4:
        parser.error("expected batch, rounds and calls from 1 on and a size that is a multiple of 4 from 8 on")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("device: torch sees no GPU; --device cpu is the other choice")
    return asked


def main() -> None:
    asked = options()
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    images = torch.randn(asked.batch, 3, asked.size, asked.size).to(asked.device, memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (asked.batch,)).to(asked.device)
    steps = {name: Step(asked, make(asked.size), images, labels) for name, make in POOLS.items()}
    for step in steps.values():
        step.warm_up(3)
    samples: dict[str, list[float]] = {name: [] for name in steps}
    order, dice = list(steps), random.Random(0)
    for _ in range(asked.rounds):
        dice.shuffle(order)
        for name in order:
            samples[name].append(steps[name].seconds(asked.calls))
    rows = summary(samples, steps)
    where = torch.cuda.get_device_name() if asked.device == "cuda" else "cpu"
    print(
        f"{asked.model}, {asked.batch} images of {asked.size} x {asked.size}, training step, bfloat16 autocast, "
        f"channels_last, {where}, torch {torch.__version__}, native {native.status()[asked.device]}"
    )
    show(rows)
    held = {**vars(asked), "name": where, "torch": torch.__version__, "native": native.status(), "rows": rows}
    path = Path(os.environ.get("OUT") or "results") / "network.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held, indent=1, allow_nan=False) + "\n")
    print(path)


if __name__ == "__main__":
    main()
