"""The host half of run-time compiled CUDA kernels: NVRTC, the driver, the table. No GPU is needed.

NVRTC itself where it is installed (`pip install nvidia-cuda-nvrtc`), and stand-ins for it and for the driver.
"""

from __future__ import annotations

import ctypes
import re
import shutil
from pathlib import Path

import pytest

from tests.support.cuda_host.host import (
    HEADERS,
    KERNEL,
    NEEDED,
    Host,
    built,
    stand_in_nvrtc,
    torch_in,
    wheel,
    with_stand_ins,
)

pytestmark = NEEDED


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return with_stand_ins(tmp_path)


# NVRTC itself


@pytest.fixture
def real(tmp_path: Path) -> Host:
    """NVRTC as pip installs it beside torch, and nothing else that leads to it."""
    nvidia = wheel()
    if nvidia is None:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
    torch_in(tmp_path / "site")
    (tmp_path / "site" / "nvidia").symlink_to(nvidia)
    return Host(built() / "libhost.so", tmp_path)


def asked(real: Host, *requests: tuple[str, int, int]) -> list[list]:
    return real.ask(*requests, before=(real.home / "site" / "torch" / "lib" / "libtorch_cpu.so",), major=13)


def test_compiles_for_every_architecture_that_nvrtc_knows(real: Host) -> None:
    known = (75, 80, 90, 100, 120)
    (status, found), *made = asked(real, *((KERNEL, architecture, 1) for architecture in known))
    path, version = found.split("\n")
    assert status == 0 and Path(path).is_relative_to(real.home / "site") and re.fullmatch(r"13\.\d+", version)
    for architecture, (code, cubin, ptx, log) in zip(known, made, strict=True):
        assert code == 0 and cubin.startswith("\x7fELF") and f".target sm_{architecture}" in ptx
        assert re.search(r"Used \d+ registers", log) and "0 bytes spill stores" in log and f"sm_{architecture}" in log


def test_text_that_is_not_wanted_is_not_made(real: Host) -> None:
    _, (status, cubin, ptx, log) = asked(real, (KERNEL, 90, 0))
    assert (status, ptx, log) == (0, "", "") and cubin.startswith("\x7fELF")


def test_a_newer_gpu_than_nvrtc_knows_gets_ptx(real: Host) -> None:
    _, (status, code, ptx, _) = asked(real, (KERNEL, 990, 0))
    assert status == 0 and code == ptx and ".visible .entry adapool_kernel" in code and ".target sm_121" in code


def test_an_older_gpu_than_nvrtc_knows_is_one_sentence(real: Host) -> None:
    _, (status, *nothing, said) = asked(real, (KERNEL, 70, 0))
    assert status == 1 and nothing == [None, None]
    assert re.fullmatch(
        r"adapool: NVRTC 13\.\d+ compiles for sm_75 and newer, and this GPU is sm_70: "
        "use a torch built with an older CUDA", said
    )  # fmt: skip


def test_a_broken_source_names_its_specification(real: Host) -> None:
    broken = [
        KERNEL.replace("twice.cuh", "thrice.cuh"),
        KERNEL.replace("twice(x[i])", " + ".join(f"f{i}(x[i])" for i in range(40))),
    ]
    _, *faults, (status, *_) = asked(real, *((text, 90, 0) for text in (*broken, KERNEL)))
    assert status == 0
    for (failed, _, _, said), reason in zip(
        faults, ('cannot open source file "cuda/thrice.cuh"', '"f0" is undefined'), strict=True
    ):
        first, *log = said.split("\n")
        assert failed == 1 and reason in log[0] and len(log) <= 12
        assert first.startswith(
            "adapool: the CUDA kernel `sum forward 2-d 3/2 float32` does not compile with NVRTC 13."
        )


# Where NVRTC is looked for


def test_nothing_found_says_what_was_looked_for_and_the_remedy(host: Host) -> None:
    torch, site = torch_in(host.home / "site"), host.home / "site"
    [(status, said)] = host.given(CONDA_PREFIX="/conda").ask(before=(torch,), major=99)
    beside = f"{site}/nvidia/cu99/lib, {site}/nvidia/cuda_nvrtc/lib, {torch.parent}"
    assert status == 1 and said == (
        "adapool: NVRTC, which compiles CUDA kernels, was not found (no libnvrtc.so.99 loaded or in "
        f"{beside}, /conda/lib, the loader's path, /nowhere/lib64); "
        "install it with `pip install nvidia-cuda-nvrtc==99.*`"
    )


def test_the_order_of_places(host: Host) -> None:
    torch = torch_in(host.home / "site")
    places = [
        host.home / "process",
        host.home / "site" / "nvidia" / "cu13" / "lib",
        host.home / "site" / "nvidia" / "cuda_nvrtc" / "lib",
        torch.parent,
        host.home / "conda" / "lib",
        host.home / "loader",
        host.home / "cuda" / "lib64",
    ]
    made = [stand_in_nvrtc(place, minor) for minor, place in enumerate(places)]
    env = {"CONDA_PREFIX": places[4].parent, "LD_LIBRARY_PATH": places[5], "CUDA_HOME": places[6].parent}
    host = host.given(**env)
    for minor, library in enumerate(made):
        before = (torch, *made[:1]) if minor == 0 else (torch,)
        assert host.ask(before=before) == [[0, f"{library}\n13.{minor}"]]
        library.unlink()


def test_another_major_version_is_passed_over(host: Host) -> None:
    stand_in_nvrtc(host.home / "conda" / "lib", 7, says=12)
    twelve = stand_in_nvrtc(host.home / "loader", 9, says=12, major=12)
    host = host.given(CONDA_PREFIX=host.home / "conda", LD_LIBRARY_PATH=host.home / "loader")
    assert host.ask(major=12) == [[0, f"{twelve}\n12.9"]]
    [(_, said)] = host.ask(major=13)  # a machine may have one of its own
    assert said.endswith("install it with `pip install nvidia-cuda-nvrtc==13.*`") or str(host.home) not in said
    twelve.unlink()
    assert host.ask(major=12)[0][1].endswith("`pip install nvidia-cuda-nvrtc-cu12`") or shutil.which("nvcc")


def test_compiles_for_the_newest_architecture_below(host: Host) -> None:
    _, *made = host.ask(*(("// x\n", architecture, 0) for architecture in (90, 100, 990)))
    assert [code.split()[2] for _, code, *_ in made] == ["-arch=sm_90", "-arch=compute_90", "-arch=compute_120"]


def test_the_sources_travel_whole() -> None:
    text = (built() / "sources.cpp").read_text()
    literals = re.findall(r'R"adapool\((.*?)\)adapool"', text, re.DOTALL)
    assert max(map(len, literals)) < 16000 and len(literals) > len(HEADERS)
    assert "".join(literals) == "".join(HEADERS.values()).replace("../math", "math").replace('"long', '"math/long')


# The driver and the table


def test_each_device_has_its_own_table(host: Host) -> None:
    lines = host.lines("devices")
    assert lines[:3] == ["90 132", "120 170", "75 40"]
    assert lines[3:] == ["adapool: CUDA has no device 3 among its 3"]
    loads = [line for line in host.noted("CUDA") if line.startswith("load")]
    assert [line.split()[1] + line.split()[4] for line in loads] == ["0-arch=sm_90", "1-arch=sm_120", "2-arch=sm_75"]
    launches = [line for line in host.noted("CUDA") if line.startswith("launch")]
    rest = "grid 7 2 1 threads 128 1 1 stream 0x50 arguments 42 0.5"
    assert launches == [f"launch {device} {rest}" for device in range(3)]


def test_a_thread_gets_the_context_it_lacks_and_keeps_the_one_it_has(host: Host) -> None:
    assert host.lines("contexts") == ["put back"]
    seen = [line.split()[:2] for line in host.noted("CUDA") if line.split()[0] in ("set", "launch")]
    launch, zero, one = ["launch", "0"], ["set", "0"], ["set", "1"]
    assert seen == [zero, zero, launch, one, zero, launch, one]


def test_faults_are_sentences_and_a_source_is_compiled_once(host: Host) -> None:
    *said, made = host.given(CUDA_STAND_IN_FULL=2).lines("faults")
    broken = [
        "adapool: the CUDA kernel `kernel broken` does not compile with NVRTC 13.0: NVRTC_ERROR_COMPILATION",
        "line one",
    ]
    assert said[:4] == broken * 2
    full = "adapool: CUDA could not load a kernel on device 0: CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
    assert said[4:7] == [full, full, "done"]  # what the driver lacks now it may have the next time
    launch = "adapool: CUDA could not launch 7 x 2 x 1 blocks of 2048 threads: CUDA_ERROR_INVALID_VALUE"
    assert said[7:] == [launch]
    assert made == "4" and len(host.noted("NVRTC")) == 2  # one broken, three of the other, two from the cache


def test_a_compiler_without_memory_is_asked_again(host: Host) -> None:
    said = host.given(NVRTC_STAND_IN_FULL=3).lines("faults")
    full = "adapool: the CUDA kernel `kernel {}` does not compile with NVRTC 13.0: NVRTC_ERROR_OTHER"
    assert said[:5] == [full.format("broken"), full.format("broken"), full.format("a"), "done", "done"]


def test_without_a_driver(host: Host) -> None:
    shutil.copy(built() / "cuda" / "libnvrtc.so.13", host.home)
    alone = host.given(LD_LIBRARY_PATH=host.home)
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert alone.lines("make", 0, "a") == ["adapool: no CUDA driver: the loader finds no libcuda.so.1"]


def test_fork(host: Host) -> None:
    sentence = "adapool: CUDA was used before fork(): use multiprocessing's spawn start method"
    assert host.lines("forks", "after") == [sentence, sentence]
    assert host.lines("forks", "before") == ["done", "done"]


def test_threads_compile_a_kernel_once_and_others_meanwhile(host: Host) -> None:
    same, apart = host.given(NVRTC_STAND_IN_WAIT=500, ADAPOOL_CACHE=0).lines("threads")
    assert same.split()[0] == "1" and apart.split()[0] == "4"
    assert float(apart.split()[1]) < 1.5  # one after the other: 2 s
    assert len(host.noted("NVRTC")) == 5
    assert sum(line.startswith("launch") for line in host.noted("CUDA")) == 12


def test_a_kernel_that_is_there_is_found_at_once(host: Host) -> None:
    nanoseconds, allocations = host.lines("lookup")[0].split()
    assert float(nanoseconds) < 3000 and allocations == "0"  # 500 to 600, as these programs are not optimised; 40 else
