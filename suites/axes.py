"""What a run is asked for, in the command line's words, and what there is to ask for.

Knows the names of subjects and of profiles; nothing of cases. Asks adapool for its methods when it has to.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from suites import layers, own
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


def names(methods: Sequence[str]) -> tuple[Names, tuple[str, ...]]:
    """All subjects there are, and the asked ones by name: own operators lose their path. UsageError when not there."""
    from adapool import native
    from adapool.learned import LEARNED
    from adapool.registry import names as region

    found: dict[str, str] = {}
    asked: list[str] = []
    try:
        each = [one for method in methods for one in own.every(method)]
        operators = [None if method in (*region(), *LEARNED) else own.find(method) for method in each]
    except ValueError as error:
        raise UsageError(str(error)) from None
    for method, operator in zip(each, operators, strict=True):
        if operator is None:
            asked.append(method)
            continue
        name, where = operator
        if name in (*region(), *LEARNED, "copy") or found.get(name, where) != where:
            raise UsageError(f"method: expected a name of its own for {where!r}, {name!r} is taken")
        found[name] = where
        asked.append(name)
    if not methods:
        found = {name: f"entry:{name}" for name in own.entries() if name not in (*region(), *LEARNED)}
    compiled = tuple(kind for kind, status in native.status().items() if status == "ok")
    kernels = (name for name, where in found.items() if own.is_compiled(where))
    return Names((*region(), *kernels), tuple(LEARNED), found, compiled), tuple(asked)


def near(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest known name as a question, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {found[0]!r}? " if found else ""


def expect(name: str, values: Sequence[str], allowed: Sequence[str]) -> None:
    """UsageError with the nearest word for one that is not allowed."""
    for value in values:
        if value not in allowed:
            hint = near(ALSO.get(value.lower(), value), allowed).rstrip()
            raise UsageError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}{hint and '; ' + hint}")
