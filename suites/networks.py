"""Networks in miniature with the pools that their papers have: what is converted, measured and trained. Torch alone.

`width` is the number of channels behind the stem; 64 is the papers', 8 trains in seconds on a core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def _conv(rank: int, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution that keeps the size but for its stride, and batch normalisation."""
    conv, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[rank - 2]
    return nn.Sequential(
        conv(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        norm(outputs),
    )


def _stem(width: int) -> nn.Sequential:
    """Of ImageNet's networks, 4 times smaller in all."""
    return nn.Sequential(_conv(2, 3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


def _head(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class _Residual(nn.Module):
    """`relu(body(x) + shortcut(x))`."""

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        same = stride == 1 and inputs == outputs
        self.body, self.shortcut = body, nn.Identity() if same else _conv(2, inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _basic(inputs: int, width: int, stride: int) -> nn.Module:
    body = nn.Sequential(_conv(2, inputs, width, 3, stride), nn.ReLU(), _conv(2, width, width, 3))
    return _Residual(body, inputs, width, stride)


def _bottleneck(inputs: int, width: int, stride: int, wide: int = 1, groups: int = 1) -> nn.Module:
    """`wide width` channels inside, in groups, and `4 width` behind."""
    inside = wide * width
    first = nn.Sequential(_conv(2, inputs, inside, 1), nn.ReLU())
    middle = nn.Sequential(_conv(2, inside, inside, 3, stride, groups), nn.ReLU())
    return _Residual(nn.Sequential(first, middle, _conv(2, inside, 4 * width, 1)), inputs, 4 * width, stride)


def grouped(inputs: int, width: int, stride: int) -> nn.Module:
    """ResNeXt's: twice as wide inside, in groups of four channels."""
    return _bottleneck(inputs, width, stride, 2, width // 2)


def _staged(
    block: Callable[[int, int, int], nn.Module], grows: int, depths: Sequence[int], classes: int, width: int
) -> nn.Sequential:
    """The stem, stages of blocks, the head."""
    stages, inputs = [], width
    for stage, depth in enumerate(depths):
        wide, blocks = width * 2**stage, []
        for i in range(depth):
            blocks.append(block(inputs, wide, 2 if stage and i == 0 else 1))
            inputs = grows * wide
        stages.append(nn.Sequential(*blocks))
    return nn.Sequential(_stem(width), nn.Sequential(*stages), _head(inputs, classes))


def resnet18(classes: int = 10, width: int = 64) -> nn.Module:
    """He et al. 2015: max pooling in the stem, then strided convolutions."""
    return _staged(_basic, 1, (2, 2, 2, 2), classes, width)


def resnet50(classes: int = 10, width: int = 64) -> nn.Module:
    """He et al. 2015, the stride in the middle of a block: max pooling in the stem, then strided convolutions."""
    return _staged(_bottleneck, 4, (3, 4, 6, 3), classes, width)


def resnext(classes: int = 10, width: int = 64) -> nn.Module:
    """Xie et al. 2016, two blocks a stage: grouped convolutions; `width` even."""
    return _staged(grouped, 4, (2, 2, 2, 2), classes, width)


class Dense(nn.Module):
    """`cat(x, body(x))`."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), _conv(2, inputs, 4 * growth, 1), nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


def densenet(classes: int = 10, width: int = 64) -> nn.Module:
    """Huang et al. 2016, three blocks of three layers: average pooling between blocks; `width` a multiple of 4."""
    layers: list[nn.Module] = [_stem(width)]
    inputs, growth = width, width // 2
    for block in range(3):
        if block:
            half = inputs // 2
            shrink = (nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, half, 1, bias=False), nn.AvgPool2d(2))
            layers.append(nn.Sequential(*shrink))
            inputs = half
        for _ in range(3):
            layers.append(Dense(inputs, growth))
            inputs += growth
    return nn.Sequential(*layers, nn.BatchNorm2d(inputs), nn.ReLU(), _head(inputs, classes))


def _twice(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(_conv(2, inputs, width, 3), nn.ReLU(), _conv(2, width, width, 3), nn.ReLU())


class UNet(nn.Module):
    """Ronneberger et al. 2015, three levels: a map of `classes` channels, as large as the image, a multiple of 8.

    One level: `down[i]`, `pool[i]` on the way down, `up[i]`, `join[i]` on the way up.
    """

    def __init__(self, classes: int = 10, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        wide = [width * 2**level for level in range(4)]
        self.down = nn.ModuleList(_twice(i, o) for i, o in zip([channels, *wide], wide, strict=False))
        self.pool = nn.ModuleList(nn.MaxPool2d(2) for _ in wide[1:])
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in zip(wide[1:], wide, strict=False))
        self.join = nn.ModuleList(_twice(2 * o, o) for o in wide[:-1])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for down, pool in zip(self.down, self.pool, strict=False):
            kept.append(down(x))
            x = pool(kept[-1])
        x = self.down[-1](x)
        for level in (2, 1, 0):
            x = self.join[level](torch.cat([kept[level], self.up[level](x)], 1))
        found: Tensor = self.head(x)
        return found


def c3d(classes: int = 10, width: int = 64) -> nn.Module:
    """Tran et al. 2014, a convolution a stage, a mean for its first linear layer: max pooling in space and time."""
    layers: list[nn.Module] = []
    inputs = 3
    for stage in range(4):
        outputs = width * 2**stage
        layers += [_conv(3, inputs, outputs, 3), nn.ReLU(), nn.MaxPool3d(2 if stage else (1, 2, 2))]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(inputs, classes))


NETWORKS: dict[str, Callable[..., nn.Module]] = {  # by name: `make(classes, width)` of images of three channels
    "resnet18": resnet18, "resnet50": resnet50, "densenet": densenet, "resnext": resnext, "unet": UNet, "c3d": c3d,
}  # fmt: skip
