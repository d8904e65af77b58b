"""`runner.py network`: what a pooling method does to a whole model's time and memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from commands.run import axes_of, fail, listed, measure_and_report


@click.command()
@click.argument("model")
@click.option("--method", "methods", type=listed, multiple=True, metavar="NAME",
              help="Methods that take the pools' places; default: max, avg, softpool, edscw, ada.")  # fmt: skip
@click.option("--implementation", "implementations", type=listed, multiple=True, metavar="NAME",
              help="native, plain, and torch: the model as it was. Default: native and torch.")  # fmt: skip
@click.option("--strided", is_flag=True, help="Exchange strided convolutions, too: stride 1, then the pool.")
@click.option("--batch", type=click.IntRange(min=1), help="Default: 4 on a CPU, 64 on a GPU.")
@click.option("--image", metavar="CxHxW", help="Of one input; default: what the model's paper has.")
@click.option("--dtype", "dtypes", type=listed, multiple=True, metavar="T",
              help="float32, float64; float16 and bfloat16 by autocast.")  # fmt: skip
@click.option("--layout", "layouts", type=listed, multiple=True, metavar="L", help="nchw, channels_last.")
@click.option("--clock", "clocks", type=listed, multiple=True, metavar="C", help="On a GPU host, graph, hot.")
@click.option("--min-samples", type=click.IntRange(min=3), metavar="N", help="Samples of a forward and of a step.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--gpu", metavar="all|IDS|UUIDS", help="GPUs to measure; default: those there are, else the CPU.")
@click.option("--cpu", is_flag=True, help="Measure the CPU.")
@click.option("--out", metavar="DIR", help="Folder of the run; default: results/<UTC time>-<id>.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True,
              help="Seconds that a case may take beyond fifteen minutes.")  # fmt: skip
def network(model: str, cpu: bool, gpu: str | None, out: str | None, timeout: float, **given: Any) -> None:
    """Measure MODEL with its pools exchanged, against itself as it was: a forward, a training step, memory, energy.

    MODEL is path/to/file.py:function, which returns a module, torchvision:resnet50, timm:NAME, transformers:CONFIG (a
    class such as ResNetConfig, or a folder with a config.json), or one of resnet18, densenet, resnext, unet, c3d;
    resnet18:16 is of width 16. `bench --resume RUN` continues a run that was stopped.
    """
    from suites import provenance, session
    from suites.case import sizes
    from suites.plan import UsageError

    try:
        image = given.pop("image")
        axes = replace(axes_of(given), network=model, image=sizes("image", image, 1) if image else ())
        devices = session.targets(session.Where(cpu, gpu))
        provenance.check()  # complain before a folder is made
        session.fitted(axes, devices)
        run = session.Session(session.fresh_folder(out), axes, devices, parallel=False, timeout=timeout)
        raise SystemExit(measure_and_report(run))
    except (UsageError, ValueError) as error:
        fail(error)
