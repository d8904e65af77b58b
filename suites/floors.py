"""What binds the fast CUDA kernels, without a GPU: `python -m suites.floors` compiles them, counts what their inner
loops execute for each input, and says how long the acceptance shapes take at least on some devices.

A floor is the largest of: bytes over the speed of a copy; instructions over issue slots; arithmetic over its lanes;
special functions (exponentials, reciprocals) over theirs. Needs nvcc and nvdisasm. Knows no records.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from suites import hot_path, static
from suites.machine import ROOT, cores

FAST = ("float", "Half", "BFloat16")
BYTES = {"float": 4, "Half": 2, "BFloat16": 2}


@dataclass(frozen=True)
class Device:
    """Speeds: a device-to-device copy (bytes read and written) as measured, the rest from the vendor's manuals."""

    name: str
    architecture: int
    copy: float  # bytes / s
    multiprocessors: int
    clock: float  # Hz, under load
    lanes: int  # of float arithmetic, per multiprocessor and clock
    issue: int = 128
    special: int = 16

    def times(self, moved: float, inputs: float, row: Mapping[str, float]) -> dict[str, float]:
        """Seconds by resource, for `inputs` numbers with the counts `row` for each."""
        each = inputs / (self.multiprocessors * self.clock)
        return {
            "memory": moved / self.copy, "issue": each * row["slots"] / self.issue,
            "arithmetic": each * row["fma"] / self.lanes, "special": each * row["mufu"] / self.special,
        }  # fmt: skip


DEVICES = (
    Device("A100", 80, 1.75e12, 108, 1.41e9, 64),
    Device("H100", 90, 3.0e12, 132, 1.755e9, 128),
    Device("H200", 90, 4.3e12, 132, 1.755e9, 128),
)
SHAPES = {  # windows -> shapes that kernels are accepted by
    (2, 2): ((64, 256, 56, 56), (8, 3, 2160, 3840)), (3, 3): ((64, 256, 56, 56),),
    (3, 2): ((64, 64, 112, 112), (8, 3, 2160, 3840)), (7, 2): ((64, 64, 112, 112),),
}  # fmt: skip
DIRECTIONS = {"value": "forward", "exact": "backward", "detached": "unpool", "given": "unpool backward"}
_KERNEL = re.compile(r"window_kernel<(\w+),Tile<(\w+),(\d+),(\d+),(\d+),(\d+)>,(\w+),(\d+)>")


@dataclass(frozen=True)
class Kernel:
    """A fast kernel, from its name: `channels` and `line` say how many windows a thread holds."""

    method: str
    scalar: str
    k: int
    s: int
    line: int
    channels: int
    want: str

    @staticmethod
    def named(name: str) -> Kernel | None:
        found = _KERNEL.fullmatch(name)
        if found is None:
            return None
        k, s, line, channels = (int(found[group]) for group in (3, 4, 5, 6))
        return Kernel(found[1], found[2], k, s, line, channels, found[7])

    @property
    def inputs(self) -> int:
        """Numbers of x that one turn of the inner loop is done with."""
        return self.s * self.s * self.line * self.channels

    def turns(self, stored: float) -> int:
        """How many turns the compiler made one of, by the bytes that this one stores."""
        numbers = self.line * self.channels if self.want in ("value", "given") else self.inputs
        return max(1, round(stored / (numbers * BYTES[self.scalar])))

    @property
    def accepted(self) -> bool:
        """Whether acceptance looks at it."""
        return self.method in ("Ada", "SoftPool") and (self.k, self.s) in SHAPES

    @property
    def tile(self) -> str:
        return "line" if self.line > 1 else "channels" if self.channels > 1 else "cell"


def counts(architecture: int, scalars: Sequence[str] = FAST) -> dict[str, dict[str, float]]:
    """Kernel -> instructions of its inner loop for each input, by class; and its registers, spills, occupancy."""
    compiler, _ = static.nvcc()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(cores()) as pool:
        jobs = [pool.submit(static.compiled, compiler, architecture, s, ROOT / "csrc", Path(scratch)) for s in scalars]
        for job in jobs:
            report, cubin = job.result()
            if cubin is None:
                raise static.Missing(f"the kernels do not compile for sm_{architecture}: {report[-300:]}")
            used = static.rows_of(report, cubin, architecture, static.threads(ROOT / "csrc"))
            bodies = static.sections(static.listing(cubin))
            names = static.demangled(list(bodies))
            for mangled, lines in bodies.items():
                if kernel := Kernel.named(names[mangled]):
                    way = hot_path.path(lines)
                    hot, inputs = hot_path.classes(way), kernel.inputs * kernel.turns(hot_path.stored(way))
                    row = {key: hot[key] / inputs for key in ("slots", *(key for key, _ in hot_path.CLASSES))}
                    kept = ("registers", "spill_stores", "stack", "shared", "occupancy")
                    found[names[mangled]] = {key: used[names[mangled]][key] for key in kept} | {
                        ("shared_access" if key == "shared" else key): n for key, n in row.items()
                    }
    return found


def moved(kernel: Kernel, shape: Sequence[int]) -> float:
    """Bytes that have to be read and written once."""
    inputs = prod(shape)
    cells = prod(shape[:2]) * prod((n - kernel.k) // kernel.s + 1 for n in shape[2:])
    return BYTES[kernel.scalar] * ((1 if kernel.want == "value" else 2) * inputs + cells)


def floors(
    rows: Mapping[str, Mapping[str, float]], device: Device
) -> Iterator[tuple[Kernel, Sequence[int], dict[str, float]]]:
    """(kernel, shape, seconds by resource) of the acceptance shapes, where a kernel serves them."""
    accepted = [(kernel, name) for name in sorted(rows) if (kernel := Kernel.named(name)) and kernel.accepted]
    lines = {replace(kernel, line=1) for kernel, _ in accepted if kernel.tile == "line"}
    for kernel, name in accepted:
        for shape in SHAPES.get((kernel.k, kernel.s), ()):
            aligned = shape[3] * BYTES[kernel.scalar] % 16 == 0 and replace(kernel, line=1) in lines
            if kernel.tile == ("line" if aligned else "cell"):
                yield kernel, shape, device.times(moved(kernel, shape), prod(shape), rows[name])


def tables(architectures: Sequence[int]) -> Iterator[str]:
    """The lines of the report."""
    yield f"# toolchain: nvcc {static.nvcc()[1]}"
    yield "# instructions of the inner loop for each input of x; `other` is what no class names"
    for architecture in architectures:
        rows = counts(architecture)
        shown = {name: row for name, row in rows.items() if (kernel := Kernel.named(name)) and kernel.accepted}
        columns = list(next(iter(rows.values())))
        yield f"\n# sm_{architecture}"
        width = max(map(len, shown)) + 2
        yield f"{'':{width}}" + "".join(f"{column:>14}" for column in columns)
        for name, row in sorted(shown.items()):
            yield f"{name:{width}}" + "".join(f"{row[column]:14.4g}" for column in columns)
        for device in (d for d in DEVICES if d.architecture == architecture):
            yield (
                f"\n# {device.name}: microseconds at least, NCHW; copy {device.copy / 1e12:.3g} TB/s, "
                f"{device.multiprocessors} multiprocessors, {device.clock / 1e9:.4g} GHz"
            )
            yield f"{'':58}{'memory':>10}{'issue':>10}{'arithmetic':>12}{'special':>10}  binds"
            for kernel, shape, times in floors(rows, device):
                what = f"{kernel.method} {kernel.scalar} {kernel.k}/{kernel.s} {DIRECTIONS[kernel.want]} {tuple(shape)}"
                numbers = "".join(f"{1e6 * times[key]:{w}.1f}" for key, w in zip(times, (10, 10, 12, 10), strict=True))
                yield f"{what.replace(', ', ','):58}{numbers}  {max(times, key=lambda key: times[key])}"


def main() -> None:
    for line in tables([int(word) for word in sys.argv[1:]] or (80, 90, 100)):
        print(line)


if __name__ == "__main__":
    main()
