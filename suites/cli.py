"""The commands `bench`, `network` and `plan`, and what follows a run: profiles, tables, its report.

A front door, so it knows what reports make of records. Nothing heavy is imported until a command needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from suites.options import axes as axes_of
from suites.options import axes_options, network_options, only_resume

if TYPE_CHECKING:
    from suites.session import Session


def fail(error: object) -> NoReturn:
    """A usage error: one paragraph, exit code 2."""
    _say(f"error: {error}")
    raise SystemExit(2)


def complaining(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose ValueErrors, UsageError among them, are usage errors."""

    @wraps(command)
    def complains(*given: Any, **named: Any) -> None:
        try:
            command(*given, **named)
        except ValueError as error:
            fail(error)

    return complains


def reportable() -> None:
    """Fails where a package is missing that the report needs: said before anything is measured, since it comes last."""
    from suites import doctor

    if lacking := doctor.lacking():
        fail(f"{', '.join(lacking)} not installed; {doctor.EXTRA}")


def _say(words: str) -> None:
    click.echo(words, err=True)


@click.command()
@axes_options
@click.option("--out", metavar="DIR", help="Folder of the run; default: results/<UTC time>-<id>.")
@click.option("--resume", metavar="RUN", is_eager=True,
              help="Continue this run where it stopped; takes its axes from there.")  # fmt: skip
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
@complaining
def bench(
    out: str | None, resume: str | None, parallel: bool, timeout: float, ray: str | None, profiler: str,
    globs: tuple[str, ...], markdown: str | None, listing: bool, **given: Any,
) -> None:  # fmt: skip
    """Measure, and write the report."""
    from suites import profiles, session
    from suites.axes import UsageError
    from suites.fleet import connect

    reportable()
    if globs and profiler == "none":
        raise UsageError("profile-case: expected --profile-with ncu, nsys or torch beside it")
    if ray and profiler != "none":
        raise UsageError("profile-with: expected none beside --ray, a profiler needs the device at hand")
    if listing and resume:
        raise UsageError("list: expected no --resume beside it")
    if resume is not None:
        only_resume([*given, "out", "config"])
        run = session.Session.resumed(Path(resume), timeout, ray)
        profiles.check(session.whole(run.axes, run.devices), globs)
    else:
        axes, fleet = axes_of(given), connect(ray) if ray else None
        targets = fleet.targets if fleet else session.targets
        devices = targets(given["cpu"], given["gpu"])
        profiles.check(session.whole(axes, devices), globs)
        if listing:
            planned, _, _ = session.fitted(axes, devices)
            return click.echo("\n".join(dict.fromkeys(case.key for part in planned.values() for case in part)))
        run = session.Session.fresh(out, axes, devices, parallel=parallel, timeout=timeout, fleet=fleet)
    for kind in {kind for _, kind in run.devices} if profiler != "none" else ():
        if reason := profiles.absent(profiler, kind):
            _say(f"nothing will be profiled: {reason}")
    raise SystemExit(_measure_and_report(run, profiler, globs, markdown))


@click.command()
@click.argument("model")
@network_options
@click.option("--out", metavar="DIR", help="Folder of the run; default: results/<UTC time>-<id>.")
@complaining
def network(model: str, image: str | None, out: str | None, **given: Any) -> None:
    """Measure MODEL with its pools exchanged, against itself as it was: a forward, a training step, memory, energy.

    MODEL is path/to/file.py:function, which returns a module, torchvision:resnet50, timm:NAME, transformers:CONFIG (a
    class such as ResNetConfig, or a folder with a config.json), or one of resnet18, resnet50, densenet, resnext, unet,
    c3d; resnet18:16 is of width 16. `bench --resume RUN` continues a run that was stopped.
    """
    from dataclasses import replace

    from suites import session
    from suites.case import sizes

    reportable()
    axes = replace(axes_of(given), network=model, image=sizes("image", image, 1) if image else ())
    devices = session.targets(given["cpu"], given["gpu"])
    raise SystemExit(_measure_and_report(session.Session.fresh(out, axes, devices)))


@click.command()
@axes_options
@click.option("--summary", is_flag=True, help="Their number and time alone.")
@complaining
def plan(summary: bool, **given: Any) -> None:
    """Show the cases and the estimated time; needs no device."""
    from collections import Counter

    from suites import session
    from suites.pace import duration, estimate

    axes = axes_of(given)
    devices = session.targets(given["cpu"]) if given["cpu"] or not given["gpu"] else []
    if given["gpu"]:  # which need not be there
        devices = [("gpu", "cuda"), *devices]
    found, _, left = session.fitted(axes, devices)
    for (device, kind), cases in zip(devices, found.values(), strict=True):
        for case in () if summary else cases:
            click.echo(f"{case.probe:9} {case.key.partition(':')[2]} {' '.join(case.clocks)}".rstrip())
        probes = ", ".join(f"{n} {probe}" for probe, n in Counter(case.probe for case in cases).items())
        click.echo(f"{device}: {len(cases)} cases ({probes}), about {duration(estimate(cases, axes, kind))}")
        if left[device]:
            click.echo(left[device])


def _measure_and_report(
    run: Session, profiler: str = "none", globs: tuple[str, ...] = (), markdown: str | None = None
) -> int:
    from suites.session import Terminated

    code = 0
    try:
        tally = run.run()
    except KeyboardInterrupt as stopped:
        code = 143 if isinstance(stopped, Terminated) else 130
        _say(f"stopped; what was measured is kept, continue with: python runner.py bench --resume {run.folder}")
    else:
        _say("\n".join(tally.words(run.folder)))
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


def _report(folder: Path, markdown: str | None) -> int:
    """Write the tables and the report of a run, and say where; 1 when that fails."""
    import reports
    from suites.replay import benchmark_json

    try:
        if not (folder / "records.jsonl").stat().st_size:
            _say(f"no record was made, so there is no report in {folder}")
            return 0
        if fault := benchmark_json(folder):
            _say(f"benchmark.json was not written: {fault}")
        reports.write(folder)
        if markdown is not None:
            reports.write_markdown(folder, markdown)
    except OSError as error:
        _say(f"the report could not be written: {error.strerror or error}; try: runner.py report {folder}")
        return 1
    click.echo(str(folder / "report.html"))
    return 0
