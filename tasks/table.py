"""The experiments there are, in the order they are done."""

from __future__ import annotations

from tasks.classification import DIGITS, FASHION
from tasks.motion import MOTION
from tasks.restoration import SUPER_RESOLUTION

TASKS = {task.name: task for task in (DIGITS, FASHION, SUPER_RESOLUTION, MOTION)}
