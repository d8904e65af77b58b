"""What commands that measure do alike: a run to its end, what is said of it, its report.

Nothing heavy is imported until it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from suites.plan import Axes
    from suites.session import Session


def listed(value: str) -> list[str]:
    """Values joined by commas; the option may also be repeated."""
    return [part.strip() for part in value.split(",") if part.strip()]


def fail(error: object) -> NoReturn:
    """A usage error: one paragraph, exit code 2."""
    click.echo(f"error: {error}", err=True)
    raise SystemExit(2)


def axes_of(given: dict[str, Any]) -> Axes:
    """The axes that options name; an option that may be repeated comes as a tuple of lists."""
    from suites.plan import Axes

    flat: dict[str, Any] = {
        n: tuple(v for part in value for v in part) if isinstance(value, tuple) else value for n, value in given.items()
    }
    return Axes(**{name: value for name, value in flat.items() if name not in ("gpu", "cpu")})


def measure_and_report(run: Session, profiler: str = "none", globs: tuple[str, ...] = ()) -> int:
    """The exit code of a run, with everything that a person has to know of it said."""
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
        counts = ", ".join(f"{n} {status}" for status, n in sorted(tally.statuses.items())) or "nothing new"
        click.echo(f"{tally.cases} cases measured: {counts}", err=True)
        for fault in tally.faults[:20]:
            click.echo(f"  {fault}", err=True)
        if len(tally.faults) > 20:
            click.echo(f"  ... and {len(tally.faults) - 20} more, see records.csv", err=True)
        if tally.late:
            click.echo(
                f"{tally.late} cases were not reached in the time of this profile or budget (skipped in the report); "
                "--budget 10m gives more, a quiet machine needs less",
                err=True,
            )
        if tally.disk:
            click.echo(f"the records could not be written: {tally.disk}; continue with --resume {run.folder}", err=True)
        code = 1 if tally.faults or tally.disk else 0
        if profiler != "none" and not tally.disk:
            code = _profile(run, profiler, globs) or code
    return _report(run.folder) or code


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
    say(f"{profiler}: {len(chosen)} cases to profile" if chosen else f"{profiler}: nothing to profile: {none}")
    tool = profiles.Profiler(profiler, run.folder, run.axes.seed, setting.environment, say)
    try:
        with session.terminable():
            for device, case in chosen:
                made = tool.profile(profiles.Wanted(device, kinds[device], machines.get(device, device), case))
                say("\n".join(said(made)))
    except (KeyboardInterrupt, OSError) as error:
        say(f"profiling stopped ({type(error).__name__} {error}); the records are kept")
        return 143 if isinstance(error, session.Terminated) else 130 if isinstance(error, KeyboardInterrupt) else 0
    return 0


def say(words: str) -> None:
    click.echo(words, err=True)


def _report(folder: Path) -> int:
    """Write the tables and the report of a run, and say where; 1 when that fails."""
    import reports
    from suites.session import benchmark_json

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
    except OSError as error:
        click.echo(
            f"the report could not be written: {error.strerror or error}; try: runner.py report {folder}", err=True
        )
        return 1
    click.echo(str(folder / "report.html"))
    return 0
