"""Names in a profiler's picture: NVTX ranges, where this torch has them. Without a profiler one costs a microsecond."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def named(words: str) -> contextlib.AbstractContextManager[Any]:
    """A range of this name around what the host does, and so around the kernels that it launches there."""
    if not hasattr(torch._C, "_nvtx"):  # torch without CUDA, or built without NVTX
        return contextlib.nullcontext()
    return torch.cuda.nvtx.range(words.replace("{", "{{").replace("}", "}}"))  # which formats its text
