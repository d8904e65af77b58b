"""A learned module as a subject: its parameters are inputs too, and the module in float64 is its oracle."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from adapool.learned import LEARNED
from adapool.sampled import Sampled
from suites.case import Case
from suites.subject import Subject, Unavailable, zeros


def subject(case: Case, device: torch.device) -> Subject:
    """The module with its first weights; Unavailable where it does not take the window."""
    torch.manual_seed(0)
    try:
        module = LEARNED[case.method](case.rank, case.shape[1], case.kernel, case.stride, case.padding)
        copy.deepcopy(module).to("meta")(torch.empty(case.shape, device="meta"))  # lifting asks for even sizes
    except ValueError as error:
        raise Unavailable(f"{case.method} does not take this window of this input: {error}") from None
    if case.ceil_mode:
        raise Unavailable(f"{case.method} has no ceil_mode")
    module = module.to(device=device, dtype=getattr(torch, case.dtype))
    exact = copy.deepcopy(module).double()
    names = [name for name, _ in module.named_parameters()]
    params = [param.requires_grad_(False) for param in module.parameters()]
    start = [param.detach().clone() for param in params]
    sizes = [module.uniforms(case.spatial)] if isinstance(module, Sampled) and module.training else []
    inputs = [zeros(case, device), *params, *(torch.zeros(size, device=device) for size in sizes)]
    wanted = range(1 + len(params))

    def given(to: Any, x: Tensor, *values: Tensor) -> Tensor:
        held = dict(zip(names, values, strict=False))
        y: Tensor = torch.func.functional_call(to, held, (x, *values[len(names) :]))
        return y

    return Subject(
        inputs, lambda x, *values: module(x, *values[len(names) :]), partial(given, exact), tuple(wanted),
        "the module in float64",
        lambda numbers: [numbers.normal(case.shape), *start, *(numbers.uniform((size,)) for size in sizes)],
        {"parameters": "initial values"}, True, given=partial(given, module),
    )  # fmt: skip
