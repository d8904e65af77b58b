"""Segmentation of objects composed on photographs: discs, squares and triangles, told apart by their texture."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks import photographs
from tasks.networks import unet
from tasks.pooling import METHODS
from tasks.task import Data, Picture, Size, Sources, Task, rng

SIDE = 32
WIDTH = 8
CLASSES = ("background", "plain", "striped", "checked")
OUTLINES = ("disc", "square", "triangle")
COLORS = ((0.15, 0.15, 0.15), (0.0, 0.45, 0.7), (0.87, 0.56, 0.02), (0.0, 0.62, 0.45))


def mean_iou(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """The mean over the classes of what both have over what either has, all test pictures together."""
    got = outputs.argmax(1)
    shares = []
    for label in range(outputs.shape[1]):
        mine, right = got == label, labels == label
        either = (mine | right).sum().item()
        if either:
            shares.append((mine & right).sum().item() / either)
    return {"miou": sum(shares) / len(shares)}


def inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which places belong to the shape of size 1 around 0; all three have about the same area."""
    if shape == "disc":
        return x**2 + y**2 <= 0.8
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.8
    return (y >= -0.68) & (y <= 1.35 - 1.74 * abs(x))


def texture(label: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the second of an object's two colours is; bands and fields are 1 wide."""
    if label == "plain":
        return np.zeros(x.shape, bool)
    bands: NDArray[np.bool_] = np.floor(x) % 2 == 0
    return bands if label == "striped" else bands ^ (np.floor(y) % 2 == 0)


def colors(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two colours [3, 1, 1] that differ by at least 0.3 in brightness."""
    while True:
        first, second = rng.uniform(0, 1, (2, 3, 1, 1))
        if abs(first.mean() - second.mean()) >= 0.3:
            return first, second


def compose(photos: list[Picture], rng: np.random.Generator) -> tuple[Picture, NDArray[np.int64]]:
    """A picture [3, SIDE, SIDE] with one or two objects, the later in front, and the class of each of its pixels."""
    picture = photographs.piece(photos, SIDE, rng).copy()
    labels = np.zeros((SIDE, SIDE), np.int64)
    ys, xs = np.mgrid[:SIDE, :SIDE] + 0.5
    for _ in range(rng.integers(1, 3)):
        label = int(rng.integers(1, len(CLASSES)))
        size, angle = rng.uniform(6, 10), rng.uniform(0, 2 * np.pi)
        cx, cy = rng.uniform(size / 2, SIDE - size / 2, 2)
        u, v = (xs - cx) / size, (ys - cy) / size
        sine, cosine = np.sin(angle), np.cos(angle)
        x, y = cosine * u - sine * v, sine * u + cosine * v
        mask = inside(OUTLINES[rng.integers(len(OUTLINES))], x, y)
        first, second = colors(rng)
        band = size / rng.uniform(2, 3)  # of pixels
        picture[:, mask] = np.where(texture(CLASSES[label], x * band, y * band), first, second)[:, mask]
        labels[mask] = label
    return picture, labels


def _composed(sources: Sources, size: Size, seed: int) -> Data:
    drawn, found = rng("shapes", seed), []
    for photos, count in zip(photographs.split(sources.images, SIDE), (size.train, size.test), strict=True):
        made = [compose(photos, drawn) for _ in range(count)]
        found.append(
            (torch.from_numpy(np.stack([p for p, _ in made])), torch.from_numpy(np.stack([m for _, m in made])))
        )
    return Data(found[0], found[1], 0.50, CLASSES)


def _network(subject: str, data: Data) -> nn.Module:
    return unet(subject, 3, (SIDE, SIDE), len(CLASSES), WIDTH)


def _pictures(data: Data, outputs: Tensor, i: int) -> dict[str, Picture]:
    colors = np.array(COLORS, np.float32)
    maps = {"truth": data.test[1][i].numpy(), "result": outputs[i].argmax(0).numpy()}
    return {"picture": data.test[0][i].numpy(), **{n: colors[m].transpose(2, 0, 1) for n, m in maps.items()}}


SHAPES = Task(
    name="shapes",
    title="Segmentation of objects composed on photographs (three textures, 32 x 32 pixels)",
    metric="miou",
    floor="a mean IoU of 50 %",
    baselines=("avg", "max"),
    subjects=METHODS,
    sizes={
        "smoke": Size(2, 40, 16, 256, 64),
        "default": Size(5, 440, 8, 1024, 128),
        "full": Size(10, 440, 8, 1024, 256),
    },
    fault=lambda sources: photographs.fault(sources.images, SIDE),
    draw=_composed,
    network=_network,
    loss=nn.functional.cross_entropy,
    score=mean_iou,
    pictures=_pictures,
)
