"""Exchange the pools of any model in place, say which and why not the others, and take it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from adapool.arguments import check_choice, check_flag, unknown_option
from adapool.exchange import Candidate, ConvThenPool, Request
from adapool.layer import Layer
from adapool.learned import LEARNED
from adapool.registry import get
from adapool.survey import CONVOLUTIONS, Example, is_pool, survey

Where = str | type[nn.Module] | Sequence[str | type[nn.Module]] | None
KEPT = ("kernel_size", "stride", "padding", "ceil_mode", "return_mask", "device", "dtype")
WRAPPERS = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")


class Place(NamedTuple):
    """A pool of the model: its name, what stood there, what stands there now (empty: the same), and what to know."""

    name: str
    was: str
    now: str = ""
    note: str = ""

    def __str__(self) -> str:
        change = f" -> {self.now}" if self.now else ""
        return f"  {self.name}: {self.was}{change}" + (f"; {self.note}" if self.note else "")


class Conversion(NamedTuple):
    """What `convert` did: Places `replaced` and `left`, and `notes` in sentences. As a string all of it."""

    method: str
    replaced: tuple[Place, ...]
    left: tuple[Place, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.method} has replaced {len(self.replaced)} of {len(self.replaced) + len(self.left)} pools"]
        lines += [*map(str, self.replaced), *(["left as they are:"] if self.left else []), *map(str, self.left)]
        return "\n".join([*lines, *self.notes])


def convert(
    model: nn.Module,
    method: str = "ada",
    where: Where = None,
    *,
    beta: Any = None,
    strided: bool = False,
    global_pools: bool = False,
    adaptive_pools: bool = False,
    example: Example | None = None,
    **options: Any,
) -> Conversion:
    """Replace the max and average pools of `model`, in place, by `method`, and say what was replaced and what was not.

    method: any of `adapool.names()` or `adapool.LEARNED`; further keywords are its layer's. Window, `ceil_mode`,
    training mode, names, device and dtype stay. where: names as globs, classes, or several of both; None is all.
    strided: also convolutions of stride 2, as a convolution of stride 1 and the pool behind it, `name.pool`.
    global_pools: also those that pool the whole extent. adaptive_pools: also those to a given size, by the plain row
    where it does not divide the input's. example: an input of the model (a tuple or a dict: its arguments), from which
    shapes are known; without one its channels are looked for with an image of no values.
    beta, of "ada": one for each "channel" (the default), each "place", one "scalar", or AdaPool's own argument. Where
    its shape is not known yet, it is from the first forward on (`LazyAdaPool2d`), which has to come before
    DistributedDataParallel and torch.export. Convert before the optimizer is made (`parameter_groups`), and load a
    state_dict of the model as it was before, or with `strict=False`.
    Raises ValueError or TypeError naming the argument; also where nothing would be replaced, with the reasons.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.MaxPool2d(2))
    >>> print(convert(model, "softpool"))
    softpool has replaced 1 of 1 pools
      1: MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False) -> Pool
    """
    flags = {"strided": strided, "global_pools": global_pools, "adaptive_pools": adaptive_pools}
    asked = _checked(model, method, beta, flags, options)
    found = survey(model, example)
    all_spots = list(_spots(model))
    spots = [spot for spot in all_spots if strided or type(spot.module) not in CONVOLUTIONS]
    _check_where(where, spots)
    names = Counter(spot.module for spot in spots)
    replaced, left, made = [], [], []
    for spot in spots:
        one = Candidate(spot.module, found, names[spot.module])
        reason = one.objection(asked) if _fits(where, spot) else "is not in `where`"
        if reason:
            left.append(Place(spot.name, repr(spot.module), note=reason))
            continue
        layer, note = one.layer(asked, *_home(model, spot.name))
        made.append((spot, layer))
        replaced.append(Place(spot.name, repr(spot.module), _short(layer), note))
    notes = [f"  {name or 'the model'} calls {function}: no module, so it stays" for name, function in found.calls]
    if len(spots) < len(all_spots):
        count = len(all_spots) - len(spots)
        stay = "1 strided convolution stays" if count == 1 else f"{count} strided convolutions stay"
        notes.append(f"{stay}; strided=True replaces {'it' if count == 1 else 'them'}")
    if found.failed:
        notes.append(f"functions and repeated calls were not looked for ({found.failed}); example= finds them")
    done = Conversion(method, tuple(replaced), tuple(left), tuple(notes))
    if not replaced:
        raise ValueError(f"model: expected pools to replace, got none\n{done}")
    for spot, layer in made:
        spot.parent._modules[spot.attribute] = layer
    return done


def revert(model: nn.Module) -> tuple[str, ...]:
    """Put back what `convert` replaced in `model`, or in what `model` is a copy of, and return the names.

    What a convolution has learned since stays. Raises ValueError where nothing is converted.

    >>> model = torch.nn.Sequential(torch.nn.MaxPool2d(2))
    >>> _ = convert(model)
    >>> revert(model), model[0]
    (('0',), MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False))
    """
    names = []
    for spot in list(_spots(model)):
        original = getattr(spot.module, "original", None)
        if original is not None:
            spot.parent._modules[spot.attribute] = original[0].train(spot.module.training)
            names.append(spot.name)
    if not names:
        raise ValueError("model: expected one that adapool.convert has changed, got one without its layers")
    return tuple(names)


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """The parameters of `model` in two groups for an optimizer: all others, and operands of pools without weight decay.

    Operands (beta of AdaPool, lambda and alpha of DPPPool) are no weights: decay would draw them to 0, a bias.
    Raises ValueError for a beta whose shape is not known yet.

    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.MaxPool2d(2))
    >>> _ = convert(model)
    >>> [(len(group["params"]), group.get("weight_decay")) for group in parameter_groups(model)]
    [(2, None), (1, 0.0)]
    """
    operands: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        for operand in module.operands if isinstance(module, Layer) else ():
            made = is_parametrized(module, operand)  # then from parameters of its own
            owned = module.parametrizations[operand].parameters() if made else (getattr(module, operand),)
            operands |= {value: f"{name}.{operand}" for value in owned if isinstance(value, nn.Parameter)}
    unknown = [name for value, name in operands.items() if nn.parameter.is_lazy(value)]
    if unknown:
        raise ValueError(f"model: expected known shapes, got {', '.join(unknown)} without: run one forward before")
    others = [value for value in model.parameters() if value not in operands]
    return [{"params": others}, *([{"params": list(operands), "weight_decay": 0.0}] if operands else [])]


def _checked(model: Any, method: str, beta: Any, flags: dict[str, bool], options: dict[str, Any]) -> Request:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if is_pool(model):
        raise ValueError(f"model: expected a module with pools in it, got a pool itself, {model!r}")
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in WRAPPERS or isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"model: expected one before it is wrapped or scripted, got {kind} at {name or 'its root'!r}"
            )
    for flag, value in flags.items():
        check_flag(flag, value)
    kept = next((name for name in KEPT if name in options), None)
    if kept:
        raise TypeError(f"{kept}: expected none, as a pool keeps its own, got {options[kept]!r}")
    entry = None if method in LEARNED else get(method)
    if beta is not None and method != "ada":
        if entry:
            raise unknown_option(entry, "beta")
        raise TypeError(f"beta: expected none, method {method!r} has no beta, got {beta!r}")
    if isinstance(beta, str):
        check_choice("beta", beta, ("channel", "place", "scalar"))
    on = (flags["global_pools"], flags["adaptive_pools"])
    return Request(method, "channel" if beta is None else beta, *on, options)


class _Spot(NamedTuple):
    parent: nn.Module
    attribute: str
    name: str
    module: nn.Module


def _spots(model: nn.Module) -> Iterator[_Spot]:
    """Every place of a pool, of a strided convolution and of what they have been replaced by."""
    within: list[nn.Module] = []  # adapool's own layers, whose parts are theirs
    for parent_name, parent in model.named_modules():
        if isinstance(parent, (Layer, ConvThenPool)) or parent in within:
            within += parent.children()
            continue
        for attribute, module in parent._modules.items():
            if module is None:
                continue
            far = type(module) in CONVOLUTIONS and max(module.stride) > 1
            if far or is_pool(module) or isinstance(module, (Layer, ConvThenPool)):
                yield _Spot(parent, attribute, f"{parent_name}.{attribute}" if parent_name else attribute, module)


def _several(where: Where) -> Sequence[Any]:
    return (where,) if isinstance(where, (str, type)) else () if where is None else where


def _fits(where: Where, spot: _Spot) -> bool:
    def fits(one: Any) -> bool:
        return fnmatchcase(spot.name, one) if isinstance(one, str) else isinstance(spot.module, one)

    return where is None or any(map(fits, _several(where)))


def _check_where(where: Where, spots: list[_Spot]) -> None:
    """Everything in `where` fits something."""
    for one in _several(where):
        if not isinstance(one, (str, type)):
            raise TypeError(f"where: expected names as globs or classes, got {one!r}")
        if not any(_fits(one, spot) for spot in spots):
            shown = ", ".join(spot.name for spot in spots) or "none"
            raise ValueError(f"where: expected what fits a pool ({shown}), got {one!r}")


def _home(model: nn.Module, name: str) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of the parameters nearest to the place called `name`."""
    while name:
        name = name.rpartition(".")[0]
        near: list[Tensor] = [p for p in model.get_submodule(name).parameters() if p.is_floating_point()]
        if near:
            return near[0].device, near[0].dtype
    return torch.get_default_device(), torch.get_default_dtype()


def _short(layer: Any) -> str:
    """What is new of a layer: its class and its operands, not the window that it has kept."""
    if isinstance(layer, ConvThenPool):
        return f"stride 1, then {_short(layer.pool)}"
    known = [name for name in layer.operands if not nn.parameter.is_lazy(getattr(layer, name))]
    return ", ".join([type(layer).__name__, *(f"{name} {tuple(getattr(layer, name).shape)}" for name in known)])
