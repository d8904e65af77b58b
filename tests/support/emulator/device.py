"""Imported first, gives this process the stand-ins in the place of CUDA's libraries: adapool's operators on the CPU are
then those of a device (build.py's `emulated_library`). A plugin of pytest too.
"""

from __future__ import annotations

import ctypes

for _name in ("libnvrtc.so.13", "libcuda.so.1"):
    ctypes.CDLL(_name, mode=ctypes.RTLD_GLOBAL)

from adapool import native_library  # noqa: E402

native_library.inspector().adapool_set_cuda_major(13)
