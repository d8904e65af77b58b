"""The cause beside a verdict: read from kernels that nvcc really compiled, and from instructions really counted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gate import cause
from suites import builds, built_kernels, callgrind, static
from suites.builds import Build
from suites.case import Case
from tests.gate_commands import sources

BOUNDS = "__launch_bounds__(kThreads) forward_kernel"


def case(direction: str, dtype: str = "float32", method: str = "softpool") -> Case:
    return Case("latency", method, "native", direction, (2, 2), (2, 2), (0, 0), False, (1, 4, 8, 8), dtype, "nchw")


def test_a_change_in_words() -> None:
    old = {"registers": 40, "stack": 0, "spill": 0, "instructions": 1000}
    assert cause.change(old, old | {"registers": 64, "spill": 24}) == "registers 40 -> 64, +24 B spill"
    assert cause.change(old, old | {"instructions": 1004}) == ""
    assert cause.change(old, old | {"instructions": 1100}) == "instructions 1000 -> 1100"
    tables = ({"forward_kernel<Ada,float>": old}, {"gather_kernel<Ada,float>": old, "forward_kernel<Ada,float>": old})
    assert cause.differences(*tables, "Ada", case("forward")) == ""
    assert cause.differences(*tables, "Ada", case("backward")) == "gather_kernel<Ada,float>: new"


@pytest.mark.parametrize(
    ("name", "forward", "backward"),
    [
        ("forward_kernel<SoftPool,float>", True, True),
        ("window_kernel<SoftPool,Tile<float,2,2,4,1>,value,256>", True, True),
        ("window_kernel<SoftPool,Tile<float,2,2,4,1>,exact,256>", False, True),
        ("window_kernel<SoftPool,Tile<float,3,2,4,1>,value,256>", False, False),
        ("window_kernel<SoftPool,Tile<Half,2,2,8,1>,value,256>", False, False),
        ("window_kernel<Ada,Tile<float,2,2,4,1>,value,256>", False, False),
    ],
)
def test_which_kernels_a_case_may_run(name: str, forward: bool, backward: bool) -> None:
    for direction, may in (("forward", forward), ("backward", backward)):
        assert cause.concerns(name, "SoftPool", case(direction)) == may


@pytest.fixture
def libraries(tmp_path: Path) -> tuple[Build, Build]:
    """Two builds whose forward kernel is the same but for its registers."""
    if shutil.which("nvcc") is None or static.tool("cuobjdump", "nvidia-cuda-cuobjdump") is None:
        pytest.skip("no nvcc or no cuobjdump")
    made = []
    for name, bounds in (("base", BOUNDS), ("head", BOUNDS.replace("s)", "s, 8)"))):
        source = sources(tmp_path / f"{name}-csrc", "kernels.cuh", BOUNDS, bounds)
        folder = tmp_path / name
        (folder / "adapool").mkdir(parents=True)
        words = ["nvcc", "-shared", "-Xcompiler=-fPIC", "-arch=sm_90", *static.FLAGS, "-DADAPOOL_SCALAR=float"]
        words += ["-o", str(folder / "adapool" / "libadapool_cuda.so"), f"{source}/cuda_instances.cu"]
        subprocess.run(words, check=True, capture_output=True)
        made.append(Build(name, folder, parts=builds.fingerprint(folder)))
    return made[0], made[1]


def test_registers_and_spills_are_the_cause(libraries: tuple[Build, Build]) -> None:
    words = cause.of_kernels([case("forward"), case("backward"), case("forward", "float64")], *libraries, "cuda")
    told = words[case("forward").name]
    assert told.startswith("sm_90 forward_kernel<SoftPool,float>: registers ") and " -> 32, +" in told
    assert told.count(" B spill") == 1
    assert case("forward", "float64").name not in words, "nothing of that type was compiled"
    assert cause.of_kernels([case("forward")], libraries[0], libraries[0], "cuda") == {}


def test_what_is_read_from_a_library_is_what_the_compiler_said(libraries: tuple[Build, Build], tmp_path: Path) -> None:
    if static.tool("nvdisasm", "nvidia-cuda-nvdisasm") is None:
        pytest.skip("no nvdisasm")
    library = libraries[1].library("cuda")
    assert library is not None
    read = built_kernels.kernels(library)[90]["forward_kernel<SoftPool,float>"]
    said, failed = static.kernels(90, ["float"], tmp_path / "head-csrc")
    row = said["forward_kernel<SoftPool,float>"]
    assert not failed
    assert (read["registers"], read["stack"], read["spill"], read["instructions"]) == (
        row["registers"], row["stack"], row["spill_stores"], row["instructions"],
    )  # fmt: skip


def test_instructions_are_the_cause_on_a_cpu(tmp_path: Path) -> None:
    try:
        callgrind.compiler()
    except static.Missing as reason:
        pytest.skip(str(reason))
    made = []
    for name, pragma in (("base", ""), ("head", '#pragma GCC optimize("O1")\n')):
        folder = Path(sources(tmp_path / name / "csrc", "cpu_instances.cpp", "#include", pragma + "#include"))
        (folder / "fast.cpp").unlink(missing_ok=True)
        (folder / "fast.h").unlink(missing_ok=True)
        made.append(Build(str(tmp_path / name), tmp_path / name, None, True, {"cpu": name}))
    words = cause.of_kernels([case("backward")], *made, "cpu")
    assert words[case("backward").name].startswith("CPU gather: k2s2 instructions ")


def test_the_sources_of_a_revision_come_out_of_git(tmp_path: Path) -> None:
    found = builds.sources(Build("HEAD", None, builds.git("rev-parse", "HEAD")), tmp_path)
    assert found is not None and (found / "methods.h").is_file()
    assert builds.sources(Build(str(tmp_path / "none"), None), tmp_path) is None
