"""`gate static` and `baseline accept`: counts that repeat exactly, against those that are committed."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from gate import committed
from gate.committed import Counts
from gate.judge import Judgement
from gate.outcome import Infrastructure, conclude, own_code, say
from gate.outcome import rules as the_rules
from suites.axes import UsageError, near

PARTS = ("kernels", "python", "instructions")


@dataclass(frozen=True)
class Scope:
    """What is counted: all parts, architectures and methods unless some are named."""

    parts: tuple[str, ...]
    archs: tuple[int, ...]
    methods: tuple[str, ...]
    source: Path

    def __post_init__(self) -> None:
        if self.methods:
            from counts import dispatch  # imports torch

            known = dispatch.known()
            for name in set(self.methods) - set(known):
                raise UsageError(f"method: unknown method {name!r}; {near(name, known)}known: {', '.join(known)}")
        if not (self.source / "math").is_dir():
            raise UsageError(f"source: expected a folder such as csrc, got {str(self.source)!r} without math")


def static(folder: Path, out: Path | None, rules: str | None, optional: bool, **what: Any) -> int:
    """Exit code of the comparison with the baseline."""
    known = the_rules(rules)
    scope = Scope(**what)
    own_code()
    judgements: dict[str, Judgement] = {}
    for name, found in _count(scope, optional or not scope.parts):
        if isinstance(found, Judgement):
            judgements[name] = found
            continue
        try:
            judgements[name] = committed.judge(found, folder, known, scope.methods, optional)
        except ValueError as error:
            raise UsageError(f"baseline: {error}") from None
    return conclude(out, "gate static", judgements)


def accept(reason: str, folder: Path, **what: Any) -> int:
    """0 when the counts are the baseline now; 5 when some could not be made."""
    if not reason.strip():
        raise UsageError("reason: expected why the new counts are right, got nothing")
    scope = Scope(**what)
    own_code()
    code = 0
    for name, found in _count(scope, not scope.parts):
        if isinstance(found, Judgement):
            words = [f"{r.case}: {r.note}" for r in found.results] or [f"{k}: {v}" for k, v in found.skipped.items()]
            click.echo(f"{name}: not counted: {'; '.join(words)}")
            code = max(code, found.exit_code)
        elif found.failed:
            click.echo(f"{name}: kept as it was, because some rows failed: {found.failed}")
            code = 5
        else:
            try:
                told = committed.accept(found, folder, reason, scope.methods)
            except ValueError as error:
                raise UsageError(str(error)) from None
            for line in told:
                click.echo(f"{name}: {line}")
            click.echo(f"{name}: {len(told)} of {len(found.rows)} rows changed" if told else f"{name}: unchanged")
            for key, row in sorted(found.rows.items()):
                for fault in committed.faults(key, row):
                    click.echo(f"{name}: `gate static` refuses {key}: {fault}")
    return code


def _count(scope: Scope, optional: bool) -> list[tuple[str, Counts | Judgement]]:
    """The counts of every part, or a judgement that says why there are none; says how long each took."""
    from counts.cuda import ARCHITECTURES, LINES
    from suites.inspector import Missing

    makers: list[tuple[str, str, Callable[[], Counts]]] = [
        (f"kernels sm_{arch}", f"compiles the CUDA kernels of {LINES.name}",
         partial(_kernels, arch, scope.source, scope.methods))
        for arch in scope.archs or ARCHITECTURES
    ]  # fmt: skip
    makers.append(("python", "calls every method on the CPU, seconds", partial(_python, scope.methods)))
    makers.append(("instructions", "compiles the CPU's loops and runs them under valgrind, a minute or more",
                   partial(_instructions, scope.source, scope.methods)))  # fmt: skip
    makers = [maker for maker in makers if maker[0].split()[0] in (scope.parts or PARTS)]
    found: list[tuple[str, Counts | Judgement]] = []
    for step, (name, work, make) in enumerate(makers, 1):
        begin = time.monotonic()
        say(f"step {step} of {len(makers)}, {name}: {work}")
        try:
            found.append((name, make()))
            say(f"counted {name} in {time.monotonic() - begin:.0f} s")
        except Missing as error:
            found.append((name, committed.uncounted(name, str(error), optional)))
        except ValueError as error:
            raise UsageError(str(error)) from None
    return found


def _kernels(arch: int, source: Path, methods: Sequence[str]) -> Counts:
    from counts import cuda
    from suites import inspector

    _, version = inspector.nvrtc()
    every = cuda.kernels(cuda.lines())
    of = {kernel: {line.split()[0] for line in kernel.lines} for kernel in every}
    if unknown := set(methods) - set().union(*of.values()):
        say(f"kernels: no line of {cuda.LINES.name} has {', '.join(sorted(unknown))}")
    some = [kernel for kernel in every if not methods or of[kernel] & set(methods)]
    say(f"{len(some)} kernels to compile for sm_{arch}")
    rows, failed = cuda.counts(some, arch, source)
    return Counts(f"kernels-nvrtc{version}-sm_{arch}", f"NVRTC {version}, sm_{arch}", rows, failed)


def _python(methods: Sequence[str]) -> Counts:
    import torch

    from adapool import native
    from counts import dispatch
    from suites.inspector import Missing

    state = native.status()["cpu"]
    if state != "ok":
        raise Missing(f"no compiled operators on the CPU: {state}")
    release = ".".join(torch.__version__.split("+")[0].split(".")[:2])
    rows, failed = dispatch.rows(methods)
    return Counts(f"python-torch{release}", f"torch {release}", rows, failed)


def _instructions(source: Path, methods: Sequence[str]) -> Counts:
    from counts import callgrind
    from suites.inspector import Missing

    _, version = callgrind.compiler()
    name = f"instructions-gcc{version}-{platform.machine()}"
    some = [method for method in methods if method in callgrind.methods(source)]
    if methods and not some:
        raise Missing(f"{', '.join(methods)}: no compiled loops, so no instructions to count")
    try:
        return Counts(name, f"g++ {version}, {platform.machine()}, AVX2", callgrind.instructions(source, some))
    except callgrind.Broken as error:
        raise Infrastructure(str(error)) from None
