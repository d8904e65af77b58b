"""What a run is asked for, in the command line's words, and what there is to ask for.

Knows the names of subjects and of profiles; nothing of cases.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from suites import layers
from suites.case import INVERSES

ALSO = {
    "nhwc": "channels_last", "ndhwc": "channels_last", "half": "float16", "fp16": "float16", "bf16": "bfloat16",
    "fp32": "float32", "double": "float64", "fp64": "float64",
}  # fmt: skip


class UsageError(ValueError):
    """The request cannot be measured; its text is for the person who made it."""


@dataclass(frozen=True)
class Axes:
    """What the command line asks for; an empty tuple leaves that axis to the profile."""

    profile: str = "default"
    methods: tuple[str, ...] = ()
    implementations: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    strides: tuple[str, ...] = ()
    paddings: tuple[str, ...] = ()
    ceil: bool = False
    shapes: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    images: str | None = None
    crop: int | None = None  # 0: no crop
    seed: int = 0
    budget: float | None = None  # seconds for the whole run
    min_samples: int | None = None  # of a latency, however long they take; None leaves it to the profile
    until_precise: bool = False  # sample until the interval is 0.5 % of the median
    cases: tuple[str, ...] = ()  # keys or globs of the plan's cases that are wanted
    shard: str | None = None  # "2/4": the second of four shares of the plan
    network: str | None = None  # a model instead of tensors: MODEL of `runner.py network`
    image: tuple[int, ...] = ()  # of it: (C, *spatial)
    batch: int | None = None
    strided: bool = False
    compare_with: tuple[str, ...] = ()  # implementations beside the profile's or the chosen ones

    @property
    def preset(self) -> layers.Profile:
        return layers.PROFILES[self.profile]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Axes:
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        return cls(**values)


@dataclass(frozen=True)
class Names:
    """The subjects there are: region methods, learned modules, one's own operators by name and place."""

    region: tuple[str, ...]
    learned: tuple[str, ...]
    own: dict[str, str]
    compiled: tuple[str, ...] = ()  # device kinds whose compiled operators are there

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.region, *self.learned, *INVERSES, *self.own, "copy")))


def near(name: str, known: Iterable[str], cutoff: float = 0.4) -> str:
    """The nearest known name as a question, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {found[0]!r}? " if found else ""


def expect(name: str, values: Sequence[str], allowed: Sequence[str]) -> None:
    """UsageError with the nearest word for one that is not allowed."""
    for value in values:
        if value not in allowed:
            hint = near(ALSO.get(value.lower(), value), allowed, 0.6).rstrip()
            raise UsageError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}{hint and '; ' + hint}")
