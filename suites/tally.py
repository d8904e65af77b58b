"""What a run came to, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SHOWN = 20  # faults that are told one by one


@dataclass
class Tally:
    """What a run came to."""

    statuses: Counter[str] = field(default_factory=Counter)
    cases: int = 0
    faults: list[str] = field(default_factory=list)
    disk: str | None = None
    late: int = 0  # cases that the time did not reach
    spent: dict[str, dict[str, float]] = field(default_factory=dict)  # seconds by device and part

    def words(self, folder: Path) -> list[str]:
        """Lines for who started the run of a folder."""
        counts = ", ".join(f"{n} {status}" for status, n in sorted(self.statuses.items())) or "nothing new"
        lines = [
            f"{self.cases} {'case' if self.cases == 1 else 'cases'}, records: {counts}",
            *(f"  {fault}" for fault in self.faults[:SHOWN]),
        ]
        if len(self.faults) > SHOWN:
            lines.append(f"  ... and {len(self.faults) - SHOWN} more, see records.csv")
        if self.late:
            lines.append(
                f"{self.late} cases were not reached in the time of this profile or budget (skipped in the report); "
                "--budget 10m gives more, a quiet machine needs less"
            )
        if self.disk:
            lines.append(f"the records could not be written: {self.disk}; continue with --resume {folder}")
        return lines
