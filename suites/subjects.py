"""A case made callable. Of one region, of torch, of a copy and of one's own here; others in files of their own.

Knows adapool and torch; nothing of clocks, of verdicts, or of records.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as nn
from torch import Tensor

from adapool import functional, plain, registry
from adapool.region import Region
from adapool.window import Window
from suites import own
from suites.case import Case
from suites.numbers import Numbers
from suites.subject import Subject, Unavailable, needs_kernel, zeros


def build(case: Case, device: torch.device, seed: int) -> Subject:
    """The subject of a case; Unavailable when there is none here, and whatever an own operator raises."""
    if case.own is not None:
        own.load(case.own)  # which may declare the method
    subject = _maker(case)(case, device)
    subject.put(subject.stage(seed, 0))
    return subject


def _maker(case: Case) -> Callable[[Case, torch.device], Subject]:
    """What makes the case's subject. Imported when it is needed: an older build may lack what other subjects take."""
    if case.direction == "inverse":
        from suites import inverses

        return inverses.subject
    if case.implementation == "released":
        from suites import released

        return released.subject
    made = {"copy": _copy, "torch": _torch, "own": _own}.get(case.implementation)
    if made is not None or case.method in registry.names():
        return made or _region
    from suites import learned

    return learned.subject


def _window(case: Case) -> Window:
    return Window(case.kernel, case.stride, case.padding, case.ceil_mode)


def _cells(case: Case) -> tuple[int, ...]:
    return (*case.shape[:2], *case.output)


def _normal(case: Case, numbers: Numbers) -> list[Tensor]:
    return [numbers.normal(case.shape)]


def _pool(case: Case, implementation: Any) -> Callable[..., Tensor]:
    """The library's call with the case's window; operands by position, as the row orders them."""
    names = [spec.name for spec in tensor_operands(case.method)]
    kernel, stride, padding, ceil = case.kernel, case.stride, case.padding, case.ceil_mode
    pool, method = functional.pool, case.method

    def call(x: Tensor, *operands: Tensor) -> Tensor:
        given: Any = dict(zip(names, operands, strict=True))
        return pool(x, method, kernel, stride, padding, ceil, implementation=implementation, **given)

    return call


def tensor_operands(method: str) -> tuple[registry.Operand, ...]:
    """Operands given as tensors, the inputs behind x: other inputs, random numbers, what the network learns."""
    return tuple(o for o in registry.get(method).operands if o.kind != "cell" or o.learned)


def _region(case: Case, device: torch.device) -> Subject:
    entry = registry.get(case.method)
    specs = tensor_operands(case.method)

    def operand(spec: Any, numbers: Numbers | None) -> Tensor:
        if spec.kind == "input":
            return numbers.normal(case.shape) if numbers else zeros(case, device)
        if spec.kind == "random":
            return numbers.uniform(_cells(case)) if numbers else torch.zeros(_cells(case), device=device)
        return torch.full((1,), float(spec.default or 0.0), device=device)

    def draw(numbers: Numbers) -> list[Tensor]:
        return [numbers.normal(case.shape), *(operand(spec, numbers) for spec in specs)]

    inputs = [zeros(case, device), *(operand(spec, None) for spec in specs)]
    wanted = (0, *(i for i, spec in enumerate(specs, 1) if spec.kind != "random"))
    if case.implementation == "native":
        needs_kernel(case.method, inputs[0])
    call = _compiled(case) if case.implementation == "compiled" else _pool(case, case.implementation)
    facts = {o.name: o.default for o in entry.operands if o.kind == "cell" and o.default is not None}
    return Subject(
        inputs, call, _pool(case, "plain"), wanted, "plain row in float64", draw, facts, definition=case.method
    )


def slices(x: Tensor, window: Window) -> Tensor:
    """What `Window.unfold` gives, made of strided slices, which compilers fuse better. Unpadded windows only."""
    out = window.output(x.shape[2:])
    taps = []
    for tap in range(window.taps):
        view, rest = x, tap
        for axis in reversed(range(window.rank)):
            rest, at = divmod(rest, window.kernel[axis])
            step, cells = window.stride[axis], out[axis]
            index = [slice(None)] * x.dim()
            index[2 + axis] = slice(at, at + (cells - 1) * step + 1, step)
            view = view[tuple(index)]
        taps.append(view)
    return torch.stack(taps, -1)


def _compiled(case: Case) -> Callable[..., Tensor]:
    """torch.compile of the row; of its two forms, the one that runs faster on the first input it sees."""
    from suites.compiled import Best

    entry, window = registry.get(case.method), _window(case)
    names = [spec.name for spec in tensor_operands(case.method)]

    def unfolded(x: Tensor, *operands: Tensor) -> Tensor:
        given: Any = {o.name: o.default for o in entry.operands} | dict(zip(names, operands, strict=True))
        return plain.run_row(entry, x, window, given)[0].to(x.dtype)

    def sliced(x: Tensor, *operands: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        given: Any = {o.name: o.default for o in entry.operands} | dict(zip(names, operands, strict=True))
        for spec in entry.operands:
            if spec.kind == "input":
                given[spec.name] = slices(given[spec.name], window).to(wide)
        return entry(Region(slices(x, window).to(wide)), **given)[0].to(x.dtype)

    whole = not any(case.padding) and not case.ceil_mode
    return Best({"unfold": unfolded, **({"slices": sliced} if whole else {})}, case.direction)


def _torch(case: Case, device: torch.device) -> Subject:
    rank, k, s, p, c = case.rank, case.kernel, case.stride, case.padding, case.ceil_mode
    pool = getattr(nn, f"{case.method}_pool{rank}d")
    calls: dict[str, Callable[..., Tensor]] = {
        "avg": lambda x: pool(x, k, s, p, c, False),
        "max": lambda x: pool(x, k, s, p, 1, c),
        "lp": lambda x: pool(x, 2.0, k if rank > 1 else k[0], s if rank > 1 else s[0], c),
    }
    draw = partial(_normal, case)
    return Subject([zeros(case, device)], calls[case.method], _pool(case, "plain"), (0,), "plain row in float64", draw)


def _copy(case: Case, device: torch.device) -> Subject:
    x = zeros(case, device)
    out = torch.empty_like(x)
    return Subject([x], out.copy_, lambda x: x.clone(), (), "the input", partial(_normal, case))


def _own(case: Case, device: torch.device) -> Subject:
    found = own.load(case.own or "")
    if case.ceil_mode:
        raise Unavailable("own operators take kernel_size, stride and padding, not ceil_mode")
    oracle: Callable[..., Tensor] | None = None
    if found.oracle is not None:
        registry.get(found.oracle)
        oracle = partial(
            functional.pool, method=found.oracle, kernel_size=case.kernel, stride=case.stride, padding=case.padding,
            implementation="plain",
        )  # fmt: skip
    against = f"plain row of {found.oracle} in float64" if oracle else "itself on fresh copies"
    call, draw = found.over(case.kernel, case.stride, case.padding), partial(_normal, case)
    return Subject([zeros(case, device)], call, oracle, (0,), against, draw, definition=found.oracle)
