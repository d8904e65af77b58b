"""From axes to an ordered list of cases. Needs no device.

Knows the names of subjects, not how they are called or measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from reports.record import CLOCKS, IMPLEMENTATIONS, LAYOUTS
from suites import layers, provenance, rounds
from suites.axes import Axes, Names, UsageError, expect, near
from suites.case import INVERSES, ITEM_BYTES, ORIGINAL, Case, Pane, sizes, text

TORCH = ("avg", "max", "lp", "max_unpool")
RELEASED = ("ada", "edscw", "idw", "softpool")  # what the released packages have
PROBES = ("latency", "memory", "energy", "retention")
EXCHANGED = ("max", "avg", "softpool", "edscw", "ada")  # in a network, unless methods are asked for
DIRECTIONS = ("forward", "backward", "both", "inverse")


def build(axes: Axes, names: Names, kind: str) -> list[Case]:
    """The cases of one device of `kind` ("cpu", "cuda"), as `rounds` orders them; UsageError for axes without sense."""
    expect("dtype", axes.dtypes, tuple(ITEM_BYTES))
    expect("layout", axes.layouts, LAYOUTS)
    if axes.network is not None:
        return networks(axes, axes.network, names, kind)
    preset = axes.preset
    expect("direction", axes.directions, DIRECTIONS)
    expect("implementation", axes.implementations, IMPLEMENTATIONS)
    expect("compare-with", axes.compare_with, ("released", "compiled"))
    expect("probe", axes.probes, PROBES)
    expect("clock", axes.clocks, CLOCKS)
    clocks = axes.clocks or preset.clocks[kind]
    if kind == "cpu" and set(clocks) - {"cold", "hot"}:
        raise UsageError(f"clock: expected cold or hot on a CPU, got {', '.join(clocks)}")
    if axes.crop is not None and axes.crop != 0 and axes.crop < layers.LEAST:
        raise UsageError(f"crop: expected 0 (all of a photograph) or pixels from {layers.LEAST} on, got {axes.crop}")
    methods = tuple(name for name in choose(axes.methods, names) if name in axes.methods or name not in preset.without)
    cases: list[Case] = []
    tensors = _tensors(axes, kind)
    probes = axes.probes or PROBES
    for shape, windows, wide in tensors:
        for pane in windows:
            blank = _blank(shape, pane)
            for dtype in axes.dtypes or preset.dtypes:
                for layout in axes.layouts or preset.layouts:
                    at = replace(blank, dtype=dtype, layout=layout)
                    cases += _speed(at, axes, methods, names, clocks, probes, wide)
    if "retention" in probes and "none" not in axes.directions and _photographed(axes):
        cases += _retention(axes, methods, names, kind)
    seen: dict[str, Case] = {}
    for case in cases:
        seen.setdefault(case.key, case)
    if not seen:
        raise UsageError(
            "plan: the axes leave no case: expected a method that exists in the chosen implementation and direction, "
            f"got method {', '.join(axes.methods) or 'all'}, "
            f"implementation {', '.join(axes.implementations) or 'all'}, "
            f"direction {', '.join(axes.directions) or 'all'}"
        )
    return rounds.arranged(list(seen.values()))


def networks(axes: Axes, model: str, names: Names, kind: str) -> list[Case]:
    """A case for each method and implementation, and one for the network as it was."""
    from suites import models

    expect("implementation", axes.implementations, ("native", "plain", "torch"))
    clocks = axes.clocks or {"cpu": ("hot",), "cuda": ("host", "graph")}[kind]
    expect("clock", clocks, ("hot",) if kind == "cpu" else ("hot", "host", "graph"))
    expect("method", axes.methods, (*names.region, *names.learned))
    models.check(model)
    shape = (axes.batch or {"cpu": 4, "cuda": 64}[kind], *(axes.image or models.image(model)))
    asked = axes.implementations or ("native", "torch")
    subjects = [(ORIGINAL, "torch")] if "torch" in asked else []
    for method in axes.methods or EXCHANGED:
        subjects += [(method, one) for one in (("plain",) if method in names.learned else asked) if one != "torch"]
    return [
        Case(
            "network", method, implementation, "both", (), (), (), False, shape, dtype, layout, clocks,
            network=model, strided=axes.strided,
        )
        for dtype in axes.dtypes or ("float32",) for layout in axes.layouts or ("nchw",)
        for method, implementation in subjects
    ]  # fmt: skip


def choose(asked: Sequence[str], names: Names) -> tuple[str, ...]:
    """The subjects meant; UsageError with the nearest name for an unknown one."""
    for name in asked:
        if name not in names.all:
            provenance.check()  # another folder's package lacks what this one has
            raise UsageError(f"method: unknown method {name!r}; {near(name, names.all)}known: {', '.join(names.all)}")
    return tuple(dict.fromkeys((*asked, "copy"))) if asked else names.all


def _panes(axes: Axes, default: Sequence[str]) -> list[Pane]:
    """Kernel x stride x padding as asked; the profile's windows when no kernel is."""
    for name in axes.kernels:
        pane = Pane.parse(name)
        padding = pane.padding if "p" in name else None
        for option, own, asked in (("stride", pane.stride, axes.strides), ("padding", padding, axes.paddings)):
            other = [value for value in asked if own is not None and text(sizes(option, value, 0)) != text(own)]
            if own is not None and other:
                raise UsageError(f"{option}: expected {text(own)}, which --kernel {name} says, got {', '.join(other)}")
    found = []
    for pane in map(Pane.parse, axes.kernels or default):
        strides: list[tuple[int, ...] | None] = [sizes("stride", value, 1) for value in axes.strides]
        strides = strides or [pane.stride]
        pads = [sizes("padding", value, 0) for value in axes.paddings] or [pane.padding]
        found += [Pane(pane.kernel, s, p, axes.ceil or pane.ceil_mode) for s in strides for p in pads]
    return list(dict.fromkeys(found))


def _tensors(axes: Axes, kind: str) -> list[tuple[tuple[int, ...], list[Pane], bool]]:
    """Shapes with their windows; the flag is true where every implementation is measured."""
    preset = axes.preset
    batch = preset.batch[kind]
    if not axes.shapes:
        found = [((batch, *layers.LAYERS[preset.sweep].shape), _panes(axes, preset.windows), axes.profile != "smoke")]
        if not axes.kernels:
            for name in preset.layers:
                layer = layers.LAYERS[name]
                found.append(((batch, *layer.shape), _panes(axes, (layer.window,)), axes.profile == "full"))
        return found
    found = []
    for name in axes.shapes:
        if name in layers.LAYERS:
            layer = layers.LAYERS[name]
            found.append(((batch, *layer.shape), _panes(axes, (layer.window,)), True))
            continue
        if not name[:1].isdigit():
            raise UsageError(
                f"shape: expected sizes N x C x spatial such as 4x64x56x56, or a layer, got {name!r}; "
                f"{near(name, layers.LAYERS)}layers: {', '.join(layers.LAYERS)}"
            )
        shape = sizes("shape", name, 0)
        if len(shape) not in (3, 4, 5):
            raise UsageError(f"shape: expected 3 to 5 sizes (N, C and 1 to 3 spatial), got {name!r}")
        found.append((shape, _panes(axes, preset.windows), True))
    return found


def _blank(shape: tuple[int, ...], pane: Pane) -> Case:
    """A case of this tensor and window; UsageError when the window does not fit."""
    kernel, stride, padding = pane.over(len(shape) - 2)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise UsageError(f"padding: expected at most half of the kernel {text(kernel)}, got {text(padding)}")
    case = Case("latency", "", "", "forward", kernel, stride, padding, pane.ceil_mode, shape, "", "")
    try:
        case.output  # noqa: B018 (raises when the kernel does not fit)
    except ValueError as error:
        raise UsageError(str(error).replace("kernel_size", "kernel", 1)) from None
    return case


def variants(method: str, names: Names) -> tuple[str, ...]:
    """The implementations that a subject can have."""
    if method == "copy":
        return ("copy",)
    if method in names.own and method not in names.region:
        return ("own",)
    if method in names.learned:
        return ("plain",)
    found = {"max_unpool": ("plain",), "adaunpool_masks": ("native", "plain")}.get(method, ("native", "plain"))
    if method in names.region:
        found += ("compiled",)
    if method in RELEASED:
        found += ("released",)
    return (*found, "torch") if method in TORCH else found


def _speed(
    at: Case, axes: Axes, methods: Sequence[str], names: Names, clocks: tuple[str, ...], probes: Sequence[str],
    wide: bool,
) -> list[Case]:  # fmt: skip
    """What has a speed at one tensor and window: time, memory and energy of every subject, in every direction."""
    preset = axes.preset
    plainest = (at.dtype, at.layout) == ((axes.dtypes or preset.dtypes)[0], (axes.layouts or preset.layouts)[0])
    found = []
    for method, implementation in _subjects(at, axes, methods, names, plainest, wide):
        if method == "copy" and "latency" not in probes:
            continue
        unasked = implementation == "compiled" and not (axes.implementations or axes.compare_with)
        for direction in axes.directions or preset.directions:
            if (method in INVERSES) != (direction == "inverse") or (method == "copy" and direction != "forward"):
                continue
            case = replace(
                at, method=method, implementation=implementation, direction=direction, own=names.own.get(method)
            )
            if "latency" in probes:
                found.append(replace(case, probe="latency", clocks=clocks))
            if "memory" in probes and method != "copy" and not unasked:
                found.append(replace(case, probe="memory"))
            if "energy" in probes and plainest and _energetic(case, axes, wide):
                found.append(replace(case, probe="energy"))
    if [case.method for case in found] == ["copy"] and set(axes.methods) != {"copy"}:
        return []  # a ceiling without anything under it
    return found


def _subjects(
    at: Case, axes: Axes, methods: Sequence[str], names: Names, plainest: bool, wide: bool
) -> Iterator[tuple[str, str]]:
    """(method, implementation) of what is measured there. Where it is not `wide`, rows of what is compiled are left
    out, and what torch.compile makes takes seconds each, so that it is left to the `plainest` tensors.
    """
    allowed = (*(axes.implementations or axes.preset.implementations), *axes.compare_with)
    for method in methods:
        if method == "copy":
            if axes.methods or "copy" in allowed:
                yield method, "copy"
            continue
        for implementation in variants(method, names):
            twin = implementation == "plain" and method in names.region
            asked = axes.implementations or (axes.methods if twin else axes.compare_with)
            there = implementation != "torch" or _torch_has(method, at)
            cheap = wide if twin else plainest if implementation == "compiled" else True
            if implementation in allowed and there and (asked or cheap):
                yield method, implementation


def _energetic(case: Case, axes: Axes, wide: bool) -> bool:
    """Whether a case's energy is measured, for 17 s each: of what people would run, once a tensor; or as asked."""
    preset, usual = axes.preset, "torch" if case.method in TORCH else "native"
    asked = "energy" in axes.probes or preset.energy == ("*",)
    measured = asked or (case.method in preset.energy and case.implementation == usual)
    place = wide or case.shape[1:] == layers.LAYERS[preset.sweep].shape
    window = axes.kernels or (case.kernel == case.stride and set(case.kernel) == {2})
    counts = case.implementation in ("native", "torch", "own") and case.direction == "forward"
    return bool(measured and place and window and counts)


def _torch_has(method: str, case: Case) -> bool:
    """torch's lp_pool has no padding; its max_unpool has no ceil_mode."""
    return not (method == "lp" and any(case.padding)) and not (method == "max_unpool" and case.ceil_mode)


def _photographed(axes: Axes) -> tuple[str, ...]:
    """The windows that photographs are pooled with: the sweep's and the layers', or those of layers asked for."""
    chosen = [layers.LAYERS[name] for name in axes.shapes or axes.preset.layers if name in layers.LAYERS]
    own = tuple(layer.window for layer in chosen if len(layer.shape) == 3)
    return own if axes.shapes else (*axes.preset.windows, *own)


def _retention(axes: Axes, methods: Sequence[str], names: Names, kind: str) -> list[Case]:
    """One case per method and window; the photographs are looked up by the worker."""
    preset = axes.preset
    crop = preset.crop if axes.crop is None else (axes.crop or None)
    found = []
    for pane in _panes(axes, _photographed(axes)):
        try:
            kernel, stride, padding = pane.over(2)
        except ValueError:
            continue  # a 1-D or 3-D window says nothing about photographs
        if crop and max(kernel) > crop:
            raise UsageError(f"crop: expected at least the kernel {text(kernel)}, got {crop}")
        for method in methods:
            if method in INVERSES or method == "copy":
                continue  # inverses are protocol P3 of their methods
            kinds = tuple(i for i in variants(method, names) if i != "released")  # it keeps what the row keeps
            first = kinds[1] if kinds[0] == "native" and kind not in names.compiled else kinds[0]
            chosen = [i for i in kinds if i in axes.implementations] if axes.implementations else [first]
            for implementation in chosen:
                side = crop or 0
                case = Case(
                    "retention", method, implementation, "none", kernel, stride, padding, pane.ceil_mode,
                    (3, side, side), "float32", "nchw", own=names.own.get(method), images=axes.images, crop=crop,
                )  # fmt: skip
                found += [case] if implementation != "torch" or _torch_has(method, case) else []
    return found
