"""What a probe finds out of a case, before it is a record. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from suites.sampling import Samples


@dataclass
class Finding:
    """What one metric of a case came to: samples or a number, or a fault."""

    metric: str
    samples: Samples | None = None
    value: float | None = None
    status: str = "ok"
    reason: str | None = None
    clock: str | None = None
    how: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    protocol: str | None = None
    image: str | None = None
    shape: tuple[int, ...] | None = None
