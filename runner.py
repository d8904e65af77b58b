"""The command line: bench, network, tasks, plan, report, compare, doctor, gate, baseline. The work is elsewhere.

Nothing heavy is imported until a command needs it. Exit codes: 0 all measured, 1 some case failed or was incorrect,
2 usage, 130 and 143 stopped by Ctrl-C and SIGTERM (what was measured is kept and reported).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import click

    from commands.network import network
    from commands.run import axes_of, fail, listed, measure_and_report, say
    from gate.cli import baseline, gate
    from tasks.cli import tasks
except ModuleNotFoundError as error:
    if error.name != "click":
        raise
    from suites.doctor import EXTRA

    raise SystemExit(f"error: click is not installed; {EXTRA}") from None

if TYPE_CHECKING:
    pass


def duration(value: str) -> float:
    """Seconds, or 90s, 10m, 1.5h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value)
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0
    if seconds <= 0:
        raise click.BadParameter(f"expected a duration such as 90s, 10m or 1h, got {value!r}")
    return seconds


def percent(value: str) -> float:
    """10% or 0.1."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", value)
    if not found:
        raise click.BadParameter(f"expected a share such as 10% or 0.1, got {value!r}")
    return float(found[1]) / (100 if found[2] else 1)


_AXES: list[Callable[[Any], Any]] = [
    click.option("--profile", type=click.Choice(["smoke", "default", "full"]), default="default", show_default=True,
                 help="How much: smoke < 30 s, default < 3 min on two CPU cores."),
    click.option("--method", "methods", type=listed, multiple=True, metavar="NAME",
                 help="Methods by name, or one's own as path/to/file.py:function."),
    click.option("--implementation", "implementations", type=listed, multiple=True,
                 metavar="NAME", help="native, plain, compiled, torch, released, own, copy."),
    click.option("--compare-with", "compare_with", type=listed, multiple=True, metavar="NAME",
                 help="Beside those: released (the adaPool and SoftPool packages, where installed), compiled."),
    click.option("--kernel", "kernels", type=listed, multiple=True, metavar="K", help="2, 3, 2x3, 3s2, 3s2p1."),
    click.option("--stride", "strides", type=listed, multiple=True, metavar="S", help="Default: the kernel."),
    click.option("--padding", "paddings", type=listed, multiple=True, metavar="P", help="Default: 0."),
    click.option("--ceil", is_flag=True, help="ceil_mode."),
    click.option("--shape", "shapes", type=listed, multiple=True, metavar="NxCx...",
                 help="4x64x56x56 (1 to 3 spatial sizes), or a layer such as resnet_stem."),
    click.option("--dtype", "dtypes", type=listed, multiple=True, metavar="T",
                 help="float32, float16, bfloat16, float64."),
    click.option("--layout", "layouts", type=listed, multiple=True, metavar="L", help="nchw, channels_last."),
    click.option("--direction", "directions", type=listed, multiple=True, metavar="D",
                 help="forward, backward, both, inverse."),
    click.option("--probe", "probes", type=listed, multiple=True, metavar="P",
                 help="latency, memory, energy, retention."),
    click.option("--clock", "clocks", type=listed, multiple=True, metavar="C", help="cold, hot; on a GPU graph, host."),
    click.option("--case", "cases", type=listed, multiple=True, metavar="KEY|GLOB",
                 help="These cases of the plan alone, without limit of time, such as 'latency:ada/native/*'."),
    click.option("--images", metavar="DIR", help="Photographs to measure retained information on."),
    click.option("--crop", type=int, metavar="PIXELS", help="Longest side used of a photograph; 0: all of it."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
    click.option("--budget", type=duration, metavar="TIME", help="Fit the whole run into this, such as 10m."),
    click.option("--min-samples", type=click.IntRange(min=3), metavar="N",
                 help="Samples of each latency, however long they take."),
    click.option("--until-precise", is_flag=True,
                 help="Sample until a latency's interval is 0.5 % of it; takes its time."),
    click.option("--shard", metavar="I/N", help="The I-th of N shares of the plan; `report` puts their runs together."),
    click.option("--gpu", metavar="all|IDS|UUIDS", help="GPUs to measure; default: those there are, else the CPU."),
    click.option("--cpu", is_flag=True, help="Measure the CPU."),
]  # fmt: skip


def axes_options(command: Any) -> Any:
    for option in reversed(_AXES):
        command = option(command)
    return command


def _version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from suites import provenance

        click.echo(provenance.words())
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Say which adapool would be measured.")  # fmt: skip
def cli() -> None:
    """Measure pooling methods: time, memory, energy, retained information; and compare."""


@cli.command()
@axes_options
@click.option("--out", metavar="DIR", help="Folder of the run; default: results/<UTC time>-<id>.")
@click.option("--resume", metavar="RUN", help="Continue this run where it stopped; takes its axes from there.")
@click.option("--parallel", is_flag=True, help="Measure several devices side by side.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True,
              help="Seconds a case may take before its worker is killed.")  # fmt: skip
@click.option("--ray", metavar="ADDRESS|local", help="Share the plan out to the devices of a Ray cluster.")
@click.option("--profile-with", "profiler", type=click.Choice(["none", "ncu", "nsys", "torch"]), default="none",
              help="Then run chosen cases again under this profiler; ncu and nsys need a GPU.")  # fmt: skip
@click.option("--profile-case", "globs", multiple=True, metavar="GLOB",
              help="Cases to profile, as 'ada/native/*'; default: three far from a copy.")  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="Print the keys of the cases, as --case takes them; no more.")
def bench(
    out: str | None, resume: str | None, parallel: bool, timeout: float, ray: str | None, profiler: str,
    globs: tuple[str, ...], listing: bool, **given: Any,
) -> None:  # fmt: skip
    """Measure, and write the report."""
    from suites import doctor, profiles, provenance, session
    from suites.fleet import connect
    from suites.plan import UsageError

    if lacking := doctor.lacking():  # said before anything is measured, since the report comes last
        fail(f"{', '.join(lacking)} not installed; {doctor.EXTRA}")
    try:
        if globs and profiler == "none":
            raise UsageError("profile-case: expected --profile-with ncu, nsys or torch beside it")
        if ray and profiler != "none":
            raise UsageError("profile-with: expected none beside --ray, a profiler needs the device at hand")
        if listing and resume:
            raise UsageError("list: expected no --resume beside it")
        if resume is not None:
            _only_resume(out, given)
            run = session.Session.resumed(Path(resume), timeout, ray)
            profiles.check(session.whole(run.axes, run.devices), globs)
        else:
            axes, fleet = axes_of(given), connect(ray) if ray else None
            where = session.Where(given["cpu"], given["gpu"])
            devices = fleet.targets(where.cpu, where.gpu) if fleet else session.targets(where)
            provenance.check()  # complain before a folder is made
            planned, _, _ = session.fitted(axes, devices)
            profiles.check(session.whole(axes, devices), globs)
            if listing:
                return click.echo("\n".join(dict.fromkeys(case.key for part in planned.values() for case in part)))
            folder = session.fresh_folder(out)
            run = session.Session(folder, axes, devices, parallel=parallel, timeout=timeout, fleet=fleet)
        for kind in {kind for _, kind in run.devices} if profiler != "none" else ():
            if reason := profiles.absent(profiler, kind):
                say(f"nothing will be profiled: {reason}")
        raise SystemExit(measure_and_report(run, profiler, globs))
    except (UsageError, ValueError) as error:
        fail(error)


def _only_resume(out: str | None, given: dict[str, Any]) -> None:
    """A resumed run keeps its own axes; others beside them would be dropped silently."""
    context = click.get_current_context()
    extra = [
        name for name in (*given, "out") if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if extra:
        fail(f"resume: expected no other axes (the run keeps its own), got {', '.join(sorted(extra))}")


@cli.command()
@axes_options
@click.option("--summary", is_flag=True, help="Their number and time alone.")
def plan(summary: bool, **given: Any) -> None:
    """Show the cases and the estimated time; needs no device."""
    from collections import Counter

    from suites import session
    from suites.pace import estimate
    from suites.plan import UsageError

    axes = axes_of(given)
    try:
        gpu = given["gpu"]
        devices = [("gpu", "cuda")] if gpu else session.targets(session.Where(given["cpu"]))
        found, _, left = session.fitted(axes, devices)
    except UsageError as error:
        fail(error)
    for (device, kind), cases in zip(devices, found.values(), strict=True):
        for case in () if summary else cases:
            click.echo(f"{case.probe:9} {case.key.partition(':')[2]} {' '.join(case.clocks)}".rstrip())
        probes = ", ".join(f"{n} {probe}" for probe, n in Counter(case.probe for case in cases).items())
        click.echo(f"{device}: {len(cases)} cases ({probes}), about {_time(estimate(cases, axes, kind))}")
        if left[device]:
            click.echo(left[device])


def _time(seconds: float) -> str:
    digits, size, unit = (0, 1, "s") if seconds < 100 else (1, 60, "min") if seconds < 5400 else (1, 3600, "h")
    return f"{seconds / size:.{digits}f} {unit}"


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", metavar="DIR", help="Folder of the report of several runs; default: beside the first.")
@click.option("--export-markdown", "markdown", metavar="FILE", help="Write the answers as Markdown, too.")
def report(runs: tuple[str, ...], out: str | None, markdown: str | None) -> None:
    """Write the tables and the report of a run again, or one report of several runs.

    Shares of one plan (bench --shard, bench --ray) on machines that are alike make one column, other runs one each.
    """
    import reports

    folders = [Path(run) for run in runs]
    if out is None and len(folders) > 1:
        names = [folder.resolve().name for folder in folders]
        name = "-with-".join(names) if len(names) == 2 else f"{names[0]}-and-{len(names) - 1}-more"
        out = str(folders[0].parent / name)
    try:
        click.echo(str(reports.write(folders if len(folders) > 1 else folders[0], out)))
        if markdown is not None:
            reports.write_markdown(folders, markdown)
    except (ValueError, OSError) as error:
        fail(error)


@cli.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--across", is_flag=True, help="Allow runs of different machines.")
@click.option("--out", metavar="DIR", help="Write all cases there: comparison.csv, .md and .json.")
@click.option(
    "--fail-on", type=percent, metavar="PERCENT", help="Exit 1 if a case is worse by more, such as 10%, or broke."
)
def compare(a: str, b: str, across: bool, out: str | None, fail_on: float | None) -> None:
    """Compare run B with run A, case by case; the shards of a run are joined by commas."""
    import reports

    try:
        found = reports.compare(_shards(a), _shards(b), across=across)
        click.echo(found.text, nl=False)
        if out is not None:
            found.write(out)
    except (ValueError, OSError) as error:
        fail(error)
    if fail_on is None:
        return
    worse = found.beyond(fail_on)
    click.echo(f"{len(worse)} cases broke or are worse by more than {fail_on:.3g} (--fail-on)", err=True)
    for line in worse[:20]:
        click.echo(f"  {line}", err=True)
    sys.exit(1 if worse else 0)


def _shards(value: str) -> list[str]:
    return [value] if Path(value).exists() else listed(value) or [value]


@cli.command()
def doctor() -> None:
    """Say what is there, what is missing, and what to do about it."""
    from suites.doctor import findings

    missing = False
    for mark, what, words, advice in findings():
        missing |= mark == "missing"
        click.echo(f"{mark:8} {what}: {words}")
        if advice:
            click.echo(f"{'':8} -> {advice}")
    sys.exit(1 if missing else 0)


cli.add_command(network)
cli.add_command(gate)
cli.add_command(baseline)
cli.add_command(tasks)


def main() -> None:
    """The command line; a package that is not there is named, with what brings it."""
    from suites.doctor import EXTRA, NEEDED

    try:
        cli()
    except ModuleNotFoundError as error:
        if error.name not in dict(NEEDED):
            raise
        fail(f"{dict(NEEDED)[error.name]} is not installed; {EXTRA}")


if __name__ == "__main__":
    main()
