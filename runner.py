#!/usr/bin/env python3
"""The command line: bench, network, tasks, plan, report, compare, doctor, gate, baseline. The work is elsewhere.

Nothing heavy is imported until a command needs it. Exit codes: 0 all measured, 1 some case failed or was incorrect,
2 usage, 130 and 143 stopped by Ctrl-C and SIGTERM (what was measured is kept and reported).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

try:
    import click

    from gate.cli import baseline, gate
    from suites.options import axes as axes_of
    from suites.options import axes_options, listed, network_options, only_resume, percent
    from tasks.cli import tasks
except ModuleNotFoundError as error:
    if error.name != "click":
        raise
    from suites.doctor import EXTRA

    raise SystemExit(f"error: click is not installed; {EXTRA}") from None

if TYPE_CHECKING:
    from suites.session import Session


def fail(error: object) -> NoReturn:
    """A usage error: one paragraph, exit code 2."""
    click.echo(f"error: {error}", err=True)
    raise SystemExit(2)


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
@click.option("--export-markdown", "markdown", metavar="FILE", help="Write the answers as Markdown, too.")
@click.option("--list", "listing", is_flag=True, help="Print the keys of the cases, as --case takes them; no more.")
def bench(
    out: str | None, resume: str | None, parallel: bool, timeout: float, ray: str | None, profiler: str,
    globs: tuple[str, ...], markdown: str | None, listing: bool, **given: Any,
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
            only_resume([*given, "out"])
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
                _say(f"nothing will be profiled: {reason}")
        raise SystemExit(_measure_and_report(run, profiler, globs, markdown))
    except (UsageError, ValueError) as error:
        fail(error)


def _measure_and_report(run: Session, profiler: str, globs: tuple[str, ...], markdown: str | None) -> int:
    from suites.session import Terminated

    code = 0
    try:
        tally = run.run()
    except KeyboardInterrupt as stopped:
        code = 143 if isinstance(stopped, Terminated) else 130
        click.echo(
            f"stopped; what was measured is kept, continue with: python runner.py bench --resume {run.folder}", err=True
        )
    else:
        click.echo("\n".join(tally.words(run.folder)), err=True)
        code = 1 if tally.faults or tally.disk else 0
        if profiler != "none" and not tally.disk:
            code = _profile(run, profiler, globs) or code
    return _report(run.folder, markdown) or code


def _profile(run: Session, profiler: str, globs: tuple[str, ...]) -> int:
    """Run the chosen cases once more under the profiler. What it refuses is said, and is no failure of the run."""
    import reports
    from reports.profiles import furthest, said
    from suites import profiles, session, setting

    frame, kinds = reports.load(run.folder), dict(run.devices)
    machines = dict(zip(frame["device"], frame["machine"], strict=True))
    names = furthest(frame, profiles.SLOWEST)
    chosen = profiles.matching(run.plan, globs) if globs else profiles.among(run.plan, names)
    none = "no case of this shard fits" if globs else "no native case was timed beside a copy; --profile-case names any"
    _say(f"{profiler}: {len(chosen)} cases to profile" if chosen else f"{profiler}: nothing to profile: {none}")
    tool = profiles.Profiler(profiler, run.folder, run.axes.seed, setting.environment, _say)
    try:
        with session.terminable():
            for device, case in chosen:
                made = tool.profile(profiles.Wanted(device, kinds[device], machines.get(device, device), case))
                _say("\n".join(said(made)))
    except (KeyboardInterrupt, OSError) as error:
        _say(f"profiling stopped ({type(error).__name__} {error}); the records are kept")
        return 143 if isinstance(error, session.Terminated) else 130 if isinstance(error, KeyboardInterrupt) else 0
    return 0


def _say(words: str) -> None:
    click.echo(words, err=True)


def _report(folder: Path, markdown: str | None) -> int:
    """Write the tables and the report of a run, and say where; 1 when that fails."""
    import reports
    from suites.replay import benchmark_json

    try:
        with (folder / "records.jsonl").open("rb") as records:
            empty = not records.read(1)
        if empty:
            click.echo(f"no record was made, so there is no report in {folder}", err=True)
            return 0
        fault = benchmark_json(folder)
        if fault:
            click.echo(f"benchmark.json was not written: {fault}", err=True)
        reports.write(folder)
        if markdown is not None:
            reports.write_markdown(folder, markdown)
    except OSError as error:
        click.echo(
            f"the report could not be written: {error.strerror or error}; try: runner.py report {folder}", err=True
        )
        return 1
    click.echo(str(folder / "report.html"))
    return 0


@cli.command()
@click.argument("model")
@network_options
@click.option("--out", metavar="DIR", help="Folder of the run; default: results/<UTC time>-<id>.")
def network(model: str, image: str | None, out: str | None, **given: Any) -> None:
    """Measure MODEL with its pools exchanged, against itself as it was: a forward, a training step, memory, energy.

    MODEL is path/to/file.py:function, which returns a module, torchvision:resnet50, timm:NAME, transformers:CONFIG (a
    class such as ResNetConfig, or a folder with a config.json), or one of resnet18, resnet50, densenet, resnext, unet,
    c3d; resnet18:16 is of width 16. `bench --resume RUN` continues a run that was stopped.
    """
    from dataclasses import replace

    from suites import doctor, provenance, session
    from suites.case import sizes
    from suites.plan import UsageError

    if lacking := doctor.lacking():
        fail(f"{', '.join(lacking)} not installed; {doctor.EXTRA}")
    try:
        axes = replace(axes_of(given), network=model, image=sizes("image", image, 1) if image else ())
        devices = session.targets(session.Where(given["cpu"], given["gpu"]))
        provenance.check()  # complain before a folder is made
        session.fitted(axes, devices)
        run = session.Session(session.fresh_folder(out), axes, devices, parallel=False, timeout=60.0)
        raise SystemExit(_measure_and_report(run, "none", (), None))
    except (UsageError, ValueError) as error:
        fail(error)


@cli.command()
@axes_options
@click.option("--summary", is_flag=True, help="Their number and time alone.")
def plan(summary: bool, **given: Any) -> None:
    """Show the cases and the estimated time; needs no device."""
    from collections import Counter

    from suites import session
    from suites.pace import duration, estimate
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
        click.echo(f"{device}: {len(cases)} cases ({probes}), about {duration(estimate(cases, axes, kind))}")
        if left[device]:
            click.echo(left[device])


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
