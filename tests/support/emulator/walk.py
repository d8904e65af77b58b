"""A process that walks cases and prints faults: `python -m tests.support.emulator.walk KIND WALK PART PARTS`.

KIND: `device` for the emulated one, `cpu` for the loops of the CPU. WALK: `spread`, `random:COUNT`, or
`few:FRAME:METHOD`. The last line says how many results were compared, and how many problems were computed again.
"""

from __future__ import annotations

import os
import sys
import time


def main(kind: str, name: str, part: int, parts: int) -> None:
    if kind == "device":
        from tests.support.emulator import device  # noqa: F401
    import torch

    from tests.support.emulator.cases import Case, few, random_walk, spread_walk
    from tests.support.emulator.frames import FRAMES

    word, *rest = name.split(":")
    if word == "few":
        walk = few(*rest)
    elif word == "random":
        walk = random_walk(int(rest[0]))
    elif kind == "device":
        walk = spread_walk()
    else:  # nothing is compiled for a case: all directions
        walk = spread_walk(1, [frame for frame in FRAMES if frame != "many"])
    torch.set_num_threads(1)
    results = repeated = 0
    for number, (_, problem, directions) in enumerate(walk):
        if number % parts != part or (problem.slack > 1e4 and problem.dtype != torch.float64):
            continue  # where numbers of few bits mean nothing
        print(f"at {problem.names}", file=sys.stderr, flush=True)  # the last line before a sanitizer's
        begun = time.monotonic()
        for direction in directions:
            try:
                found = list(direction(Case(problem)))
                faults = [fault for one in found if (fault := one.fault())]
                if number // parts % 8 == 0:
                    repeated += 1
                    other_order(kind, 2)
                    for one, again in zip(found, direction(Case(problem)), strict=True):
                        if not torch.equal(one.got.nan_to_num(7e4), again.got.nan_to_num(7e4)):
                            faults.append(f"{one.what}: other bits in another order of threads")
                    other_order(kind, 1)
            except Exception as error:
                found, faults = [], [f"{problem.names} {direction.__name__}: {error!r}"[:1500]]
            results += len(found)
            for fault in faults:
                print(fault, flush=True)
        print(f"took {time.monotonic() - begun:.1f} s", file=sys.stderr)
    print(results, repeated, flush=True)


def other_order(kind: str, number: int) -> None:
    """Of the device's threads, or with another number of the CPU's."""
    import torch

    if kind == "device":
        os.environ["ADAPOOL_EMULATOR_SEED"] = str(number)
    else:
        torch.set_num_threads(number)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
