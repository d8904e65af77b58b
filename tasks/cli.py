"""`runner.py tasks`: the options, and what is printed. Nothing heavy is imported until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from suites.cli import complaining, reportable
from suites.options import joined, only_resume


@click.command()
@click.option(
    "--profile",
    type=click.Choice(["smoke", "default", "full"]),
    default="default",
    show_default=True,
    help="How much: smoke < 90 s, default < 15 min, full < 40 min on two CPU cores.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    callback=joined,
    metavar="NAME",
    help="digits, fashion-mnist, shapes, super-resolution, interpolation, video, motion; default: all there are. The "
    "first two are of a ResNet; with -densenet and -resnext behind, of these; full does all three.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    callback=joined,
    metavar="NAME",
    help="max, avg, softpool, edscw, ada, lip, dpp; default: all.",
)
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Seeds of each method; default: 5, smoke 2.")
@click.option(
    "--first-seed", "first", type=click.IntRange(min=0), default=0, metavar="N", help="Count seeds from here."
)
@click.option("--images", metavar="DIR", help="Photographs; default: scikit-image's.")
@click.option("--video", metavar="DIR|FILE", help="A further task: the frames between those of this video.")
@click.option("--fashion-mnist", "fashion", metavar="DIR", help="Its four files; default: where Debian puts them.")
@click.option("--gpu", "device", flag_value="cuda", default="cpu", help="Train on the first GPU.")
@click.option("--jobs", type=click.IntRange(min=1), help="Trials side by side on the CPU; default: one a core.")
@click.option("--out", metavar="DIR", help="Folder of the run; default: results/<UTC time>-<id>.")
@click.option("--resume", metavar="RUN", help="Continue this run where it stopped; takes what was asked from there.")
@complaining
def tasks(out: str | None, resume: str | None, jobs: int | None, **given: Any) -> None:  # fmt: skip
    """Train small networks with each method, and say what that does to quality and cost."""
    from suites import machine, provenance, session
    from tasks import plan, study

    reportable()
    jobs = jobs or machine.cores()
    if resume is not None:
        only_resume([*given, "out"])
        run = study.Run.resumed(Path(resume), jobs)
    else:
        provenance.check()
        asked = plan.Study(**given)
        plan.planned(asked)  # complain before a folder is made
        run = study.Run(session.fresh_folder(out), asked, jobs)
    raise SystemExit(_go(run))


def _go(run: Any) -> int:
    import reports
    from reports import trials_text
    from suites.session import Terminated

    code = 0
    for name, fault in run.faults.items():
        click.echo(f"{name} is skipped: {fault}", err=True)
    try:
        run.go()
    except KeyboardInterrupt as stopped:
        code = 143 if isinstance(stopped, Terminated) else 130
        click.echo(
            f"stopped; what was done is kept, continue with: python runner.py tasks --resume {run.folder}", err=True
        )
    except OSError as error:
        click.echo(f"the records could not be written: {error}; continue with --resume {run.folder}", err=True)
        code = 1
    click.echo(trials_text.text(run.folder), nl=False)
    counts = ", ".join(f"{n} {status}" for status, n in sorted(run.tally.items())) or "nothing new"
    click.echo(f"{counts}; {run.seconds:.0f} s, of CPUs {run.spent:.0f} s", err=True)
    code = code or int("failed" in run.tally)
    try:
        click.echo(str(reports.write(run.folder)))
    except (OSError, ValueError) as error:
        click.echo(f"the report could not be written: {error}; try: runner.py report {run.folder}", err=True)
        return 1
    return code
