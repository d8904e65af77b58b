"""Photographs that move in a known way, and the classification of how they move.

A frame at time t shows the photograph under a similarity: turned by `t turn`, enlarged by `exp(t zoom)`, shifted by
`t (pan_x, pan_y)` pixels, t from -1/2 to 1/2. So every frame between two is known exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks import photographs
from tasks.classification import accuracy
from tasks.networks import Classifier
from tasks.pooling import METHODS
from tasks.task import Data, Picture, Size, Sources, Task, rng

FRAMES, SIDE, REACH = 8, 16, 8
WIDTH = 4


@dataclass(frozen=True)
class Move:
    """What happens from the first frame to the last: pixels, the logarithm of a factor, radians."""

    pan_x: float = 0.0
    pan_y: float = 0.0
    zoom: float = 0.0
    turn: float = 0.0

    @staticmethod
    def drawn(rng: np.random.Generator) -> Move:
        """Some of everything, as a hand-held camera has it."""
        pan = rng.uniform(-4, 4, 2)
        return Move(pan[0], pan[1], rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1))


KINDS = {  # class -> a move of size 1
    "left": Move(pan_x=-5), "right": Move(pan_x=5), "up": Move(pan_y=-5), "down": Move(pan_y=5),
    "in": Move(zoom=0.5), "out": Move(zoom=-0.5), "clockwise": Move(turn=0.6), "anticlockwise": Move(turn=-0.6),
}  # fmt: skip


def frames_of(piece: Picture, move: Move, count: int, side: int) -> Picture:
    """[count, C, side, side] of the middle of a piece [C, H, W] that is larger, by bicubic interpolation."""
    height, width = piece.shape[-2:]
    axis = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grids = []
    for i in range(count):
        t = i / (count - 1) - 0.5
        scale, angle = math.exp(-t * move.zoom), t * move.turn
        sine, cosine = scale * math.sin(angle), scale * math.cos(angle)
        u = cosine * x - sine * y - t * move.pan_x
        v = sine * x + cosine * y - t * move.pan_y
        grids.append(torch.stack([2 * u / width, 2 * v / height], -1))
    whole = torch.from_numpy(np.ascontiguousarray(piece)).expand(count, -1, -1, -1)
    shown = nn.functional.grid_sample(
        whole, torch.stack(grids), mode="bicubic", padding_mode="reflection", align_corners=False
    )
    found: NDArray[np.float32] = shown.clamp(0, 1).numpy()
    return found


def _videos(sources: Sources, size: Size, seed: int) -> Data:
    drawn, found = rng("motion", seed), []
    kinds = list(KINDS.values())
    for photos, count in zip(photographs.split(sources.images, SIDE + 2 * REACH), (size.train, size.test), strict=True):
        labels, videos = drawn.permutation(np.arange(count) % len(kinds)), []
        for label in labels:
            kind, much, some = kinds[label], drawn.uniform(0.5, 1), Move.drawn(drawn)
            move = Move(*(much * getattr(kind, n) + 0.1 * getattr(some, n) for n in ("pan_x", "pan_y", "zoom", "turn")))
            grey = photographs.piece(photos, SIDE + 2 * REACH, drawn).mean(0, keepdims=True)
            videos.append(frames_of(grey, move, FRAMES, SIDE))
        x = torch.from_numpy(np.stack(videos).transpose(0, 2, 1, 3, 4).copy())
        found.append((_standard(x), torch.from_numpy(labels.astype(np.int64))))
    return Data(found[0], found[1], 0.6, tuple(KINDS))


def _standard(videos: Tensor) -> Tensor:
    """Every video with mean 0 and deviation 1, so that contrast tells nothing."""
    axes = (1, 2, 3, 4)
    return (videos - videos.mean(axes, keepdim=True)) / (videos.std(axes, keepdim=True) + 1e-3)


def _network(subject: str, data: Data) -> nn.Module:
    return Classifier(subject, 1, (FRAMES, SIDE, SIDE), len(data.classes), WIDTH)


MOTION = Task(
    name="motion",
    title="Classification of videos by their motion (photographs under known pan, zoom and rotation)",
    metric="accuracy",
    floor="an accuracy of 60 %, of eight classes",
    baselines=("avg", "max"),
    subjects=METHODS,
    sizes={
        "smoke": Size(2, 40, 16, 256, 128),
        "default": Size(5, 240, 16, 1024, 256),
        "full": Size(10, 240, 16, 1024, 512),
    },
    fault=lambda sources: photographs.fault(sources.images, SIDE + 2 * REACH),
    draw=_videos,
    network=_network,
    loss=nn.functional.cross_entropy,
    score=accuracy,
    rank=3,
)
