"""One planned measurement: which subject, which window, which tensor, which probe; its name and its command line.

Imports nothing until `output` and `bytes` ask the library. Knows nothing of how anything is measured.
"""

from __future__ import annotations

import fnmatch
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
ORIGINAL = "original"  # the method of a network as it was
INVERSES = ("max_unpool", "adaunpool_masks", "adaunpool_guide")
EXAMPLE = "ada/native/forward/float32/nchw/k2s2p0/4x64x56x56"
T = TypeVar("T")
_WINDOW = re.compile(r"(?P<k>[\dx]+)(s(?P<s>[\dx]+))?(p(?P<p>[\dx]+))?(?P<c>c)?")


def text(sizes: Sequence[int]) -> str:
    """`(2, 3)` as `2x3`, and as `2` when all are equal."""
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))


def sizes(name: str, value: str, least: int) -> tuple[int, ...]:
    """`2x3` as `(2, 3)`; ValueError naming the argument otherwise."""
    if not re.fullmatch(r"-?\d+(x-?\d+)*", value):
        raise ValueError(f"{name}: expected whole numbers joined by x (such as 3 or 2x3), got {value!r}")
    found = tuple(int(part) for part in value.split("x"))
    if min(found) < least:
        raise ValueError(f"{name}: expected numbers from {least} on, got {value!r}")
    return found


@dataclass(frozen=True)
class Pane:
    """A window as the command line gives it: a number per axis, or one for all; stride None is the kernel."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    padding: tuple[int, ...] = (0,)
    ceil_mode: bool = False

    @classmethod
    def parse(cls, value: str) -> Pane:
        """`3`, `3s2`, `3s2p1`, `2x3`, `3s2p1c` (c: ceil_mode)."""
        found = _WINDOW.fullmatch(value)
        if not found:
            raise ValueError(f"kernel: expected a size such as 3, 2x3, 3s2 or 3s2p1, got {value!r}")
        return cls(
            sizes("kernel", found["k"], 1),
            sizes("stride", found["s"], 1) if found["s"] else None,
            sizes("padding", found["p"], 0) if found["p"] else (0,),
            bool(found["c"]),
        )

    def over(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Kernel, stride and padding for `rank` axes; ValueError when the numbers are of another rank."""
        axes = []
        stride = self.kernel if self.stride is None else self.stride
        for name, given in (("kernel", self.kernel), ("stride", stride), ("padding", self.padding)):
            if len(given) not in (1, rank):
                raise ValueError(f"{name}: expected 1 or {rank} numbers for a {rank}-D shape, got {text(given)}")
            axes.append(given * rank if len(given) == 1 else given)
        return axes[0], axes[1], axes[2]


@dataclass(frozen=True)
class Case:
    """One unit of work: measured by one call of one probe in one worker; gives one record or several."""

    probe: str
    method: str
    implementation: str
    direction: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool
    shape: tuple[int, ...]  # (N, C, *spatial); for retention (3, H, W) of the largest crop
    dtype: str
    layout: str
    clocks: tuple[str, ...] = ()  # latency only
    own: str | None = None  # where one's own operator is: path.py:name, or entry:name
    images: str | None = None  # retention only: the folder given, None for the built-in photographs
    crop: int | None = None  # retention only: longest side used of a photograph
    network: str | None = None  # of a network: MODEL as the command line has it; no window then
    strided: bool = False  # of a network: strided convolutions, too, are exchanged

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def window(self) -> str:
        if self.network is not None:
            return label(self.network) + "+strided" * self.strided
        tail = "c" if self.ceil_mode else ""
        return f"k{text(self.kernel)}s{text(self.stride)}p{text(self.padding)}{tail}"

    @property
    def name(self) -> str:
        """The same words in every run: the key by which runs are compared."""
        head = (self.method, self.implementation, self.direction, self.dtype, self.layout, self.window)
        return "/".join((*head, "x".join(map(str, self.shape))))

    @classmethod
    def named(cls, name: str, own: str | None = None) -> Case:
        """The latency case of a name, without clocks; ValueError when it is none."""
        words = name.split("/")
        if len(words) != 7 or words[5][:1] != "k":
            raise ValueError(f"case: expected a name such as {EXAMPLE}, got {name!r}")
        method, implementation, direction, dtype, layout, window, shape = words
        dims = sizes("shape", shape, 0)
        pane = Pane.parse(window[1:])
        kernel, stride, padding = pane.over(len(dims) - 2)
        return cls(
            "latency", method, implementation, direction, kernel, stride, padding, pane.ceil_mode, dims, dtype, layout,
            own=own,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """Names the unit of work within one device's plan."""
        name = self.name.rpartition("/")[0] if self.probe == "retention" else self.name  # photographs vary in size
        return f"{self.probe}:{name}"

    def fits(self, glob: str) -> bool:
        """Whether the key fits, such as `latency:ada/*`; a glob without a probe is for every probe's."""
        return fnmatch.fnmatchcase(self.key if ":" in glob else self.key.partition(":")[2], glob)

    @property
    def subject(self) -> str:
        """What is given up after three crashes: a method in one implementation."""
        return f"{self.method}/{self.implementation}"

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.shape[-self.rank :]

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial size of the pooled tensor; ValueError where the kernel does not fit."""
        from adapool.window import Window

        return Window(self.kernel, self.stride, self.padding, self.ceil_mode).output(self.spatial)

    @property
    def bytes(self) -> int:
        """Compulsory traffic of the definition: each tensor once. The gradient of what is linear needs no input."""
        item = ITEM_BYTES[self.dtype]
        lead = math.prod(self.shape[: -self.rank])
        full, pooled = math.prod(self.shape), lead * math.prod(self.output)
        if self.method == "copy":
            return item * 2 * full
        if self.method in INVERSES:
            extra = {"max_unpool": 8 * pooled, "adaunpool_guide": item * full}
            masks = item * pooled * math.prod(self.kernel)
            return item * (full + pooled) + extra.get(self.method, masks)
        forward = item * (full + pooled)
        inputs, draws, linear = self._facts()
        backward = item * (full + pooled) + (0 if linear else item * full)
        forward, backward = forward + item * full * inputs, backward + 2 * item * full * inputs
        forward += item * pooled * draws
        return {"forward": forward, "backward": backward, "none": forward}.get(self.direction, forward + backward)

    def _facts(self) -> tuple[int, int, bool]:
        """Inputs beside x, which are read and whose gradient is written; numbers drawn for each cell; linear or not."""
        from adapool import registry

        if self.own is not None or self.method not in registry.names():
            return 0, 0, False
        entry = registry.get(self.method)
        return len(entry.takes("input")), len(entry.takes("random")), "linear" in entry.holds

    def command(self, device: str, seed: int) -> str:
        """The command line that measures this case alone."""
        where = ["--cpu"] if device == "cpu" else ["--gpu", device]
        if self.network is not None:
            path, colon, model = self.network.rpartition(":")
            words = ["python", "runner.py", "network", f"{public(path)}{colon}{model}", *where, "--implementation"]
            words += [self.implementation, *([] if self.method == ORIGINAL else ["--method", self.method])]
            words += ["--batch", str(self.shape[0]), "--image", "x".join(map(str, self.shape[1:]))]
            words += ["--dtype", self.dtype, "--layout", self.layout, *["--strided"] * self.strided]
            return shlex.join([*words, *self._clocks(), "--seed", str(seed)])
        probe = "latency" if self.probe == "kernels" else self.probe  # every run makes its kernels first
        words = ["python", "runner.py", "bench", *where, "--probe", probe]
        words += ["--method", public(self.own) if self.own else self.method]
        if self.implementation != "own":
            words += ["--implementation", self.implementation]
        for option, value in (("kernel", self.kernel), ("stride", self.stride), ("padding", self.padding)):
            words += [f"--{option}", text(value)]
        if self.ceil_mode:
            words += ["--ceil"]
        if self.probe == "retention":
            words += ["--images", public(self.images)] if self.images else []
            words += ["--crop", str(self.crop or 0)]
        else:
            words += ["--shape", "x".join(map(str, self.shape)), "--layout", self.layout]
            words += ["--direction", self.direction]
        return shlex.join([*words, "--dtype", self.dtype, *self._clocks(), "--seed", str(seed)])

    def _clocks(self) -> list[str]:
        return [word for clock in self.clocks for word in ("--clock", clock)]


def of_json(kind: type[T], data: dict[str, Any]) -> T:
    """A frozen row of tuples from its `asdict`, which JSON may have made lists of."""
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in data.items()})


def public(path: str | None) -> str:
    """A path as a record may show it: as given when relative, its last part alone when absolute."""
    if path is None:
        return ""
    return Path(path).name if Path(path).is_absolute() else path


def label(model: str) -> str:
    """What a record calls a network: MODEL without a path, without a slash."""
    path, colon, name = model.rpartition(":")
    return f"{public(path)}{colon}{name}".replace("/", "~")
