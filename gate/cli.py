"""The click groups `gate` and `baseline` that runner.py takes in; each command is a few lines."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from suites.machine import ROOT
from suites.options import OPTIONS, Option, options

_WHERE: list[Option] = [
    *(OPTIONS[name] for name in ("gpu", "cpu", "seed")),
    click.option("--seconds", type=click.FloatRange(min=0.001), help="Sampling per case, round and pass."),
    click.option(
        "--pairs", type=click.IntRange(min=2), help="Pairs that screen all cases; default: 4, fewer find less."
    ),
    click.option("--out", metavar="DIR", help="Folder of the results; default: results/<UTC time>-<id>."),
]
_FOLDER = click.Path(path_type=Path)
_OUT = click.option("--out", type=_FOLDER, metavar="DIR", help="Where to write verdicts.json, junit.xml, summary.md.")
_RULES = click.option("--rules", metavar="FILE", help="A TOML file with [tool.adapool.gate]; default: pyproject.toml.")
_WHERE.append(_RULES)
_AXES = ("profile", "methods", "implementations", "kernels", "shapes", "dtypes", "directions", "probes", "clocks")
_CASES: list[Option] = [OPTIONS[name] for name in _AXES]
_STATIC: list[Option] = [
    click.option("--part", "parts", multiple=True, type=click.Choice(["kernels", "python", "instructions"]),
                 help="Default: all that the tools here can count."),
    click.option("--arch", "archs", multiple=True, type=int, metavar="N", help="CUDA architectures, such as 90."),
    OPTIONS["methods"],
    click.option("--source", type=_FOLDER, metavar="DIR", default=ROOT / "csrc", help="Another csrc than this "
                 "repository's; how CUDA kernels are launched is the built library's all the same."),
    click.option("--baseline", "folder", type=_FOLDER, metavar="DIR", default=ROOT / "reports" / "baseline",
                 help="Default: reports/baseline."),
]  # fmt: skip


def guarded(work: Callable[[], int]) -> NoReturn:
    """Runs a command and exits with its code; a fault of the tools around it is never a regression."""
    from gate.outcome import Infrastructure, say
    from suites.axes import UsageError
    from suites.doctor import NEEDED

    try:
        sys.exit(work())
    except UsageError as error:
        say(f"error: {error}")
        sys.exit(2)
    except (Infrastructure, OSError) as error:
        say(f"error: {error}")
        sys.exit(6)
    except Exception as error:  # whatever else: Python would exit with 1, which says regression
        if isinstance(error, ModuleNotFoundError) and error.name in dict(NEEDED):
            raise  # runner.py names what brings it
        traceback.print_exc()
        say("error: the gate itself failed, see above")
        sys.exit(6)
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)


@click.group()
def gate() -> None:
    """Find regressions: by committed counts (static), between two builds (ab), in what networks learn (tasks)."""


@gate.command()
@click.argument("base", metavar="BASE")
@click.argument("head", metavar="HEAD")
@click.option("--smoke", is_flag=True, help="A few cases, under 5 minutes on two CPU cores.")
@click.option("--unstable-ok", is_flag=True, help="Exit with 0 in place of 3 where the machine is too unstable to say; "
              "a wrong result, a confirmed regression and more bytes fail all the same.")  # fmt: skip
@click.option("--network", metavar="MODEL", help="This model's forward and training step instead of pooling calls.")
@click.option("--builds", metavar="DIR", default="results/builds", show_default=True, help="Where builds are kept.")
@options(*_WHERE, *_CASES)
def ab(base: str, head: str, smoke: bool, unstable_ok: bool, builds: str, **given: Any) -> None:
    """Compare two revisions (or source folders, or installed builds) on this machine."""
    from gate import interleaved

    guarded(lambda: interleaved.ab(base, head, smoke, unstable_ok, builds, given))


@gate.command()
@click.option("--fraction", type=click.FloatRange(min=0.01, max=5), help="Default: 0.05 on a GPU, 0.10 on a CPU.")
@click.option("--build", metavar="REVISION", help="Default: the adapool that is installed.")
@click.option("--builds", metavar="DIR", default="results/builds", show_default=True, help="Where builds are kept.")
@options(*_WHERE, *_CASES)
def selftest(fraction: float | None, build: str | None, builds: str, **given: Any) -> None:
    """One build against itself, three cases slowed down: false alarms and minimum detectable effect of this machine."""
    from gate import interleaved

    guarded(lambda: interleaved.selftest(fraction, build, builds, given))


@gate.command(name="tasks")
@click.argument("base", metavar="BASE")
@click.argument("head", metavar="HEAD")
@click.option("--across", is_flag=True, help="Allow runs of different machines.")
@_RULES
@_OUT
def trained(**given: Any) -> None:
    """Compare what networks have learned in two stored runs of `runner.py tasks`, paired by seed."""
    from gate import trained

    guarded(lambda: trained.tasks(**given))


@gate.command()
@options(*_STATIC)
@click.option("--optional", is_flag=True, help="Skip, with the reason, what this machine has no tool for, and what "
              "has no baseline of its toolchain; else that is exit code 5.")  # fmt: skip
@_RULES
@_OUT
def static(**given: Any) -> None:
    """Compare counts that repeat exactly with the committed baseline; needs no GPU."""
    from gate import counts

    guarded(lambda: counts.static(**given))


@click.group()
def baseline() -> None:
    """The committed counts that `gate static` compares with."""


@baseline.command()
@click.option("--reason", required=True, help="Why the new counts are right; kept with them.")
@options(*_STATIC)
def accept(reason: str, **given: Any) -> None:
    """Count again and take the counts as the new baseline, showing old and new."""
    from gate import counts

    guarded(lambda: counts.accept(reason, **given))
