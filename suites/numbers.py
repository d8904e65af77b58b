"""Random numbers for inputs, and what else is kept between cases: the same for every subject, on every device.

They are drawn by one thread of a CPU, the same for all devices, at a third of a second for 51 million: drawn for every
case they would take most of a run on a GPU. So each is drawn once, sent to the device once, and kept there.
"""

from __future__ import annotations

import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

CPU_BYTES = 2**28
SHARE = 1 / 12  # of a GPU's memory, for each store


class Kept:
    """The latest results of something costly, by key: as many as fit, and the latest whatever it takes."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any], tensors: Callable[[Any], list[Tensor]]) -> Any:
        if key not in self._held:
            made = make()
            parts = tensors(made)
            self._held[key] = made, sum(t.nbytes for t in parts)
            room = _room(parts[0].device) if parts else CPU_BYTES
            while len(self._held) > 1 and sum(size for _, size in self._held.values()) > room:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key][0]

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        self._held.clear()


def _room(device: torch.device) -> float:
    if device.type != "cuda":
        return CPU_BYTES
    return SHARE * torch.cuda.get_device_properties(device).total_memory


kept = Kept()


class Numbers:
    """The numbers of one turn on one device. Whoever asks in the same order gets the same ones; they are shared, so
    nobody may write to them.
    """

    def __init__(self, seed: int, turn: int, device: torch.device) -> None:
        self._words = (seed, turn, str(device))
        self._device = device
        self._asked: Counter[tuple[int, ...]] = Counter()

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return self._drawn("normal", shape, lambda g: torch.randn(shape, generator=g))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """From 0 to 1."""
        return self._drawn("uniform", shape, lambda g: torch.rand(shape, generator=g))

    def _drawn(self, kind: str, shape: tuple[int, ...], draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        number = self._asked[shape]
        self._asked[shape] += 1
        seed, turn, _ = self._words
        words = f"{seed}/{turn}/{kind}/{tuple(shape)}/{number}"

        def make() -> list[Tensor]:
            generator = torch.Generator().manual_seed(zlib.crc32(words.encode()))
            return [draw(generator).to(self._device)]

        return self.made((kind, tuple(shape), number), make)[0]

    def made(self, key: Hashable, make: Callable[[], list[Tensor]]) -> list[Tensor]:
        """What is made of this turn's numbers, kept as they are."""
        found: list[Tensor] = kept.get((*self._words, key), make, lambda tensors: tensors)
        return found
