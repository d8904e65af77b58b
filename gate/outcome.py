"""What every gate command ends with: the rules it judged by, its files, its words, its exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from reports import gate_output
from reports.gate import Judgement, Rules
from suites import provenance
from suites.plan import UsageError

if sys.version_info >= (3, 11):
    import tomllib as toml
else:
    import tomli as toml  # type: ignore[import-not-found, unused-ignore] # comes with pytest where Python has no reader of its own

ROOT = Path(__file__).resolve().parents[1]


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
    """[tool.adapool.gate] of a TOML file, pyproject.toml if none is given; UsageError names a wrong entry."""
    project = Path(file) if file else ROOT / "pyproject.toml"
    if not project.is_file():
        raise UsageError(f"rules: expected a TOML file, got {str(project)!r}")
    table = toml.loads(project.read_text()).get("tool", {}).get("adapool", {}).get("gate", {})
    try:
        return Rules.of(table)
    except ValueError as error:
        raise UsageError(f"{project.name}: {error}") from None


def conclude(
    out: Path | None, title: str, judgements: Mapping[str, Judgement], about: Mapping[str, object] | None = None
) -> int:
    """Write the files, tell the result, and hand out the exit code."""
    gate_output.publish(out, title, judgements, about or {})
    click.echo(gate_output.text(judgements), nl=False)
    for annotation in gate_output.workflow_commands(judgements):
        click.echo(annotation)
    if out is not None:
        say(f"{out / 'summary.md'}; junit.xml and verdicts.json beside it")
    return gate_output.exit_code(judgements)
