"""Methods of one's own for tests: the README's gem, with what is known of it on CUDA, and one that has weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from adapool import Operand, method
from adapool.region import per_tap

GEM = Path(__file__).with_name("gem.h").read_text()
SHARP = Path(__file__).with_name("sharp.h").read_text()
FACTS = (0, 0, 0, 1, 5)  # what NVRTC tells of the struct in float


def gem(region: Any, p: Tensor | float) -> Tensor:
    """Generalised mean."""
    powers = region.values.clamp(min=1e-6) ** per_tap(p)
    return region.mean(powers).squeeze(-1) ** (1 / p)


def declare(row: Callable[..., Any] = gem, kernel: str = GEM) -> None:
    p = Operand("p", default=3.0, least=1.0, learned=True)
    method("(mean max(a, 1e-6)^p)^(1/p)", "the README", operands=(p,), kernel=kernel)(row)


def sharp(region: Any, tau: Tensor | float) -> tuple[Tensor, Tensor]:
    """Softmax of a temperature."""
    weights = region.softmax(region.values * per_tap(tau))
    weights = weights.detach() if region.detached else weights
    return region.sum(weights * region.values).squeeze(-1), weights


def declare_sharp() -> None:
    method("softmax(tau a)", "this test", operands=(Operand("tau", default=1.0),), extra="weights", kernel=SHARP)(sharp)
