"""What counts as a change: [tool.adapool.gate] of pyproject.toml, for the gate and for `compare`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib as toml
else:
    import tomli as toml  # type: ignore[import-not-found, unused-ignore] # comes with pytest where Python has no reader of its own

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
TIMES = ("time", "forward", "step", "pools")  # of a call and of a network: the margins of time are theirs
SAMPLED = (*TIMES, "energy")  # judged by samples; every other metric repeats exactly
HIGHER_IS_BETTER = ("psnr", "ssim", "accuracy", "miou")
ABSOLUTE = HIGHER_IS_BETTER  # margins of these are in their own unit, others are fractions

Margins = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Rules:
    """`margins`: metric or count -> glob over cases or rows -> margin. The last glob that fits counts; none is 0."""

    margins: Margins = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    detect: float = math.inf  # a time case that could not have shown this much was not really measured

    def margin(self, metric: str, case: str) -> float:
        found = 0.0
        for glob, margin in self.margins.get("time" if metric in TIMES else metric, {}).items():
            if fnmatchcase(case, glob):
                found = margin
        return found

    def is_control(self, case: str) -> bool:
        return any(fnmatchcase(case, glob) for glob in self.controls)

    @classmethod
    def of(cls, table: Mapping[str, Any], under: Rules | None = None) -> Rules:
        """From [tool.adapool.gate], over the rules `under` it; ValueError names the entry that is wrong."""
        under = under or cls()
        margins, detect = table.get("margins", {}), table.get("detect", under.detect)
        controls = table.get("controls", [*under.controls])
        if not isinstance(margins, dict):
            raise ValueError(f"margins: expected metrics with globs each, got {margins!r}")
        if not isinstance(controls, list) or not all(isinstance(glob, str) for glob in controls):
            raise ValueError(f"controls: expected a list of globs, got {controls!r}")
        if isinstance(detect, bool) or not isinstance(detect, (int, float)) or not detect > 0:
            raise ValueError(f"detect: expected a number above 0, got {detect!r}")
        for metric, globs in margins.items():
            if not isinstance(globs, dict):
                raise ValueError(f"margins.{metric}: expected globs with a number each, got {globs!r}")
            for glob, margin in globs.items():
                if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not 0 <= margin < 10:
                    raise ValueError(f"margins.{metric}.{glob!r}: expected a number from 0 on, got {margin!r}")
        unknown = set(table) - {"margins", "controls", "detect"}
        if unknown:
            raise ValueError(f"tool.adapool.gate: expected margins, controls, detect, got {', '.join(sorted(unknown))}")
        known = under.margins
        merged = {metric: {**known.get(metric, {}), **margins.get(metric, {})} for metric in {**known, **margins}}
        return cls(merged, tuple(controls), float(detect))


def read(file: str | Path | None = None) -> Rules:
    """pyproject.toml's rules, with those of another TOML file over them; ValueError names what is wrong."""
    own = Rules.of(_table(PROJECT))
    return own if file is None else Rules.of(_table(Path(file)), own)


def _table(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ValueError(f"rules: expected a TOML file, got {str(file)!r}")
    try:
        table: dict[str, Any] = toml.loads(file.read_text()).get("tool", {}).get("adapool", {}).get("gate", {})
        Rules.of(table)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from None
    return table
