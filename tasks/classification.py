"""Classification: scikit-learn's digits, and Fashion-MNIST from a folder."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.networks import Classifier
from tasks.pooling import METHODS
from tasks.task import Data, Size, Sources, Task, rng

DEBIAN = "/usr/share/datasets/fashion-mnist"
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
WIDTHS = {"resnet": 8, "densenet": 8, "resnext": 16}  # of some 16000 parameters each
Array = NDArray[np.uint8]


def accuracy(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    return {"accuracy": (outputs.argmax(1) == labels).double().mean().item()}


def checked(name: str, labels: NDArray[np.int64]) -> int:
    """The number of classes, counted from 0. ValueError where there is nothing to tell apart."""
    found = np.unique(labels)
    if len(found) < 2:
        raise ValueError(f"{name}: expected at least two classes, got one ({found[0]})")
    return int(found.max()) + 1


def _parted(
    name: str, images: NDArray[np.float32], labels: NDArray[np.int64], floor: float, size: Size, seed: int
) -> Data:
    """The images in an order of the seed's: first those to train on, then those to test with."""
    classes = checked(name, labels)
    if len(labels) < size.train + size.test:
        raise ValueError(f"{name}: expected {size.train + size.test} images, got {len(labels)}")
    order = rng(name, seed).permutation(len(labels))
    x, y = torch.tensor(images[order]).unsqueeze(1), torch.tensor(labels[order])
    part, end = size.train, size.train + size.test
    names = tuple(map(str, range(classes)))
    return Data((x[:part], y[:part]), (x[part:end], y[part:end]), floor, names)


def _digits_fault(sources: Sources) -> str | None:
    if importlib.util.find_spec("sklearn") is None:
        return "scikit-learn is not installed; python -m pip install -e '.[tasks]'"
    return None


def _digits(sources: Sources, size: Size, seed: int) -> Data:
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    images = (values / 16).astype(np.float32).reshape(-1, 8, 8)
    return _parted("digits", images, labels.astype(np.int64), 0.97, size, seed)


def idx(path: Path) -> Array:
    """The numbers of an IDX file of bytes, gzipped or not. ValueError where it is none."""
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        zero, kind, rank = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        if zero != 0 or kind != 8:
            raise ValueError("it does not begin as an IDX file of bytes does")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise ValueError(f"fashion-mnist: {path.name} cannot be read ({error})") from None


def _fashion_files(folder: str | None) -> list[Path]:
    """The four files; ValueError that says which are missing."""
    found = [
        next((p for ending in ("", ".gz") if (p := Path(folder or DEBIAN) / f"{name}{ending}").is_file()), None)
        for name in FILES
    ]
    missing = [name for name, path in zip(FILES, found, strict=True) if path is None]
    if missing and folder is None:
        raise ValueError(
            f"fashion-mnist: not found where Debian's dataset-fashion-mnist puts it ({DEBIAN}); "
            "give its folder with --fashion-mnist"
        )
    if missing:
        raise ValueError(f"fashion-mnist: expected {', '.join(missing)} (.gz or not) in the folder given")
    return [path for path in found if path is not None]


def _fashion_fault(sources: Sources) -> str | None:
    try:
        _fashion_read(sources.fashion)
    except (ValueError, OSError) as error:
        return str(error)
    return None


@lru_cache(maxsize=2)
def _fashion_read(folder: str | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    parts = [idx(path) for path in _fashion_files(folder)]
    images, labels = (np.concatenate([parts[i], parts[i + 2]]) for i in (0, 1))
    if images.ndim != 3 or min(images.shape[1:]) < 8 or len(images) != len(labels):
        raise ValueError(
            f"fashion-mnist: expected as many images of at least 8 x 8 pixels as labels, got {images.shape} "
            f"and {labels.shape}"
        )
    even = images[:, : images.shape[1] // 4 * 4, : images.shape[2] // 4 * 4]
    checked("fashion-mnist", labels.astype(np.int64))
    return (even / 255).astype(np.float32), labels.astype(np.int64)


def _fashion(sources: Sources, size: Size, seed: int) -> Data:
    return _parted("fashion-mnist", *_fashion_read(sources.fashion), 0.80, size, seed)


def _network(stage: str, subject: str, data: Data) -> nn.Module:
    channels, *size = data.train[0].shape[1:]
    return Classifier(subject, channels, size, len(data.classes), WIDTHS[stage], stage)


def _others(task: Task) -> tuple[Task, ...]:
    """The same data for the other networks, which have more layers: twice the steps."""
    return tuple(
        replace(
            task,
            name=f"{task.name}-{stage}",
            title=f"{task.title}, by a {title}",
            sizes={profile: replace(size, steps=2 * size.steps) for profile, size in task.sizes.items()},
            network=partial(_network, stage),
            further=True,
        )
        for stage, title in (("densenet", "DenseNet"), ("resnext", "ResNeXt"))
    )


DIGITS = Task(
    name="digits",
    title="Classification of digits (scikit-learn's, 8 x 8 pixels)",
    metric="accuracy",
    floor="an accuracy of 97 %",
    baselines=("avg", "max"),
    subjects=METHODS,
    sizes={
        "smoke": Size(2, 100, 32, 1000, 400),
        "default": Size(5, 300, 32, 1000, 797),
        "full": Size(10, 300, 32, 1000, 797),
    },
    fault=_digits_fault,
    draw=_digits,
    network=partial(_network, "resnet"),
    loss=nn.functional.cross_entropy,
    score=accuracy,
)
FASHION = Task(
    name="fashion-mnist",
    title="Classification of Fashion-MNIST (28 x 28 pixels)",
    metric="accuracy",
    floor="an accuracy of 80 %",
    baselines=("avg", "max"),
    subjects=METHODS,
    sizes={
        "smoke": Size(2, 40, 32, 2000, 500),
        "default": Size(5, 500, 24, 10000, 1000),
        "full": Size(10, 500, 24, 10000, 2000),
    },
    fault=_fashion_fault,
    draw=_fashion,
    network=partial(_network, "resnet"),
    loss=nn.functional.cross_entropy,
    score=accuracy,
    source="fashion",
)
CLASSIFICATION = (DIGITS, *_others(DIGITS), FASHION, *_others(FASHION))
