#!/usr/bin/env python3
"""The command line: bench, network, tasks, plan, report, compare, doctor, gate, baseline. The work is elsewhere.

Nothing heavy is imported until a command needs it. Exit codes: 0 all measured, 1 some case failed or was incorrect,
2 usage, 130 and 143 stopped by Ctrl-C and SIGTERM (what was measured is kept and reported).
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

try:
    import click

    from gate.cli import baseline, gate
    from suites.cli import bench, fail, network, plan
    from suites.options import listed, percent
    from tasks.cli import tasks
except ModuleNotFoundError as error:
    if error.name != "click":
        raise
    from suites.doctor import EXTRA

    raise SystemExit(f"error: click is not installed; {EXTRA}") from None


def _version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from suites import provenance

        click.echo(f"adapool {provenance.words()}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Say which adapool would be measured.")  # fmt: skip
def cli() -> None:
    """Measure pooling methods: time, memory, energy, retained information; and compare."""


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--out", metavar="DIR", help="Folder of the report; default: the run's own, of several runs a new one "
              "beside the first.")  # fmt: skip
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
    cases = "1 case is" if len(worse) == 1 else f"{len(worse)} cases are"
    click.echo(f"{cases} broken or worse by more than {100 * fail_on:.3g} % (--fail-on)", err=True)
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


for command in (bench, network, tasks, plan, gate, baseline):
    cli.add_command(command)


def main() -> None:
    """The command line; a package that is not there is named, with what brings it."""
    from suites.doctor import EXTRA, NEEDED

    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # no line of this code, which says nothing
    try:
        cli()
    except ModuleNotFoundError as error:
        if error.name not in dict(NEEDED):
            raise
        fail(f"{dict(NEEDED)[error.name]} is not installed; {EXTRA}")


if __name__ == "__main__":
    main()
