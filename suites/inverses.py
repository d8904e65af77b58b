"""The inverses as subjects: pooled tensors, and the indices, masks or guides that spread them again."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as nn
from torch import Tensor

from adapool import functional, unpooling
from suites.case import Case
from suites.numbers import Numbers
from suites.subject import Subject, needs_kernel, place, zeros


def subject(case: Case, device: torch.device) -> Subject:
    """The inverse of a pooling that has been done in float32."""
    k, s, p, c = case.kernel, case.stride, case.padding, case.ceil_mode
    kind, plane = case.method, case.spatial
    implementation: Any = case.implementation
    if case.implementation == "native":
        needs_kernel("ada", zeros(case, device))

    def pooled(numbers: Numbers) -> list[Tensor]:
        x = numbers.normal(case.shape).to(getattr(torch, case.dtype)).float()
        method = "max" if kind == "max_unpool" else "ada"
        y, extra = functional.pool_with_extra(x, method, k, s, p, c, implementation="plain")
        return [y, x if kind == "adaunpool_guide" else extra]

    def draw(numbers: Numbers) -> list[Tensor]:
        return numbers.made((kind, case.window, case.shape, case.dtype), lambda: pooled(numbers))

    y, aid = draw(Numbers(0, 0, device))
    inputs = [place(case, y, device).clone(), (aid if kind == "max_unpool" else place(case, aid, device)).clone()]
    if kind == "max_unpool":
        rank = case.rank
        spread = getattr(nn, f"max_unpool{rank}d")

        def call(y: Tensor, indices: Tensor) -> Tensor:
            if implementation == "torch":
                out: Tensor = spread(y, indices, k, s, p, output_size=plane)
                return out
            return unpooling.max_unpool(y, indices, k, s, p, output_size=plane)

        def oracle(y: Tensor, indices: Tensor) -> Tensor:
            flat = torch.zeros(*y.shape[:2], math.prod(plane), dtype=y.dtype, device=y.device)
            return flat.scatter_(2, indices.flatten(2), y.flatten(2)).reshape(*y.shape[:2], *plane)

        return Subject(inputs, call, oracle, (), "scatter in float64", draw)
    if kind == "adaunpool_masks":

        def masks(y: Tensor, weights: Tensor, how: Any = implementation) -> Tensor:
            return unpooling.unpool_weights(y, weights, k, s, p, c, output_size=plane, implementation=how)

        return Subject(inputs, masks, lambda y, w: masks(y, w, "plain"), (), "plain inverse in float64", draw)

    def guided(y: Tensor, guide: Tensor, how: Any = implementation) -> Tensor:
        return unpooling.unpool(y, guide, "ada", k, s, p, c, implementation=how)

    facts = {"beta": 0.5, "normalize": True}
    exact = partial(guided, how="plain")
    return Subject(inputs, guided, exact, (), "plain inverse in float64", draw, facts, definition="ada")
