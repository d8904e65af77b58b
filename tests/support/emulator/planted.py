"""Walks of a few cases on the emulated device, each of other device sources: `python -m tests.support.emulator.planted
FOLDER CSRC:FRAME:METHOD...` puts what the n-th said into FOLDER as n.out and n.err, and prints the exit codes.

Each walk has a process of its own, since a sanitizer ends it, but torch is imported once.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from tests.support.emulator import device, walk  # noqa: F401
from tests.support.emulator.cases import few  # noqa: F401 (imported before the processes are)


def walked(csrc: str, name: str, said: Path) -> int:
    """The exit code of a walk."""
    child = os.fork()  # the driver was not used before
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        for number, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(said.with_suffix(suffix), os.O_WRONLY | os.O_CREAT), number)
        os.environ["ADAPOOL_EMULATOR_SOURCES"] = csrc
        walk.main("device", name, 0, 1)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    folder, *walks = sys.argv[1:]
    codes = []
    for number, words in enumerate(walks):
        csrc, _, name = words.partition(":")
        codes.append(walked(csrc, f"few:{name}", Path(folder, str(number))))
    print(json.dumps(codes))
