"""The section of trained networks: quality against cost, differences, learning curves, what beta became, pictures."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import digits, extras, plots, trials, trials_text
from reports.svg import INK, MUTE, SERIES, Chart, canvas, finish
from reports.trials import Line, Result

if TYPE_CHECKING:
    from pandas import DataFrame

_PICTURE = re.compile(r"(?P<task>.+?)__(?P<number>\d+)__(?P<what>[a-z]+)(?:__(?P<subject>.+))?\.png")
_MOST_BYTES = 1_500_000  # of pictures, as WebP
_NOTED = {"ada": SERIES["native"][0], "max": SERIES["plain"][0], "avg": SERIES["torch"][0]}  # others are grey


def sections(runs: list[tuple[str, Path]]) -> list[dict[str, Any]]:
    """What the template needs of each task of each run, charts as they are drawn."""
    made: list[dict[str, Any]] = []
    for run, path in runs:
        for result in trials.results(path):
            anchor = f"task-{len(made) + 1}"
            title = result.title if len(runs) == 1 else f"{result.title} · {run}"
            made.append(
                {
                    "anchor": anchor,
                    "run": run,
                    "title": title,
                    "verdict": trials_text.verdict(result),
                    "says": trials_text.betas(result),
                    "doubts": result.doubts,
                    "holes": result.holes,
                    "heads": trials_text.heads(result),
                    "rows": [trials_text.cells(result, line) for line in result.lines],
                    "claims": [_claim(result, claim) for claim in result.claims],
                    "seeds": trials_text.seeds(result),
                    "charts": _charts(anchor, result),
                    "pictures": _pictures(path, result.name),
                }
            )
    return made


def _claim(result: Result, claim: trials.Claim) -> tuple[str, str, str, str]:
    metric = result.metric
    difference = trials_text.number(metric, claim.difference, True)
    return trials_text.pair(claim), difference, trials_text.ends(metric, claim.interval, True), claim.verdict


def _charts(anchor: str, result: Result) -> list[Chart]:
    rows = _rows(result)
    if rows.empty:
        return []
    made, word = [], trials_text.WORDS[result.metric]
    timed = rows.dropna(subset="x")  # a run that was stopped may lack a step's time
    if len(timed) > 1:
        made.append(
            plots.pareto(timed, f"{anchor}-pareto", f"{word} against the time of a step", word, "time of a step")
        )
    if len(rows) > 1:
        made += _differences(anchor, result, rows)
    made.append(_curves(anchor, result, word))
    layers = {f"{line.subject} {name}": of for line in result.lines for name, of in line.betas.items()}
    return [*made, _beta(f"{anchor}-beta", layers)] if layers else made


def _rows(result: Result) -> DataFrame:
    """A row for each subject in the columns that plots reads."""
    import pandas as pd

    made = []
    for line in result.lines:
        text = " ".join(filter(None, trials_text.cells(result, line)[:3]))
        made.append(
            {
                "method": line.subject, "implementation": "native", "warned": line.mean < result.floor, "r": -1,
                "x": line.step, "y": trials_text.scaled(result.metric, line.mean),
                "tip": f"{text}\n{digits.quantity(line.step, 's')} a step",
            }
        )  # fmt: skip
    rows: DataFrame = pd.DataFrame(made)
    return rows


def _differences(anchor: str, result: Result, rows: DataFrame) -> list[Chart]:
    """Each subject's score less the reference's, seed by seed."""

    def scaled(value: float) -> float:
        return trials_text.scaled(result.metric, value)

    others = [line for line in result.lines if line.subject != result.reference and math.isfinite(line.difference)]
    if not others:
        return []
    own = rows.set_index("method").loc[[line.subject for line in others]].reset_index()
    own["x"] = [scaled(line.difference) for line in others]
    own["lo"], own["hi"] = ([scaled(line.difference_interval[end]) for line in others] for end in (0, 1))
    own["tip"] = [
        f"{line.subject}: {trials_text.number(result.metric, line.difference, True)} "
        f"{trials_text.ends(result.metric, line.difference_interval, True)}, by seed "
        + ", ".join(f"{scaled(v):+.2f}" for v in _apart(result, line))
        for line in others
    ]
    values = [v for column in ("x", "lo", "hi") for v in own[column].dropna()]
    limits = (min(*values, -1e-3), max(*values, 1e-3))
    title = f"{trials_text.WORDS[result.metric]} minus that of {result.reference}"
    return [plots.dots(own, f"{anchor}-difference", title, plots.signed_tick(), 0.0, True, limits)]


def _apart(result: Result, line: Line) -> list[float]:
    reference = next(other for other in result.lines if other.subject == result.reference)
    return trials.paired(line.scores, reference.scores)


def _curves(anchor: str, result: Result, word: str) -> Chart:
    """The score on the test examples while training goes on, a mean over the seeds."""
    import pandas as pd

    points = []
    with canvas(4.6, 3.0) as (figure, ax):
        for line in result.lines:
            curves = [facts["curve"] for facts in line.facts.values()]
            steps = [point["step"] for point in curves[0]]
            means = [sum(c[i]["score"] for c in curves) / len(curves) for i in range(len(steps))]
            values = [trials_text.scaled(result.metric, mean) for mean in means]
            color = _NOTED.get(line.subject, MUTE)
            ax.plot(steps, values, color=color, linewidth=1.6 if color != MUTE else 1, zorder=3 if color != MUTE else 2)
            points += [
                {"x": x, "y": y, "tip": f"{line.subject}, step {x}: {y:.2f}", "implementation": "native", "r": -1}
                for x, y in zip(steps, values, strict=True)
            ]
        ax.axhline(trials_text.scaled(result.metric, result.floor), color=INK, linewidth=1, linestyle=(0, (2, 2)))
        rows = pd.DataFrame(points)
        dots = ax.scatter(rows["x"], rows["y"], s=9, color=MUTE, zorder=4)
        dots.set_gid("tips")
        for name, color in _NOTED.items():
            if any(line.subject == name for line in result.lines):
                ax.plot([], [], color=color, label=name)
        ax.plot([], [], color=MUTE, label="others")
        ax.legend(frameon=False, fontsize=7.5, loc="lower right")
        ax.set(xlabel="step", ylabel=word)
        title = f"{word} on the test examples, by step"
        last = "; ".join(f"{line.subject} {trials_text.number(result.metric, line.mean)}" for line in result.lines)
        return finish(figure, f"{anchor}-curve", title, f"{title}. At the end: {last}.", rows)


def _beta(name: str, layers: dict[str, list[dict[str, Any]]]) -> Chart:
    """A histogram of each layer's beta over seeds and places, and under it the map of its places, a mean over seeds."""
    import numpy as np
    import pandas as pd
    from matplotlib.patches import Rectangle

    points = []
    mapped = any(beta["map"] for of in layers.values() for beta in of)
    with canvas(4.6, 2.8 if mapped else 1.5) as (figure, ax):
        for i, (layer, of) in enumerate(layers.items()):
            left = i * 1.25
            counts = np.sum([beta["histogram"] for beta in of], axis=0)
            middles = left + (np.arange(len(counts)) + 0.5) / len(counts)
            ax.bar(middles, counts / counts.max(), 1 / len(counts), color=_NOTED["ada"])
            maps = [beta["map"] for beta in of if beta["map"] is not None]
            grid = np.mean(maps, axis=0) if maps else np.zeros((0, 0))
            for y, x in np.ndindex(*grid.shape):
                side = 1 / max(grid.shape)
                place = (left + x * side, -0.3 - (y + 1) * side)
                ax.add_patch(Rectangle(place, side, side, color=_shade(float(grid[y, x])), linewidth=0))
            mean = sum(beta["mean"] for beta in of) / len(of)
            ax.text(left + 0.5, 1.06, f"{layer} {mean:.2f}", ha="center", fontsize=7.5)
            for x, word in ((0, "0"), (0.5, "½"), (1, "1")):
                ax.text(left + x, -0.04, word, ha="center", va="top", fontsize=7)
            points.append({"x": left + mean, "y": 0.0, "tip": f"{layer}: mean beta {mean:.3f}", "r": -1})
        rows = pd.DataFrame(points).assign(implementation="native")
        ax.scatter(rows["x"], rows["y"], s=20, color=INK, zorder=4).set_gid("tips")
        right = 1.25 * max(len(layers), 3) - 0.1
        ax.set(xlim=(-0.08, right), ylim=(-1.35 if mapped else -0.2, 1.2), xticks=[], yticks=[])
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
        title = "beta: 0 is softpool, 1 is edscw" + ("; below, its map" if mapped else "")
        alt = f"{title}. " + "; ".join(point["tip"] for point in points)
        return finish(figure, name, title, alt, rows)


def _shade(value: float) -> tuple[float, float, float]:
    """Of a map: white where beta is 0, ada's colour where it is 1."""
    from matplotlib.colors import to_rgb

    r, g, b = (1 - value * (1 - part) for part in to_rgb(_NOTED["ada"]))
    return r, g, b


def _pictures(path: Path, task: str) -> list[dict[str, Any]]:
    """Of each test example kept, the pictures all subjects share and then each subject's, as data addresses."""
    scenes: dict[int, dict[str, Any]] = {}
    left = _MOST_BYTES
    for file in sorted(path.glob(f"crops/{task}__*.png")):
        found = _PICTURE.fullmatch(file.name)
        address = extras.address(file) if found else None
        if found is None or address is None or len(address) > left:
            continue
        left -= len(address)
        scene = scenes.setdefault(int(found["number"]), {"shared": [], "subjects": []})
        kind = "shared" if found["subject"] is None else "subjects"
        scene[kind].append((found["subject"] or found["what"], address))
    return [scenes[number] for number in sorted(scenes)]
