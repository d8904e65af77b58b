"""The few calls of NVRTC and the driver that run one kernel, by ctypes: the host code of the emulator's own tests.

As a program: a kernel of (float* y, const float* x, int n) as JSON on standard input, its y on standard output.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Sequence

LIBC = ctypes.CDLL(None)
LIBC.malloc.restype = ctypes.c_void_p
NVRTC = ctypes.CDLL("libnvrtc.so.13")
DRIVER = ctypes.CDLL("libcuda.so.1")
NVRTC.nvrtcGetErrorString.restype = ctypes.c_char_p


class CompileError(RuntimeError):
    pass


def memory(kind: type, values: Sequence[float]) -> ctypes.Array:
    """An array in an allocation of exactly its size, never freed."""
    size = ctypes.sizeof(kind * len(values))
    array = (kind * len(values)).from_address(LIBC.malloc(ctypes.c_size_t(size)))
    array[:] = values
    return array


def check(code: int) -> None:
    if code:
        name = ctypes.c_char_p()
        DRIVER.cuGetErrorName(code, ctypes.byref(name))
        raise RuntimeError(f"{(name.value or b'?').decode()} ({code})")


def compiled(text: str, headers: dict[str, str] | None = None, options: Sequence[str] = ()) -> bytes:
    headers = headers or {}
    strings = ctypes.c_char_p * len(headers)
    program = ctypes.c_void_p()
    code = NVRTC.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b"test.cu", len(headers),
        strings(*(h.encode() for h in headers.values())), strings(*(n.encode() for n in headers)),
    )  # fmt: skip
    assert code == 0
    given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    code = NVRTC.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    if code:
        NVRTC.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        NVRTC.nvrtcGetProgramLog(program, log)
        raise CompileError(f"{NVRTC.nvrtcGetErrorString(code).decode()}\n{log.value.decode()}")
    NVRTC.nvrtcGetCUBINSize(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    NVRTC.nvrtcGetCUBIN(program, image)
    NVRTC.nvrtcDestroyProgram(ctypes.byref(program))
    return image.raw


class Kernel:
    def __init__(self, image: bytes) -> None:
        context, self.function, self.module = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        check(DRIVER.cuInit(0))
        check(DRIVER.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
        check(DRIVER.cuCtxSetCurrent(context))
        check(DRIVER.cuModuleLoadData(ctypes.byref(self.module), image))
        check(DRIVER.cuModuleGetFunction(ctypes.byref(self.function), self.module, b"adapool_kernel"))

    def __call__(self, grid: Sequence[int], block: Sequence[int], *arguments: object) -> None:
        sizes = [*grid, *(1,) * (3 - len(grid)), *block, *(1,) * (3 - len(block)), 0]
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(a) for a in arguments))
        check(DRIVER.cuLaunchKernel(self.function, *map(ctypes.c_uint, sizes), None, pointers, None))

    def close(self) -> None:
        check(DRIVER.cuModuleUnload(self.module))


def pointer(array: ctypes.Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(ctypes.addressof(array))


def main() -> None:
    request = json.load(sys.stdin)
    kernel = Kernel(compiled(request["text"], request["headers"]))
    x = memory(ctypes.c_float, request["x"])
    for _ in range(request["launches"]):
        y = memory(ctypes.c_float, [0.0] * request["y"])
        arguments = pointer(y), pointer(x), ctypes.c_int(len(x))
        kernel(request["grid"], request["block"], *arguments)
        print(json.dumps(list(y)))
    kernel.close()


if __name__ == "__main__":
    main()
