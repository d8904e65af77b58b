"""The pictures of a run: crops/TASK__NUMBER__WHAT__SUBJECT.png, small, of its first seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.task import Picture


def save(folder: Path, task: str, subject: str, pictures: dict[str, Picture]) -> None:
    """Writes pictures [3, H, W] in [0, 1]; a name is `NUMBER__WHAT`, and only `result` is the subject's own."""
    from PIL import Image

    for name, planes in pictures.items():
        whose = f"__{subject}" if name.endswith("result") else ""
        path = folder / "crops" / f"{task}__{name}{whose}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.round(np.clip(planes, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(levels)).save(path)
