"""The networks that are trained, a pooling layer of a subject in every place where the size is halved.

As in the AdaPool paper, what would be a strided convolution is one of stride 1 and a pooling layer behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from suites.networks import Dense, UNet, grouped
from tasks.pooling import Pooling


def _conv(rank: int, inputs: int, outputs: int) -> nn.Sequential:
    conv, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[rank - 2]
    return nn.Sequential(conv(inputs, outputs, 3, padding=1, bias=False), norm(outputs))


class _Residual(nn.Module):
    """`relu(conv(relu(conv(x))) + x)`, the sum over the channels that x has."""

    def __init__(self, rank: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(rank, inputs, outputs), nn.ReLU(), _conv(rank, outputs, outputs))
        self.more = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        wider = (0, 0) * (x.dim() - 2) + (0, self.more)  # identity with zeros for the new channels (He et al. 2015, A)
        return torch.relu(self.body(x) + nn.functional.pad(x, wider))


def _dense(rank: int, inputs: int, outputs: int) -> nn.Module:
    """Three of DenseNet's layers and its transition, but for the pool behind it."""
    growth = inputs // 2
    layers = [Dense(inputs + i * growth, growth) for i in range(3)]
    wide = inputs + 3 * growth
    return nn.Sequential(*layers, nn.BatchNorm2d(wide), nn.ReLU(), nn.Conv2d(wide, outputs, 1, bias=False))


def _grouped(rank: int, inputs: int, outputs: int) -> nn.Module:
    """Two of ResNeXt's blocks."""
    return nn.Sequential(grouped(inputs, outputs // 4, 1), grouped(outputs, outputs // 4, 1))


STAGES: dict[str, Callable[[int, int, int], nn.Module]] = {
    "resnet": _Residual, "densenet": _dense, "resnext": _grouped,
}  # fmt: skip


class Classifier(nn.Module):
    """Two stages of a network over images (rank 2), a ResNet's over videos (rank 3) too, each behind a pool."""

    def __init__(
        self, subject: str, channels: int, size: Sequence[int], classes: int, width: int, stage: str = "resnet"
    ) -> None:
        super().__init__()
        rank = len(size)
        half, quarter = ([n // step for n in size] for step in (2, 4))
        self.stem = nn.Sequential(_conv(rank, channels, width), nn.ReLU())
        self.pool1 = Pooling(subject, rank, width, half)
        self.stage1 = STAGES[stage](rank, width, 2 * width)
        self.pool2 = Pooling(subject, rank, 2 * width, quarter)
        self.stage2 = STAGES[stage](rank, 2 * width, 4 * width)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage1(self.pool1(self.stem(x)))
        x = self.stage2(self.pool2(x))
        found: Tensor = self.head(x.flatten(2).mean(2))
        return found


def unet(subject: str, channels: int, size: Sequence[int], classes: int, width: int) -> UNet:
    """suites.networks' U-Net with the subject's pooling on the way down; its way up is the same for all subjects."""
    network = UNet(classes, width, channels)
    network.pool = nn.ModuleList(
        Pooling(subject, 2, width * 2**level, [n // 2 ** (level + 1) for n in size])
        for level in range(len(network.pool))
    )
    return network


def first_guess(x: Tensor) -> Tensor:
    """The mean of the pictures that x [N, 3 pictures, H, W] holds; of one, itself."""
    return x.reshape(x.shape[0], -1, 3, *x.shape[2:]).mean(1)


class Hourglass(nn.Module):
    """Corrects a first guess of a picture: features, pooled, changed, brought back by the subject's decoder.

    `y = guess + tail(undo(body(pool(features(x)))))`, the guess being the mean of the pictures in x. Nothing but
    the undoing leads from the small features to the picture, so what it cannot bring back is lost. Of any even size.
    """

    def __init__(self, subject: str, channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(_conv(2, channels, width), nn.ReLU(), _conv(2, width, width), nn.ReLU())
        self.pool = Pooling(subject, 2, width)
        self.body = _Residual(2, width, width)
        last = nn.Conv2d(width, 3, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # so that training starts from the guess
        self.tail = nn.Sequential(_conv(2, width, width), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        small, undo = self.pool.reversible(self.features(x))
        found: Tensor = first_guess(x) + self.tail(undo(self.body(small)))
        return found
