"""The emulator of CUDA against small programs whose results are known, and against planted faults that it must find."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulator.build import compiler, environment, sanitizers

ROOT = Path(__file__).parents[2]
KERNEL = 'extern "C" __global__ void __launch_bounds__(256, 2) adapool_kernel(float* y, const float* x, int n) '
ADD = KERNEL + "{ const int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) y[i] = x[i] + 1; }"
# Each thread takes what another warp's thread wrote; {0} is the meeting between, or a fault in its place.
TURN = KERNEL + (
    "{{ __shared__ float kept[256]; const int t = threadIdx.x; kept[t] = x[t]; {0}; y[t] = kept[(t + 40) % n]; }}"
)
WARP = KERNEL + "{{ float v = x[threadIdx.x]; const int t = threadIdx.x; {0}; y[t] = v; }}"

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler for the emulator")
needs_sanitizers = pytest.mark.skipif(
    compiler() is not None and sanitizers() is None, reason="the compiler has no sanitizers"
)


def process(arguments: list[str], sanitize: bool, given: str = "", **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, input=given, capture_output=True, text=True, check=False,
        env=environment(sanitize=sanitize, **settings),
    )  # fmt: skip


def died(text: str, **settings: Any) -> str:
    """What a kernel that must not survive leaves on standard error."""
    found = launch(text, **settings)
    assert isinstance(found, str), found
    return found


def launch(
    text: str, x: Sequence[float] = (), y: int = 0, grid: Sequence[int] = (1,), block: Sequence[int] = (1,),
    *, launches: int = 1, headers: dict[str, str] | None = None, sanitize: bool = False, **settings: Any,
) -> Any:  # fmt: skip
    """y of every launch; what stands on standard error if the process died."""
    request = {"text": text, "headers": headers or {}, "x": list(x), "y": y, "grid": grid, "block": block}
    request["launches"] = launches
    done = process(["-m", "tests.support.emulator.client"], sanitize, json.dumps(request), **settings)
    if done.returncode:
        return done.stderr
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def numbers(count: int) -> list[float]:
    return [float(3 * i % 17 - 5) for i in range(count)]


@pytest.mark.parametrize("sanitize", [False, pytest.param(True, marks=needs_sanitizers)])
def test_threads_of_all_blocks_run_once(sanitize: bool) -> None:
    x = numbers(1000)
    assert launch(ADD, x, 1000, (8,), (128,), sanitize=sanitize) == [[v + 1 for v in x]]


def test_indices_have_three_axes() -> None:
    block, row = "((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x)", "(threadIdx.z * 3 + threadIdx.y)"
    text = (
        KERNEL + f"{{ y[{block} * 24 + {row} * 4 + threadIdx.x] += blockDim.z * 100 + gridDim.z * 10 + threadIdx.x; }}"
    )
    assert launch(text, [], 24 * 30, (2, 3, 5), (4, 3, 2)) == [[250.0 + i % 4 for i in range(24 * 30)]]


@pytest.mark.parametrize("sanitize", [False, pytest.param(True, marks=needs_sanitizers)])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_block_sums_at_barriers(sanitize: bool, seed: int) -> None:
    body = """{
      __shared__ float part[96];
      const int t = threadIdx.x;
      float v = x[blockIdx.x * 96 + t];
      for (int d = 48; d >= 3; d /= 2) {
        part[t] = v;
        __syncthreads();
        v += t < d ? part[t + d] : 0;
        __syncthreads();
      }
      part[t] = v;
      __syncthreads();
      if (t == 0) y[blockIdx.x] = part[0] + part[1] + part[2];
    }"""
    x = numbers(96 * 5)
    sums = [sum(x[96 * b : 96 * b + 96]) for b in range(5)]
    assert launch(KERNEL + body, x, 5, (5,), (96,), launches=4, sanitize=sanitize, seed=seed) == [sums] * 4


@pytest.mark.parametrize(
    ("kind", "step"),
    [("float", "v += {}(~0u, v, d)"), ("double", "v += {}(~0u, v, d)"), ("long long", "v += {}(~0u, v, d, 32)"),
     ("unsigned", "v += {}(~0u, v, d)")],
)  # fmt: skip
@pytest.mark.parametrize("shuffle", ["__shfl_xor_sync", "__shfl_down_sync"])
def test_a_warp_sums_by_shuffles(kind: str, step: str, shuffle: str) -> None:
    loop = f"for (int d = 16; d > 0; d /= 2) {step.format(shuffle)};"
    text = KERNEL + f"{{ {kind} v = x[threadIdx.x]; {loop} if (threadIdx.x % 32 == 0) y[threadIdx.x / 32] = v; }}"
    x = [v + 5 for v in numbers(128)]
    assert launch(text, x, 4, (1,), (128,)) == [[sum(x[32 * w : 32 * w + 32]) for w in range(4)]]


@pytest.mark.parametrize(
    ("call", "source"),
    [("__shfl_sync(~0u, v, 5)", lambda t: 5), ("__shfl_sync(~0u, v, t + 3, 8)", lambda t: t // 8 * 8 + (t + 3) % 8),
     ("__shfl_down_sync(~0u, v, 3, 8)", lambda t: t + 3 if t % 8 < 5 else t),
     ("__shfl_up_sync(~0u, v, 2)", lambda t: t - 2 if t > 1 else t),
     ("__shfl_xor_sync(~0u, v, 8, 8)", lambda t: t - 8 if t & 8 else t)],
)  # fmt: skip
def test_where_a_shuffle_reads(call: str, source: Any) -> None:
    x = [float(i) for i in range(32)]
    assert launch(WARP.format(f"v = {call}"), x, 32, (1,), (32,)) == [[x[source(t)] for t in range(32)]]


def test_votes() -> None:
    ballot = sum(1 << t for t in range(32) if t % 3 == 0)
    votes = "__all_sync(~0u, t < 32) + 2 * __all_sync(~0u, t) + 4 * __any_sync(~0u, t == 7) + 8 * __any_sync(~0u, 0)"
    assert launch(WARP.format(f"v = {votes}"), [0.0] * 32, 32, (1,), (32,)) == [[5.0] * 32]
    same = f"v = __ballot_sync(~0u, t % 3 == 0) == {ballot}u"
    assert launch(WARP.format(same), [0.0] * 32, 32, (1,), (32,)) == [[1.0] * 32]


def test_parts_of_a_warp_meet_apart_and_then_together() -> None:
    text = WARP.format("if (t < 8) { v = __shfl_sync(0xffu, v, 1); v += __shfl_sync(0xffu, v, 2); } __syncwarp(~0u);")
    x = numbers(32)
    assert launch(text, x, 32, (1,), (32,), launches=3) == [[2 * x[1]] * 8 + x[8:]] * 3


def test_headers_have_names_and_the_log_has_lines() -> None:
    headers = {"cuda/add.cuh": "#pragma once\ninline __device__ float more(float v) { return v + 1; }"}
    text = '#include "cuda/add.cuh"\n' + ADD.replace("x[i] + 1", "more(x[i])")
    assert launch(text, [1.0], 1, headers=headers) == [[2.0]]
    headers["cuda/add.cuh"] = headers["cuda/add.cuh"].replace("+ 1", "+ 2")
    assert launch(text, [1.0], 1, headers=headers) == [[3.0]]
    message = died(text.replace("more", "less"), headers=headers)
    assert "NVRTC_ERROR_COMPILATION" in message and "test.cu:2:" in message and "less" in message


def test_a_program_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPOOL_EMULATOR_CACHE", str(tmp_path))
    for text, x in ((ADD, 1.0), (ADD, 2.0), (ADD + " ", 3.0)):
        assert launch(text, [x], 1) == [[x + 1]]
    assert "CompileError" in died(ADD + "?")
    assert len(list((tmp_path / "programs").iterdir())) == 2


def test_host_threads_launch_one_after_another() -> None:
    script = f"""
import ctypes, threading
from tests.support.emulator.client import Kernel, compiled, memory, pointer
image, found = compiled({TURN.format("__syncthreads()")!r}), []
def run(first):
    kernel, x = Kernel(image), memory(ctypes.c_float, [first + i for i in range(256)])
    for _ in range(10):
        y = memory(ctypes.c_float, [0.0] * 256)
        kernel((1,), (256,), pointer(y), pointer(x), ctypes.c_int(256))
        found.append(list(y) == x[40:] + x[:40])
    kernel.close()
threads = [threading.Thread(target=run, args=(first,)) for first in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(all(found), len(found))
"""
    for sanitize in (False, True) if sanitizers() else (False,):
        assert process(["-c", script], sanitize).stdout == "True 40\n"


# Faults, planted.


@pytest.mark.parametrize("way", ["", "v = __shfl_xor_sync(~0u, v, 1), v = __shfl_xor_sync(~0u, v, 1)"])
def test_a_missing_barrier_is_a_wrong_result(way: str) -> None:
    """Also where each warp has meetings of its own between, which must not keep the warps in step."""
    x = numbers(256)
    good, text = x[40:] + x[:40], TURN.replace("kept[t] = x[t];", "float v = x[t]; kept[t] = v;")
    assert launch(text.format(way + "; __syncthreads()"), x, 256, (1,), (256,), launches=8) == [good] * 8
    for seed in (1, 2, 3):
        assert all(y != good for y in launch(text.format(way), x, 256, (1,), (256,), launches=8, seed=seed))


def test_a_missing_barrier_after_reading_is_a_wrong_result() -> None:
    before, x = TURN.format("__syncthreads()"), numbers(256)
    good = x[40:] + x[:40]
    for barrier in ("__syncthreads();", ""):
        text = before.replace("n]; }", f"n]; {barrier} kept[t] = 0; }}")
        found = launch(text, x, 256, (1,), (256,), launches=8)
        assert all((y == good) is bool(barrier) for y in found)


def test_blocks_that_count_on_each_other_are_wrong() -> None:
    text = KERNEL + "{ y[blockIdx.x] = blockIdx.x ? y[blockIdx.x - 1] + 1 : 1; }"
    good = [float(i + 1) for i in range(8)]
    assert any(y != good for y in launch(text, [], 8, (8,), (1,), launches=8))


def test_shared_memory_begins_as_no_number_in_every_block() -> None:
    text = KERNEL + "{ __shared__ float kept[2]; y[blockIdx.x] = kept[0]; kept[0] = 1; }"
    [found] = launch(text, [], 3, (3,), (1,))
    assert all(math.isnan(v) for v in found)


IN_TEMPLATE = "template <int N> __device__ float* at(int i) { __shared__ float kept[N]; return kept + i; }\n"
SHARED = KERNEL + "{ __shared__ float kept[8]; "


@needs_sanitizers
@pytest.mark.parametrize(
    ("text", "finding", "flags"),
    [(KERNEL + "{ y[0] = x[threadIdx.x]; }", "heap-buffer-overflow", ""),
     (KERNEL + "{ y[0] = x[-1]; }", "heap-buffer-overflow", ""),
     (SHARED + "kept[0] = 0; __syncthreads(); y[0] = x[threadIdx.x]; }", "heap-buffer-overflow", ""),
     (SHARED + "kept[threadIdx.x] = 0; y[0] = kept[0]; }", " out of bounds for type 'float [8]'", ""),
     # What one sanitizer sees first in arrays whose size is known, the other sees alone too.
     (SHARED + "float* at = kept; at[threadIdx.x] = 0; y[0] = *kept; }", "global-buffer-overflow",
      "-fno-sanitize=undefined"),
     (IN_TEMPLATE + KERNEL + "{ *at<9>(0) = 0; *at<8>(threadIdx.x) = 0; y[0] = *at<8>(0) + *at<9>(0); }",
      "global-buffer-overflow", "-fno-sanitize=undefined"),
     (KERNEL + "{ float own[4] = {}; float* at = own; at[n - 4] = 1; y[0] = at[threadIdx.x % 4]; }",
      "stack-buffer-overflow", "-fno-sanitize=undefined"),
     (KERNEL + "{ y[0] = float(0x7ffffff0 + int(threadIdx.x) + n); }", "signed integer overflow", ""),
     (KERNEL + "{ y[0] = float(1 << (n + 24)); }", "shift exponent 32", "")],
)  # fmt: skip
def test_what_the_sanitizers_find(text: str, finding: str, flags: str) -> None:
    message = died(text, x=numbers(8), y=1, block=(12,), sanitize=True, flags=flags)
    assert finding in message and "test.cu:" in message, message[:2000]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(TURN.format("if (t != 70) __syncthreads()"), "waits at __syncthreads (test.cu:1), but thread 70 has ended"),
     (TURN.format("if (t < 64) __syncthreads();\nelse __syncthreads()"), "waits at __syncthreads (test.cu:"),
     (WARP.format("if (t == 9) return; v = __shfl_xor_sync(~0u, v, 1)"), "but thread 9 has ended"),
     (WARP.format("if (t / 8 == 2) __syncthreads(); else __syncwarp()"),
      "thread 0 waits at __syncwarp (test.cu:1) for the lanes of its mask 0xffffffff, but thread 16 waits at __sync"),
     (WARP.format("v = t == 1 ? __shfl_sync(~0u, v, 0) : __shfl_down_sync(~0u, v, 1)"),
      "but thread 1 waits at __shfl_sync"),
     (WARP.format("v = __shfl_sync(t == 40 ? 0xfffffffeu : ~0u, v, 1)"), "(test.cu:1) with its mask 0xfffffffe"),
     (WARP.format("v = __shfl_sync(0xffffu, v, 0)"), "its mask 0x0000ffff does not name its lane"),
     (WARP.format("if (t < 16) v = __shfl_sync(0xffffu, v, 20)"), "its mask 0x0000ffff does not name lane 20, which"),
     (WARP.format("if (t > 95) v = __shfl_sync(~0u, v, 0)"), "but thread 100 is beyond the block")],
)  # fmt: skip
@pytest.mark.parametrize("seed", [1, 2])
def test_meetings_that_never_come_about(text: str, sentence: str, seed: int) -> None:
    message = died(text, x=numbers(100), y=100, block=(100 if "95" in text or "kept" in text else 96,), seed=seed)
    assert message.startswith("emulator: block (0, 0, 0): thread ") and sentence in message, message


def test_a_launch_that_a_device_refuses() -> None:
    for grid, block in (((1,), (1025,)), ((1, 65536), (1,)), ((0,), (1,)), ((1,), (1, 1, 65))):
        assert "CUDA_ERROR_INVALID_VALUE (1)" in died(ADD, grid=grid, block=block)


TORCH = """
import ctypes
import torch
from tests.support.emulator.client import Kernel, compiled
kernel = Kernel(compiled({text!r}))
x, y = torch.arange({given}.0), torch.zeros({given})
assert {given} % 2 == 1 and x.data_ptr() % 64 == 0
kernel((2,), (64,), ctypes.c_void_p(y.data_ptr()), ctypes.c_void_p(x.data_ptr()), ctypes.c_int({read}))
print(int(y.sum()))
"""


@needs_sanitizers
def test_a_process_with_torch_sees_the_end_of_its_tensors() -> None:
    text = ADD.replace("y[i] = x[i] + 1", "y[i % 101] = x[i] + 1")
    done = process(["-c", TORCH.format(text=text, given=101, read=101)], sanitize=True)
    assert (done.returncode, done.stdout) == (0, "5151\n"), done.stderr
    done = process(["-c", TORCH.format(text=text, given=101, read=102)], sanitize=True)
    assert done.returncode and "heap-buffer-overflow" in done.stderr and "adapool_kernel" in done.stderr
    assert "0 bytes" in done.stderr and "404-byte region" in done.stderr
