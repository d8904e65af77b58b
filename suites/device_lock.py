"""One measurement per device at a time: a lock on a file in the temporary folder, which ends with the process that has
it, however that dies. Whoever measures a device holds its lock; nobody else needs to. Knows nothing of cases.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "ADAPOOL_LOCKS"  # where the lock files lie, when not in the temporary folder
POLL_SECONDS = 0.2


@contextmanager
def held(
    device: str, say: Callable[[str], object], stopped: Callable[[], bool] = lambda: False, poll: float = POLL_SECONDS
) -> Iterator[bool]:
    """Holds the lock of a device ("cpu", a GPU's UUID), after waiting for whoever has it, which `say` is told once.

    Gives False, and no lock, when `stopped` became true while waiting. Not reentrant. Where no lock file can be
    opened, that is said, and nothing is locked.
    """
    try:
        file = _opened(device)
    except OSError as error:
        say(f"{device}: other runs cannot be kept away, no lock file can be opened ({error.strerror})")
        yield True
        return
    try:
        mine = _taken(file)
        if not mine and not stopped():
            say(f"{device}: another run is measuring on it{_whose(file)}; waiting until it ends")
        while not mine and not stopped():
            time.sleep(poll)
            mine = _taken(file)
        if mine:
            os.pwrite(file, f"{os.getpid():<12}".encode(), 0)
        yield mine
    finally:
        os.close(file)


def path(device: str) -> Path:
    """The lock file of a device; its name tells nothing of the machine."""
    folder = os.environ.get(FOLDER) or tempfile.gettempdir()
    return Path(folder, f"adapool-{hashlib.sha256(device.encode()).hexdigest()[:16]}.lock")


def _opened(device: str) -> int:
    """The file, made for every user; opened without O_CREAT first, which a sticky folder refuses for others' files."""
    name, flags = path(device), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, flags)
    try:
        file = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(name, flags)
    os.fchmod(file, 0o666)
    return file


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _whose(file: int) -> str:
    found = os.pread(file, 12, 0).decode(errors="replace").strip()
    return f" (process {found})" if found.isdigit() else ""
