"""What an experiment is: data drawn by a seed, a network for a subject, a loss, scores, and the floor to be cleared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.pooling import METHODS

HOURGLASS = (*METHODS, "avg+bilinear", "ada+bilinear", "ada+transposed")
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Sources:
    """Where the data lie that a person has given; None: what is built in, or where Debian puts it."""

    images: str | None = None
    video: str | None = None
    fashion: str | None = None


@dataclass(frozen=True)
class Size:
    """How much of a task a profile does: seeds, steps of training and their batch, examples to train on and to test."""

    seeds: int
    steps: int
    batch: int
    train: int
    test: int


@dataclass(frozen=True)
class Data:
    """One seed's data. `floor` is the score that a trained network has to reach."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    floor: float
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One experiment.

    `metric` is the score that counts, higher is better. Where a baseline's mean is below the floor, which `floor` says
    in words, nothing was learned that could be compared. `fault` says why the data are not there.
    """

    name: str
    title: str
    metric: str
    floor: str
    baselines: tuple[str, ...]
    subjects: tuple[str, ...]
    sizes: Mapping[str, Size]
    fault: Callable[[Sources], str | None]
    draw: Callable[[Sources, Size, int], Data]
    network: Callable[[str, Data], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], dict[str, float]]
    pictures: Callable[[Data, Tensor, int], dict[str, Picture]] | None = None  # of one test example, [3, H, W]
    rate: float = 1e-2  # of Adam at its highest
    rank: int = 2
    source: str | None = None  # the field of Sources that this task's data come from
    further: bool = False  # done by the full profile, and where it is named


def rng(name: str, seed: int) -> np.random.Generator:
    """The random numbers of a task's data: the same for all subjects of a seed."""
    return np.random.default_rng([seed, *name.encode()])
