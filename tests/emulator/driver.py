"""Builds the emulator's driver from csrc and talks to it. Knows requests and tensors, no method's formula."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
STORAGE = {"double": "double", "float": "float", "Half": "adapool::Half", "BFloat16": "adapool::BFloat16"}
FAST = ("float", "Half", "BFloat16")
FLAGS = ["-std=c++20", "-O0", "-g0", "-Wno-psabi", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TYPES = {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3, torch.int64: 4}
SLOTS = ["x", "logits", "spread", "operand0", "operand1", "operand2", "coefficient", "y", "extra", "target", "result"]
WRITTEN = SLOTS[SLOTS.index("y") :]


def compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "g++"))


def build(csrc: Path = CSRC, storages: Sequence[str] = tuple(STORAGE), fast: Sequence[str] = FAST) -> Path:
    """The driver for the headers in `csrc`, compiled unless the same sources were compiled before.

    `storages` and `fast`: the types to compile the generic kernels and loops for, and the fast kernels.
    """
    sources = [p for p in sorted(csrc.glob("*")) if p.suffix in (".h", ".cuh")]
    sources += [p for p in sorted(HERE.glob("*")) if p.suffix in (".h", ".cpp")]
    key = hashlib.sha256(b"".join(p.read_bytes() for p in sources) + repr((storages, fast)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("ADAPOOL_EMULATOR_CACHE", Path(tempfile.gettempdir(), "adapool-emulator")))
    driver = cache / key / "driver"
    if driver.exists():
        return driver
    driver.parent.mkdir(parents=True, exist_ok=True)
    base = [compiler() or "g++", *FLAGS, f"-I{csrc}", f"-I{HERE}"]
    jobs = [
        [*base, f"-DADAPOOL_STORAGE={STORAGE[name]}", *(["-DADAPOOL_MASKS"] if name == "float" else []),
         "-c", str(HERE / "engine.cpp"), "-o", str(driver.parent / f"{name}.o")]
        for name in storages
    ]  # fmt: skip
    jobs += [
        [*base, f"-DADAPOOL_STORAGE={STORAGE[name]}", "-c", str(HERE / "fast_engine.cpp"),
         "-o", str(driver.parent / f"fast_{name}.o")]
        for name in fast
    ]  # fmt: skip
    jobs.append([*base, "-c", str(HERE / "driver.cpp"), "-o", str(driver.parent / "driver.o")])
    running: list[subprocess.Popen[str]] = []
    for job in jobs:  # two at a time
        if len(running) == 2:
            _finish(running.pop(0))
        running.append(subprocess.Popen(job, stderr=subprocess.PIPE, text=True))
    for process in running:
        _finish(process)
    objects = [str(driver.parent / f"{name}.o") for name in (*storages, *(f"fast_{name}" for name in fast), "driver")]
    partial = driver.with_suffix(".partial")
    subprocess.run([*base, *objects, "-o", str(partial)], check=True)
    partial.rename(driver)
    return driver


def _finish(process: subprocess.Popen[str]) -> None:
    errors = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(f"the emulator's driver does not compile:\n{errors[:4000]}")


@dataclass
class Request:
    """request.h's fields; `tensors` are those that are read, `outputs` (dtype, count) those that are written."""

    engine: int
    method: int
    dtype: torch.dtype
    direction: int
    window: Sequence[Sequence[int]]  # in, out, kernel, stride, padding, each of rank 3
    batch: int
    channels: int
    channels_last: bool
    xs: Sequence[int] = (0,) * 5
    ys: Sequence[int] = (0,) * 5
    cs: Sequence[int] = (0,) * 5
    ws: Sequence[int] = (0,) * 5
    tap_stride: int = 0
    normalize: bool = False
    unpool: bool = False
    use_weight: bool = True
    use_through: bool = True
    to_logits: bool = False
    want_extra: bool = False
    given: Sequence[bool] = (False,) * 3
    operand_strides: Sequence[Sequence[int]] = ((0,) * 5,) * 3
    number: Sequence[float] = (0.0,) * 3
    kept: Sequence[int] = (1,) * 5
    summed: Sequence[int] = (1,) * 5
    chunks: int = 1
    which: int = 0
    misalign: int = 0
    seed: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, tuple[torch.dtype, int]] = field(default_factory=dict)

    def pack(self) -> bytes:
        entries, terms = 1, 1
        for kept, summed in zip(self.kept, self.summed, strict=True):
            entries, terms = entries * kept, terms * summed
        before = [self.engine, self.method, TYPES[self.dtype], self.direction]
        before += [n for axes in self.window for n in axes]
        before += [self.batch, self.channels, self.channels_last, *self.xs, *self.ys, *self.cs, *self.ws]
        before += [self.tap_stride, self.normalize, self.unpool, self.use_weight, self.use_through, self.to_logits]
        before += [self.want_extra, *self.given, *(n for strides in self.operand_strides for n in strides)]
        after = [*self.kept, *self.summed, entries, terms, self.chunks, self.which, self.misalign, self.seed]
        parts = [struct.pack(f"<{len(before)}q3d{len(after)}q", *map(int, before), *self.number, *map(int, after))]
        for slot in SLOTS:
            if slot in self.tensors:
                memory = self.tensors[slot]
                parts += [struct.pack("<2q", TYPES[memory.dtype], memory.numel()), _bytes(memory)]
            elif slot in self.outputs:
                dtype, count = self.outputs[slot]
                parts.append(struct.pack("<2q", TYPES[dtype], count))
            else:
                parts.append(struct.pack("<2q", 1, -1))
        return b"".join(parts)


def _bytes(memory: Tensor) -> bytes:
    return memory.contiguous().view(torch.uint8).numpy().tobytes() if memory.numel() else b""


class Driver:
    """A running driver process; `findings` after it died is what the sanitizers said."""

    def __init__(self, path: Path) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self.process = subprocess.Popen(
            [str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"},
        )  # fmt: skip

    def run(self, request: Request) -> dict[str, Tensor]:
        """The written tensors, flat, by slot. RuntimeError with the sanitizer's report if the driver dies."""
        assert self.process.stdin and self.process.stdout
        found = {}
        try:
            self.process.stdin.write(request.pack())
            self.process.stdin.flush()
            for slot in WRITTEN:
                if slot in request.outputs:
                    dtype, count = request.outputs[slot]
                    size = count * torch.empty(0, dtype=dtype).element_size()
                    memory = self.process.stdout.read(size)
                    if len(memory) != size:
                        raise BrokenPipeError
                    found[slot] = (
                        torch.frombuffer(bytearray(memory), dtype=dtype) if size else torch.empty(0, dtype=dtype)
                    )
        except BrokenPipeError:
            self.process.wait()
            self.log.seek(0)
            raise RuntimeError(self.log.read().decode(errors="replace")[:3000] or "the driver died") from None
        return found

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()
        self.log.close()
