"""What a model does with its pools in one forward: calls, shapes, and the pooling functions that it calls besides.

Knows nothing of what is made of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import pooling
from torch.overrides import TorchFunctionMode

FUNCTION = re.compile(r"(adaptive_)?(max|avg|lp|fractional_max)_pool[123]d(_with_indices)?")
CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
GUESSES = {1: ((4096,), (256,)), 2: ((224, 224), (32, 32), (299, 299), (512, 512)), 3: ((16, 112, 112), (32, 32, 32))}
Example = Tensor | tuple[Any, ...] | Mapping[str, Any]
Shape = tuple[int, ...]


class Survey:
    """`seen`: shapes of input and output of each call of a pool or a convolution, None where they are unknown.

    `calls`: the innermost module's name and the function. `guessed`: the image was, so that channels are known and
    sizes are not. `failed`: why nothing of this is known.
    """

    def __init__(self, guessed: bool = False, failed: str = "") -> None:
        self.seen: dict[nn.Module, list[tuple[Shape, Shape] | None]] = defaultdict(list)
        self.calls: list[tuple[str, str]] = []
        self.guessed, self.failed = guessed, failed

    def uses(self, module: nn.Module) -> int:
        """Calls of `module` in one forward; 0 where none was seen."""
        return len(self.seen.get(module, ()))


def is_pool(module: nn.Module) -> bool:
    """Whether `module` is one of torch.nn's, or by its name somebody else's."""
    by_name = "pool" in type(module).__name__.lower() and next(module.children(), None) is None
    return by_name or any(kind.__module__ == pooling.__name__ for kind in type(module).__mro__)


def survey(model: nn.Module, example: Example | None) -> Survey:
    """By a forward on the example, else on a guessed image without values, else by torch.fx, which sees no shapes."""
    with _evaluated(model):
        if example is not None:
            return _forward(model, example)
        for image in _guesses(model):
            try:
                return _forward(model, image, _on_shapes(model))
            except Exception:  # of a model that does not take such an image
                continue
        try:
            return _by_symbols(model)
        except Exception as error:
            return Survey(failed=f"torch.fx: {str(error).splitlines()[0] if str(error) else type(error).__name__}")


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, where a forward changes nothing."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _guesses(model: nn.Module) -> Iterator[Tensor]:
    """Images without values that the model's first convolution takes."""
    first = next((module for module in model.modules() if type(module) in CONVOLUTIONS), None)
    if isinstance(first, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        for spatial in GUESSES[CONVOLUTIONS[type(first)]]:
            yield torch.empty((2, first.in_channels, *spatial), dtype=first.weight.dtype, device="meta")


def _on_shapes(model: nn.Module) -> Callable[..., Any]:
    """`model` with shapes for parameters and buffers, so that a forward computes no values."""
    held = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    return lambda *given: torch.func.functional_call(model, held, given)


class _Functions(TorchFunctionMode):
    """Notes a call of a pooling function that the innermost module makes, unless that is a pool."""

    def __init__(self, found: Survey, inside: list[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.found, self.inside = found, inside

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if FUNCTION.fullmatch(name) and not is_pool(self.inside[-1][1]):
            self.found.calls.append((self.inside[-1][0], name.removesuffix("_with_indices")))
        return function(*args, **(kwargs or {}))


def _forward(model: nn.Module, example: Example, call: Callable[..., Any] | None = None) -> Survey:
    """Of `call`, the model itself unless given, on `example`."""
    call = call or model
    found, inside, hooks = Survey(guessed=call is not model), [("", model)], []
    for name, module in model.named_modules():

        def enter(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
            inside.append((name, module))
            if type(module) in CONVOLUTIONS or is_pool(module):
                x = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
                found.seen[module].append(None if x is None else (tuple(x.shape), ()))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            inside.pop()
            last = found.seen[module][-1] if module in found.seen else None
            if last is not None and isinstance(output, Tensor):
                found.seen[module][-1] = (last[0], tuple(output.shape))

        hooks.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        hooks.append(module.register_forward_hook(leave))
    given = example if isinstance(example, (tuple, Mapping)) else (example,)
    try:
        with torch.no_grad(), _Functions(found, inside):
            call(**given) if isinstance(given, Mapping) else call(*given)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _by_symbols(model: nn.Module) -> Survey:
    found = Survey()
    for node in fx.Tracer().trace(model).nodes:
        if node.op == "call_module":
            found.seen[model.get_submodule(str(node.target))].append(None)
        elif node.op == "call_function" and FUNCTION.fullmatch(getattr(node.target, "__name__", "")):
            scope = list(node.meta.get("nn_module_stack", {"": None}))
            found.calls.append((scope[-1], getattr(node.target, "__name__", "")))
    return found
