"""As a program in the emulator's process: a person's own kernel on the emulated device, held against its row."""

from __future__ import annotations

import torch

from adapool import native, native_own
from tests.support.emulator import device as _stand_ins  # noqa: F401
from tests.support.gem import FACTS, declare

if __name__ == "__main__":
    declare()
    native_own._told = lambda entry, wide: FACTS  # type: ignore[assignment]  # the stand-in has no PTX
    native_own._make_loops = native_own._make_shape  # the operators of this process' CPU are the device's
    assert native.has_kernel("gem", torch.float32, "cpu")
