"""The disk's cache of compiled CUDA kernels: what others, kills, full disks and damage do to it. No GPU is needed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.cuda_host.host import (
    CSRC,
    HEADERS,
    NEEDED,
    Host,
    build,
    embed,
    stand_in_nvrtc,
    with_stand_ins,
)

pytestmark = NEEDED
ROOM = 1 << 20


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return with_stand_ins(tmp_path)


@pytest.fixture
def kept(host: Host) -> Path:
    return host.home / "kept" / "kernels"


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_fingerprint_is_fnv_1a(host: Host) -> None:
    known = {"": "6c62272e07bb014262b821756295c58d", "a": "d228cb696f1a8caf78912b704e4a8964"}
    for text in (*known, "foobar", "\u00fc" * 1000):
        hash = 0x6C62272E07BB014262B821756295C58D
        for byte in text.encode():
            hash = (hash ^ byte) * (2**88 + 0x13B) % 2**128
        assert host.run("digest", input=text).stdout.strip() == known.get(text, f"{hash:032x}") == f"{hash:032x}"


def test_what_was_compiled_is_not_compiled_again(host: Host) -> None:
    def compiled(device: int, text: str, host: Host = host) -> int:
        before = len(host.noted("NVRTC"))
        assert host.lines("make", device, text) == ["done"]
        return len(host.noted("NVRTC")) - before

    assert [compiled(0, "a"), compiled(0, "a")] == [1, 0]
    folder = host.home / ".cache" / "adapool"
    assert folder.stat().st_mode & 0o777 == 0o700 and [p.stat().st_mode & 0o777 for p in files(folder)] == [0o600]
    assert [compiled(0, "a\nchanged"), compiled(1, "a"), compiled(0, "a")] == [1, 1, 0]
    library = stand_in_nvrtc(host.home / "conda" / "lib", 1)
    conda = host.given(CONDA_PREFIX=host.home / "conda")
    assert [compiled(0, "a", conda), compiled(0, "a", conda)] == [1, 0]
    library.write_bytes(library.read_bytes() + b"another release of this version")
    assert [compiled(0, "a", conda), compiled(0, "a", conda)] == [1, 0]
    for _ in range(2):
        assert compiled(0, "a", host.given(ADAPOOL_CACHE=0)) == 1
    assert len(files(folder)) == 5


def test_changed_headers_compile_again(host: Host) -> None:
    """A library with other device sources does not take what this one compiled."""
    assert host.lines("make", 0, "a") == ["done"]
    headers = {**HEADERS, "math/long.h": "#pragma once\nconstexpr float kNothing = 1;\n"}
    other = host.home / "other.so"
    build("-std=c++20", f"-I{CSRC}", "-shared", "-fPIC", embed(host.home, headers), "-o", other)
    changed = host.given(LD_PRELOAD=other)
    assert changed.lines("make", 0, "a") == ["done"]
    assert len(host.noted("NVRTC")) == 2


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, "/h/.cache/adapool"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/adapool"),
        ({"XDG_CACHE_HOME": "relative"}, "/h/.cache/adapool"),
        ({"XDG_CACHE_HOME": "/x", "ADAPOOL_CACHE": "/own"}, "/own"),
        ({"ADAPOOL_CACHE": "0"}, ""),
        ({"ADAPOOL_CACHE": ""}, "/h/.cache/adapool"),
        ({"HOME": ""}, ""),
    ],
)
def test_folder_of_the_environment(host: Host, variables: dict[str, str], folder: str) -> None:
    assert host.given(HOME="/h").given(**variables).lines("folder") == [folder]


def test_processes_at_once(host: Host, kept: Path) -> None:
    bound = 12 * 20200  # less than what all of them write
    running = [
        subprocess.Popen(
            host.words("storm", kept, bound, f"own{i}-"), env=host.environment, stdout=subprocess.PIPE, text=True
        )
        for i in range(4)
    ]
    for process in running:
        found, wrong = map(int, process.communicate(timeout=60)[0].split())
        assert process.returncode == 0 and found > 0 and wrong == 0
    assert all(path.suffix == ".kernel" for path in files(kept))
    assert sum(path.stat().st_size for path in files(kept)) <= bound


def test_killed_writers_harm_nothing(host: Host, kept: Path) -> None:
    for i in range(8):
        process = subprocess.Popen(host.words("storm", kept, ROOM, "own"), env=host.environment, stdout=subprocess.PIPE)
        time.sleep(0.003 * (i + 1))
        process.kill()
        process.communicate()
    assert "wrong" not in host.lines("read", kept, ROOM, 20000, *(f"shared{i}" for i in range(10)))
    old, new = (kept / f"{'0a' * 16}.1.{i}.1.writing" for i in range(2))
    others = [kept / "notes.txt", kept / "draft.writing", kept / "b.kernel"]
    for path in (old, new, *others):
        path.write_text("torn")
        if path != new:
            os.utime(path, (1, 1))
    host.run("write", kept, 1500, 500, "a", "b", "c", "d")
    assert not old.exists() and new.exists() and all(path.exists() for path in others)


def test_what_is_not_whole_is_ignored_and_replaced(host: Host, kept: Path) -> None:
    def reads() -> list[str]:
        return host.lines("read", kept, ROOM, 5000, "a", "b")

    assert reads() == ["none", "none"] and not kept.exists()
    host.run("write", kept, ROOM, 5000, "a")
    assert reads() == ["right", "none"]
    [path] = files(kept)
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[-1000] ^= 1
    longer = whole + b"x"
    for harm in (
        whole[:-1],
        whole[: len(whole) // 2],
        whole[:20],
        b"",
        bytes(altered),
        longer,
        whole.replace(b"2\n", b"1\n", 1),
    ):
        path.write_bytes(harm)
        assert reads() == ["none", "none"]
        host.run("write", kept, ROOM, 5000, "a")
        assert reads() == ["right", "none"]
    host.run("write", kept, ROOM, 5000, "b")
    [other] = [p for p in files(kept) if p != path]
    path.replace(other)
    assert reads() == ["none", "none"]
    other.unlink()
    os.mkfifo(other)
    path.symlink_to("/dev/zero")
    assert reads() == ["none", "none"]


def test_the_longest_unread_go_first(host: Host, kept: Path) -> None:
    keys = ["a", "b", "c", "d"]
    for key in keys:
        host.run("write", kept, ROOM, 5000, key)
        for path in files(kept):
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
    assert host.lines("read", kept, ROOM, 5000, "a") == ["right"]
    host.run("write", kept, 3 * 5200, 5000, "e")
    assert host.lines("read", kept, ROOM, 5000, *keys, "e") == ["right", "none", "none", "right", "right"]
    host.run("write", kept, 3 * 5200, 20000, "too long to keep")
    assert len(files(kept)) == 3


def folder_that_is(kind: str, kept: Path) -> None:
    kept.parent.mkdir()
    real = kept.with_name("real")
    real.mkdir(mode=0o700)
    if kind == "a link":
        kept.symlink_to(real)
    elif kind == "a file":
        kept.write_text("mine")
    else:
        kept.mkdir()
        if kind == "another's":
            os.chown(kept, 1, 1)
        else:
            kept.chmod(0o702 if kind == "open to all" else 0o720)


@pytest.mark.parametrize("kind", ["a link", "a file", "another's", "open to all", "open to a group"])
def test_a_folder_that_others_may_write_to_is_not_used(host: Host, kept: Path, kind: str) -> None:
    if kind == "another's" and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder_that_is(kind, kept)
    reason = {
        "a link": "it is a link or no folder",
        "a file": "it is a link or no folder",
        "another's": "it belongs to another user",
    }
    said = (
        f"adapool: compiled CUDA kernels are not kept in {kept} ({reason.get(kind, 'others may write to it')}); "
        "ADAPOOL_CACHE names another folder, or 0 for none\n"
    )
    for given in (kept, f"{kept}/"):
        assert host.run("write", given, ROOM, 100, "a", "b").stderr == said
        assert host.run("read", given, ROOM, 100, "a", "b").stderr == said
    assert kept.is_file() or not list(kept.iterdir())
    assert host.given(ADAPOOL_CACHE=kept).lines("make", 0, "a") == ["done"]


def test_a_folder_that_cannot_be_made_costs_the_compile(host: Host) -> None:
    done = host.given(ADAPOOL_CACHE="/proc/adapool/kernels").run("make", 0, "a")
    assert done.stdout == "done\n" and done.stderr.count("\n") == 1
    assert host.given(HOME="").run("make", 0, "a").stderr == ""


def test_a_full_disk_costs_the_compile(host: Host, kept: Path) -> None:
    """By a limit on a file's size, which stops a write as a full disk does: after a part of it."""
    command = 'trap "" XFSZ; ulimit -f 4; exec "$0" "$@"'
    done = subprocess.run(
        ["bash", "-c", command, *host.words("write", kept, ROOM, 50000, "a", "b")],
        env=host.environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr.count("not kept") == 1 and "File too large" in done.stderr
    assert files(kept) == []
