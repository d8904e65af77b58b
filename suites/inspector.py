"""What the native library tells of CUDA without a device: NVRTC's place, and the kernels that a call launches."""

from __future__ import annotations

import ctypes
from functools import cache

MULTIPROCESSORS = 132  # of the device that launches are planned for: an H100


class Missing(RuntimeError):
    """A tool that this count needs is not here."""


@cache
def library() -> ctypes.CDLL:
    """The C functions of the library; Missing without one."""
    from adapool import native_library

    try:
        found = native_library.inspector()
        assert found.adapool_sources
    except (OSError, AttributeError):
        raise Missing(f"no {native_library.NAME} that tells its kernels: install with a C++ compiler") from None
    return found


def nvrtc() -> tuple[str, str]:
    """NVRTC's path and version; Missing, with the remedy, where it is not."""
    room = ctypes.create_string_buffer(4096)
    status = library().adapool_nvrtc(room, ctypes.c_size_t(len(room)))
    said = room.value.decode()
    if status:
        raise Missing(said)
    path, version = said.split("\n")
    return path, version


def taken(made: ctypes.c_void_p) -> str:
    """A text of the library's, which is freed."""
    words = ctypes.string_at(made.value).decode(errors="replace") if made.value else ""
    library().adapool_free(made)
    return words


def launches(call: str, multiprocessors: int = MULTIPROCESSORS) -> list[tuple[str, int, int, str]]:
    """What a call launches, in order: the kernel's words, threads of a block, blocks of a multiprocessor, source.
    ValueError names a word of the call that is none.
    """
    made = ctypes.c_void_p()
    status = library().adapool_sources(call.encode(), multiprocessors, ctypes.byref(made))
    said = taken(made)
    if status:
        raise ValueError(f"{call}: {said}")
    found = []
    for part in said.split("\f"):
        head, _, text = part.partition("\n")
        name, threads, blocks = head.split("\t")
        found.append((name.strip(), int(threads), int(blocks), text))
    return found
