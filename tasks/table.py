"""The experiments there are, in the order they are done."""

from __future__ import annotations

from tasks.classification import CLASSIFICATION
from tasks.motion import MOTION
from tasks.restoration import INTERPOLATION, SUPER_RESOLUTION, VIDEO
from tasks.segmentation import SHAPES

TASKS = {task.name: task for task in (*CLASSIFICATION, SHAPES, SUPER_RESOLUTION, INTERPOLATION, VIDEO, MOTION)}
