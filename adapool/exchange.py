"""One pool of a model and the layer that takes its place: its window, what speaks against it, what is made of it."""

from __future__ import annotations

import copy
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adapool.adaptive import (
    AdaPool1d,
    AdaPool2d,
    AdaPool3d,
    AdaptiveAdaPool1d,
    AdaptiveAdaPool2d,
    AdaptiveAdaPool3d,
)
from adapool.forms import output_sizes
from adapool.layer import Layer
from adapool.lazy import LazyAdaPool1d, LazyAdaPool2d, LazyAdaPool3d
from adapool.learned import LEARNED
from adapool.modules import AdaptivePool, Pool
from adapool.survey import CONVOLUTIONS, Survey
from adapool.window import per_axis

KINDS: dict[type[nn.Module], int] = {
    nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3, nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3,
    nn.AdaptiveMaxPool1d: 1, nn.AdaptiveMaxPool2d: 2, nn.AdaptiveMaxPool3d: 3,
    nn.AdaptiveAvgPool1d: 1, nn.AdaptiveAvgPool2d: 2, nn.AdaptiveAvgPool3d: 3,
    nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3,
}  # fmt: skip
LAYERS = (AdaPool1d, AdaPool2d, AdaPool3d)
SIZED = (AdaptiveAdaPool1d, AdaptiveAdaPool2d, AdaptiveAdaPool3d)
LAZY = (LazyAdaPool1d, LazyAdaPool2d, LazyAdaPool3d)


class Request(NamedTuple):
    """What a model's pools are to become."""

    method: str
    beta: Any
    global_pools: bool
    adaptive_pools: bool
    options: dict[str, Any]


class Candidate:
    """A pool or a strided convolution, under `names` names, and what was seen of its calls."""

    def __init__(self, module: Any, found: Survey, names: int = 1) -> None:
        self.module, self.found, self.names = module, found, names

    @property
    def rank(self) -> int:
        return next((rank for kind, rank in KINDS.items() if isinstance(self.module, kind)), 0)

    @property
    def strided(self) -> bool:
        return type(self.module) in CONVOLUTIONS

    def axes(self, name: str) -> tuple[int, ...]:
        return per_axis(name, getattr(self.module, name), self.rank, 0)

    def channels(self) -> set[int]:
        """Of its calls, as far as they are known."""
        seen = self.found.seen.get(self.module, ())
        return {self.module.out_channels} if self.strided else {call[0][-self.rank - 1] for call in seen if call}

    def cells(self) -> set[tuple[int, ...]]:
        seen = self.found.seen.get(self.module, ())
        return {call[1][-self.rank :] for call in seen if call}

    @property
    def sizes(self) -> tuple[int | None, ...] | None:
        """An adaptive pool's cells along each axis, None where it keeps an axis; None for other modules."""
        given = getattr(self.module, "output_size", ())
        return None if given == () else output_sizes(given, self.rank)

    def is_global(self) -> bool:
        """Whether each axis becomes one cell: as its size says, or as its calls have been seen to."""
        if self.sizes is not None:
            return set(self.sizes) == {1}
        seen = [call for call in self.found.seen.get(self.module, ()) if call]
        whole = {(call[0][-self.rank :], call[1][-self.rank :]) for call in seen}
        return whole == {(self.axes("kernel_size"), (1,) * self.rank)}

    def objection(self, asked: Request) -> str:
        """Why it stays as it is; empty where nothing speaks for that."""
        module = self.module
        if isinstance(module, (Layer, ConvThenPool)):
            return "is adapool's already"
        if not self.rank:
            return "is none of torch.nn's max and average pools"
        if not any(type(module).forward is kind.forward for kind in KINDS):
            return "has a forward of its own"
        if self.strided and max(module.stride) > 2:
            return f"with stride 1 it would take {'x'.join(map(str, module.stride))} times the work"
        if getattr(module, "return_indices", False):
            return "its indices are used (return_indices=True), and other methods have none"
        if not self.strided and self.is_global() and not asked.global_pools:
            return "pools the whole extent; global_pools=True replaces it"
        if self.by_size:
            return self._sized_objection(asked)
        if getattr(module, "divisor_override", None) is not None:
            return f"is a sum over divisor_override={module.divisor_override} and no mean"
        if asked.method == "avg" and self.counts_padding():
            return "its mean counts padded zeros (count_include_pad=True), and that of avg does not"
        if asked.method not in LEARNED:
            return ""
        if len(self.channels()) != 1:
            known = ", ".join(map(str, sorted(self.channels())))
            why = f"its calls have {known}, so give each a module" if known else "none is known, so give example="
            return f"{asked.method} needs one number of channels; {why}"
        if self.dilation:
            return f"has dilation={module.dilation}, which {asked.method} does not take"
        if self.window()["ceil_mode"] and "ceil_mode" not in signature(LEARNED[asked.method]).parameters:
            return f"needs ceil_mode, which {asked.method} does not have"
        try:
            self._learned(asked, torch.device("meta"))
        except (TypeError, ValueError) as error:
            return f"{asked.method} does not take it ({error})"
        return ""

    @property
    def by_size(self) -> bool:
        """Whether its regions follow from the size of its output, and are no window's."""
        return self.sizes is not None and not self.is_global()

    def _sized_objection(self, asked: Request) -> str:
        if not asked.adaptive_pools:
            return "pools to a given size; adaptive_pools=True replaces it"
        if asked.method in LEARNED:
            return f"pools to a given size, which {asked.method} does not"
        if asked.method == "ada" and self.beta(asked.beta)[0] is None:
            return f"beta has one value for each {asked.beta}, whose number is not known, so give example="
        return ""

    def _learned(self, asked: Request, device: torch.device) -> nn.Module:
        """A layer of LEARNED; TypeError or ValueError for a window that it does not take."""
        (channels,) = self.channels()
        window = self.window()
        ceil_mode = {"ceil_mode": True} if window.pop("ceil_mode") else {}
        with device:
            made: nn.Module = LEARNED[asked.method](self.rank, channels, **window, **ceil_mode, **asked.options)
        return made

    @property
    def dilation(self) -> tuple[int, ...]:
        """Of a max pool; empty where its taps are neighbours."""
        gaps = self.axes("dilation") if hasattr(self.module, "dilation") and not self.strided else ()
        return gaps if set(gaps) - {1} else ()

    def counts_padding(self) -> bool:
        return bool(getattr(self.module, "count_include_pad", False)) and any(self.axes("padding"))

    def window(self) -> dict[str, Any]:
        """kernel_size, stride, padding, ceil_mode, a dilation; a convolution's leave as many cells as it had."""
        if self.strided:
            return {"kernel_size": self.module.stride, "stride": self.module.stride, "padding": 0, "ceil_mode": True}
        if self.is_global():
            return {"kernel_size": (None,) * self.rank, "stride": None, "padding": 0, "ceil_mode": False}
        sizes = {name: self.axes(name) for name in ("kernel_size", "stride", "padding")}
        apart = {"dilation": self.dilation} if self.dilation else {}
        return {**sizes, "ceil_mode": self.module.ceil_mode, **apart}

    def beta(self, asked: Any) -> tuple[Any, str]:
        """What AdaPool is given for beta, None where only the first input tells, and what is to be said of it."""
        calls = self.found.uses(self.module)
        shared = calls > self.names
        told = f"its {calls} calls share one beta" if shared else ""
        if asked not in ("channel", "place"):
            return ((1,) if asked == "scalar" else asked), told
        if asked == "channel":
            known = {(channels, *(1,) * self.rank) for channels in self.channels()}
        else:
            known = set() if self.found.guessed else self.cells()
            sizes = [size for size in self.sizes or () if size is not None]
            if sizes and len(sizes) == self.rank:
                known = {tuple(sizes)}
        if len(known) == 1:
            return known.pop(), told
        if shared:
            return (1,), f"{told}, a scalar, as their shapes differ or are unknown"
        return None, f"beta takes its shape from the first input, one for each {asked}"

    def layer(self, asked: Request, device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, str]:
        """The layer that takes its place, and what is to be said of it."""
        window, note = {"output_size": self.sizes} if self.by_size else self.window(), ""
        if asked.method == "ada":
            beta, note = self.beta(asked.beta)
            given = {**window, **asked.options, "device": device, "dtype": dtype}
            layers = SIZED if self.by_size else LAYERS
            made: nn.Module = (
                LAZY[self.rank - 1](per=asked.beta, **given)
                if beta is None
                else layers[self.rank - 1](beta=beta, **given)
            )
        elif self.by_size:
            made = AdaptivePool(asked.method, **window, **asked.options)
        elif asked.method in LEARNED:
            made = self._learned(asked, device).to(dtype)
        else:
            made = Pool(asked.method, **window, **asked.options)
        more = {
            "its mean counted padded zeros, which are excluded now": not self.strided and self.counts_padding(),
            "its dilation has no compiled kernel": bool(not self.strided and self.dilation),
            "a size that does not divide the input's has no compiled kernel": self.by_size,
        }
        note = "; ".join(filter(None, [note, *(words for words, true in more.items() if true)]))
        if self.strided:
            made = ConvThenPool.of(self.module, made)
        made.__dict__["original"] = (self.module,)  # in a tuple, so that it is no child
        return made.train(self.module.training), note


class ConvThenPool:
    """A convolution that has lost its stride, and the pool that has it now, under the convolution's names."""

    pool: nn.Module

    @staticmethod
    def of(conv: Any, pool: nn.Module) -> nn.Module:
        """`conv` with stride 1 and `pool` behind it; its parameters are `conv`'s own, in the one table of both."""
        made = copy.copy(conv)
        made.__class__ = {nn.Conv1d: ConvThenPool1d, nn.Conv2d: ConvThenPool2d, nn.Conv3d: ConvThenPool3d}[type(conv)]
        made._modules = {"pool": pool}
        made.stride = (1,) * CONVOLUTIONS[type(conv)]
        return made  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Any:
        return self.pool(super().forward(x))  # type: ignore[misc]


class ConvThenPool1d(ConvThenPool, nn.Conv1d):
    """See ConvThenPool."""


class ConvThenPool2d(ConvThenPool, nn.Conv2d):
    """See ConvThenPool."""


class ConvThenPool3d(ConvThenPool, nn.Conv3d):
    """See ConvThenPool."""
