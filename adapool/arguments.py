"""Checks of arguments: one sentence that names the argument, what was expected and what came.

Knows what operands a row declares; no method by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.overrides import handle_torch_function, has_torch_function

from adapool.native_gradients import is_transformed
from adapool.native_library import TENSOR
from adapool.registry import Method, Operand

OPTIONS = (
    "kernel_size", "stride", "padding", "ceil_mode", "implementation", "gradient", "similarity", "generator",
    "dilation", "measure",
)  # fmt: skip
_DTYPES = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))
_STRIDED = torch.strided


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")


def check_dtype(name: str, dtype: torch.dtype) -> None:
    if dtype not in _DTYPES:
        raise TypeError(f"{name}: expected a floating point dtype (float64, float32, float16 or bfloat16), got {dtype}")


def is_unbatched(shape: Sequence[int], dtype: torch.dtype, rank: int, name: str) -> bool:
    """Whether an input of this shape lacks the batch axis; an error unless it can be pooled at all."""
    check_dtype(name, dtype)
    if len(shape) not in (rank + 1, rank + 2):
        raise ValueError(
            f"{name}: expected {rank + 2} axes (N, C, {rank} spatial) or {rank + 1} without N, got {tuple(shape)}"
        )
    if 0 in shape[-rank:]:
        raise ValueError(f"{name}: expected spatial sizes of at least 1, got {tuple(shape)}")
    return len(shape) == rank + 1


def rank_of(name: str, sizes: object, shape: Sequence[int], of: str = "x") -> int:
    """How many spatial axes: as many as there are `sizes`, else all of the shape behind N and C."""
    if isinstance(sizes, Sequence) and not isinstance(sizes, str):
        if not 1 <= len(sizes) <= 3:
            raise ValueError(f"{name}: expected an int or 1 to 3 ints, got {sizes!r}")
        return len(sizes)
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"{of}: expected 1, 2 or 3 spatial axes behind N and C, got shape {tuple(shape)}")
    return len(shape) - 2


def check_flag(name: str, value: object, hint: str = "") -> None:
    if type(value) is not bool:
        raise TypeError(f"{name}: expected a bool, got {value!r}{hint}")


def check_tensor(name: str, value: object) -> None:
    """TypeError unless `value` is a dense tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(value).__name__}")
    if value.layout is not _STRIDED or value.is_nested:
        kind = "a nested tensor" if value.is_nested else f"layout {value.layout}"
        raise TypeError(f"{name}: expected a dense tensor (layout torch.strided), got {kind}")


def deferred(function: Any, name: str, x: object, *args: Any, **kwargs: Any) -> Any:
    """What a stand-in for a tensor makes of the call `function(x, ...)`: torch.fx's Proxy adds it to its graph."""
    if not has_torch_function((x,)):
        check_tensor(name, x)
    return handle_torch_function(function, (x,), x, *args, **kwargs)


def make_batched(x: Tensor, rank: int, name: str = "x") -> tuple[Tensor, bool]:
    """`x` as [N, C, *spatial], and whether the batch axis had to be added."""
    check_tensor(name, x)
    added = is_unbatched(x.shape, x.dtype, rank, name)
    return (x.unsqueeze(0) if added else x), added


def with_batch(given: dict[str, Any], axes: int) -> dict[str, Any]:
    """Operands for an input that lacked the batch axis: those of as many `axes` get one, too."""
    return {k: v.unsqueeze(0) if isinstance(v, Tensor) and v.dim() == axes else v for k, v in given.items()}


def draw(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1); RuntimeError where a backward pass repeats a call that drew other ones."""
    if generator is not None and torch._C._current_graph_task_id() != -1:
        raise RuntimeError(
            "generator: expected None where a backward pass computes anew (torch.utils.checkpoint sets torch's own "
            "back, and no other), got a torch.Generator, whose next numbers would give a wrong gradient"
        )
    if generator is None:  # not named: torch's overload for generators takes no symbols
        return torch.rand(tuple(shape), device=device)
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: expected a torch.Generator or None, got {generator!r:.60}")
    return torch.rand(tuple(shape), generator=generator, device=device)


def check_number(spec: Operand, value: object) -> float:
    """A number for the operand, as a float or as the symbol of one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, torch.SymFloat)):
        raise TypeError(f"{spec.name}: expected a number or a Tensor, got {type(value).__name__}")
    # Compared and not asked isfinite, which no symbol answers; NaN is in no interval.
    # The largest of all are marks to the operators.
    if not (-TENSOR < value < TENSOR) or (spec.least is not None and value < spec.least):
        bound = "" if spec.least is None else f" of at least {spec.least}"
        raise ValueError(f"{spec.name}: expected a finite number{bound}, got {value!s:.40}")
    return float(value)


def _check_bound(spec: Operand, value: Tensor) -> None:
    """A tensor of one number on the CPU as a number; looking at more would cost an operator, elsewhere a wait."""
    if value.numel() == 1 and value.device.type == "cpu" and not (is_transformed() or isinstance(value, FakeTensor)):
        check_number(spec, value.item())


def cell_operand(spec: Operand, value: object, x: Tensor, cells: tuple[int, ...]) -> Tensor | float:
    """A number or a tensor that broadcasts to `cells`, (N, C, *out)."""
    if isinstance(value, Tensor):
        check_dtype(spec.name, value.dtype)
        if value.layout is not _STRIDED:
            check_tensor(spec.name, value)
        if value.device != x.device:
            if value.dim() > 0:
                raise ValueError(f"{spec.name}: expected a tensor on {x.device} like x, got one on {value.device}")
            value = value.to(x.device)
        lead = len(cells) - value.dim()
        if lead < 0 or (
            value.numel() != 1 and any(n != m for n, m in zip(value.shape, cells[lead:], strict=True) if n != 1)
        ):
            per_channel = (cells[1], *(1,) * (len(cells) - 2))
            raise ValueError(
                f"{spec.name}: expected a number or a shape that broadcasts to (C, *out) = {cells[1:]}, "
                f"such as (1,) or {per_channel}, got {tuple(value.shape)}"
            )
        if spec.least is not None:
            _check_bound(spec, value)
        return value
    return check_number(spec, value)


def check_operands(
    entry: Method, given: dict[str, Any], x: Tensor, cells: tuple[int, ...], generator: torch.Generator | None
) -> dict[str, Any]:
    """Every operand the method takes, checked, with defaults filled in."""
    found: dict[str, Any] = {}
    for spec in entry.operands:
        value = given.get(spec.name)
        if spec.kind == "input":
            # A view, because the tracer of torch.compile refuses one tensor as two arguments.
            value = x.view_as(x) if value is None or value is x else value
            if not isinstance(value, Tensor) or value.shape != x.shape or value.device != x.device:
                came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"{spec.name}: expected a tensor of x's shape {tuple(x.shape)} on {x.device}, got {came}"
                )
            check_tensor(spec.name, value)
            check_dtype(spec.name, value.dtype)
        elif spec.kind == "random" and value is None:
            value = draw(cells, generator, x.device)
        else:
            value = spec.default if value is None else value
            value = value if value is None else cell_operand(spec, value, x, cells)
        found[spec.name] = value
    if not given.keys() <= found.keys():
        raise unknown_option(entry, min(given.keys() - found.keys()))
    return found


def as_tensors(given: dict[str, Any], operands: dict[str, Any], x: Tensor) -> dict[str, Any]:
    """Numbers that were given as tensors: in a compiled graph a number that changes would be compiled each time."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    found = dict(operands)
    for name in given:
        value = operands[name]
        if value is not None and not isinstance(value, Tensor):
            # By a product, which torch.compile keeps open; torch.full would fix its number.
            found[name] = torch.ones((), dtype=dtype, device=x.device) * value
    return found


def unknown_option(entry: Method, name: str) -> TypeError:
    """What to say of a keyword that nothing takes."""
    operands = [spec.name for spec in entry.operands]
    near = difflib.get_close_matches(name, [*operands, *OPTIONS], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return TypeError(f"{name}: method {entry.name!r} takes {', '.join(operands) or 'no operands'}{hint}")


def check_choices(entry: Method, gradient: str, similarity: str, measure: str | None) -> None:
    check_choice("gradient", gradient, ("exact", "detached"))
    check_choice("similarity", similarity, ("channel", "vector") if entry.measures else ("channel",))
    if measure is not None:
        if not entry.measures:
            raise unknown_option(entry, "measure")
        check_choice("measure", measure, tuple(entry.measures))
    if gradient == "detached" and entry.extra != "weights":
        raise ValueError(f"gradient: expected 'exact', method {entry.name!r} has no weights to detach, got 'detached'")
