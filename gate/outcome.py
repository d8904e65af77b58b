"""What every gate command ends with: the rules it judged by, its files, its words, its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from gate import output
from gate.judge import Judgement
from reports.rules import Rules, read
from suites import provenance
from suites.axes import UsageError


class Infrastructure(RuntimeError):
    """The gate could not do its work: no build, no worker, no tool. Exit code 6."""


def say(words: str) -> None:
    click.echo(words, err=True)


def own_code() -> None:
    """Infrastructure, with the remedy, when this Python's adapool is not this folder's."""
    try:
        provenance.check()
    except UsageError as error:
        raise Infrastructure(str(error)) from None


def rules(file: str | None) -> Rules:
    """The project's rules with those of a TOML file over them; UsageError names a wrong entry."""
    try:
        return read(file)
    except ValueError as error:
        raise UsageError(str(error)) from None


def conclude(
    out: Path | None, title: str, judgements: Mapping[str, Judgement], about: Mapping[str, object] | None = None
) -> int:
    """Write the files, tell the result, and hand out the exit code."""
    output.publish(out, title, judgements, about or {})
    click.echo(output.text(judgements), nl=False)
    for annotation in output.workflow_commands(judgements):
        click.echo(annotation)
    if out is not None:
        say(f"{out / 'summary.md'}; junit.xml and verdicts.json beside it")
    return output.exit_code(judgements)
