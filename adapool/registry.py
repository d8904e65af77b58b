"""The table of methods: what one is, how it is declared, how it is found. Knows no method by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor


@dataclass(frozen=True)
class Operand:
    """What a method takes besides the region.

    kind "cell": a number or a tensor that broadcasts to (N, C, *out); "input": a tensor shaped like the
    input, read under the same window; "random": uniform numbers in [0, 1) of shape (N, C, *out).
    `default` None means: the input itself ("input"), a fresh draw ("random"), or left to the row ("cell").
    `least` is the smallest number allowed. `learned`: trained with the network, so that the suite measures it as a
    tensor with its gradient. `mixes`: blends what other methods give and is in no weight, so that it has a gradient
    where the weights are constants.
    """

    name: str
    kind: Literal["cell", "input", "random"] = "cell"
    default: float | None = None
    least: float | None = None
    learned: bool = False
    mixes: bool = False


@dataclass(frozen=True)
class Kernel:
    """The C++ of a person's own method: text that defines its struct, and where that stands."""

    text: str
    file: str
    line: int = 1

    @classmethod
    def of(cls, given: str, row: Callable[..., Any]) -> Kernel:
        """From the text itself, or a file beside the row's."""
        if not isinstance(given, str):
            raise TypeError(f"kernel: expected C++ as text or the name of its file, got {type(given).__name__}")
        beside = Path(row.__code__.co_filename)
        if "{" in given:
            try:
                before, found, _ = beside.read_text().partition(given)
            except OSError:  # of an interactive session
                found = ""
            return cls(given, str(beside), before.count("\n") + 1) if found else cls(given, f"{row.__name__}.h")
        path = beside.parent / given
        if not path.is_file():
            raise ValueError(f"kernel: expected C++ as text or a file beside {beside.name}, got {given!r}")
        return cls(path.read_text(), str(path.resolve()))


@dataclass(frozen=True)
class Method:
    """One pooling method: a frozen row of the table.

    `measures` of a tap's similarity to the mean, each with whose equal it is of scalars; the first is the default.
    `expectation` names the method that takes its place in evaluation. `holds`, which the tests hold it to: "bounded" by
    the region's minimum and maximum; "homogeneous", f(c a) = c f(a) for c > 0; "odd", f(-a) = -f(a); "linear".
    """

    name: str
    row: Callable[..., Any]
    title: str
    formula: str
    source: str
    operands: tuple[Operand, ...] = ()
    extra: Literal["weights", "indices"] | None = None
    measures: Mapping[str, str] = field(
        default_factory=dict
    )  # of similarity to the mean; whose equal each is of scalars
    expectation: str | None = None
    holds: frozenset[str] = frozenset()
    constants: Mapping[str, Any] = field(default_factory=dict)  # what sets this variant of the row apart
    kernel: Kernel | None = None  # a person's own, which is compiled when it is first wanted
    measure_of: str = ""  # the method of which this is a measure that has a kernel of its own; not among `names()`
    rows_alone: str = ""  # what of it no compiled kernel has, in words

    def comparing(self, similarity: str, measure: str | None) -> Method:
        """This method with its taps compared so; both checked, None the first measure."""
        usual = next(iter(self.measures), None)
        measure = measure or usual
        if similarity == "channel" and measure is not None:
            measure = self.measures[measure]
        if (similarity, measure) == ("channel", usual):
            return self
        own = find(f"{self.name}_{measure}") if similarity == "channel" else None
        if own is not None and own.measure_of == self.name:
            return own
        alone = "similarity 'vector'" if similarity == "vector" else f"measure {measure!r}"
        chosen = {**self.constants, "similarity": similarity, "measure": measure}
        return replace(self, constants=chosen, rows_alone=f"method {self.name!r} with {alone}")

    def takes(self, kind: str) -> tuple[str, ...]:
        """The names of its operands of a kind."""
        return tuple(spec.name for spec in self.operands if spec.kind == kind)

    def __call__(self, region: Any, **operands: Any) -> tuple[Tensor, Tensor | None]:
        """Run the row: the pooled cells and, where the method has them, the weights or the chosen taps."""
        result = self.row(region, **self.constants, **operands)
        return result if isinstance(result, tuple) else (result, None)


HOLDS = frozenset(("bounded", "homogeneous", "odd", "linear"))
_METHODS: dict[str, Method] = {}
LAYERS: set[str] = set()  # further methods, which own what they learn or draw by; learned.py names them


def method(
    formula: str,
    source: str,
    *,
    operands: tuple[Operand, ...] = (),
    extra: Literal["weights", "indices"] | None = None,
    measures: Mapping[str, str] | None = None,
    expectation: str | None = None,
    holds: str = "",
    kernel: str | None = None,
    measure_of: str = "",
    **variants: Mapping[str, Any],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a row: `@method(formula, source)` above a plain-torch function of one region.

    The function's name is the method's, its docstring the title. `variants` declares the same row again under
    another name with other constants: `dpp_asym={"symmetric": False}`. `holds` are words of `Method.holds`. With
    `measure_of="idw"` a row called `idw_huber` is what the measure "huber" of idw runs, of scalars.

    `kernel` is for a method of one's own: C++ that defines its struct, named as the method in CamelCase, by the
    contract of csrc/math/methods.h; as text, or the file beside the row's that has it. Raises ValueError for a name
    that is taken.
    """
    if kernel is not None and variants:
        raise ValueError(f"kernel: expected a method without variants, got {', '.join(variants)}")
    claims = frozenset(holds.split())
    if not claims <= HOLDS:
        raise ValueError(f"holds: expected words of {', '.join(sorted(HOLDS))}, got {holds!r}")

    def declare(row: Callable[..., Any]) -> Callable[..., Any]:
        title = ((row.__doc__ or "").strip().splitlines() or [row.__name__])[0].rstrip(".")
        own = None if kernel is None else Kernel.of(kernel, row)
        for name, constants in {row.__name__: {}, **variants}.items():
            if name in _METHODS:
                raise ValueError(f"method {name!r} is declared twice")
            _METHODS[name] = Method(
                name, row, title, formula, source, operands, extra, measures or {}, expectation, claims,
                dict(constants), own, measure_of,
            )  # fmt: skip
        return row

    return declare


def names() -> tuple[str, ...]:
    """All region methods, in the order of their declaration."""
    return tuple(name for name, entry in _METHODS.items() if not entry.measure_of)


def find(name: str) -> Method | None:
    """The method called `name`, where there is one."""
    return _METHODS.get(name)


def get(name: str) -> Method:
    """The method called `name`; ValueError with the nearest known name otherwise."""
    if not isinstance(name, str):
        raise TypeError(f"method: expected a name, got {type(name).__name__}")
    if name in _METHODS:
        return _METHODS[name]
    if name in LAYERS:
        raise ValueError(
            f"method: {name!r} is a layer, which owns what it learns or draws by: "
            f"adapool.LEARNED[{name!r}](rank, channels, kernel_size)"
        )
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown method {name!r}; {hint}known: {', '.join(names())}")
