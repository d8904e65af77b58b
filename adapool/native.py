"""The compiled operators: loading, shapes, gradients, vmap. Knows methods by name only, never their formulas.

The calls here trust their arguments; `functional` has checked them.
"""

from __future__ import annotations

import ctypes
import importlib.resources
import inspect
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapool.window import Window

METHODS = frozenset(
    [
        "max",
        "avg",
        "sum",
        "lp",
        "lp_abs",
        "stochastic",
        "stochastic_eval",
        "softpool",
        "edscw",
        "idw",
        "ada",
        "dpp",
        "dpp_asym",
        "lip",
    ]
)  # the lines of ADAPOOL_METHODS in csrc/methods.h
_MIXING = ("ada",)  # methods whose operand mixes weights and is not inside them
TENSOR = sys.float_info.max  # in place of an operand's number; finite, as a packaged model's JSON must be
DTYPES = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))

Operands = Iterable["Tensor | float | None"]


def _load(device: str) -> str:
    """Load the library of a device: "ok", or in one line why there is none."""
    if os.environ.get("ADAPOOL_NATIVE") == "0":
        return "switched off by ADAPOOL_NATIVE=0"
    if device == "cuda" and torch.version.cuda is None:
        return "this torch is built without CUDA"
    if device == "cuda" and _STATUS["cpu"] != "ok":
        return f"needs the CPU library ({_STATUS['cpu']})"
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < (2, 10):
        return f"needs torch 2.10 or newer, got {torch.__version__}"
    name = f"libadapool_{device}.so"
    folder = os.environ.get("ADAPOOL_LIBRARY_DIR")
    path = Path(folder, name) if folder else importlib.resources.files("adapool").joinpath(name)
    if not path.is_file():
        where = f" in {folder}" if folder else " beside the installed package"
        return f"not built: no {name}{where}; install with a C++ compiler{' and nvcc' if device == 'cuda' else ''}"
    try:
        if device == "cuda":  # loaded by torch, but its symbols are not for others to see
            ctypes.CDLL(str(Path(torch.__file__).with_name("lib") / "libtorch_cuda.so"), mode=ctypes.RTLD_GLOBAL)
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except OSError as error:
        return f"does not load: {str(error).splitlines()[0]}"
    return "ok"


_STATUS: dict[str, str] = {}
for _device in ("cpu", "cuda"):
    _STATUS[_device] = _load(_device)
_LOADED = frozenset(device for device, state in _STATUS.items() if state == "ok")
_POOL: Any = torch.ops.adapool.pool.default if "cpu" in _LOADED else None  # looked up once, not at every call


def status() -> dict[str, str]:
    """For each device "ok", or in one line why its compiled operators cannot run."""
    found = dict(_STATUS)
    if found["cuda"] == "ok" and not torch.cuda.is_available():
        found["cuda"] = "built and loaded, but torch sees no GPU"
    return found


def has_kernel(method: str, dtype: torch.dtype, device: str) -> bool:
    """Whether a compiled kernel exists for this method, dtype and type of device."""
    return method in METHODS and device in _LOADED and dtype in DTYPES


def supports(method: str, x: Tensor) -> bool:
    """`has_kernel` for the dtype and device of `x`."""
    return has_kernel(method, x.dtype, x.device.type)


def _encode(operands: Operands) -> tuple[list[Tensor], list[float]]:
    """The tensors among the operands, and a number for each: the largest marks a tensor, the lowest a default."""
    tensors: list[Tensor] = []
    constants: list[float] = []
    for o in operands:
        if isinstance(o, Tensor):
            tensors.append(o)
            constants.append(TENSOR)
        else:
            constants.append(-TENSOR if o is None else o)
    return tensors, constants


def _differentiates(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def pool(
    x: Tensor, method: str, window: Window, operands: Operands, want_extra: bool, detached: bool
) -> tuple[Tensor, Tensor]:
    """Pool `x [N, C, *spatial]`; differentiable in x and in tensor operands. And, empty unless wanted, weights
    `[N, C, *out, taps]` or flat plane indices `[N, C, *out]`, constants for autograd.
    """
    tensors, constants = _encode(operands)
    kernel, stride, padding, ceil_mode = window.kernel, window.stride, window.padding, window.ceil_mode
    found: tuple[Tensor, Tensor]
    if _differentiates(x, *tensors):
        frame = (method, kernel, stride, padding, ceil_mode, constants)
        found = _Pool.apply((frame, detached, want_extra), x, *tensors)  # type: ignore[no-untyped-call]
    else:
        found = _POOL(x, tensors, method, kernel, stride, padding, ceil_mode, constants, want_extra)
    return found


def unpool(y: Tensor, guide: Tensor, method: str, window: Window, operands: Operands, normalize: bool) -> Tensor:
    """Spread `y` by the weights that `method` has on the guide; differentiable in y, guide and tensor operands."""
    tensors, constants = _encode(operands)
    return _unpool(y, guide, method, guide.shape[2:], window, constants, normalize, tensors)


def unpool_masks(y: Tensor, weights: Tensor, window: Window, output_size: Sequence[int], normalize: bool) -> Tensor:
    """Spread `y` by weights `[N, C, *out, taps]`; differentiable in both."""
    return _unpool(y, weights, "weights", output_size, window, [], normalize, [])


def _unpool(
    y: Tensor,
    guide: Tensor,
    method: str,
    size: Sequence[int],
    window: Window,
    constants: list[float],
    normalize: bool,
    tensors: list[Tensor],
) -> Tensor:
    frame = (window.kernel, window.stride, window.padding, window.ceil_mode, constants, normalize)
    out: Tensor
    if _differentiates(y, guide, *tensors):
        out = _Unpool.apply((method, tuple(size), frame), y, guide, *tensors)  # type: ignore[no-untyped-call]
    else:
        out = torch.ops.adapool.unpool.default(y, guide, tensors, method, size, *frame)
    return out


# Gradients. Functions and not register_autograd, which failed under torch.func.grad.


class _Once(torch.autograd.Function):
    """A first derivative, computed by `run(*tensors)`; its own derivative is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(run: Any, *tensors: Tensor) -> Any:
        return tuple(run(*tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "adapool: the compiled operators have first derivatives only; for a second derivative use "
            "implementation='plain'"
        )


def _first_derivative(run: Any, *tensors: Tensor) -> Any:
    """Gradients by `run`; inside create_graph=True wrapped so that a second derivative raises."""
    return _Once.apply(run, *tensors) if torch.is_grad_enabled() else run(*tensors)  # type: ignore[no-untyped-call]


def _or_none(grads: Sequence[Tensor], wants: Sequence[int]) -> list[Tensor | None]:
    return [grad if wanted else None for grad, wanted in zip(grads, wants, strict=True)]


class _Pool(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(plan: Any, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        frame, _, want_extra = plan
        y, extra = _POOL(x, list(tensors), *frame, want_extra)
        return y, extra

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        (ctx.frame, ctx.detached, _), *tensors = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Any, _: Any) -> Any:
        needs = ctx.needs_input_grad
        if grad is None:
            return (None,) * len(needs)
        frame, detached = ctx.frame, ctx.detached
        # Weights that are constants carry no gradient to the operands they are made from.
        reached = not detached or frame[0] in _MIXING
        wants = [int(needs[1]), *(int(need and reached) for need in needs[2:])]

        def run(grad: Tensor, x: Tensor, *tensors: Tensor) -> Any:
            return torch.ops.adapool.pool_backward.default(grad, x, list(tensors), *frame, detached, wants)

        grads = _or_none(_first_derivative(run, grad, *ctx.saved_tensors), wants)
        return (None, *grads)


class _Unpool(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(plan: Any, y: Tensor, guide: Tensor, *tensors: Tensor) -> Tensor:
        method, size, frame = plan
        out: Tensor = torch.ops.adapool.unpool.default(y, guide, list(tensors), method, size, *frame)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        (ctx.method, _, ctx.frame), *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        wants = [int(need) for need in ctx.needs_input_grad[1:]]
        method, frame = ctx.method, ctx.frame

        def run(grad: Tensor, y: Tensor, guide: Tensor, *tensors: Tensor) -> Any:
            return torch.ops.adapool.unpool_backward.default(grad, y, guide, list(tensors), method, *frame, wants)

        return (None, *_or_none(_first_derivative(run, grad, *ctx.saved_tensors), wants))


for _function in (_Once, _Pool, _Unpool):  # autograd asks for it at every call, and inspect would build it anew
    _function.forward.__signature__ = inspect.signature(_function.forward)  # type: ignore[union-attr]

if "cpu" in _LOADED:
    from adapool import native_rules as _rules  # noqa: F401  (shapes and vmap of the operators just loaded)
