"""MODEL as the command line names it: whether it is there, what it is called, what it takes, and how it is made."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites import own
from suites.case import label

if TYPE_CHECKING:
    from torch import nn

SOURCES = ("torchvision", "timm", "transformers")
IMAGE = (3, 224, 224)
IMAGES = {"c3d": (3, 16, 112, 112)}  # where a model's paper has another
CLASSES = 1000
KNOWN = "path/to/file.py:function, torchvision:resnet50, timm:NAME, transformers:CONFIG, or one of "


def check(asked: str) -> None:
    """ValueError unless `asked` names a model that is here. Runs no code of a file."""
    from suites.networks import NETWORKS

    source, colon, name = asked.partition(":")
    if source in NETWORKS:
        if colon and not (name.isdecimal() and int(name) >= 4 and int(name) % 4 == 0):
            raise ValueError(f"model: expected a width that is a multiple of 4 behind {source}, got {asked!r}")
    elif source in SOURCES and name:
        if importlib.util.find_spec(source) is None:
            raise ValueError(f"model: {source} is not installed, which has {name}: python -m pip install {source}")
    elif asked.rpartition(":")[0].endswith(".py"):
        own.find(asked, "model")
    else:
        raise ValueError(f"model: expected {KNOWN}{', '.join(NETWORKS)} (resnet18:16 is of width 16), got {asked!r}")


def image(asked: str) -> tuple[int, ...]:
    """The shape of one image that the model takes where nothing else is said."""
    return IMAGES.get(asked.partition(":")[0], IMAGE)


def make(asked: str) -> nn.Module:
    """The model with random weights; whatever its code raises comes through, TypeError when it is none."""
    from torch import nn

    from suites.networks import NETWORKS

    source, _, name = asked.partition(":")
    made: Any
    if source in NETWORKS:
        made = NETWORKS[source](CLASSES, int(name or 64))
    elif source == "torchvision":
        made = importlib.import_module("torchvision").models.get_model(name, weights=None)
    elif source == "timm":
        made = importlib.import_module("timm").create_model(name, pretrained=False)
    elif source == "transformers":
        made = _of_config(importlib.import_module("transformers"), name)
    else:
        made = own.load(asked).function()
    if not isinstance(made, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module from {label(asked)}, got {type(made).__name__}")
    return made


def _of_config(transformers: Any, name: str) -> Any:
    """Of a configuration class, as it is by default, or of a config.json that a folder has."""
    if Path(name).exists():
        config = transformers.AutoConfig.from_pretrained(name)
    elif hasattr(transformers, name):
        config = getattr(transformers, name)()
    else:
        raise ValueError(f"model: expected a configuration of transformers, such as ResNetConfig, got {name!r}")
    return transformers.AutoModelForImageClassification.from_config(config)
