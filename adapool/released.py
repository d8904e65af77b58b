"""Code and weights written for the released AdaPool, SoftPool, LIP and DPP: their module names, their state_dict keys.

Knows which keys were published and what they become; the layers' own names live with the layers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from adapool import adaptive, modules, named
from adapool.adaptive import AdaPool
from adapool.learned import DPPPool, LIPPool

_RANKS = ("1d", "2d", "3d")
_NAMES = {  # of each package: the released name, less its rank, and this library's
    "adaPool": {
        "adapool": (named, "adapool"), "AdaPool": (adaptive, "AdaPool"), "AdaUnpool": (adaptive, "AdaUnpool"),
        "edscwpool": (named, "edscwpool"), "EDSCWPool": (modules, "EDSCWPool"),
        "ejvswpool": (named, "edscwpool"), "EJVSWPool": (modules, "EDSCWPool"),  # its first name
        "empool": (named, "empool"), "EMPool": (modules, "EMPool"),
        "idwpool": (named, "idwpool"), "IDWPool": (modules, "IDWPool"),
    },
    "SoftPool": {"soft_pool": (named, "soft_pool"), "SoftPool": (modules, "SoftPool")},
}  # fmt: skip
_EXTENSIONS = ("adapool_cuda", "softpool_cuda")  # their compiled modules, which their users import first


class _Alias(ModuleType):
    """A module of this library under a released package's name."""

    def __init__(self, name: str, contents: Mapping[str, Any]) -> None:
        super().__init__(name, f"adapool under the name {name}, by adapool.install_aliases().")
        self.__file__, self.__spec__, self.__path__ = __file__, ModuleSpec(name, None), []
        self.__all__ = list(contents)
        self.__dict__.update(contents)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(self.__all__) or "nothing: adapool's kernels have other names"
        raise AttributeError(f"{self.__name__} is adapool under another name and has no {name!r}; it has {known}")


def install_aliases() -> None:
    """Let `import adaPool` and `import SoftPool` find this library, for code that cannot be edited.

    In this process, from this call on: the packages, their `idea` modules, and `adapool_cuda` and `softpool_cuda`,
    which are there to be imported and hold nothing. An installed package of these names is passed over; ImportError
    when one is imported already. Calling it twice does no more than once.

    >>> install_aliases()
    >>> from adaPool import AdaPool2d
    >>> AdaPool2d is adapool.AdaPool2d
    True
    """
    made: dict[str, _Alias] = {name: _Alias(name, {}) for name in _EXTENSIONS}
    for package, names in _NAMES.items():
        found = {name + r: getattr(home, own + r) for name, (home, own) in names.items() for r in _RANKS}
        if package == "adaPool":
            found["adaunpool"] = named.adaunpool
        made[f"{package}.idea"] = _Alias(f"{package}.idea", found)
        made[package] = _Alias(package, {**found, "idea": made[f"{package}.idea"]})
    for name in made:
        there = sys.modules.get(name)
        if there is not None and not isinstance(there, _Alias):
            raise ImportError(
                f"{name}: expected none to be imported yet, got {getattr(there, '__file__', None) or there}; "
                "call adapool.install_aliases() before it is"
            )
    for name, module in made.items():
        sys.modules.setdefault(name, module)


def convert_state_dict(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """The weights of a network with released pooling layers, for `model`, the same network with this library's.

    What belongs to a pooling layer of `model` comes under the names that the layer has here; all else stays as it is.
    `{"state_dict": ...}` around it and `module.` before every key, which DataParallel leaves, are taken off.

    * AdaPool: `beta` in the layer's shape where both have as many values, as a logit under `constraint="sigmoid"`.
    * LIP: `logit.conv`, `logit.bn` (SimplifiedLIP), `logit.conv1` to `logit.bn3` (its DenseNet's), `logit.0`, ....
    * DPP: `pospowbias.Lambda` and `.Alpha`, of the PyTorch form `t^exp(Lambda) + exp(Alpha)`, per channel.
    * SoftPool has no weights.

    Raises TypeError for what is no mapping, ValueError for LIP's ResNet, whose layers share a logit network.

    >>> from adapool import LIPPool
    >>> released = {"logit.conv.weight": torch.zeros(3, 3, 3, 3), "logit.bn.weight": torch.ones(3)}
    >>> sorted(convert_state_dict(released, LIPPool(2, 3)))
    ['logits.0.weight', 'logits.1.weight']
    """
    if isinstance(state_dict, Mapping) and isinstance(state_dict.get("state_dict"), Mapping):
        state_dict = state_dict["state_dict"]
    if not isinstance(state_dict, Mapping) or not all(isinstance(key, str) for key in state_dict):
        raise TypeError(f"state_dict: expected a mapping of names to tensors, got {type(state_dict).__name__}")
    given = dict(state_dict)
    if given and all(key.startswith("module.") for key in given) and not hasattr(model, "module"):
        given = {key.removeprefix("module."): value for key, value in given.items()}
    for path, layer in model.named_modules():
        for rule in (rule for kind, rule in _RULES.items() if isinstance(layer, kind)):
            prefix = f"{path}." if path else ""
            for key in [key for key in given if key.startswith(prefix)]:
                name, value = rule(layer, key.removeprefix(prefix), given.pop(key))
                given[prefix + name] = value
    return given


_LIP = {"conv": 0, "bn": 1, "conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}  # places in `logits`


def _lip(layer: LIPPool, key: str, value: Tensor) -> tuple[str, Tensor]:
    head, _, rest = key.partition(".")
    if head == "postprocessing":
        raise ValueError(
            f"state_dict: expected the logit network of a LIPPool in one piece, got {key!r}, whose layers share one; "
            "keep LIP's own module there and give it adapool.lip2d"
        )
    part, _, what = rest.partition(".")
    return (f"logits.{_LIP.get(part, part)}.{what}", value) if head == "logit" else (key, value)


def _dpp(layer: DPPPool, key: str, value: Tensor) -> tuple[str, Tensor]:
    if key == "pospowbias.Alpha":
        return "log_alpha", _spread(value, layer.log_alpha)
    if key == "pospowbias.Lambda":  # its exponent is exp(Lambda), here it is lam / 2
        return "log_lam", _spread(value + math.log(2), layer.log_lam)
    return key, value


def _spread(value: Tensor, like: Tensor) -> Tensor:
    return value.expand(like.numel()).reshape(like.shape).clone() if value.numel() in (1, like.numel()) else value


def _ada(layer: AdaPool, key: str, value: Tensor) -> tuple[str, Tensor]:
    if key != "beta":
        return key, value
    value = torch.logit(value.clamp(0, 1), eps=1e-6) if layer.constraint == "sigmoid" else value
    return key, value.reshape(layer.beta.shape) if value.numel() == layer.beta.numel() else value


_RULES: dict[type[nn.Module], Callable[[Any, str, Tensor], tuple[str, Tensor]]] = {
    LIPPool: _lip, DPPPool: _dpp, AdaPool: _ada,
}  # fmt: skip
