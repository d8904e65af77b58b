"""The command line's words for a plan's axes, as `bench`, `plan` and the gate take them.

What is not on the command line may stand in a TOML file, [tool.adapool.bench], under the same words without dashes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from suites import layers
from suites.axes import Axes, UsageError, near

if sys.version_info >= (3, 11):
    import tomllib as toml
else:
    import tomli as toml  # type: ignore[import-not-found, unused-ignore] # comes with pytest where Python has none

PROJECT = "pyproject.toml"  # of the folder that one stands in
SECTION = "tool.adapool.bench"
Option = Callable[[Any], Any]


def listed(value: str) -> list[str]:
    """Values joined by commas; the option may also be repeated."""
    return [part.strip() for part in value.split(",") if part.strip()]


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
    if not found or (not found[2] and float(found[1]) > 1):  # 10 is rather meant as 10%
        raise click.BadParameter(f"expected a share such as 10% or 0.1, got {value!r}")
    return float(found[1]) / (100 if found[2] else 1)


def joined(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The values of an option that may be repeated, and joins some by commas."""
    return tuple(part for value in values for part in listed(value))


def _several(word: str, name: str, metavar: str, words: str) -> Option:
    return click.option(f"--{word}", name, multiple=True, callback=joined, metavar=metavar, help=words)


_AXES = (
    ("method", "methods", "NAME", "Methods by name, or one's own as path/to/file.py:function."),
    ("implementation", "implementations", "NAME", "native, plain, compiled, torch, released, own, copy."),
    ("compare-with", "compare_with", "NAME",
     "Beside those: released (the adaPool and SoftPool packages, where installed), compiled."),
    ("kernel", "kernels", "K", "2, 3, 2x3, 3s2, 3s2p1."),
    ("stride", "strides", "S", "Default: the kernel."),
    ("padding", "paddings", "P", "Default: 0."),
    ("shape", "shapes", "NxCx...", "4x64x56x56 (1 to 3 spatial sizes), or a layer's name."),
    ("layer", "layers", "NAME", "A layer such as resnet_stem: its input, its window, and photographs under that."),
    ("dtype", "dtypes", "T", "float32, float16, bfloat16, float64."),
    ("layout", "layouts", "L", "nchw, channels_last."),
    ("direction", "directions", "D", "forward, backward, both, inverse."),
    ("probe", "probes", "P", "latency, memory, energy, retention."),
    ("clock", "clocks", "C", "cold, hot; on a GPU graph, host."),
    ("case", "cases", "KEY|GLOB",
     "These cases of the plan alone, without limit of time, such as 'latency:ada/native/*'."),
)  # fmt: skip
OPTIONS: dict[str, Option] = {
    "profile": click.option(
        "--profile", type=click.Choice(["smoke", "default", "full"]), default="default", show_default=True,
        help="How much: smoke < 30 s, default < 3 min on two CPU cores.",
    ),
    **{row[1]: _several(*row) for row in _AXES},
    "ceil": click.option("--ceil", is_flag=True, help="ceil_mode."),
    "images": click.option("--images", metavar="DIR", help="Photographs to measure retained information on."),
    "crop": click.option(
        "--crop", type=int, metavar="PIXELS", help="Longest side used of a photograph; 0: all of it."
    ),
    "seed": click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
    "budget": click.option(
        "--budget", type=duration, metavar="TIME", help="Fit the whole run into this, such as 10m."
    ),
    "min_samples": click.option(
        "--min-samples", type=click.IntRange(min=3), metavar="N",
        help="Samples of each latency, however long they take.",
    ),
    "until_precise": click.option(
        "--until-precise", is_flag=True, help="Sample until a latency's interval is 0.5 % of it; takes its time."
    ),
    "shard": click.option(
        "--shard", metavar="I/N", help="The I-th of N shares of the plan; `report` puts their runs together."
    ),
    "gpu": click.option(
        "--gpu", metavar="all|IDS|UUIDS", help="GPUs to measure; default: those there are, else the CPU."
    ),
    "cpu": click.option("--cpu", is_flag=True, help="Measure the CPU."),
}  # fmt: skip


def options(*those: Option) -> Option:
    """Them all as one, in their order."""

    def add(command: Any) -> Any:
        for option in reversed(those):
            command = option(command)
        return command

    return add


def axes_options(command: Any) -> Any:
    """All of them, and the file in which they may stand."""
    return options(_CONFIG, *OPTIONS.values())(command)


def network_options(command: Any) -> Any:
    """Those of them that a network has, and its own."""
    own = [
        click.option("--strided", is_flag=True, help="Exchange strided convolutions, too: stride 1, then the pool."),
        click.option("--batch", type=click.IntRange(min=1), help="Default: 4 on a CPU, 64 on a GPU."),
        click.option("--image", metavar="CxHxW", help="Of one input; default: what the model's paper has."),
    ]
    names = ("methods", "implementations", "dtypes", "layouts", "clocks", "min_samples", "seed", "gpu", "cpu")
    return options(*own, *(OPTIONS[name] for name in names))(command)


def axes(given: Mapping[str, Any]) -> Axes:
    """What the command line was given; UsageError for a layer beside a shape, or for one that there is not."""
    words = {name: value for name, value in given.items() if name not in ("gpu", "cpu")}
    asked = words.pop("layers", ())
    if asked and words["shapes"]:
        raise UsageError(f"layer: expected no --shape beside it, got {', '.join(words['shapes'])}")
    for name in asked:
        if name not in layers.LAYERS:
            raise UsageError(
                f"layer: unknown layer {name!r}; {near(name, layers.LAYERS)}known: {', '.join(layers.LAYERS)}"
            )
    return Axes(**words | ({"shapes": asked} if asked else {}))


def spoken(words: Mapping[str, Any]) -> dict[str, Any]:
    """What the command line makes of words given in Python, `kernels=[2, "3s2"]` as `--kernel 2 --kernel 3s2`.

    An option's own name counts as well as the axis's. UsageError as the command line has it.
    """
    command = axes_options(click.Command("bench"))
    known = {n: p for p in command.params for n in (p.name, p.opts[0][2:].replace("-", "_")) if p.name in OPTIONS}
    asked = _defaults({name: value for name, value in words.items() if value is not None}, known)
    try:
        given: dict[str, Any] = command.make_context("bench", [], default_map=asked).params
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None
    return given


def only_resume(names: Iterable[str]) -> None:
    """UsageError when any of these stands beside --resume: the run keeps its own, others would be dropped silently."""
    context = click.get_current_context()
    extra = [name for name in names if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if extra:
        raise UsageError(f"resume: expected no other axes (the run keeps its own), got {', '.join(sorted(extra))}")


def _configured(context: click.Context, option: click.Parameter, file: str | None) -> None:
    """Take as defaults what the file gives, and say so; a run that is resumed has its own."""
    if context.params.get("resume"):
        return
    try:
        found = _section(file)
        if found:
            known = {p.opts[0][2:]: p for p in context.command.params if p.name in OPTIONS}
            asked = context.default_map or {}  # in Python
            context.default_map = {**_defaults(found, known, f"{SECTION}."), **asked}
            click.echo(f"{file or PROJECT}: [{SECTION}] gives {', '.join(found)}", err=True)
    except UsageError as error:
        raise click.UsageError(f"config: {error}", context) from None


def _section(file: str | None) -> dict[str, Any]:
    """The table of axes in a file; nothing where no file is named and none is there."""
    path = Path(file or PROJECT)
    if file is None and not path.is_file():
        return {}
    try:
        with path.open("rb") as opened:
            table: Any = toml.load(opened)
    except (OSError, toml.TOMLDecodeError) as error:
        raise UsageError(f"expected a TOML file, got {str(path)!r} ({error})") from None
    for name in SECTION.split("."):
        table = table.get(name, {}) if isinstance(table, dict) else {}
    if file is not None and not table:
        raise UsageError(f"expected a table [{SECTION}], {str(path)!r} has none")
    return dict(table)


def _defaults(words: Mapping[str, Any], known: Mapping[str, click.Parameter], place: str = "") -> dict[str, Any]:
    """Values by the names that click knows; UsageError for a word that is no axis, with the nearest that is one."""
    found: dict[str, Any] = {}
    for word, value in words.items():
        if word not in known:
            raise UsageError(f"{place}{word}: no axis of that name; {near(word, known)}there are: {', '.join(known)}")
        parameter = known[word]
        many, flag = getattr(parameter, "multiple", False), getattr(parameter, "is_flag", False)
        several = isinstance(value, (list, tuple))
        if isinstance(value, dict) or (several and not many):
            raise UsageError(f"{place}{word}: expected one value, got {value!r}")
        if isinstance(value, bool) != flag:
            raise UsageError(f"{place}{word}: expected {'true or false' if flag else 'a value'}, got {value!r}")
        assert parameter.name is not None
        values = [str(one) for one in (value if several else [value])]
        found[parameter.name] = value if flag else values if many else values[0]
    return found


_CONFIG = click.option(
    "--config", metavar="FILE", is_eager=True, expose_value=False, callback=_configured,
    help=f"TOML file whose [{SECTION}] has axes; default: {PROJECT} here.",
)  # fmt: skip
